//! Metrics of upgrades in place, and of proxies that have retired.

use common::status::Status;

use super::{Family, Page};

static UPGRADES: Family = Family::counter(
    "fmc_lb_upgrades_total",
    &[],
    "Upgrades in place that were begun.",
);
static FAILURES: Family = Family::counter(
    "fmc_lb_upgrade_failures_total",
    &[],
    "Upgrades in place that have failed or were cut short.",
);
static RETIRED: Family = Family::gauge(
    "fmc_lb_retired_proxies",
    &[],
    "Proxies that accept nothing any more and have sessions; these are counted with those of the one that accepts.",
);
static SESSIONS: Family = Family::gauge(
    "fmc_lb_retired_sessions",
    &[],
    "Sessions of proxies that accept nothing any more.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&UPGRADES, &FAILURES, &RETIRED, &SESSIONS];

pub(super) fn fill(page: &mut Page, status: &Status) {
    let upgrade = status.upgrade.as_ref();
    page.count(&UPGRADES, &[], upgrade.map_or(0, |one| one.number));
    page.count(&FAILURES, &[], upgrade.map_or(0, |one| one.failures));
    page.gauge(&RETIRED, &[], status.retired.len() as f64);
    let sessions: u64 = status.retired.iter().map(|one| one.left.sessions).sum();
    page.gauge(&SESSIONS, &[], sessions as f64);
}
