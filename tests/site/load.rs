//! 200 sessions that are held, and a thousand new connections a second, while something happens to a site.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "clients on the lab measure, and what they saw is printed"
)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::held::{Held, Plan};
use lab::prober::{Prober, Question};

use super::{Site, web};

const PLAN: Plan = Plan {
    count: 200,
    ping: Some(Duration::from_millis(20)),
};
const TENTH: Duration = Duration::from_millis(100);

/// The clients, at work.
pub(crate) struct Load {
    pub(crate) held: Held,
    probers: [Prober; 2],
    begun: Instant,
}

impl Load {
    /// Returns when they are served.
    pub(crate) fn start(site: &Site) -> Result<Self> {
        let load = Self {
            held: Held::open(&site.lab, web(), PLAN)?,
            probers: [
                Prober::start(&site.lab, web(), Question::Echo)?,
                Prober::start(&site.lab, web(), Question::Echo)?,
            ],
            begun: Instant::now(),
        };
        site.wait("answers", |_| {
            let since = Instant::now() - TENTH;
            load.probers.iter().all(|one| one.good_since(since) > 5)
        })?;
        Ok(Self {
            begun: Instant::now(),
            ..load
        })
    }

    /// Ends them after something that took so long each time: nobody may have lost anything.
    pub(crate) fn has_lost_nothing(self, what: &str, mut took: Vec<Duration>) -> Result<()> {
        let served: usize = self
            .probers
            .iter()
            .map(|one| one.good_since(self.begun))
            .sum();
        let seconds = self.begun.elapsed().as_secs_f64();
        let broken = self.held.report().broken;
        let mut failures = Vec::new();
        for prober in self.probers {
            failures.push(prober.finish()?.failures(self.begun));
        }
        took.sort();
        println!(
            "{} {what}, median {:?}, worst {:?}; {:.0} new connections a second, failed {failures:?}; of {} held {} broken",
            took.len(),
            took[took.len() / 2],
            took[took.len() - 1],
            served as f64 / seconds,
            PLAN.count,
            broken.len(),
        );
        ensure!(broken.is_empty(), "{broken:?}");
        ensure!(failures.iter().all(|one| one.is_empty()), "{failures:?}");
        Ok(())
    }
}
