//! Metrics of flow forwarding.

use common::status::Status;
use forward::Cause;

use super::{Family, Page, flag};

static UP: Family = Family::gauge(
    "fmc_lb_forward_up",
    &[],
    "1 while segments of the other node's connections go there; absent without a second node.",
);
static PEER_UP: Family = Family::gauge(
    "fmc_lb_forward_peer_up",
    &[],
    "1 while the other node says the same of ours; absent without a second node.",
);
static PEER_DEATHS: Family = Family::counter(
    "fmc_lb_forward_peer_deaths_total",
    &[],
    "Times that the other node's machine was found lost, and its connections were reset for it.",
);
static PACKETS: Family = Family::counter(
    "fmc_lb_forward_packets_total",
    &["cause", "to"],
    "Packets for a VIP by the rule that sent them to this node's kernel (here) or to the other node (there).",
);
static BYTES: Family = Family::counter(
    "fmc_lb_forward_bytes_total",
    &["cause", "to"],
    "Bytes of these packets.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&UP, &PEER_UP, &PEER_DEATHS, &PACKETS, &BYTES];

pub(super) fn fill(page: &mut Page, status: &Status) {
    let Some(forwarding) = &status.forwarding else {
        return;
    };
    page.gauge(&UP, &[], flag(forwarding.state == "on"));
    page.gauge(&PEER_UP, &[], flag(forwarding.peer_forwards));
    page.count(&PEER_DEATHS, &[], forwarding.peer_deaths);
    for cause in Cause::ALL {
        let to = if cause.is_forwarded() {
            "there"
        } else {
            "here"
        };
        let labels = [cause.word(), to];
        let of = |counts: &std::collections::BTreeMap<String, u64>| {
            counts.get(cause.word()).copied().unwrap_or(0)
        };
        page.count(&PACKETS, &labels, of(&forwarding.packets));
        page.count(&BYTES, &labels, of(&forwarding.bytes));
    }
}
