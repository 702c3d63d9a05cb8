//! What the processes may do, as the kernel has it.

mod site;

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::Service;
use lab::balancer::Part;

use crate::site::{Site, config_at};

/// Bits of CAP_NET_ADMIN and CAP_NET_RAW, capabilities(7).
const NETWORK: u64 = 1 << 12 | 1 << 13;

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
        let status = site.pair.status(Node::Lb1)?;
        let warnings = status["warnings"].to_string();
        ensure!(
            !warnings.contains("real-time") && !warnings.contains("memory"),
            "{warnings}"
        );
        Ok(())
    })
}
