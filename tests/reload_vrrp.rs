//! Reloads of what vrrp is told at its start: VIPs, priorities, intervals, trackers, keys. Another vrrp takes its place,
//! and no VIP that stays moves.

#![expect(
    clippy::disallowed_methods,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::adverts::{Advert, AdvertWatch};
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};
use lab::held::{Held, Plan};
use lab::prober::{Prober, Question};
use lab::{Node, client, lease};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::site::load::Load;
use crate::site::{BINARY, Site, config_at, web};

const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// A VIP that comes and goes.
const EXTRA: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 20);
/// Between two reloads: sessions of each edition are left when the next one comes.
const CALM: Duration = Duration::from_millis(300);

/// `fmc-lb reload` on a node: its exit code, and what it says.
fn reload(site: &Site, node: Node) -> Result<(Option<i32>, String)> {
    let output = site.pair.command(node, &["reload"])?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

fn loads(site: &Site, node: Node) -> Result<()> {
    let (code, said) = reload(site, node)?;
    ensure!(
        code == Some(0) && said.contains("the node runs by this file now"),
        "{node}: {code:?}, {said}"
    );
    Ok(())
}

fn refuses(site: &Site, node: Node, why: &str) -> Result<()> {
    let (code, said) = reload(site, node)?;
    ensure!(
        code == Some(1) && said.contains("nothing was changed") && said.contains(why),
        "{node}: {code:?}, no {why:?} in {said}"
    );
    Ok(())
}

fn pass(site: &Site, time: Duration) -> Result<()> {
    let over = Instant::now() + time;
    site.wait("some time", |_| Instant::now() > over)
}

/// The state of each VIP that is always there; of those that are active since when, too.
fn states(site: &Site) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for node in Node::LBS {
        let status = site.pair.status(node)?;
        for vip in status["vips"].as_array().into_iter().flatten() {
            let (vrid, state) = (&vip["vrid"], &vip["state"]);
            let since = Some(&vip["since"]).filter(|_| state == "active");
            if *vrid != 53 {
                all.push(format!("{node} {vrid} {state} {since:?}"));
            }
        }
    }
    all.sort();
    ensure!(all.len() == 4, "{all:?}");
    Ok(all)
}

/// Longest time between two adverts of the VIPs that stay, and whether nobody resigned for one of them.
fn longest_gap(adverts: &[Advert], since: Instant) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for vrid in [51, 52] {
        let own: Vec<_> = adverts
            .iter()
            .filter(|one| one.vrid == vrid && one.at >= since)
            .collect();
        ensure!(own.len() > 1, "few adverts: {own:?}");
        ensure!(own.iter().all(|one| one.priority > 0), "somebody resigned");
        for two in own.windows(2) {
            longest = longest.max(two[1].at - two[0].at);
        }
    }
    Ok(longest)
}

fn with_extra(config: &str) -> String {
    let vip = "[vips.extra]\naddress = \"192.168.0.20/24\"\nvrid = 53\n[vips.web]";
    let listener = "[listeners.extra]\nbind = [\"vips.extra:80\"]\nbackend = \"traefik-http\"\n[listeners.api]";
    // In front of one that stays: its place must not be that of the file.
    config
        .replace("[vips.web]", vip)
        .replace("[listeners.api]", listener)
}

fn with_trackers(config: &str) -> String {
    format!(
        "{config}\n[trackers.disk]\nkind = \"file\"\npath = \"/nonexistent/fmc-lb-test\"\ninterval = \"100ms\"\nweight = -11\n\
         [trackers.share]\nkind = \"servers\"\nmin_share = 10\ninterval = \"100ms\"\nvips = [\"web\"]\n"
    )
}

/// What the file says in turn, and the longest interval of adverts until it has been loaded.
fn editions(config: &str) -> Vec<(&'static str, String, Duration)> {
    let slow = config.replace("advert_interval = \"100ms\"", "advert_interval = \"1s\"");
    let priorities = config.replace("priority = 250", "priority = 244");
    let policy = config.replace(
        "[vrrp]",
        "[vrrp]\npreempt_delay = \"3s\"\nstartup_delay = \"1s\"",
    );
    let permissive = config.replace("[pair]", "[pair]\nsigning = \"permissive\"");
    let unicast = config.replace("vrid    = 52", "vrid    = 52\ntransport = \"unicast\"");
    let renamed = config
        .replace("[vips.api]", "[vips.cluster]")
        .replace("vips.api:", "vips.cluster:");
    vec![
        ("a VIP comes", with_extra(config), TENTH),
        ("trackers come", with_trackers(&with_extra(config)), TENTH),
        ("the VIP goes", with_trackers(config), TENTH),
        ("trackers go", config.to_owned(), TENTH),
        ("a lower priority", priorities, TENTH),
        ("adverts of 1 s", slow, SECOND),
        ("adverts of 100 ms", config.to_owned(), SECOND),
        ("other delays", policy, TENTH),
        ("unsigned ones are heard", permissive, TENTH),
        ("unicast", unicast, TENTH),
        ("another name", renamed, TENTH),
        ("as at first", config.to_owned(), TENTH),
    ]
}

#[test]
fn what_vrrp_is_told_changes_under_load_and_nothing_moves() -> Result<()> {
    let config = config_at(TENTH);
    Site::start(&config, Service::Echo)?.watched("reload-vrrp", |site| {
        let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
        let load = Load::start(site)?;
        let mut took = Vec::new();
        for (what, edition, interval) in editions(&config) {
            let before = states(site)?;
            let since = Instant::now();
            site.pair.set_config(&edition)?;
            for node in Node::LBS {
                let asked = Instant::now();
                loads(site, node)?;
                took.push(asked.elapsed());
                pass(site, CALM)?;
            }
            pass(site, interval * 2)?;
            let gap = longest_gap(&adverts.all(), since)?;
            println!(
                "{what}: longest gap {gap:?}, {} of 200 broken",
                load.held.broken()
            );
            ensure!(gap <= interval * 3 / 2, "{what}: no advert for {gap:?}");
            let after = states(site)?;
            ensure!(after == before, "{what}: {before:?} became {after:?}");
            ensure!(site.holds_both(Node::Lb1), "{what}: a VIP has moved");
            extra_is_as(site, edition.contains("vips.extra"))?;
            agree(site)?;
        }
        load.has_lost_nothing("reloads", took)?;
        site.pair.stop(Node::Lb1)
    })
}

/// It is held and served by one node, or it is nowhere.
fn extra_is_as(site: &Site, wanted: bool) -> Result<()> {
    let there = SocketAddr::from((EXTRA, 80));
    if wanted {
        site.wait("the VIP that came is held", |site| {
            lease::holder(&site.lab, EXTRA) == Some(Node::Lb1)
        })?;
        let shares = client::shares(&site.lab, there, client::Speak::Echo, 3)?;
        ensure!(!shares.is_empty(), "nobody serves it");
        return Ok(());
    }
    ensure!(lease::holders(&site.lab, EXTRA).is_empty(), "it is held");
    site.wait("the shadows of the VIP that went are gone", |site| {
        Node::LBS.into_iter().all(|node| !has_address(site, node))
    })
}

/// On any interface of the node.
fn has_address(site: &Site, node: Node) -> bool {
    let addresses = site.lab.run_in(node, || {
        let all = nix::ifaddrs::getifaddrs();
        let all = all.into_iter().flatten().filter_map(|one| one.address);
        let v4 = all.filter_map(|one| one.as_sockaddr_in().map(|one| one.ip()));
        v4.collect::<Vec<_>>()
    });
    addresses.contains(&EXTRA)
}

/// Both nodes say that they run what is on disk, and that the other one does.
fn agree(site: &Site) -> Result<()> {
    site.wait("both nodes agree", |site| {
        Node::LBS.into_iter().all(|node| {
            let status = site.pair.status(node).unwrap_or_default();
            let peer = &status["peer"];
            status["reload"]["file_differs"] == false
                && peer["pair_channel"] == "on"
                && peer["config_hash"] == status["config_hash"]
                && peer["link"]["problem"] == ""
        })
    })
}

fn key_file(site: &Site) -> PathBuf {
    site.lab.folder().join("pair.key")
}

/// A key line with this id.
fn new_key(id: u8) -> Result<String> {
    let output = std::process::Command::new(BINARY).arg("keygen").output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text
        .lines()
        .find(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    let (_, key) = line
        .and_then(|line| line.split_once(' '))
        .context("keygen says a key")?;
    Ok(format!("{id} {}", key.trim()))
}

#[test]
fn keys_are_rotated_under_load_and_nothing_moves() -> Result<()> {
    let config = config_at(TENTH);
    Site::start(&config, Service::Echo)?.watched("reload-keys", |site| {
        agree(site)?;
        let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: 200, ping })?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        site.wait("answers", |_| prober.good_since(Instant::now() - TENTH) > 5)?;
        let (before, begun) = (states(site)?, Instant::now());
        let old = fs::read_to_string(key_file(site))?.trim().to_owned();
        let new = new_key(7)?;
        // What would leave the nodes without a common key.
        fs::write(key_file(site), format!("{new}\n"))?;
        refuses(site, Node::Lb1, "key 7 is new and would sign at once")?;
        fs::write(key_file(site), "7 nonsense\n")?;
        ensure!(
            reload(site, Node::Lb1)?.0 != Some(0),
            "a broken key file was loaded"
        );
        for (step, keys) in [
            ("a second key", format!("{old}\n{new}\n")),
            ("it signs", format!("{new}\n{old}\n")),
            ("the first one goes", format!("{new}\n")),
        ] {
            fs::write(key_file(site), keys)?;
            for node in Node::LBS {
                loads(site, node)?;
                pass(site, CALM)?;
                let status = site.pair.status(node)?;
                ensure!(
                    status["peer"]["pair_channel"] == "on",
                    "{step}: {}",
                    status["peer"]
                );
            }
            agree(site)?;
            ensure!(states(site)? == before, "{step}: a VIP changed its state");
        }
        // The admins go over to the keys a moment later.
        pass(site, SECOND * 4)?;
        agree(site)?;
        let gap = longest_gap(&adverts.all(), begun)?;
        let failures = prober.finish()?.failures(begun);
        println!(
            "keys rotated: longest gap {gap:?}, failed {failures:?}, {} of 200 broken",
            held.broken()
        );
        ensure!(gap <= TENTH * 3 / 2, "no advert for {gap:?}");
        ensure!(
            failures.is_empty() && held.settled().broken() == 0,
            "{failures:?}"
        );
        Ok(())
    })
}

#[test]
fn a_vip_goes_at_once_on_the_node_that_holds_it() -> Result<()> {
    let config = config_at(TENTH);
    let more = with_extra(&config);
    Site::start(&more, Service::Echo)?.watched("reload-vip-goes", |site| {
        extra_is_as(site, true)?;
        let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
        site.pair.set_config(&config)?;
        // The other one first: nobody takes it over then.
        loads(site, Node::Lb2)?;
        loads(site, Node::Lb1)?;
        ensure!(!lease::is_holder(&site.lab, Node::Lb1, EXTRA), "it is held");
        pass(site, CALM)?;
        let own: Vec<_> = adverts
            .all()
            .into_iter()
            .filter(|one| one.vrid == 53)
            .collect();
        let last: Vec<u8> = own.iter().rev().take(2).map(|one| one.priority).collect();
        ensure!(last == [0, 0], "it did not resign: {last:?}");
        extra_is_as(site, false)?;
        // And back, on the node that held it last first.
        site.pair.set_config(&more)?;
        for node in Node::LBS {
            loads(site, node)?;
        }
        extra_is_as(site, true)?;
        // The holder first: the other one, which has it still, takes it over at once.
        site.pair.set_config(&config)?;
        loads(site, Node::Lb1)?;
        ensure!(!lease::is_holder(&site.lab, Node::Lb1, EXTRA), "it is held");
        site.wait("the other node has it", |site| {
            lease::is_holder(&site.lab, Node::Lb2, EXTRA)
        })?;
        loads(site, Node::Lb2)?;
        extra_is_as(site, false)
    })
}

/// The vrrp processes of a node.
fn vrrps(site: &Site, node: Node) -> Vec<Pid> {
    let all = site.pair.processes(node).into_iter();
    let is_vrrp = |words: &[String]| {
        words.get(1).is_some_and(|word| word == "child")
            && words.get(2).is_some_and(|word| word == "vrrp")
    };
    all.filter(|one| is_vrrp(&one.arguments))
        .map(|one| one.pid)
        .collect()
}

#[test]
fn a_vrrp_that_cannot_run_by_it_leaves_the_old_one_alone() -> Result<()> {
    let config = config_at(TENTH);
    Site::start(&config, Service::Echo)?.watched("reload-vrrp-refused", |site| {
        let node = Node::Lb1;
        let adverts = AdvertWatch::start(&site.lab, node)?;
        let (before, begun) = (states(site)?, Instant::now());
        let running = vrrps(site, node);
        ensure!(running.len() == 1, "{running:?}");
        // Who prepares is killed while somebody else has not said yet whether it can.
        site.pair.set_config(&with_extra(&config))?;
        let admin = site.pair.signal(node, Part::Admin, Signal::SIGSTOP)?;
        site.pair.signal(node, Part::Supervisor, Signal::SIGHUP)?;
        site.wait("another vrrp is there", |site| vrrps(site, node).len() == 2)?;
        let other = vrrps(site, node)
            .into_iter()
            .find(|pid| !running.contains(pid));
        kill(other.context("another one")?, Signal::SIGKILL)?;
        kill(admin, Signal::SIGCONT)?;
        site.wait("the reload is refused", |site| {
            let status = site.pair.status(node).unwrap_or_default();
            status["reload"]["last"] == "refused"
        })?;
        let reason = site.pair.status(node)?["reload"]["reason"].to_string();
        ensure!(reason.contains("vrrp cannot run by it"), "{reason}");
        pass(site, TENTH * 5)?;
        ensure!(vrrps(site, node) == running, "vrrp is another one");
        ensure!(states(site)? == before, "a VIP changed its state");
        let gap = longest_gap(&adverts.all(), begun)?;
        ensure!(gap <= TENTH * 3 / 2, "no advert for {gap:?}");
        ensure!(!has_address(site, node), "a shadow was left");
        // Then it can.
        loads(site, node)?;
        loads(site, Node::Lb2)?;
        extra_is_as(site, true)
    })
}
