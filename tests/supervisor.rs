//! The supervisor's death, everybody's death, and what a restart finds.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::adverts::{Advert, AdvertWatch};
use lab::balancer::{Balancer as _, Part, Settings};
use lab::fmclb::plain;
use lab::held::{Held, Plan};
use lab::lease::{self, LeaseWatch};
use lab::prober::{Prober, Question};
use lab::process::Process;
use lab::topology::WEB_VIP;
use lab::{Node, backend::Service};
use nix::unistd::Pid;

use crate::site::{BINARY, Site, config_at, web};

/// Inodes of the sockets that listen in a node's namespace; a socket that is bound anew has a new one.
fn listening(site: &Site, node: Node) -> Result<Vec<String>> {
    let table = site.lab.exec(node, &["cat", "/proc/net/tcp"])?;
    let mut inodes: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words.get(3) == Some(&"0A")).then(|| words.get(9).map(|word| (*word).to_owned()))?
        })
        .collect();
    inodes.sort();
    Ok(inodes)
}

/// Process ids of vrrp, proxy and admin.
fn children(site: &Site, node: Node) -> Result<Vec<Pid>> {
    [Part::Vrrp, Part::Proxy, Part::Admin]
        .into_iter()
        .map(|part| site.pair.pid(node, part))
        .collect()
}

/// Whether a node says that all four processes run.
fn all_run(site: &Site, node: Node) -> bool {
    site.pair.status(node).is_ok_and(|status| {
        status["processes"].as_array().is_some_and(|all| {
            all.len() == 4 && all.iter().all(|process| process["state"] == "running")
        })
    })
}

#[test]
fn the_next_supervisor_adopts_the_others() -> Result<()> {
    let site = Site::start(&config_at(Duration::from_millis(100)), Service::Echo)?;
    site.watched("adoption", |site| {
        let before = children(site, Node::Lb1)?;
        let sockets = listening(site, Node::Lb1)?;
        ensure!(sockets.len() >= 3, "{sockets:?}");
        let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: 50, ping })?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        // Somebody is editing the file: what runs goes on by what it was started with.
        site.pair.set_config("[nodes.lb1\n")?;
        let killed = Instant::now();
        site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
        ensure!(
            site.pair.status(Node::Lb1).is_ok(),
            "no status without a supervisor"
        );
        site.pair.start(Node::Lb1)?;
        site.wait("the three are adopted", |site| all_run(site, Node::Lb1))?;
        // Longer than vrrp waits for a supervisor.
        let calm = killed + Duration::from_secs(3);
        site.wait("three seconds have passed", |_| Instant::now() > calm)?;
        let after = children(site, Node::Lb1)?;
        ensure!(before == after, "{before:?} became {after:?}");
        ensure!(
            listening(site, Node::Lb1)? == sockets,
            "a socket was bound anew"
        );
        let warnings = site.pair.status(Node::Lb1)?["warnings"].to_string();
        ensure!(warnings.contains("differs"), "{warnings}");
        let (none, both) = (leases.none(killed), leases.both(killed));
        ensure!(none.is_zero() && both.is_zero(), "the VIP moved");
        let broken = held.settled().broken();
        let report = prober.finish()?;
        println!("outage {:?}, broken {broken}", report.outage(killed).gap);
        ensure!(broken == 0, "{broken} sessions broke");
        ensure!(report.failed.is_empty(), "{:?}", report.failures(killed));
        replaced(site, before[1])
    })
}

/// The adopted are looked after: a dead proxy is replaced, a stop is obeyed.
fn replaced(site: &mut Site, proxy: Pid) -> Result<()> {
    site.pair.kill_part(Node::Lb1, Part::Proxy)?;
    site.wait("the proxy is replaced", |site| {
        let now = site.pair.pid(Node::Lb1, Part::Proxy);
        now.is_ok_and(|pid| pid != proxy)
    })?;
    site.pair.stop(Node::Lb1)
}

/// A command with a runtime folder that nobody has is refused and names a living process.
fn refused(site: &Site, command: &str, living: &[Pid]) -> Result<()> {
    let folder = site.lab.folder().join("other-run").display().to_string();
    let config = site.pair.config_file().display().to_string();
    let line = [
        BINARY,
        command,
        "--config",
        &config,
        "--node",
        "lb1",
        "--runtime-dir",
        &folder,
    ];
    let mut process = Process::start(&site.lab, Node::Lb1, &format!("other-{command}"), &line)?;
    let code = process.wait(Duration::from_secs(5))?.code();
    let said = process.log_tail(20);
    ensure!(code == Some(1), "exit code {code:?}: {said}");
    let named = |pid: &Pid| said.contains(&format!("process {pid} ("));
    ensure!(
        said.contains("runs on this machine already") && living.iter().any(named),
        "none of {living:?} in: {said}"
    );
    Ok(())
}

#[test]
fn with_another_runtime_folder_nothing_is_taken_from_a_living_node() -> Result<()> {
    let site = Site::start(&config_at(Duration::from_millis(100)), Service::Echo)?;
    site.watched("another-folder", |site| {
        let supervisor = site.pair.pid(Node::Lb1, Part::Supervisor)?;
        let (before, sockets) = (children(site, Node::Lb1)?, listening(site, Node::Lb1)?);
        let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
        site.wait("the lease is seen", |_| !leases.changes().is_empty())?;
        let began = Instant::now();
        let mut all = before.clone();
        all.push(supervisor);
        refused(site, "release", &all)?;
        refused(site, "run", &all)?;
        let lost = leases.none(began);
        ensure!(
            lost.is_zero() && site.holds_both(Node::Lb1),
            "lost for {lost:?}"
        );
        let shadows = ["ip", "-4", "address", "show", "dev", "lo"];
        let shadows = site.lab.exec(Node::Lb1, &shadows)?;
        ensure!(
            shadows.contains(".0.10/32") && shadows.contains(".0.14/32"),
            "{shadows}"
        );
        ensure!(
            listening(site, Node::Lb1)? == sockets,
            "another one listens"
        );
        // Also while the supervisor is dead; the folder's own next one is not refused.
        site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
        refused(site, "run", &before)?;
        site.pair.start(Node::Lb1)?;
        site.wait("the three are adopted", |site| all_run(site, Node::Lb1))?;
        ensure!(children(site, Node::Lb1)? == before, "they were replaced");
        // And the name was handed over with them.
        let supervisor = site.pair.pid(Node::Lb1, Part::Supervisor)?;
        all.push(supervisor);
        refused(site, "run", &all)
    })
}

#[test]
fn a_node_of_another_address_runs_beside_it() -> Result<()> {
    let site = Site::start(&config_at(Duration::from_millis(100)), Service::Echo)?;
    site.watched("two-on-one-machine", |site| {
        let text = r#"
            nodes.other.address = "127.0.0.2"
            pair.interface = "lo"
            listeners.web = { bind = ["127.0.0.2:8080"], backend = "web" }
            backends.web.servers = ["10.17.4.24:80"]
            admin.http = "off"
        "#;
        let config = site.lab.folder().join("other.toml");
        std::fs::write(&config, text).context("write the other node's file")?;
        let (config, folder) = (
            config.display().to_string(),
            site.lab.folder().join("other"),
        );
        let folder = folder.display().to_string();
        let start = |site: &Site| {
            let rest = ["--node", "other", "--runtime-dir", &folder];
            let line = [&[BINARY, "run", "--config", &config], &rest[..]].concat();
            Process::start(&site.lab, Node::Lb1, "other", &line)
        };
        let runs = |site: &Site| {
            let line = [BINARY, "status", "--runtime-dir", &folder];
            site.lab.exec(Node::Lb1, &line).is_ok()
        };
        let mut other = start(site)?;
        site.wait("the other node runs", runs)?;
        ensure!(site.holds_both(Node::Lb1), "lb1 lost its VIPs");
        let code = other.stop(Duration::from_secs(10))?.code();
        ensure!(code == Some(0), "{code:?}: {}", other.log_tail(10));
        // Its name is free at once.
        let mut other = start(site)?;
        site.wait("the other node runs again", runs)?;
        other.stop(Duration::from_secs(10)).map(drop)
    })
}

#[test]
fn without_a_supervisor_the_vips_go_to_the_other_node_after_two_seconds() -> Result<()> {
    Site::start(&config_at(Duration::from_millis(100)), Service::Echo)?.watched(
        "without-a-supervisor-the-vips-go-to-the-other-node-after-two-seconds",
        |site| {
            let killed = Instant::now();
            site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
            site.wait("lb2 holds the VIPs", |site| site.holds_both(Node::Lb2))?;
            let after = killed.elapsed();
            println!("handed over after {after:?}");
            ensure!(
                after > Duration::from_millis(1_500) && after < Duration::from_secs(4),
                "{after:?}"
            );
            Ok(())
        },
    )
}

#[test]
fn fo_57_prc_68_prc_71_a_dead_node_loses_its_lease_and_brings_no_stale_vip_back() -> Result<()> {
    let (second, tenth) = (Duration::from_secs(1), Duration::from_millis(100));
    for (advert, config) in [
        (second, plain(&config_at(second))),
        (tenth, config_at(tenth)),
    ] {
        let site = Site::start(&config, Service::Echo)?;
        site.watched("all-dead", |site| {
            lease_goes(site, advert)?;
            nothing_stale(site)
        })?;
    }
    Ok(())
}

/// After the death of all four processes the kernel takes the lease away.
fn lease_goes(site: &mut Site, advert: Duration) -> Result<()> {
    let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
    let killed = Instant::now();
    site.pair.kill_all(Node::Lb1)?;
    // Whole seconds below the active-down interval, one at least; and the kernel's tail.
    let interval = Settings::ours(advert).active_down().mul_f64(0.9);
    let lifetime = Duration::from_secs(interval.as_secs().clamp(1, 5));
    let tail = Duration::from_millis(350);
    site.wait("lb1's lease is gone", |site| {
        !lease::is_holder(&site.lab, Node::Lb1, WEB_VIP)
    })?;
    let gone = killed.elapsed();
    site.wait("lb2 holds the VIPs", |site| site.holds_both(Node::Lb2))?;
    let both = leases.both(killed);
    let changes = leases.changes();
    let mut gains = changes.iter().filter(|change| change.holds);
    let taken = gains.find(|change| change.node == Node::Lb2 && change.at > killed);
    let taken = taken.context("lb2 was seen to take it")?.at - killed;
    println!(
        "{advert:?}: taken after {taken:?}, lease gone after {gone:?}, both held it for {both:?}"
    );
    let down = Settings::ours(advert).active_down();
    ensure!(
        taken <= down * 2,
        "lb2 took it after {taken:?}, bound {down:?}"
    );
    // A lease is never shorter than a second: with fast adverts it outlives the takeover a little.
    let overlap = if down > lifetime + tail {
        Duration::ZERO
    } else {
        lifetime + tail
    };
    ensure!(
        gone <= lifetime + tail * 2,
        "the lease of {lifetime:?} went after {gone:?}"
    );
    ensure!(both <= overlap, "both held the VIP for {both:?}");
    Ok(())
}

/// A VIP that an earlier run has left, without any lifetime, is gone before the first advert.
fn nothing_stale(site: &mut Site) -> Result<()> {
    let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
    let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
    site.lab
        .ip(Node::Lb1, "addr add 192.168.0.14/32 dev eth0")?;
    let restarted = Instant::now();
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 is backup", |site| {
        site.pair.vip_state(Node::Lb1, "web").as_deref() == Some("backup")
    })?;
    let here = lease::is_holder(&site.lab, Node::Lb1, WEB_VIP);
    ensure!(!here, "the stale VIP is still there");
    let spans = leases.intervals();
    let stale = spans.iter().find(|span| span.holders.len() == 2);
    let gone = stale.context("the stale VIP was seen")?.to;
    println!(
        "stale VIP for {:?} after the restart",
        gone.saturating_duration_since(restarted)
    );
    // Priority 0 takes back what was left; every other one would claim it.
    let claims = |advert: &Advert| advert.priority > 0 && advert.at < gone;
    let early = adverts.all().into_iter().find(claims);
    ensure!(
        early.is_none(),
        "an advert before the stale VIP was gone: {early:?}"
    );
    Ok(())
}

#[test]
fn a_broken_file_keeps_nobody_from_adopting_and_is_no_start() -> Result<()> {
    let site = Site::start(&config_at(Duration::from_millis(100)), Service::Echo)?;
    site.watched("broken-file", |site| {
        let before = children(site, Node::Lb1)?;
        site.pair.set_config("[nodes.lb1]\naddress = 7\n")?;
        site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
        site.pair.start(Node::Lb1)?;
        site.wait("the three are adopted", |site| all_run(site, Node::Lb1))?;
        let after = children(site, Node::Lb1)?;
        ensure!(before == after, "{before:?} became {after:?}");
        // Where there is nobody to adopt it ends with 2, which the unit does not retry; and the
        // shadows go by what is remembered.
        site.pair.kill_all(Node::Lb1)?;
        site.pair.start(Node::Lb1)?;
        let started = site.pair.supervisor(Node::Lb1).context("was started")?;
        let code = started.wait(Duration::from_secs(5))?.code();
        ensure!(code == Some(2), "exit code {code:?}");
        let config = site.pair.config_file().display().to_string();
        let released = site
            .pair
            .command(Node::Lb1, &["release", "--config", &config])?;
        ensure!(released.status.code() == Some(2), "{released:?}");
        let left = site
            .lab
            .exec(Node::Lb1, &["ip", "-4", "address", "show", "dev", "lo"])?;
        ensure!(!left.contains("192.168.0.1"), "{left}");
        Ok(())
    })
}

#[test]
fn an_interface_that_is_made_anew_answers_no_arp_for_a_vip() -> Result<()> {
    let site = Site::start(&config_at(Duration::from_millis(100)), Service::Echo)?;
    site.watched("mended", |site| {
        let setting = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
        let arp_ignore = |site: &Site| site.lab.exec(Node::Lb2, &["cat", setting]);
        let shadows = |site: &Site| {
            site.lab
                .exec(Node::Lb2, &["ip", "-4", "address", "show", "dev", "lo"])
        };
        let has_both = |text: String| text.contains(".0.10/32") && text.contains(".0.14/32");
        ensure!(arp_ignore(site)?.trim() == "1");
        // What a new interface starts with.
        site.lab
            .exec(Node::Lb2, &["sh", "-c", &format!("echo 0 > {setting}")])?;
        site.lab.ip(Node::Lb2, "address flush dev lo")?;
        ensure!(!has_both(shadows(site)?));
        let lost = Instant::now();
        site.wait("setting and shadows are mended", |site| {
            arp_ignore(site).is_ok_and(|value| value.trim() == "1")
                && shadows(site).is_ok_and(has_both)
        })?;
        let took = lost.elapsed();
        println!("mended after {took:?}");
        ensure!(took < Duration::from_secs(3), "{took:?}");
        Ok(())
    })
}
