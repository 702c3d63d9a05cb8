//! Upgrades in place: a new version takes the old one's place under load, and a broken one does not.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod back;
mod meanwhile;
#[path = "../site/mod.rs"]
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::adverts::{Advert, AdvertWatch};
use lab::balancer::{Balancer as _, Part};
use lab::lease::LeaseWatch;
use lab::process::Process;
use lab::topology::WEB_VIP;
use lab::traffic::{Clients, Traffic};
use lab::{Node, backend::Service};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::load::{Extent, everybody};
use crate::site::{BINARY, Site, config_at, config_with_v6, metric, web};

const TENTH: Duration = Duration::from_millis(100);
/// What the children have to live for, and what it takes to start them, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
const PROCESSES: [&str; 4] = ["supervisor", "vrrp", "proxy", "admin"];

/// Both nodes run from binaries of their own, with the rights that the unit for systemd leaves them.
fn build(config: &str) -> Result<Site> {
    let mut site = Site::build(config, Service::Echo)?;
    site.pair.confine_as_unit();
    for node in Node::LBS {
        site.pair.install(node, Path::new(BINARY))?;
    }
    Ok(site)
}

/// The same with a VIP of IPv6.
fn start_with_v6() -> Result<Site> {
    let mut site = build(&config_with_v6(TENTH))?;
    site.start_with_v6()?;
    Ok(site)
}

fn start(advert: Duration) -> Result<Site> {
    let mut site = build(&config_at(advert))?;
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
    site.pair.start(Node::Lb2)?;
    for node in Node::LBS {
        site.wait_ready(node)?;
    }
    Ok(site)
}

/// The process ids that a node says, by their names.
fn pids(site: &Site, node: Node) -> Result<BTreeMap<String, i32>> {
    let status = site.pair.status(node)?;
    let processes = status["processes"].as_array().context("processes")?;
    let pid = |one: &Value| {
        let name = one["name"].as_str()?.to_owned();
        let pid = one["pid"].as_i64()?;
        Some((name, i32::try_from(pid).ok()?))
    };
    Ok(processes.iter().filter_map(pid).collect())
}

/// The inode of the file that a process runs.
fn program(pid: i32) -> Result<u64> {
    let facts = fs::metadata(format!("/proc/{pid}/exe"));
    Ok(facts
        .with_context(|| format!("look at process {pid}"))?
        .ino())
}

/// Whether all four run this file, as `fmc-lb status` and the kernel say.
fn all_run(site: &Site, node: Node, inode: u64) -> bool {
    let running = |status: &Value| {
        let all = status["processes"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        all.iter().filter(|one| one["state"] == "running").count() == PROCESSES.len()
    };
    site.pair.status(node).is_ok_and(|status| running(&status))
        && pids(site, node).is_ok_and(|pids| {
            pids.values()
                .all(|pid| program(*pid).is_ok_and(|runs| runs == inode))
        })
}

fn upgrade(site: &Site, node: Node) -> Value {
    let status = site.pair.status(node).unwrap_or_default();
    status["upgrade"].clone()
}

/// Asks a node to take what is installed, and waits until that has ended: as what, and after how long.
fn begin_and_end(site: &Site, node: Node) -> Result<(Value, Duration)> {
    let before = upgrade(site, node)["number"].as_u64().unwrap_or(0);
    let began = Instant::now();
    site.pair.signal(node, Part::Supervisor, Signal::SIGHUP)?;
    site.lab.wait_until(LIMIT, "the upgrade has ended", || {
        let now = upgrade(site, node);
        now["number"].as_u64() > Some(before) && !now["ended_ms_ago"].is_null()
    })?;
    Ok((upgrade(site, node), began.elapsed()))
}

/// Installs a program on a node and has it take the old one's place.
fn succeed(site: &mut Site, node: Node, program: &Path) -> Result<Duration> {
    let supervisor = site.pair.pid(node, Part::Supervisor)?;
    let before = pids(site, node)?;
    let path = site.pair.install(node, program)?;
    let inode = fs::metadata(&path)?.ino();
    let (ended, took) = begin_and_end(site, node)?;
    ensure!(ended["stage"] == "done", "{node}: {ended}");
    site.wait("all run the new file", |site| all_run(site, node, inode))?;
    ensure!(
        site.pair.pid(node, Part::Supervisor)? == supervisor,
        "the supervisor is another process"
    );
    let after = pids(site, node)?;
    for name in ["vrrp", "proxy", "admin"] {
        ensure!(before[name] != after[name], "{name} is the old one");
    }
    Ok(took)
}

/// Longest time between two adverts of a virtual router, whoever sent them; and none that resigns.
fn longest_gap(adverts: &[Advert], since: Instant) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for vrid in [51, 52] {
        let of_one: Vec<_> = adverts
            .iter()
            .filter(|one| one.vrid == vrid && one.at >= since)
            .collect();
        ensure!(of_one.len() > 10, "few adverts: {of_one:?}");
        ensure!(
            of_one.iter().all(|one| one.priority > 0),
            "somebody resigned"
        );
        for two in of_one.windows(2) {
            longest = longest.max(two[1].at - two[0].at);
        }
    }
    Ok(longest)
}

/// Who is active since when, and the states of the others: any move changes it, however short.
fn active(site: &Site) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for node in Node::LBS {
        let status = site.pair.status(node)?;
        for vip in status["vips"].as_array().into_iter().flatten() {
            let (name, state) = (&vip["name"], &vip["state"]);
            let since = Some(&vip["since"]).filter(|_| state == "active");
            all.push(format!("{node} {name} {state} {since:?}"));
        }
    }
    ensure!(all.len() >= 4, "{all:?}");
    Ok(all)
}

/// Counters of the node's proxies, which must not go back.
fn accepted(site: &Site, node: Node) -> Result<f64> {
    metric(
        site,
        node,
        "fmc_lb_listener_accepted_total{listener=\"http\"}",
    )
}

/// The kernel's id of the TC program that is in place on a node.
fn tc_program(site: &Site, node: Node) -> Result<u32> {
    let line = ["tc", "filter", "show", "dev", "eth0", "ingress"];
    let filters = site.lab.exec(node, &line)?;
    let words: Vec<&str> = filters.split_whitespace().collect();
    let ours = words.iter().position(|word| word.starts_with("fmc-lb"));
    let behind = &words[ours.with_context(|| format!("none is there: {filters}"))?..];
    let id = behind.windows(2).find(|two| two[0] == "id");
    let id = id.with_context(|| format!("no id: {filters}"))?[1];
    id.parse().with_context(|| format!("the id {id}"))
}

/// How many upgrades of each node, and to what in turn. With a second build of another version
/// (`scripts/prove upgrade` makes one) it is taken in every other round.
fn plan() -> (usize, Vec<PathBuf>) {
    let rounds = std::env::var("FMC_LB_UPGRADES").ok();
    let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut builds = vec![PathBuf::from(BINARY)];
    match std::env::var_os("FMC_LB_SUCCESSOR") {
        Some(build) => builds.insert(0, build.into()),
        None => println!("no second build (FMC_LB_SUCCESSOR): upgrades to the same version"),
    }
    (rounds, builds)
}

/// In the run of twenty the clients are those of `scripts/prove lossless`.
fn extent() -> Extent {
    match std::env::var_os("FMC_LB_UPGRADES") {
        Some(_) => Extent::Full,
        None => Extent::Short,
    }
}

#[test]
fn upgrades_under_load_break_nobody_and_refuse_nobody() -> Result<()> {
    let (rounds, builds) = plan();
    start_with_v6()?.watched("upgrade", |site| {
        let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
        let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
        let clients = everybody(extent());
        let held: u64 = clients.iter().map(Clients::held).sum();
        let traffic = Traffic::start(&site.lab, &clients)?;
        let since = Instant::now();
        site.wait("everybody is served", |_| traffic.is_served(since))?;
        let changes = active(site)?;
        let begun = Instant::now();
        let mut took = Vec::new();
        let mut counted = accepted(site, Node::Lb1)?;
        for round in 0..rounds {
            for node in Node::LBS {
                let before = tc_program(site, node)?;
                took.push(succeed(site, node, &builds[round % builds.len()])?);
                let after = tc_program(site, node)?;
                // The second build has another one; the same one stays where it is.
                ensure!(
                    (before != after) == (builds.len() > 1),
                    "{before} became {after}"
                );
                site.wait("both forward", Site::both_forward)?;
                if node == Node::Lb1 {
                    let now = accepted(site, node)?;
                    ensure!(now > counted, "{counted} connections became {now}");
                    counted = now;
                    retired(site, node, held)?;
                }
            }
        }
        let gap = longest_gap(&adverts.all(), begun)?;
        let (none, both) = (leases.none(begun), leases.both(begun));
        let lost = traffic.finish()?;
        println!(
            "{} upgrades in {took:?}: {lost}; longest gap between adverts {gap:?}",
            took.len(),
        );
        ensure!(active(site)? == changes, "a VIP changed its state");
        ensure!(
            none.is_zero() && both.is_zero(),
            "none {none:?}, both {both:?}"
        );
        ensure!(
            lost.is_none() && lost.closed == 0 && lost.has_kept_up(),
            "{lost}"
        );
        ensure!(gap <= TENTH * 3 / 2, "no advert for {gap:?}");
        // Whoever has retired ends with its sessions, and what it has counted stays.
        site.wait("the retired proxies have gone", |site| {
            let status = site.pair.status(Node::Lb1).unwrap_or_default();
            status["retired"].as_array().is_some_and(Vec::is_empty)
        })?;
        ensure!(accepted(site, Node::Lb1)? >= counted, "a counter went back");
        site.pair.stop(Node::Lb1)
    })
}

/// The sessions that were held from the beginning are shown with the proxy that has them, and counted.
fn retired(site: &Site, node: Node, held: u64) -> Result<()> {
    let status = site.pair.status(node)?;
    let retired = status["retired"].as_array().context("retired")?;
    let sessions = retired.iter().filter_map(|one| one["sessions"].as_u64());
    let sessions: u64 = sessions.sum();
    ensure!(sessions >= held, "{sessions} sessions: {retired:?}");
    let listeners = status["listeners"].as_array().context("listeners")?;
    let all = listeners.iter().filter_map(|one| one["sessions"].as_u64());
    let all: u64 = all.sum();
    ensure!(all >= sessions, "{all} sessions in all, {sessions} retired");
    Ok(())
}

/// `fmc-lb WORDS` on a node: its exit code, and what it says.
fn command(site: &Site, node: Node, words: &[&str]) -> Result<(Option<i32>, String)> {
    let folder = site.pair.runtime_dir(node).display().to_string();
    let line = [&[BINARY], words, &["--runtime-dir", &folder]].concat();
    let mut process = Process::start(&site.lab, node, words[0], &line)?;
    let code = process.wait(LIMIT)?.code();
    Ok((code, process.log_tail(20)))
}

#[test]
fn the_command_returns_when_it_has_ended_and_says_how() -> Result<()> {
    start(TENTH)?.watched("upgrade-command", |site| {
        let (code, said) = command(site, Node::Lb2, &["upgrade"])?;
        ensure!(
            code == Some(1) && said.contains("what runs already"),
            "{code:?}: {said}"
        );
        let (code, said) = command(site, Node::Lb2, &["upgrade", "--if-replaced"])?;
        ensure!(
            code == Some(0) && said.contains("is what is installed"),
            "{code:?}: {said}"
        );
        let path = site.pair.install(Node::Lb2, Path::new(BINARY))?;
        let inode = fs::metadata(&path)?.ino();
        let (code, said) = command(site, Node::Lb2, &["upgrade", "--if-replaced"])?;
        ensure!(
            code == Some(0) && said.contains("all processes run version"),
            "{code:?}: {said}"
        );
        site.wait("all run the new file", |site| {
            all_run(site, Node::Lb2, inode)
        })?;
        site.pair.install(Node::Lb2, Path::new("/bin/true"))?;
        let (code, said) = command(site, Node::Lb2, &["upgrade"])?;
        ensure!(
            code == Some(1) && said.contains("without proving itself"),
            "{code:?}: {said}"
        );
        ensure!(all_run(site, Node::Lb2, inode), "another one runs");
        // What systemd calls: the file is loaded all the same, and the failure told.
        let config =
            config_at(TENTH).replace("[listeners.http]", "[listeners.http]\nmax_sessions = 1000");
        site.pair.set_config(&config)?;
        let (code, said) = command(site, Node::Lb2, &["reload", "--upgrade"])?;
        ensure!(
            code == Some(1)
                && said.contains("without proving itself")
                && said.contains("max_sessions"),
            "{code:?}: {said}"
        );
        let (code, said) = command(site, Node::Lb2, &["reload", "--dry-run"])?;
        ensure!(
            code == Some(0) && !said.contains("max_sessions"),
            "{code:?}: {said}"
        );
        Ok(())
    })
}

#[test]
fn adverts_of_10_ms_go_on() -> Result<()> {
    start(Duration::from_millis(10))?.watched("upgrade-fast", |site| {
        let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
        let changes = active(site)?;
        let begun = Instant::now();
        succeed(site, Node::Lb1, Path::new(BINARY))?;
        let gap = longest_gap(&adverts.all(), begun)?;
        println!("longest gap between adverts of 10 ms: {gap:?}");
        ensure!(active(site)? == changes, "a VIP changed its state");
        Ok(())
    })
}
