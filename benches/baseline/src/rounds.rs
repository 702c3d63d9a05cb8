//! All rounds of a run, subject by subject in turn.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "says how long a round took"
)]

use std::time::Instant;

use anyhow::{Result, bail};

use crate::measure::{Bench, Brought, added};
use crate::plan::{Sizes, Subject, Work, order};
use crate::record::Record;
use crate::step::{Step, steps};
use crate::subject::Programs;

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Rounds<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) sizes: Sizes,
    pub(crate) rounds: usize,
    pub(crate) works: Vec<Work>,
    pub(crate) subjects: Vec<Subject>,
}

impl Rounds<'_> {
    /// Measures. A measurement that fails is recorded, and the run goes on.
    ///
    /// # Errors
    /// When no subject is there to be measured.
    pub(crate) fn run(&self) -> Result<Record> {
        let mut record = Record {
            subjects: self.subjects.clone(),
            setting: self.setting(),
            ..Record::default()
        };
        let mut present = Vec::new();
        for subject in &self.subjects {
            match self.programs.missing(*subject) {
                None => {
                    let version = self.programs.version(*subject)?;
                    record.versions.push((*subject, version));
                    present.push(*subject);
                }
                Some(why) => {
                    eprintln!("{} is not available: {why}", subject.name());
                    record.missing.push((*subject, why));
                }
            }
        }
        if present.is_empty() {
            bail!("none of the balancers is here");
        }
        for round in 0..self.rounds {
            let begin = Instant::now();
            let order = order(&present, round);
            for work in &self.works {
                eprintln!("round {} of {}: {}", round + 1, self.rounds, work.name());
                for step in steps(*work, &self.sizes) {
                    self.step(step, &order, (round + 1, &mut record));
                }
            }
            eprintln!("the round took {} s", begin.elapsed().as_secs());
        }
        Ok(record)
    }

    fn step(&self, step: Step, order: &[Subject], (round, record): (usize, &mut Record)) {
        let bench = Bench {
            programs: self.programs,
        };
        let mut measure = |subject: Subject| match bench.measure(subject, step) {
            Ok(brought) => {
                keep(&brought, subject, (round, record));
                brought.figures
            }
            Err(error) => {
                let text = format!("round {round}: {step:?}: {}: {error:#}", subject.name());
                eprintln!("  {text}");
                record.failures.push(text);
                Vec::new()
            }
        };
        // Close to the others in time: the difference is what counts.
        let direct = match step {
            Step::Latency { .. } => measure(Subject::Direct),
            Step::Connections { .. }
            | Step::Trips { .. }
            | Step::Bulk { .. }
            | Step::Idle { .. } => Vec::new(),
        };
        let mut all = Vec::new();
        for subject in order {
            all.push(measure(*subject));
        }
        for with in all {
            for figure in added(&direct, &with) {
                record.figures.add(round, figure);
            }
        }
    }

    fn setting(&self) -> Vec<String> {
        let sizes = &self.sizes;
        vec![
            format!("machine: {}", machine()),
            format!(
                "{} rounds; {} short connections, {} round trips, {:.1} GB each way, {} idle connections, {} s of \
                 latencies; at scale {} round trips and {} connections",
                self.rounds,
                sizes.connections,
                sizes.trips,
                sizes.bulk as f64 / 1e9,
                sizes.idle,
                sizes.latency.as_secs(),
                sizes.scale_trips,
                sizes.scale_connections,
            ),
        ]
    }
}

fn keep(brought: &Brought, subject: Subject, (round, record): (usize, &mut Record)) {
    for figure in &brought.figures {
        let value = figure.metric.text(figure.value);
        let (metric, unit) = (figure.metric.name(), figure.metric.unit());
        eprintln!("  {:<22} {metric}: {value} {unit}", figure.column.name());
        record.figures.add(round, *figure);
    }
    for (metric, failures) in &brought.failures {
        let first = failures.first.as_deref().unwrap_or_default();
        let text = format!(
            "round {round}: {} of {}: {} failed, the first one: {first}",
            metric.name(),
            subject.name(),
            failures.count
        );
        eprintln!("  {text}");
        record.failures.push(text);
    }
}

/// Processor and kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
