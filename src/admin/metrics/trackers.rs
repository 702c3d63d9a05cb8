//! Metrics of the trackers.

use common::board::TrackerState;
use common::status::{Status, TrackerStatus};

use super::{Family, Page, flag, seconds};

static UP: Family = Family::gauge(
    "fmc_lb_vrrp_tracker_up",
    &["tracker", "kind"],
    "1 while the tracker is up, 0 while it is down; absent before its first look.",
);
static WEIGHT: Family = Family::gauge(
    "fmc_lb_vrrp_tracker_weight",
    &["tracker"],
    "What is added to the node's priority while the tracker is down; absent if its VIPs are in fault then.",
);
static LOOKS: Family = Family::counter(
    "fmc_lb_vrrp_tracker_looks_total",
    &["tracker"],
    "Looks at the tracker.",
);
static FAILURES: Family = Family::counter(
    "fmc_lb_vrrp_tracker_failures_total",
    &["tracker"],
    "Looks at the tracker that were bad.",
);
static DOWNS: Family = Family::counter(
    "fmc_lb_vrrp_tracker_downs_total",
    &["tracker"],
    "Changes of the tracker from up to down.",
);
static LOOKED_AGE: Family = Family::gauge(
    "fmc_lb_vrrp_tracker_looked_age_seconds",
    &["tracker"],
    "Time since the last look at the tracker; absent before its first one.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&UP, &WEIGHT, &LOOKS, &FAILURES, &DOWNS, &LOOKED_AGE];

pub(super) fn fill(page: &mut Page, status: &Status) {
    for tracker in &status.trackers {
        one(page, tracker);
    }
}

fn one(page: &mut Page, tracker: &TrackerStatus) {
    let labels = [tracker.name.as_str()];
    if tracker.state != TrackerState::Unknown.word() {
        let up = flag(tracker.state == TrackerState::Up.word());
        page.gauge(&UP, &[&tracker.name, &tracker.kind], up);
    }
    let weight = tracker.weight.map(|weight| weight as f64);
    page.gauge_if_known(&WEIGHT, &labels, weight);
    page.count(&LOOKS, &labels, tracker.looks);
    page.count(&FAILURES, &labels, tracker.failures);
    page.count(&DOWNS, &labels, tracker.downs);
    page.gauge_if_known(&LOOKED_AGE, &labels, tracker.looked_ms_ago.map(seconds));
}

#[cfg(test)]
mod tests {
    use common::board::TrackerState::{Down, Up};
    use common::tracker::Tally;

    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn every_metric_of_a_tracker_shows_its_cell() {
        let view = fixture::with_trackers();
        let text = || page(&view, &view.status(&Rates::default(), CLOCKS), CLOCKS);
        let absent = "fmc_lb_vrrp_tracker_up{";
        assert!(!text().contains(absent), "{}", text());
        let slot = &view.boards.vrrp.trackers[0];
        let mut tally = Tally::new((1, 1), Up);
        for bad in [true, false, true] {
            let found = if bad { Err("silent") } else { Ok("answers") };
            slot.take(&mut tally, found, fixture::ago(1_500));
        }
        assert_eq!(tally.state(), Down);
        let slot = &view.boards.admin.trackers[1];
        slot.take(
            &mut Tally::new((1, 1), slot.state()),
            Ok("it says 0"),
            fixture::ago(250),
        );
        let text = text();
        for line in [
            "up{kind=\"gateway\",tracker=\"uplink\"} 0",
            "up{kind=\"file\",tracker=\"maintenance\"} 1",
            "weight{tracker=\"uplink\"} -20",
            "looks_total{tracker=\"uplink\"} 3",
            "failures_total{tracker=\"uplink\"} 2",
            "downs_total{tracker=\"uplink\"} 2",
            "looked_age_seconds{tracker=\"uplink\"} 1.5",
            "looked_age_seconds{tracker=\"maintenance\"} 0.25",
        ] {
            let line = format!("\nfmc_lb_vrrp_tracker_{line}\n");
            assert!(text.contains(&line), "no {line} in\n{text}");
        }
        assert!(!text.contains("weight{tracker=\"maintenance\"}"), "{text}");
    }
}
