//! Whatever else is asked of a node while it is upgraded, is done or refused with a reason; nobody loses anything by it, and
//! afterwards both nodes are sound.

use lab::held::{Held, Plan};
use lab::{fault, limits};

use super::*;

/// What is asked of lb1, which holds the VIPs.
struct Act {
    name: &'static str,
    words: &'static [&'static str],
    outcome: Outcome,
    /// How the VIPs come back.
    undo: Option<(Node, &'static [&'static str])>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// This is among the words.
    Refused(&'static str),
}

const ACTS: [Act; 6] = [
    Act {
        name: "handover",
        words: &["handover"],
        outcome: Outcome::Done,
        undo: Some((Node::Lb2, &["handover"])),
    },
    Act {
        name: "maintenance",
        words: &["maintenance", "on"],
        outcome: Outcome::Done,
        undo: Some((Node::Lb1, &["maintenance", "off"])),
    },
    Act {
        name: "reload",
        words: &["reload"],
        outcome: Outcome::Refused("an upgrade is under way"),
        undo: None,
    },
    Act {
        name: "reload of both nodes",
        words: &["apply", "--pair"],
        outcome: Outcome::Refused("an upgrade is under way"),
        undo: None,
    },
    Act {
        name: "another upgrade",
        words: &["upgrade"],
        outcome: Outcome::Refused("an upgrade is under way"),
        undo: None,
    },
    Act {
        name: "a server that drains",
        words: &["server", "drain", "traefik-http/10.17.4.24:80"],
        outcome: Outcome::Done,
        undo: Some((
            Node::Lb1,
            &["server", "ready", "traefik-http/10.17.4.24:80"],
        )),
    },
];

/// When it is asked.
const STAGES: [&str; 2] = ["proving", "trial"];

fn begin_until(site: &mut Site, stage: &str) -> Result<u64> {
    let node = Node::Lb1;
    let before = upgrade(site, node)["number"].as_u64().unwrap_or(0);
    site.pair.install(node, Path::new(BINARY))?;
    site.pair.signal(node, Part::Supervisor, Signal::SIGHUP)?;
    site.wait("the upgrade is so far", |site| {
        let now = upgrade(site, node);
        let is_there = stage == STAGES[0] || now["stage"] == stage;
        now["number"].as_u64() > Some(before) && is_there
    })?;
    Ok(before + 1)
}

/// That of this number has ended; as what.
fn end_of(site: &Site, number: u64) -> Result<String> {
    site.lab.wait_until(LIMIT, "the upgrade has ended", || {
        let now = upgrade(site, Node::Lb1);
        now["number"].as_u64() == Some(number) && !now["ended_ms_ago"].is_null()
    })?;
    let stage = upgrade(site, Node::Lb1)["stage"].clone();
    Ok(stage.as_str().unwrap_or_default().to_owned())
}

/// lb1 holds the VIPs, both forward, and all processes of both run; nobody drains any more.
fn are_sound(site: &Site) -> Result<()> {
    site.wait_home()?;
    for node in Node::LBS {
        site.wait("all its processes run, and no others", |site| {
            let status = site.pair.status(node).unwrap_or_default();
            let all = status["processes"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let run = all.iter().filter(|one| one["state"] == "running").count();
            let retired = status["retired"].as_array().is_some_and(Vec::is_empty);
            run == PROCESSES.len() && retired && site.pair.processes(node).len() == run
        })?;
        site.wait_ready(node)?;
    }
    Ok(())
}

#[test]
#[ignore = "takes minutes: scripts/prove upgrade"]
fn what_is_asked_meanwhile_is_done_or_refused() -> Result<()> {
    start_with_v6()?.watched("upgrade-meanwhile", |site| {
        for act in ACTS {
            for stage in STAGES {
                let traffic = Traffic::start(&site.lab, &everybody(Extent::Short))?;
                let since = Instant::now();
                site.wait("everybody is served", |_| traffic.is_served(since))?;
                let number = begin_until(site, stage)?;
                let (code, said) = command(site, Node::Lb1, act.words)?;
                let ended = end_of(site, number)?;
                if let Some((node, words)) = act.undo {
                    let (code, said) = command(site, node, words)?;
                    ensure!(code == Some(0), "{words:?}: {said}");
                }
                site.wait_home()?;
                let lost = traffic.finish()?;
                println!(
                    "{} while {stage}: {code:?}, {}; {ended}; {lost}",
                    act.name,
                    said.trim()
                );
                match act.outcome {
                    Outcome::Done => ensure!(code == Some(0), "{}: {said}", act.name),
                    Outcome::Refused(why) => {
                        ensure!(
                            code == Some(1) && said.contains(why),
                            "{}: {said}",
                            act.name
                        );
                    }
                }
                ensure!(ended == "done", "{} while {stage}: {ended}", act.name);
                ensure!(
                    lost.is_none() && lost.closed == 0,
                    "{} while {stage}: {lost}",
                    act.name
                );
                are_sound(site)?;
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "takes half a minute: scripts/prove upgrade"]
fn a_stop_meanwhile_is_a_stop() -> Result<()> {
    let config = format!("{}\n[proxy]\ndrain = \"10m\"\n", config_with_v6(TENTH));
    let mut site = build(&config)?;
    site.start_with_v6()?;
    site.watched("upgrade-stopped", |site| {
        for stage in STAGES {
            let traffic = Traffic::start(&site.lab, &everybody(Extent::Short))?;
            let since = Instant::now();
            site.wait("everybody is served", |_| traffic.is_served(since))?;
            begin_until(site, stage)?;
            site.pair
                .signal(Node::Lb1, Part::Supervisor, Signal::SIGTERM)?;
            site.wait("lb2 holds all VIPs", |site| site.holds_all(Node::Lb2))?;
            std::thread::sleep(Duration::from_secs(2));
            let lost = traffic.finish()?;
            println!("stopped while {stage}: {lost}");
            ensure!(lost.is_none(), "stopped while {stage}: {lost}");
            // Its sessions have ended, whichever proxy had them.
            site.wait("lb1 has ended", |site| {
                site.pair.processes(Node::Lb1).is_empty()
            })?;
            site.pair.start(Node::Lb1)?;
            are_sound(site)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "takes half a minute: scripts/prove upgrade"]
fn the_clients_of_a_machine_that_is_lost_meanwhile_are_told() -> Result<()> {
    const COUNT: usize = 50;
    const TOLD: Duration = Duration::from_secs(1);
    start_with_v6()?.watched("upgrade-lost", |site| {
        // Not earlier: a vrrp that begins when that machine is gone already knows nobody whom it could ask.
        let (code, said) = command(site, Node::Lb1, &["handover"])?;
        ensure!(code == Some(0), "{said}");
        let plan = Plan {
            count: COUNT,
            ping: None,
        };
        let held = Held::open(&site.lab, web(), plan)?;
        site.wait("they are known", |site| {
            metric(site, Node::Lb1, "fmc_lb_link_sessions{direction=\"in\"}")
                .is_ok_and(|known| known == COUNT as f64)
        })?;
        let number = begin_until(site, STAGES[1])?;
        let cut = fault::port_silent(&site.lab, Node::Lb2)?;
        site.wait("lb1 holds all VIPs", |site| site.holds_all(Node::Lb1))?;
        let taken = Instant::now();
        site.wait("all are told", |_| held.broken() == COUNT)?;
        let told = taken.elapsed();
        let ended = end_of(site, number)?;
        println!("lost meanwhile: told {told:?} after the takeover; {ended}");
        ensure!(told <= TOLD * limits::room(), "{told:?}");
        ensure!(ended == "done", "{ended}");
        cut.now()?;
        drop(held);
        // It was handed the VIPs, and has them as it believes.
        site.wait("lb2 gives them back", |site| {
            site.holds_all(Node::Lb2)
                && !site.holds_all(Node::Lb1)
                && command(site, Node::Lb2, &["handover"]).is_ok_and(|(code, _)| code == Some(0))
        })?;
        are_sound(site)
    })
}
