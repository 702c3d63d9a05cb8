//! Upgrades that fail, and those that are cut short: the old version runs, and no client has noticed.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::{Balancer as _, Part};
use lab::held::{Held, Plan};
use lab::prober::Why;
use lab::topology::API_VIP;
use lab::traffic::Losses;
use lab::{fault, lease, limits};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Connections that a proxy has accepted at one moment.
const AT_ONCE: u64 = 20;

/// What the clients of a short load lose by something.
fn losses(site: &mut Site, event: impl FnOnce(&mut Site) -> Result<()>) -> Result<Losses> {
    let traffic = Traffic::start(&site.lab, &everybody(Extent::Short))?;
    let since = Instant::now();
    site.wait("everybody is served", |_| traffic.is_served(since))?;
    event(site)?;
    let lost = traffic.finish()?;
    ensure!(lost.closed == 0, "{lost}");
    site.wait("the retired proxies have gone", |site| {
        retired_of(site, Node::Lb1, 0).is_ok()
    })?;
    Ok(lost)
}

/// Nothing of the node has changed but that an upgrade has failed.
fn untouched(site: &Site, node: Node, before: &BTreeMap<String, i32>) -> Result<()> {
    ensure!(pids(site, node)? == *before, "a process is another one");
    ensure!(
        lease::holders(&site.lab, API_VIP) == [node]
            && lease::holders(&site.lab, WEB_VIP) == [node],
        "the VIPs moved"
    );
    let warnings = site.pair.status(node)?["warnings"].to_string();
    ensure!(warnings.contains("the old version runs"), "{warnings}");
    Ok(())
}

#[test]
fn what_is_no_new_version_changes_nothing() -> Result<()> {
    start_with_v6()?.watched("upgrade-to-nothing", |site| {
        let node = Node::Lb1;
        let before = pids(site, node)?;
        // Another program, and one that is cut.
        let cut = site.lab.folder().join("cut");
        let whole = fs::read(BINARY)?;
        // What a loader needs stands in the first part of the file, symbols behind it.
        fs::write(&cut, &whole[..64 * 1024])?;
        let lost = losses(site, |site| {
            for program in [Path::new("/bin/true"), cut.as_path()] {
                site.pair.install(node, program)?;
                let (ended, _) = begin_and_end(site, node)?;
                println!("{}: {}", program.display(), ended["why"]);
                ensure!(ended["stage"] == "failed", "{ended}");
                untouched(site, node, &before)?;
            }
            Ok(())
        })?;
        ensure!(lost.is_none(), "{lost}");
        Ok(())
    })
}

/// Begins an upgrade and returns when all three children are of the new version.
fn begin_trial(site: &mut Site, node: Node, program: &Path) -> Result<PathBuf> {
    let path = site.pair.install(node, program)?;
    site.pair.signal(node, Part::Supervisor, Signal::SIGHUP)?;
    site.wait("all three are new", |site| {
        upgrade(site, node)["stage"] == "trial"
    })?;
    Ok(path)
}

#[test]
fn a_new_version_that_dies_is_replaced_by_the_old_one() -> Result<()> {
    start_with_v6()?.watched("upgrade-rolled-back", |site| {
        let node = Node::Lb1;
        let old = program(site.pair.pid(node, Part::Supervisor)?.as_raw())?;
        let changes = active(site)?;
        for part in ["admin", "vrrp", "proxy"] {
            let lost = losses(site, |site| {
                begin_trial(site, node, Path::new(BINARY))?;
                let new = pids(site, node)?[part];
                ensure!(program(new)? != old, "{part} is old");
                kill(Pid::from_raw(new), Signal::SIGKILL).context("kill it")?;
                site.lab.wait_until(LIMIT, "the upgrade has failed", || {
                    upgrade(site, node)["stage"] == "failed"
                })?;
                site.wait("all run the old file", |site| all_run(site, node, old))
            })?;
            println!("{part} killed: {}; {lost}", upgrade(site, node)["why"]);
            match part {
                // Whom it has accepted ends with it, and nobody else; no connection is refused.
                "proxy" => {
                    let reset = lost.failed.get(&Why::Reset).copied().unwrap_or(0);
                    let all: u64 = lost.failed.values().sum();
                    ensure!(all == reset && reset <= AT_ONCE, "{lost}");
                    let others = Losses {
                        failed: BTreeMap::new(),
                        ..lost
                    };
                    ensure!(others.is_none(), "{others}");
                }
                _ => ensure!(lost.is_none(), "{lost}"),
            }
            if part == "admin" {
                ensure!(active(site)? == changes, "a VIP changed its state");
            }
            site.wait_home()?;
        }
        // And then a good one.
        succeed(site, node, Path::new(BINARY)).map(drop)
    })
}

#[test]
#[ignore = "takes a second build: scripts/prove upgrade"]
fn a_supervisor_that_cannot_take_over_gives_all_back() -> Result<()> {
    let build = std::env::var_os("FMC_LB_SUCCESSOR").context("no second build")?;
    start_with_v6()?.watched("upgrade-fallback", |site| {
        let node = Node::Lb1;
        let old = program(site.pair.pid(node, Part::Supervisor)?.as_raw())?;
        let changes = active(site)?;
        // What tests/successor.patch looks for, and what is said then.
        for (how, said) in [
            ("error", "refused"),
            ("panic", "it panicked: no further"),
            ("abort", "it crashed: SIGABRT"),
            ("SIGSEGV", "it crashed: SIGSEGV"),
        ] {
            let lost = losses(site, |site| {
                fs::write(site.pair.runtime_dir(node).join("refuse"), how)?;
                site.pair.install(node, Path::new(&build))?;
                let (ended, took) = begin_and_end(site, node)?;
                println!("{how}: {} after {took:?}", ended["why"]);
                let why = ended["why"].to_string();
                let expected = format!("the new supervisor: {said}");
                ensure!(
                    ended["stage"] == "failed" && why.contains(&expected),
                    "{ended}"
                );
                site.wait("all run the old file", |site| all_run(site, node, old))
            })?;
            println!("{how}: {lost}");
            ensure!(lost.is_none(), "{how}: {lost}");
            ensure!(active(site)? == changes, "{how}: a VIP changed its state");
        }
        Ok(())
    })
}

#[test]
fn a_supervisor_that_is_killed_meanwhile_leaves_a_node_that_serves() -> Result<()> {
    start_with_v6()?.watched("upgrade-cut-short", |site| {
        let node = Node::Lb1;
        let held = everybody(Extent::Short).iter().map(Clients::held).sum();
        let lost = losses(site, |site| {
            let path = begin_trial(site, node, Path::new(BINARY))?;
            site.pair.kill_part(node, Part::Supervisor)?;
            site.pair.start(node)?;
            let inode = fs::metadata(&path)?.ino();
            site.wait("all run the new file", |site| all_run(site, node, inode))?;
            let ended = upgrade(site, node);
            ensure!(ended["stage"] == "cut-short", "{ended}");
            let warnings = site.pair.status(node)?["warnings"].to_string();
            ensure!(warnings.contains("two versions"), "{warnings}");
            // The one that has retired was adopted, too.
            retired_of(site, node, held)
        })?;
        ensure!(lost.is_none(), "{lost}");
        Ok(())
    })
}

fn retired_of(site: &Site, node: Node, wanted: u64) -> Result<()> {
    let status = site.pair.status(node)?;
    let retired = status["retired"].as_array().context("retired")?;
    let sessions = retired.iter().filter_map(|one| one["sessions"].as_u64());
    let sessions: u64 = sessions.sum();
    ensure!(sessions == wanted, "{sessions} sessions: {retired:?}");
    Ok(())
}

#[test]
fn the_clients_of_a_retired_proxy_are_told_when_its_machine_is_lost() -> Result<()> {
    const COUNT: usize = 50;
    start(TENTH)?.watched("upgrade-rescue", |site| {
        let open = |site: &Site| {
            let plan = Plan {
                count: COUNT,
                ping: None,
            };
            Held::open(&site.lab, web(), plan)
        };
        let knows = |site: &Site, count: usize| {
            metric(site, Node::Lb2, "fmc_lb_link_sessions{direction=\"in\"}")
                .is_ok_and(|known| known == count as f64)
        };
        let early = open(site)?;
        site.wait("they are known", |site| knows(site, COUNT))?;
        succeed(site, Node::Lb1, Path::new(BINARY))?;
        let late = open(site)?;
        site.wait("so are those of the new proxy", |site| {
            knows(site, 2 * COUNT)
        })?;
        retired_of(site, Node::Lb1, COUNT as u64)?;
        let _cut = fault::port_silent(&site.lab, Node::Lb1)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let taken = Instant::now();
        site.wait("all are told", |_| {
            early.broken() == COUNT && late.broken() == COUNT
        })?;
        let told = taken.elapsed();
        println!("the clients of both proxies were told {told:?} after the takeover");
        ensure!(told <= SECOND * limits::room(), "{told:?}");
        Ok(())
    })
}
