//! What fmc-lb promises of an outage, and whether measured rounds kept it. Pure.

use std::fmt;
use std::time::Duration;

use crate::balancer::Settings;
use crate::report::{median, milliseconds};
use crate::scenario::Event;

/// What the outside client adds to a bound of the protocol: its spacing, scheduling, and the way of an announcement.
const MARGIN: Duration = Duration::from_millis(20);
/// A lost machine may cost so much more than the baseline's: the larger of 5 ms and one part in twenty.
const BESIDE: (Duration, u32) = (Duration::from_millis(5), 20);
/// A lost machine where its silence decides: median, and worst.
const SILENT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(150));
/// SIGTERM, or the death of any one process: median, and worst.
const ONE_STOPS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(50));
/// Until a VIP can be used after its promotion: worst.
const USABLE: Duration = Duration::from_millis(20);
/// With more sessions than these the kernel has a while to close them.
const FEW: usize = 500;

/// The outages of several rounds of one event.
#[derive(Debug, Clone)]
pub struct Outages {
    /// Of our pair.
    pub settings: Settings,
    /// A silent machine's VIPs are taken over before its adverts are missed.
    pub silent: bool,
    /// Sessions of each round.
    pub held: usize,
    /// Ours.
    pub ours: Vec<Duration>,
    /// Until our VIP could be used after its promotion, of the rounds that moved it.
    pub usable: Vec<Duration>,
    /// The baseline's; empty when it was not measured.
    pub base: Vec<Duration>,
}

/// One bound, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The bound in words.
    pub what: String,
    /// What was seen.
    pub seen: Duration,
    /// What was promised.
    pub bound: Duration,
    /// Whether it was kept.
    pub kept: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.kept { "kept" } else { "NOT KEPT" };
        let (seen, bound) = (milliseconds(self.seen), milliseconds(self.bound));
        write!(f, "{verdict}: {}: {seen}, bound {bound}", self.what)
    }
}

impl Outages {
    /// The bounds that exist for this event.
    pub fn judge(&self, event: Event) -> Vec<Finding> {
        let (Some(middle), Some(worst)) = (median(&self.ours), self.ours.iter().max().copied())
        else {
            return Vec::new();
        };
        let name = event.name();
        let usable = self.usable.iter().max().map(|worst| {
            let what = format!("{name}, usable after promotion, worst");
            finding(what, *worst, USABLE)
        });
        let mut findings = self.judge_outages(event, (middle, worst));
        findings.extend(usable);
        findings
    }

    fn judge_outages(&self, event: Event, (middle, worst): (Duration, Duration)) -> Vec<Finding> {
        let name = event.name();
        match event {
            Event::MachineLost if self.silent => vec![
                finding(format!("{name}, silent, median"), middle, SILENT.0),
                finding(format!("{name}, silent, worst"), worst, SILENT.1),
            ],
            Event::MachineLost => {
                let formula = self.settings.active_down() + MARGIN;
                let mut findings = vec![finding(
                    format!("{name}, worst: active-down interval + 20 ms"),
                    worst,
                    formula,
                )];
                if let Some(base) = median(&self.base) {
                    let bound = base + BESIDE.0.max(base / BESIDE.1);
                    let what = format!("{name}, median: the baseline's + max(5 %, 5 ms)");
                    findings.push(finding(what, middle, bound));
                }
                findings
            }
            Event::Kill(_) | Event::CleanStop if self.held > FEW => {
                vec![finding(format!("{name}, median"), middle, ONE_STOPS.1)]
            }
            Event::Kill(_) | Event::CleanStop => vec![
                finding(format!("{name}, median"), middle, ONE_STOPS.0),
                finding(format!("{name}, worst"), worst, ONE_STOPS.1),
            ],
            Event::KillAll => Vec::new(),
        }
    }
}

fn finding(what: String, seen: Duration, bound: Duration) -> Finding {
    Finding {
        what,
        seen,
        bound,
        kept: seen <= bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::Part;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    fn kept(event: Event, ours: &[u64], base: &[u64]) -> Vec<bool> {
        let settings = Settings::ours(Duration::from_millis(100));
        let outages = Outages {
            settings,
            silent: false,
            held: 50,
            ours: ms(ours),
            usable: Vec::new(),
            base: ms(base),
        };
        outages
            .judge(event)
            .iter()
            .map(|finding| finding.kept)
            .collect()
    }

    #[test]
    fn a_lost_machine_is_judged_by_the_formula_and_beside_the_baseline() {
        // Active-down interval of priority 240 at 100 ms: 306.25 ms.
        assert_eq!(
            kept(Event::MachineLost, &[290, 300, 326], &[290]),
            [true, true]
        );
        assert_eq!(kept(Event::MachineLost, &[290, 300, 327], &[]), [false]);
        assert_eq!(
            kept(Event::MachineLost, &[310, 310, 310], &[290]),
            [true, false]
        );
    }

    #[test]
    fn a_silent_machine_is_judged_by_median_and_worst() {
        let judged = |ours: &[u64]| -> Vec<bool> {
            let outages = Outages {
                settings: Settings::ours(Duration::from_secs(1)),
                silent: true,
                held: 0,
                ours: ms(ours),
                usable: Vec::new(),
                base: Vec::new(),
            };
            let findings = outages.judge(Event::MachineLost);
            findings.iter().map(|finding| finding.kept).collect()
        };
        assert_eq!(judged(&[60, 100, 150]), [true, true]);
        assert_eq!(judged(&[60, 101, 151]), [false, false]);
    }

    #[test]
    fn one_that_stops_is_judged_by_median_and_worst() {
        for event in [Event::Kill(Part::Proxy), Event::CleanStop] {
            assert_eq!(kept(event, &[5, 10, 50], &[]), [true, true]);
            assert_eq!(kept(event, &[5, 11, 51], &[]), [false, false]);
            assert!(kept(event, &[], &[]).is_empty());
        }
    }

    #[test]
    fn a_vip_that_moved_is_judged_by_when_it_can_be_used() {
        let judged = |usable: &[u64]| -> Vec<bool> {
            let outages = Outages {
                settings: Settings::ours(Duration::from_secs(1)),
                silent: false,
                held: 50,
                ours: ms(&[4_000]),
                usable: ms(usable),
                base: Vec::new(),
            };
            let findings = outages.judge(Event::KillAll);
            findings.iter().map(|finding| finding.kept).collect()
        };
        assert_eq!(judged(&[2, 20]), [true]);
        assert_eq!(judged(&[2, 21]), [false]);
        assert!(judged(&[]).is_empty());
    }
}
