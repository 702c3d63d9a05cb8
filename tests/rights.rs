//! What the processes may do, as the kernel has it.

mod site;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};

use crate::site::{BINARY, Site, config_at, metric};

/// Bits of CAP_NET_ADMIN and CAP_NET_RAW, capabilities(7).
const NETWORK: u64 = 1 << 12 | 1 << 13;
/// Bit of CAP_PERFMON.
const PERFMON: u64 = 1 << 38;

/// The value of a line of `/proc/PID/task/TID/status`.
fn line<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let found = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found
        .map(str::trim)
        .with_context(|| format!("no {name} in {status}"))
}

#[test]
fn no_thread_of_a_child_has_a_right_that_it_does_not_need() -> Result<()> {
    let site = Site::start(&config_at(Duration::from_millis(100)), Service::Echo)?;
    site.watched("rights", |site| {
        for (part, allowed) in [(Part::Vrrp, NETWORK), (Part::Proxy, 0), (Part::Admin, 0)] {
            let pid = site.pair.pid(Node::Lb1, part)?;
            let mut threads = 0;
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let status = fs::read_to_string(task?.path().join("status"))?;
                for set in ["CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"] {
                    let bits = u64::from_str_radix(line(&status, set)?, 16)?;
                    let more = bits & !allowed;
                    ensure!(
                        more == 0,
                        "{} {}: {set} {bits:x}",
                        part.name(),
                        line(&status, "Name")?
                    );
                }
                ensure!(line(&status, "NoNewPrivs")? == "1");
                threads += 1;
            }
            ensure!(threads >= 3, "{} has {threads} threads", part.name());
        }
        // For the TC program of the next version alone.
        let supervisor = site.pair.pid(Node::Lb1, Part::Supervisor)?;
        let status = fs::read_to_string(format!("/proc/{supervisor}/status"))?;
        for (set, has) in [("CapPrm", true), ("CapEff", false)] {
            let bits = u64::from_str_radix(line(&status, set)?, 16)?;
            ensure!((bits & PERFMON != 0) == has, "supervisor: {set} {bits:x}");
        }
        let status = site.pair.status(Node::Lb1)?;
        let warnings = status["warnings"].to_string();
        ensure!(
            !warnings.contains("real-time") && !warnings.contains("memory"),
            "{warnings}"
        );
        Ok(())
    })
}

/// Where the machine gives no real-time priority, nothing moves for that, and the node says it.
#[test]
fn tim_44_a_node_without_real_time_priority_says_so() -> Result<()> {
    let advert = Duration::from_millis(100);
    let mut site = Site::build(&config_at(advert), Service::Echo)?;
    let script = site.lab.folder().join("without-nice");
    let drop = "setpriv --bounding-set -sys_nice --inh-caps -sys_nice";
    fs::write(&script, format!("#!/bin/sh\nexec {drop} {BINARY} \"$@\"\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    site.pair.install(Node::Lb1, &script)?;
    site.pair.start(Node::Lb1)?;
    site.watched("rights-without-nice", |site| {
        site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
        let warning = "vrrp has no real-time priority (CAP_SYS_NICE)";
        site.wait("status warns", |site| {
            let status = site.pair.status(Node::Lb1);
            status.is_ok_and(|status| status["warnings"].to_string().contains(warning))
        })?;
        let realtime = metric(site, Node::Lb1, "fmc_lb_vrrp_realtime")?;
        ensure!(realtime == 0.0, "the metric says {realtime}");
        Ok(())
    })
}
