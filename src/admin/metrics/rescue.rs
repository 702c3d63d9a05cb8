//! Metrics of the connections between the admins, and of the rescue of a lost machine's clients.

use common::status::Status;

use super::{Family, Page, flag};

static UP: Family = Family::gauge(
    "fmc_lb_link_up",
    &["direction"],
    "1 while the other node's admin process is told of this one's sessions (out), or tells of its own (in); absent without a pair channel.",
);
static SESSIONS: Family = Family::gauge(
    "fmc_lb_link_sessions",
    &["direction"],
    "Sessions that the other node was told of (out), or has told of (in).",
);
static CONNECTS: Family = Family::counter(
    "fmc_lb_link_connects_total",
    &[],
    "Connections that were made to the other node's admin process.",
);
static FAILURES: Family = Family::counter(
    "fmc_lb_link_failures_total",
    &[],
    "Connections to it that have ended, or could not be made.",
);
static REFUSED: Family = Family::counter(
    "fmc_lb_link_refused_total",
    &[],
    "Connections that were refused: not from the other node, or not with its key.",
);
static LEFT_OUT: Family = Family::counter(
    "fmc_lb_link_left_out_total",
    &["reason"],
    "Sessions that are not told (full: the table of sessions had no room) or not taken (no_vip: the other node's address is none here).",
);
static RUNS: Family = Family::counter(
    "fmc_lb_rescue_runs_total",
    &[],
    "Times that the clients of a lost machine were told.",
);
static CLIENTS: Family = Family::counter(
    "fmc_lb_rescue_clients_total",
    &[],
    "Sessions of lost machines whose clients were to be told.",
);
static FREED: Family = Family::counter(
    "fmc_lb_rescue_freed_total",
    &[],
    "Of these, those whose client got an RST meanwhile.",
);
static POKES: Family = Family::counter(
    "fmc_lb_rescue_pokes_total",
    &[],
    "Segments that asked a client for its RST.",
);
static UNSENT: Family = Family::counter(
    "fmc_lb_rescue_unsent_total",
    &[],
    "Such segments that the kernel has refused to send.",
);
static CUT_SHORT: Family = Family::counter(
    "fmc_lb_rescue_cut_short_total",
    &[],
    "Rescues that ended early: not started, failed, or the machine was heard again.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &UP, &SESSIONS, &CONNECTS, &FAILURES, &REFUSED, &LEFT_OUT, &RUNS, &CLIENTS, &FREED, &POKES,
    &UNSENT, &CUT_SHORT,
];

pub(super) fn fill(page: &mut Page, status: &Status) {
    if let Some(link) = status.peer.as_ref().and_then(|peer| peer.link.as_ref()) {
        page.gauge(&UP, &["out"], flag(link.telling_ms.is_some()));
        page.gauge(&UP, &["in"], flag(link.hearing_ms.is_some()));
        page.gauge(&SESSIONS, &["out"], link.told as f64);
        page.gauge(&SESSIONS, &["in"], link.heard as f64);
        page.count(&CONNECTS, &[], link.connects);
        page.count(&FAILURES, &[], link.failures);
        page.count(&REFUSED, &[], link.refused);
        page.count(&LEFT_OUT, &["full"], link.untold);
        page.count(&LEFT_OUT, &["no_vip"], link.strangers);
    }
    if let Some(rescue) = &status.rescue {
        page.count(&RUNS, &[], rescue.runs);
        page.count(&CLIENTS, &[], rescue.clients);
        page.count(&FREED, &[], rescue.freed);
        page.count(&POKES, &[], rescue.pokes);
        page.count(&UNSENT, &[], rescue.refused);
        page.count(&CUT_SHORT, &[], rescue.cut_short);
    }
}
