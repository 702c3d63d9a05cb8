//! Metrics of a node that stops.

use common::status::Status;

use super::{Family, Page};

static LEFT: Family = Family::gauge(
    "fmc_lb_drain_seconds_left",
    &[],
    "How long the sessions of a stopping node may still go on; 0 unless it stops.",
);
static CLOSED: Family = Family::counter(
    "fmc_lb_drain_closed_total",
    &[],
    "Sessions that a stopping node has closed at a quiet moment.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&LEFT, &CLOSED];

pub(super) fn fill(page: &mut Page, status: &Status) {
    let drain = status.drain.as_ref();
    let left = drain.map_or(0, |drain| drain.ms_left);
    page.gauge(&LEFT, &[], left as f64 / 1_000.0);
    page.count(&CLOSED, &[], drain.map_or(0, |drain| drain.closed));
}
