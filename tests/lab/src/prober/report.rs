//! What the prober measured, and what follows from it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Good {
    /// When the attempt began.
    pub started: Instant,
    /// When its answer was complete.
    pub ended: Instant,
    /// Who answered.
    pub who: String,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// RST to the SYN.
    Refused,
    /// RST later.
    Reset,
    /// No route, or ARP unanswered.
    Unreachable,
    /// Closed before the answer was complete.
    Closed,
    /// Not complete within a second.
    TimedOut,
    /// Another error of the socket.
    Other,
}

/// A failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// When it began.
    pub started: Instant,
    /// When it had failed.
    pub ended: Instant,
    /// Why.
    pub why: Why,
}

/// The longest gap between good answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its length.
    pub gap: Duration,
    /// The last good answer before it.
    pub from: Instant,
    /// The first good answer after it; the end of the measurement if there was none.
    pub to: Instant,
    /// Whether there was one.
    pub recovered: bool,
}

/// Everything that was measured.
#[derive(Debug, Clone)]
pub struct Report {
    /// When the prober started.
    pub started: Instant,
    /// When this report was made.
    pub ended: Instant,
    /// In the order of their completion.
    pub good: Vec<Good>,
    /// In the order of their failure.
    pub failed: Vec<Failed>,
    /// Attempts not started because the prober itself was late by a spacing or more.
    pub skipped: u64,
    /// How late the prober was at most: the noise of the machine in every figure.
    pub latest: Duration,
}

impl Report {
    /// The longest gap between good answers that ends after `since`.
    pub fn outage(&self, since: Instant) -> Outage {
        let mut from = self.started;
        let mut worst = Outage {
            gap: Duration::ZERO,
            from,
            to: from,
            recovered: true,
        };
        for good in &self.good {
            if good.ended > since && good.ended - from > worst.gap {
                worst = Outage {
                    gap: good.ended - from,
                    from,
                    to: good.ended,
                    recovered: true,
                };
            }
            from = good.ended;
        }
        if self.ended - from > worst.gap {
            worst = Outage {
                gap: self.ended - from,
                from,
                to: self.ended,
                recovered: false,
            };
        }
        worst
    }

    /// Good answers per server, of attempts begun at or after `since`.
    pub fn shares(&self, since: Instant) -> BTreeMap<String, u64> {
        let mut shares = BTreeMap::new();
        for good in self.good.iter().filter(|good| good.started >= since) {
            *shares.entry(good.who.clone()).or_default() += 1;
        }
        shares
    }

    /// Failed attempts per reason, of attempts begun at or after `since`.
    pub fn failures(&self, since: Instant) -> BTreeMap<Why, u64> {
        let mut failures = BTreeMap::new();
        for failed in self.failed.iter().filter(|failed| failed.started >= since) {
            *failures.entry(failed.why).or_default() += 1;
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ends: &[u64], end: u64) -> (Instant, Report) {
        let started = Instant::now();
        let at = |ms: u64| started + Duration::from_millis(ms);
        let good = ends
            .iter()
            .map(|ms| Good {
                started: at(*ms),
                ended: at(*ms),
                who: "w1".to_owned(),
            })
            .collect();
        let report = Report {
            started,
            ended: at(end),
            good,
            failed: Vec::new(),
            skipped: 0,
            latest: Duration::ZERO,
        };
        (started, report)
    }

    #[test]
    fn the_outage_is_the_longest_gap_after_the_fault() {
        let (started, report) = report(&[2, 50, 52, 82, 84], 90);
        let since = started + Duration::from_millis(60);
        let outage = report.outage(since);
        assert_eq!(outage.gap, Duration::from_millis(30));
        assert_eq!(outage.from, started + Duration::from_millis(52));
        assert!(outage.recovered);
    }

    #[test]
    fn an_outage_without_end_lasts_until_the_report() {
        let (started, report) = report(&[2, 4], 1_004);
        let outage = report.outage(started);
        assert_eq!(outage.gap, Duration::from_secs(1));
        assert!(!outage.recovered);
    }
}
