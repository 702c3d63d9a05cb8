//! Planned moves: handover there and back, maintenance.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::{Balancer as _, Part};
use lab::held::{Held, How, Plan};
use lab::lease::{self, LeaseWatch};
use lab::prober::{Prober, Question};
use lab::report::{median, milliseconds};
use lab::topology::{API_VIP, WEB_VIP};
use lab::{Node, backend::Service};

use crate::site::{Site, config_at, metric, web};

/// Moves in each direction.
const ROUNDS: u32 = 10;
/// Both nodes answer ARP for the VIP for no longer (DESIGN.md, section 3), with room for a busy machine.
const OVERLAP: Duration = Duration::from_millis(100);
/// Two threads look at the two nodes: one may see a change so much earlier than the other.
const SKEW: Duration = Duration::from_millis(2);
/// Longest gap between good answers at a move.
const OUTAGE: Duration = Duration::from_millis(50);

/// A preemption would come after an active-down interval, 0.3 s.
fn config() -> String {
    config_at(Duration::from_millis(100)).replace("[vrrp]", "[vrrp]\npreempt_delay = \"0s\"")
}

/// Lets the time pass after which a preemption would have come.
fn let_preempt(site: &Site) -> Result<()> {
    let calm = Instant::now() + Duration::from_secs(1);
    site.wait("a second has passed", |_| Instant::now() > calm)
}

/// What `fmc-lb ARGUMENTS` prints if it succeeds, or its complaint.
fn say(site: &Site, node: Node, arguments: &[&str]) -> Result<Result<String, String>> {
    let output = site.pair.command(node, arguments)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    })
}

fn done(site: &Site, node: Node, arguments: &[&str]) -> Result<String> {
    let said = say(site, node, arguments)?;
    said.map_err(|complaint| anyhow::anyhow!("{arguments:?}: {complaint}"))
}

/// Nobody is said to hang, to be dead or silent on a node that stops, or by the other one.
fn says_nothing_false(status: &serde_json::Value) -> Result<()> {
    let states = status["processes"].as_array().into_iter().flatten();
    for process in states {
        let state = process["state"].as_str().unwrap_or_default();
        ensure!(!["hung", "dead"].contains(&state), "{process}");
    }
    let said = status["warnings"].to_string() + &status["vips"].to_string();
    for word in ["hung", "has not turned", "silent", "firewall"] {
        ensure!(!said.contains(word), "{word:?} in {said}");
    }
    Ok(())
}

#[test]
fn a_stop_tells_both_nodes_what_is_left_and_what_it_has_reset() -> Result<()> {
    const COUNT: usize = 10;
    let site = Site::start(&config(), Service::Echo)?;
    site.wait("both nodes forward, and hear each other", |site| {
        site.both_forward()
            && Node::LBS.into_iter().all(|node| {
                let link = &site.pair.status(node).unwrap_or_default()["peer"]["link"];
                link["telling_ms"].is_u64() && link["hearing_ms"].is_u64()
            })
    })?;
    site.watched("handover-stop-with-drain", |site| {
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: COUNT, ping })?;
        let stop = ["stop", "--drain", "3s", "--no-wait"];
        println!("{}", done(site, Node::Lb1, &stop)?);
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        refused(site, Node::Lb1, &stop, "stopping already")?;
        site.wait("lb2 knows what is left on lb1", |site| {
            let link = &site.pair.status(Node::Lb2).unwrap_or_default()["peer"]["link"];
            link["drain"]["sessions"] == COUNT
        })?;
        for node in Node::LBS {
            let status = site.pair.status(node)?;
            says_nothing_false(&status)?;
            let warnings = status["warnings"].to_string();
            let words = format!("as it was told to: {COUNT} sessions are left");
            ensure!(
                warnings.contains("lb1 stops since") && warnings.contains(&words),
                "{warnings}"
            );
        }
        let here = &site.pair.status(Node::Lb1)?["drain"];
        ensure!(here["sessions"] == COUNT, "{here}");
        ensure!(held.broken() == 0, "{:?}", held.report());

        site.wait("their time is over", |_| held.broken() == COUNT)?;
        let report = held.report();
        ensure!(
            report.broken.iter().all(|one| one.how == How::Reset),
            "{report:?}"
        );
        site.wait("lb1 has said its last word", |site| {
            let link = &site.pair.status(Node::Lb2).unwrap_or_default()["peer"]["link"];
            link["stopped"]["reset"] == COUNT
        })?;
        let reset = metric(site, Node::Lb2, "fmc_lb_peer_drain_reset")?;
        ensure!(reset == COUNT as f64, "{reset} were reset");
        // Long enough for heartbeats to be missed.
        std::thread::sleep(Duration::from_secs(1));
        let status = site.pair.status(Node::Lb2)?;
        says_nothing_false(&status)?;
        let warnings = status["warnings"].to_string();
        ensure!(warnings.contains("lb1 has stopped"), "{warnings}");
        // Nothing is left here: it returns when that is so.
        let limit = Duration::from_secs(10);
        let stopped = site.pair.command_within(Node::Lb2, &["stop"], limit)?;
        let said = String::from_utf8_lossy(&stopped.stdout);
        ensure!(
            stopped.status.success() && said.contains("lb2 has stopped"),
            "{stopped:?}"
        );
        ensure!(site.pair.status(Node::Lb2).is_err(), "lb2 still answers");
        Ok(())
    })
}

/// The command is refused, in these words among others.
fn refused(site: &Site, node: Node, arguments: &[&str], words: &str) -> Result<()> {
    let said = say(site, node, arguments)?;
    let complaint = said
        .err()
        .with_context(|| format!("{arguments:?} on {node} was done"))?;
    ensure!(complaint.contains(words), "{complaint:?}, wanted {words:?}");
    Ok(())
}

fn holds(site: &Site, node: Node) -> bool {
    [API_VIP, WEB_VIP]
        .into_iter()
        .all(|vip| lease::holders(&site.lab, vip) == [node])
}

#[test]
fn vips_go_there_and_back_and_nobody_is_refused() -> Result<()> {
    let site = Site::start(&config(), Service::Echo)?;
    site.watched("handover", |site| {
        refused(site, Node::Lb2, &["handover"], "lb1 is: ask there")?;
        refused(site, Node::Lb1, &["handover", "--vip", "wab"], "api, web")?;
        let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        site.wait("answers", |_| prober.good_since(Instant::now() - OUTAGE) > 5)?;
        let begun = Instant::now();
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            for (from, to) in [(Node::Lb1, Node::Lb2), (Node::Lb2, Node::Lb1)] {
                let asked = Instant::now();
                done(site, from, &["handover"])?;
                took.push(asked.elapsed());
                // The command returns when the other node holds them, and this one does not.
                ensure!(holds(site, to), "{from} handed over, {to} is not the only holder");
            }
        }
        // Long enough for a preemption, if there were one.
        done(site, Node::Lb1, &["handover"])?;
        let_preempt(site)?;
        ensure!(holds(site, Node::Lb2), "it went back");
        let pinned = metric(site, Node::Lb2, "fmc_lb_vrrp_vip_pinned{vip=\"web\"}")?;
        ensure!(pinned == 1.0, "{pinned}");
        let report = prober.finish()?;
        let failures = report.failures(begun);
        let (none, both) = (leases.none(begun), leases.both(begun));
        let outage = report.outage(begun);
        println!(
            "{} moves: median {}, worst {}; both held it for {} in all, nobody for {}; longest gap {}; failed {failures:?}",
            took.len(),
            milliseconds(median(&took).context("moves")?),
            milliseconds(took.iter().copied().max().context("moves")?),
            milliseconds(both),
            milliseconds(none),
            milliseconds(outage.gap)
        );
        ensure!(none <= SKEW * (2 * ROUNDS + 1), "nobody held it for {none:?}");
        ensure!(both <= OVERLAP * (2 * ROUNDS + 1), "both held it for {both:?}");
        ensure!(outage.gap <= OUTAGE * 2, "{outage:?}");
        ensure!(failures.is_empty(), "{failures:?}");
        one_vip_stays(site)
    })
}

/// Only one goes back; a restart of the node that gave changes nothing, its supervisor neither.
fn one_vip_stays(site: &mut Site) -> Result<()> {
    done(site, Node::Lb2, &["handover", "--vip", "api"])?;
    let split = |site: &Site| {
        lease::holders(&site.lab, API_VIP) == [Node::Lb1]
            && lease::holders(&site.lab, WEB_VIP) == [Node::Lb2]
    };
    ensure!(split(site), "api alone went back");
    refused(
        site,
        Node::Lb1,
        &["handover", "--vip", "web"],
        "lb2 is: ask there",
    )?;
    // It dies: what it held goes to the other one, and returns by preemption; `web` was handed over.
    site.pair.kill_part(Node::Lb1, Part::Vrrp)?;
    site.wait("lb1 has taken api back", split)?;
    let_preempt(site)?;
    ensure!(split(site), "web went back");
    Ok(())
}

#[test]
fn a_node_on_maintenance_takes_vips_only_for_want_of_another_one() -> Result<()> {
    let site = Site::start(&config(), Service::Echo)?;
    site.watched("maintenance", |site| {
        let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
        let begun = Instant::now();
        println!(
            "{}",
            done(site, Node::Lb1, &["maintenance", "on", "--for", "1h"])?
        );
        ensure!(holds(site, Node::Lb2), "lb2 is not the only holder");
        for node in Node::LBS {
            let words = done(site, node, &["maintenance", "status"])?;
            let both = words.contains("lb1: on") && words.contains("lb2: off");
            ensure!(both, "{node}: {words}");
        }
        ensure!(metric(site, Node::Lb1, "fmc_lb_vrrp_maintenance")? == 1.0);
        ensure!(metric(site, Node::Lb2, "fmc_lb_pair_peer_maintenance")? == 1.0);
        refused(
            site,
            Node::Lb2,
            &["handover", "--force"],
            "it is on maintenance itself",
        )?;
        // It outlives both of those that know of it.
        for part in [Part::Vrrp, Part::Admin] {
            site.pair.kill_part(Node::Lb1, part)?;
        }
        site.wait("lb1 answers again", |site| {
            site.pair.vip_state(Node::Lb1, "web").as_deref() == Some("backup")
        })?;
        let_preempt(site)?;
        ensure!(holds(site, Node::Lb2), "it went back");
        let none = leases.none(begun);
        ensure!(none <= SKEW * 2, "nobody held it for {none:?}");
        // Who else would serve?
        site.pair.kill_all(Node::Lb2)?;
        site.wait("lb1 serves", |site| holds(site, Node::Lb1))?;
        site.pair.start(Node::Lb2)?;
        site.wait("lb2 has them again", |site| holds(site, Node::Lb2))?;
        // The end of the time is the end of it.
        done(site, Node::Lb1, &["maintenance", "on", "--for", "1s"])?;
        site.wait("lb1 has preempted", |site| holds(site, Node::Lb1))?;
        refused(
            site,
            Node::Lb1,
            &["maintenance", "off"],
            "is not on maintenance",
        )?;
        unready(site)
    })
}

/// A node that cannot hold them takes nothing; forced, the other one is on maintenance and serves.
fn unready(site: &mut Site) -> Result<()> {
    site.pair.kill_all(Node::Lb2)?;
    site.wait("lb2 is not heard", |site| {
        say(site, Node::Lb1, &["handover"])
            .is_ok_and(|said| said.is_err_and(|why| why.contains("its heartbeats do not come")))
    })?;
    refused(
        site,
        Node::Lb1,
        &["maintenance", "on"],
        "its heartbeats do not come",
    )?;
    ensure!(holds(site, Node::Lb1), "it went");
    println!(
        "{}",
        done(site, Node::Lb1, &["maintenance", "on", "--force"])?
    );
    ensure!(holds(site, Node::Lb1), "nobody serves");
    site.pair.start(Node::Lb2)?;
    site.wait("lb2 has them", |site| holds(site, Node::Lb2))?;
    done(site, Node::Lb1, &["maintenance", "off"])?;
    site.wait("lb1 has preempted", |site| holds(site, Node::Lb1))
}
