//! What a session log costs: short connections through fmc-lb with and without one, round by round in turn.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "prints what was seen, waits until the log is written"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::load::connection::WARM_UP;
use crate::load::{self, Spent};
use crate::plan::{SERVERS, Subject};
use crate::stand::Stand;
use crate::subject::Programs;
use crate::subject::fmclb::launch_logging;

/// The last lines are written within this.
const WRITTEN: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) rounds: u32,
    /// In each round, with and without a log.
    pub(crate) connections: u32,
}

/// One round of one of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    /// CPU of the process that relays and logs, in microseconds for each connection.
    cpu: f64,
    failures: u64,
    lost: u64,
}

/// Measures both; whether every connection succeeded and has its line.
///
/// # Errors
/// When a stand cannot be brought up, or nothing succeeds.
pub(crate) fn run(programs: &Programs, amount: Amount) -> Result<bool> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..amount.rounds {
        for logs in [round % 2 == 0, round % 2 != 0] {
            let seen = one(programs, amount.connections, logs)?;
            if logs { &mut with } else { &mut without }.push(seen);
        }
    }
    for line in lines(&without, &with, amount) {
        println!("{line}");
    }
    let mut all = without.iter().chain(&with);
    Ok(all.all(|seen| seen.failures == 0 && seen.lost == 0))
}

fn one(programs: &Programs, connections: u32, logs: bool) -> Result<Seen> {
    let mut log = PathBuf::new();
    let stand = Stand::start_as(Subject::FmcLb, SERVERS, |site| {
        if !logs {
            return programs.launch(Subject::FmcLb, site);
        }
        log = site.folder.join("sessions.json");
        Some(launch_logging(&programs.fmc_lb, site, &log))
    })?;
    let before = if logs { written(&log)? } else { 0 };
    let target = stand.target();
    let spent =
        stand.client(|| load::run(load::connection::run(target, connections, &|| stand.cpu())))?;
    let Spent {
        cpu,
        done,
        failures,
    } = spent;
    let lost = match logs {
        true => missing(&log, before + u64::from(WARM_UP) + done + failures.count)?,
        false => 0,
    };
    let each = cpu.proxy.as_secs_f64() * 1e6 / done as f64;
    Ok(Seen {
        cpu: each,
        failures: failures.count,
        lost,
    })
}

/// Lines of the log.
fn written(log: &Path) -> Result<u64> {
    let text = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    Ok(text.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// How many of so many lines are not there in the end.
fn missing(log: &Path, expected: u64) -> Result<u64> {
    let end = Instant::now() + WRITTEN;
    loop {
        let lines = written(log)?;
        if lines >= expected || Instant::now() > end {
            return Ok(expected.saturating_sub(lines));
        }
        std::thread::sleep(STEP);
    }
}

fn lines(without: &[Seen], with: &[Seen], amount: Amount) -> [String; 3] {
    let cpu = |all: &[Seen]| median(all.iter().map(|seen| seen.cpu).collect());
    let sum = |of: fn(&Seen) -> u64| -> u64 { without.iter().chain(with).map(of).sum() };
    let (plain, logged) = (cpu(without), cpu(with));
    let Amount {
        rounds,
        connections,
    } = amount;
    [
        format!(
            "CPU per short connection, median of {rounds} rounds of {connections}: {plain:.1} us without a log, \
             {logged:.1} us with one (json, a file)"
        ),
        format!("ratio: {:.2}", logged / plain),
        format!(
            "lost lines: {}; failed connections: {}",
            sum(|seen| seen.lost),
            sum(|seen| seen.failures)
        ),
    ]
}

/// NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_medians_and_losses_add_up() {
        let seen = |cpu, lost| Seen {
            cpu,
            failures: 0,
            lost,
        };
        let without = [seen(100.0, 0), seen(90.0, 0), seen(500.0, 0)];
        let with = [seen(110.0, 2), seen(600.0, 0), seen(100.0, 1)];
        let amount = Amount {
            rounds: 3,
            connections: 9,
        };
        let [_, ratio, lost] = lines(&without, &with, amount);
        assert_eq!(ratio, "ratio: 1.10");
        assert_eq!(lost, "lost lines: 3; failed connections: 0");
        assert_eq!(median(vec![3.0, 1.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
