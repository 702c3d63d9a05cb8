//! Metrics of a node that stops: this one, or the other.

use common::status::{LinkStatus, Status};

use super::{Family, Page, flag};

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
static RESET: Family = Family::counter(
    "fmc_lb_drain_reset_total",
    &[],
    "Sessions that were reset at the end of a stopping node's drain.",
);
static PEER_STOPS: Family = Family::gauge(
    "fmc_lb_peer_stops",
    &[],
    "1 while the other node stops, or has stopped, as it was told to, by its own word; absent without a pair channel.",
);
static PEER_LEFT: Family = Family::gauge(
    "fmc_lb_peer_drain_seconds_left",
    &[],
    "How long the sessions of the other node, which stops, may still go on; 0 unless it stops.",
);
static PEER_SESSIONS: Family = Family::gauge(
    "fmc_lb_peer_drain_sessions",
    &[],
    "Sessions that are left on the other node while it stops.",
);
static PEER_CLOSED: Family = Family::gauge(
    "fmc_lb_peer_drain_closed",
    &[],
    "Sessions that the other node has closed at a quiet moment in its last stop; 0 once it is back.",
);
static PEER_RESET: Family = Family::gauge(
    "fmc_lb_peer_drain_reset",
    &[],
    "Sessions that were reset at the end of the other node's last stop; 0 once it is back.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &LEFT,
    &CLOSED,
    &RESET,
    &PEER_STOPS,
    &PEER_LEFT,
    &PEER_SESSIONS,
    &PEER_CLOSED,
    &PEER_RESET,
];

pub(super) fn fill(page: &mut Page, status: &Status) {
    let drain = status.drain.as_ref();
    let left = drain.map_or(0, |drain| drain.ms_left);
    page.gauge(&LEFT, &[], left as f64 / 1_000.0);
    page.count(&CLOSED, &[], drain.map_or(0, |drain| drain.closed));
    page.count(&RESET, &[], drain.map_or(0, |drain| drain.reset));
    if let Some(link) = status.peer.as_ref().and_then(|peer| peer.link.as_ref()) {
        fill_peer(page, link);
    }
}

fn fill_peer(page: &mut Page, link: &LinkStatus) {
    let (drain, stopped) = (link.drain.as_ref(), link.stopped.as_ref());
    let stops = drain.is_some() || stopped.is_some();
    let left = drain.map_or(0, |drain| drain.ms_left);
    let sessions = drain.map_or(0, |drain| drain.left.sessions);
    let counts = drain.map(|drain| (drain.closed, drain.reset));
    let counts = counts.or(stopped.map(|stopped| (stopped.closed, stopped.reset)));
    let (closed, reset) = counts.unwrap_or_default();
    page.gauge(&PEER_STOPS, &[], flag(stops));
    page.gauge(&PEER_LEFT, &[], left as f64 / 1_000.0);
    page.gauge(&PEER_SESSIONS, &[], sessions as f64);
    page.gauge(&PEER_CLOSED, &[], closed as f64);
    page.gauge(&PEER_RESET, &[], reset as f64);
}
