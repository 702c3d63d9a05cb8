//! One measurement: a step with a subject, as figures.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::figures::{Figure, quantile};
use crate::load::bulk::Way;
use crate::load::{self, Clock, Failures, Spent, Target};
use crate::metric::{Column, Metric, Quantile};
use crate::plan::{SERVERS, Subject};
use crate::stand::{Memories, Stand};
use crate::step::Step;
use crate::subject::Programs;
use crate::usage::{Cpu, Memory};

/// Bytes of a gigabyte.
const GIGABYTE: f64 = 1e9;

/// What a measurement brought.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub(crate) figures: Vec<Figure>,
    /// What failed of the work itself, by line.
    pub(crate) failures: Vec<(Metric, Failures)>,
}

/// Measures.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) programs: &'a Programs,
}

impl Bench<'_> {
    /// Takes a step with a subject, on a stand of its own.
    ///
    /// # Errors
    /// When the stand cannot be brought up, or the work fails too often.
    pub(crate) fn measure(&self, subject: Subject, step: Step) -> Result<Brought> {
        let servers = match step {
            Step::Connections { servers, .. } => servers,
            Step::Trips { .. } | Step::Bulk { .. } | Step::Idle { .. } | Step::Latency { .. } => {
                SERVERS
            }
        };
        let stand = Stand::start(self.programs, subject, servers)?;
        let mut brought = Brought::default();
        match step {
            Step::Connections { metric, count, .. } => {
                let spent = work(&stand, |target, clock| {
                    load::run(load::connection::run(target, count, clock))
                })?;
                brought.take(subject, metric, &spent)?;
            }
            Step::Trips { metric, table } => {
                let spent = work(&stand, |target, clock| {
                    load::run(load::trip::run(target, table, clock))
                })?;
                brought.take(subject, metric, &spent)?;
            }
            Step::Bulk { way, bytes } => {
                let spent = work(&stand, |target, clock| {
                    load::run(load::bulk::run(target, way, bytes, clock))
                })?;
                let metric = match way {
                    Way::Down => Metric::Down,
                    Way::Up => Metric::Up,
                };
                brought.take(subject, metric, &spent)?;
            }
            Step::Idle { count } => brought.idle(&stand, subject, count)?,
            Step::Latency { length } => brought.latency(&stand, subject, length)?,
        }
        Ok(brought)
    }
}

/// Runs a load as the client, with the balancer's CPU time as its clock.
fn work(
    stand: &Stand,
    load: impl FnOnce(Target, Clock<'_>) -> Result<Spent> + Send,
) -> Result<Spent> {
    let target = stand.target();
    stand.client(|| load(target, &|| stand.cpu()))
}

/// Whose part of the memory.
type Share = fn(Memories) -> Memory;

/// The columns that a subject's memory fills, and what of it.
fn columns(subject: Subject) -> Vec<(Column, Share)> {
    let mut columns: Vec<(Column, Share)> = vec![(Column::Of(subject), |memories| memories.proxy)];
    if subject == Subject::FmcLb {
        columns.push((Column::Together, |memories| memories.all));
    }
    columns
}

impl Brought {
    fn figure(&mut self, metric: Metric, column: Column, value: f64) {
        self.figures.push(Figure {
            metric,
            column,
            value,
        });
    }

    fn idle(&mut self, stand: &Stand, subject: Subject, count: u32) -> Result<()> {
        let before = stand.memory()?;
        let target = stand.target();
        let held = stand.client(|| load::run(load::idle::run(target, count, || stand.memory())))?;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let each = |before: u64, held: u64| (held as f64 - before as f64) / f64::from(count);
        for (column, of) in columns(subject) {
            let (before, held) = (of(before), of(held));
            self.figure(Metric::StartPss, column, megabytes(before.pss));
            self.figure(Metric::StartRss, column, megabytes(before.rss));
            let each = each(before.pss, held.pss);
            self.figure(Metric::IdleConnection, column, each);
        }
        Ok(())
    }

    fn latency(&mut self, stand: &Stand, subject: Subject, length: Duration) -> Result<()> {
        let target = stand.target();
        let sorted = stand.client(|| load::latency::run(target, length))?;
        for of in Quantile::ALL {
            let value = quantile(&sorted, of.share()).context("no latency was measured")?;
            self.figure(Metric::Latency(of), Column::Of(subject), value);
        }
        Ok(())
    }

    /// CPU per piece of work, in the line's unit.
    fn take(&mut self, subject: Subject, metric: Metric, spent: &Spent) -> Result<()> {
        if spent.failures.count > 0 {
            self.failures.push((metric, spent.failures.clone()));
        }
        let per = per_piece(metric, spent).context("nothing succeeded")?;
        self.figure(metric, Column::Of(subject), per(spent.cpu, |cpu| cpu.proxy));
        if subject == Subject::FmcLb {
            self.figure(metric, Column::Together, per(spent.cpu, |cpu| cpu.all));
        }
        Ok(())
    }
}

type Part = fn(Cpu) -> Duration;

/// How CPU time becomes the line's value; `None` = nothing was done.
fn per_piece(metric: Metric, spent: &Spent) -> Option<impl Fn(Cpu, Part) -> f64 + use<>> {
    let of_one_unit = if metric.unit() == "s" { GIGABYTE } else { 1e6 };
    let pieces = spent.done as f64 / of_one_unit;
    (spent.done > 0).then_some(move |cpu, part: Part| part(cpu).as_secs_f64() / pieces)
}

/// What a balancer adds to a round trip: its latencies less those of the same round without one.
pub(crate) fn added(direct: &[Figure], with: &[Figure]) -> Vec<Figure> {
    let mut added = Vec::new();
    for figure in with {
        let Metric::Latency(quantile) = figure.metric else {
            continue;
        };
        let without = direct.iter().find(|other| other.metric == figure.metric);
        if let Some(without) = without {
            added.push(Figure {
                metric: Metric::Added(quantile),
                column: figure.column,
                value: figure.value - without.value,
            });
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(done: u64) -> Spent {
        Spent {
            cpu: Cpu {
                proxy: Duration::from_secs(2),
                all: Duration::from_secs(3),
            },
            done,
            failures: Failures::default(),
        }
    }

    #[test]
    fn cpu_is_in_microseconds_of_a_piece_and_seconds_of_a_gigabyte() {
        let mut brought = Brought::default();
        let piece = spent(20_000);
        brought
            .take(Subject::FmcLb, Metric::Connection, &piece)
            .unwrap();
        let bytes = spent(4_000_000_000);
        brought.take(Subject::Nginx, Metric::Up, &bytes).unwrap();
        let values: Vec<f64> = brought.figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, [100.0, 150.0, 0.5]);
        assert!(brought.take(Subject::Nginx, Metric::Up, &spent(0)).is_err());
    }

    #[test]
    fn what_is_added_is_the_difference_at_the_same_quantile() {
        let figure = |subject, quantile, value| Figure {
            metric: Metric::Latency(quantile),
            column: Column::Of(subject),
            value,
        };
        let direct = [
            figure(Subject::Direct, Quantile::P50, 30.0),
            figure(Subject::Direct, Quantile::P99, 80.0),
        ];
        let with = [figure(Subject::Envoy, Quantile::P99, 200.0)];
        let added = added(&direct, &with);
        assert_eq!(added.len(), 1);
        assert_eq!(added[0].metric, Metric::Added(Quantile::P99));
        assert!((added[0].value - 120.0).abs() < 1e-9);
    }
}
