//! Metrics of names that stand for servers.

use common::status::Status;

use super::{Family, Page, flag, seconds};

const NAME: &[&str] = &["backend", "name"];

static SERVERS: Family = Family::gauge(
    "fmc_lb_name_servers",
    NAME,
    "Servers that the name stands for now.",
);
static FAILING: Family = Family::gauge(
    "fmc_lb_name_failing",
    NAME,
    "1 while the name cannot be resolved, in whole or in part, and the servers of earlier answers stay.",
);
static ANSWER_AGE: Family = Family::gauge(
    "fmc_lb_name_answer_age_seconds",
    NAME,
    "Time since the last answer that named servers; absent before the first.",
);
static LEFT_OUT: Family = Family::gauge(
    "fmc_lb_name_left_out",
    NAME,
    "Addresses of the last good answer that became no servers (max_addresses, our own addresses).",
);
static QUERIES: Family = Family::counter(
    "fmc_lb_name_queries_total",
    NAME,
    "Times that the name was asked for.",
);
static FAILURES: Family = Family::counter(
    "fmc_lb_name_failures_total",
    NAME,
    "Times that it could not be resolved, in whole or in part.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &SERVERS,
    &FAILING,
    &ANSWER_AGE,
    &LEFT_OUT,
    &QUERIES,
    &FAILURES,
];

pub(super) fn fill(page: &mut Page, status: &Status) {
    for backend in &status.backends {
        for name in &backend.names {
            let labels = [backend.name.as_str(), name.name.as_str()];
            page.gauge(&SERVERS, &labels, name.servers as f64);
            page.gauge(&FAILING, &labels, flag(name.failing_ms.is_some()));
            let age = name.answered_ms_ago.map(seconds);
            page.gauge_if_known(&ANSWER_AGE, &labels, age);
            page.gauge(&LEFT_OUT, &labels, name.left_out as f64);
            page.count(&QUERIES, &labels, name.queries);
            page.count(&FAILURES, &labels, name.failures);
        }
    }
}
