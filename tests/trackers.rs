//! What trackers do to the VIPs of a running pair: who holds them then, how soon, and what clients
//! notice.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::lease::LeaseWatch;
use lab::prober::{Prober, Question};
use lab::topology::API_VIP;
use lab::{Node, lease};
use tempfile::TempDir;

use crate::site::{Site, config_at, web};

/// Adverts each 100 ms: a Backup with priority 240 takes over 306 ms after the last one that counts.
const ADVERT: Duration = Duration::from_millis(100);
const DOWN: Duration = Duration::from_millis(307);
/// Between two looks of the trackers of these tests.
const LOOK: Duration = Duration::from_millis(200);
/// For a busy machine.
const ROOM: u32 = 2;
/// Somebody looks, and a program starts, on a machine that does other things too.
const SLOW: Duration = Duration::from_millis(500);

/// A program that fails on the nodes that a file names, and a folder that everybody may read.
fn script() -> Result<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let path = folder.path().join("is-well");
    let bad = folder.path().join("bad").display().to_string();
    let text =
        format!("#!/bin/sh\n[ -e {bad}-$FMC_LB_NODE ] && {{ echo disk full; exit 3; }}\nexit 0\n");
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok((folder, path.display().to_string()))
}

fn mark(folder: &TempDir, node: Node, bad: bool) -> Result<()> {
    let file = folder.path().join(format!("bad-{node}"));
    if bad {
        fs::write(file, "")?;
    } else {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// The reference site with these trackers; a node that returns waits two seconds.
fn config(trackers: &str, more: &str) -> Result<String> {
    let vrrp = "[vrrp]\n";
    let config = config_at(ADVERT);
    ensure!(config.contains(vrrp), "{config}");
    let config = config.replace(vrrp, &format!("{vrrp}preempt_delay = \"2s\"\n{more}"));
    Ok(format!("{config}\n{trackers}"))
}

/// Waits until the node alone holds both VIPs; how long that took since `from`.
fn moved(site: &Site, what: &str, node: Node, from: Instant) -> Result<Duration> {
    site.wait(&format!("{what}: {node} holds both VIPs"), |site| {
        site.holds_both(node) && !lease::is_holder(&site.lab, node.other(), API_VIP)
    })?;
    let took = from.elapsed();
    println!("{what}: {node} holds both after {took:?}");
    Ok(took)
}

/// What status says of a tracker: its state and what it has found.
fn tracker(site: &Site, node: Node, name: &str) -> Result<(String, String)> {
    let status = site.pair.status(node)?;
    let trackers = status["trackers"].as_array().context("no trackers")?;
    let one = trackers.iter().find(|one| one["name"] == name);
    let one = one.with_context(|| format!("no tracker {name} in {status}"))?;
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    Ok((text("state"), text("reason")))
}

fn wait_for_tracker(site: &Site, node: Node, name: &str, state: &str, reason: &str) -> Result<()> {
    site.wait(&format!("{name} is {state} on {node}: {reason}"), |site| {
        tracker(site, node, name).is_ok_and(|(is, why)| is == state && why.starts_with(reason))
    })
}

/// The first VIP, as a node says it.
fn vip(site: &Site, node: Node) -> Result<serde_json::Value> {
    Ok(site.pair.status(node)?["vips"][0].clone())
}

#[test]
fn weights_and_faults_move_the_vips_and_nobody_notices() -> Result<()> {
    let (folder, program) = script()?;
    let trackers = format!(
        "[trackers.card]\nkind = \"interface\"\ninterface = \"eth1\"\ninterval = \"200ms\"\nweight = -11\n\
         [trackers.disk]\nkind = \"script\"\nprogram = \"{program}\"\ninterval = \"200ms\"\nfall = 2\n"
    );
    let mut site = Site::build(&config(&trackers, "together = true\n")?, Service::Echo)?;
    for node in Node::LBS {
        site.lab
            .ip(node, "link add eth1 type veth peer name cable")?;
        site.lab.ip(node, "link set cable up")?;
        site.lab.ip(node, "link set eth1 up")?;
    }
    start(&mut site)?;
    site.watched("trackers", |site| {
        wait_for_tracker(site, Node::Lb1, "card", "up", "eth1 has a carrier")?;
        wait_for_tracker(site, Node::Lb1, "disk", "up", "exit code 0")?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        site.wait("answers", |_| {
            prober.good_since(Instant::now() - Duration::from_millis(200)) > 50
        })?;

        // The kernel tells of the carrier, the other node takes over by its higher priority.
        let cut = Instant::now();
        site.lab.ip(Node::Lb1, "link set cable down")?;
        let took = moved(site, "weight", Node::Lb2, cut)?;
        ensure!(took <= (DOWN + SLOW) * ROOM, "{took:?}");
        let said = vip(site, Node::Lb1)?;
        ensure!(
            said["state"] == "backup" && said["priority"] == 239,
            "{said}"
        );
        ensure!(said["configured_priority"] == 250, "{said}");
        ensure!(said["trackers_down"][0] == "card -11", "{said}");
        let metrics = site.pair.command(Node::Lb1, &["status"])?;
        let table = String::from_utf8(metrics.stdout)?;
        ensure!(table.contains("priority 250 is 239: card -11"), "{table}");

        let mended = Instant::now();
        site.lab.ip(Node::Lb1, "link set cable up")?;
        let took = moved(site, "weight gone", Node::Lb1, mended)?;
        ensure!(
            took >= Duration::from_secs(1),
            "{took:?}: it waits for preempt_delay"
        );

        // In fault it resigns: nobody waits for an interval.
        let full = Instant::now();
        mark(&folder, Node::Lb1, true)?;
        let took = moved(site, "fault", Node::Lb2, full)?;
        // Two looks, and the time by which the other node may be later.
        ensure!(took <= (LOOK * 4 + SLOW) * ROOM, "{took:?}");
        let said = vip(site, Node::Lb1)?;
        let reason = "tracker disk is down: exit code 3: disk full";
        ensure!(
            said["state"] == "fault" && said["reason"] == reason,
            "{said}"
        );
        let mended = Instant::now();
        mark(&folder, Node::Lb1, false)?;
        moved(site, "fault gone", Node::Lb1, mended)?;

        let report = prober.finish()?;
        let outage = report.outage(cut);
        println!("over all moves: {outage:?}");
        ensure!(outage.gap <= Duration::from_millis(50) * ROOM, "{outage:?}");
        Ok(())
    })
}

fn start(site: &mut Site) -> Result<()> {
    use lab::balancer::Balancer as _;
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
    site.pair.start(Node::Lb2)?;
    site.wait_ready(Node::Lb1)?;
    site.wait_ready(Node::Lb2)
}

/// Nothing changes who holds the VIP for this time.
fn stays(site: &Site, watch: &LeaseWatch, what: &str, node: Node, time: Duration) -> Result<()> {
    let before = watch.changes().len();
    std::thread::sleep(time);
    let changes = watch.changes();
    ensure!(changes.len() == before, "{what}: {:?}", &changes[before..]);
    ensure!(site.holds_both(node), "{what}: {node} does not hold both");
    Ok(())
}

#[test]
fn the_vip_stays_where_it_is_while_both_nodes_are_in_the_same_trouble() -> Result<()> {
    let (folder, program) = script()?;
    let file = folder.path().join("maintenance");
    let name = process_name(&folder)?;
    let trackers = format!(
        "[trackers.disk]\nkind = \"script\"\nprogram = \"{program}\"\ninterval = \"200ms\"\nfall = 2\n\
         [trackers.uplink]\nkind = \"gateway\"\naddress = \"192.168.0.40\"\ninterval = \"200ms\"\n\
         [trackers.word]\nkind = \"file\"\npath = \"{}\"\ninterval = \"200ms\"\nfall = 1\n\
         [trackers.daemon]\nkind = \"process\"\nprocess = \"{name}\"\ninterval = \"200ms\"\nfall = 1\n",
        file.display()
    );
    let mut site = Site::build(&config(&trackers, "")?, Service::Echo)?;
    let mut daemon = daemon(&folder, &name)?;
    start(&mut site)?;
    let result = site.watched("last-man", |site| {
        for node in Node::LBS {
            wait_for_tracker(site, node, "uplink", "up", "192.168.0.40 answers on eth0")?;
            wait_for_tracker(site, node, "word", "up", "there is no file")?;
            wait_for_tracker(site, node, "daemon", "up", "process ")?;
        }
        let watch = LeaseWatch::start(&site.lab, API_VIP)?;
        // Both are in trouble: each in its turn.
        mark(&folder, Node::Lb1, true)?;
        mark(&folder, Node::Lb2, true)?;
        for node in Node::LBS {
            wait_for_tracker(site, node, "disk", "down", "exit code 3: disk full")?;
        }
        stays(site, &watch, "both disks", Node::Lb1, LOOK * 4)?;
        let said = vip(site, Node::Lb1)?;
        ensure!(
            said["state"] == "active" && said["trackers_down"][0] == "disk fault",
            "{said}"
        );

        // The one that is well again holds it, and keeps it in the same trouble.
        let mended = Instant::now();
        mark(&folder, Node::Lb2, false)?;
        moved(site, "lb2 is well", Node::Lb2, mended)?;
        mark(&folder, Node::Lb2, true)?;
        wait_for_tracker(site, Node::Lb2, "disk", "down", "exit code 3: disk full")?;
        stays(
            site,
            &watch,
            "both disks again",
            Node::Lb2,
            Duration::from_millis(1500),
        )?;
        let mended = Instant::now();
        mark(&folder, Node::Lb1, false)?;
        mark(&folder, Node::Lb2, false)?;
        moved(site, "both are well", Node::Lb1, mended)?;

        // What both look at moves nothing.
        site.lab.ip(Node::Router, "link set eth0 arp off")?;
        fs::write(&file, "1\n")?;
        for node in Node::LBS {
            wait_for_tracker(site, node, "uplink", "down", "192.168.0.40 does not answer")?;
            wait_for_tracker(site, node, "word", "down", "it says 1")?;
        }
        stays(site, &watch, "gateway and file", Node::Lb1, LOOK * 4)?;
        daemon.kill()?;
        daemon.wait()?;
        for node in Node::LBS {
            wait_for_tracker(site, node, "daemon", "down", "no process of this name runs")?;
        }
        stays(site, &watch, "three trackers", Node::Lb1, LOOK * 4)?;
        site.lab.ip(Node::Router, "link set eth0 arp on")?;
        for node in Node::LBS {
            wait_for_tracker(site, node, "uplink", "up", "192.168.0.40 answers on eth0")?;
        }
        Ok(())
    });
    drop(daemon.kill());
    drop(daemon.wait());
    result
}

/// A name that no other process of this machine has.
fn process_name(folder: &TempDir) -> Result<String> {
    let random = folder.path().file_name().context("a folder has a name")?;
    Ok(format!(
        "daemon-{}",
        random.to_string_lossy().replace('.', "")
    ))
}

/// Something that runs under this name.
fn daemon(folder: &TempDir, name: &str) -> Result<std::process::Child> {
    let program = folder.path().join(name);
    fs::copy(Path::new("/bin/sleep"), &program)?;
    std::process::Command::new(&program)
        .arg("300")
        .spawn()
        .context("start a process to track")
}
