//! Metrics of vrrp: the VIPs, the adverts, the other node.

use common::board::{AdvertWarning, DropReason, HandoverEnd, LATENESS_BOUNDS, PairDrop, VipState};
use common::status::{PeerStatus, Status};

use super::{Family, Page, flag, seconds};
use crate::admin::view::View;

static VIP_STATE: Family = Family::gauge(
    "fmc_lb_vrrp_vip_state",
    &["vip", "address", "state"],
    "1 for the state that the VIP is in on this node (init, backup, active, fault), 0 for the others.",
);
static VIP_LEASED: Family = Family::gauge(
    "fmc_lb_vrrp_vip_leased",
    &["vip"],
    "1 while the VIP's lease is installed on its interface.",
);
static VIP_PRIORITY: Family = Family::gauge(
    "fmc_lb_vrrp_vip_priority",
    &["vip"],
    "Priority that this node advertises, or would.",
);
static VIP_PINNED: Family = Family::gauge(
    "fmc_lb_vrrp_vip_pinned",
    &["vip"],
    "1 while this node holds the VIP since a handover and keeps it against preemption.",
);
static VIP_VIRTUAL_MAC: Family = Family::gauge(
    "fmc_lb_vrrp_vip_virtual_mac",
    &["vip"],
    "1 while the VIP is reached at the hardware address of its virtual router on this node, 0 while it is at its \
     interface's although `virtual_mac` is on; absent for others, and without the lease.",
);
static MAINTENANCE: Family = Family::gauge(
    "fmc_lb_vrrp_maintenance",
    &[],
    "1 while this node is on maintenance.",
);
static HANDOVERS: Family = Family::counter(
    "fmc_lb_vrrp_handovers_total",
    &["result"],
    "Handovers that an administrator has wanted of this node: done, refused, unanswered by the other node, not taken by it.",
);
static HANDOVER_REQUESTS: Family = Family::counter(
    "fmc_lb_vrrp_handover_requests_total",
    &["answer"],
    "Requests of the other node for a handover to this one: taken, refused.",
);
static BECAME_ACTIVE: Family = Family::counter(
    "fmc_lb_vrrp_became_active_total",
    &["vip"],
    "Times that this node became active for the VIP.",
);
static ADVERTS_SENT: Family = Family::counter(
    "fmc_lb_vrrp_adverts_sent_total",
    &["vip"],
    "Adverts sent for the VIP.",
);
static ADVERTS_RECEIVED: Family = Family::counter(
    "fmc_lb_vrrp_adverts_received_total",
    &["vip"],
    "Valid adverts of the other node for the VIP.",
);
static ZERO_SENT: Family = Family::counter(
    "fmc_lb_vrrp_priority_zero_sent_total",
    &["vip"],
    "Adverts with priority 0 sent: this node resigned.",
);
static ZERO_RECEIVED: Family = Family::counter(
    "fmc_lb_vrrp_priority_zero_received_total",
    &["vip"],
    "Adverts with priority 0 received: the other node resigned.",
);
static LEASES_REFUSED: Family = Family::counter(
    "fmc_lb_vrrp_leases_refused_total",
    &["vip"],
    "Times that the kernel did not take the VIP's lease, new or renewed.",
);
static DROPS: Family = Family::counter(
    "fmc_lb_vrrp_dropped_packets_total",
    &["reason"],
    "Packets of protocol 112 that were dropped, by the first check that they failed.",
);
static ADVERT_WARNINGS: Family = Family::counter(
    "fmc_lb_vrrp_advert_warnings_total",
    &["vip", "reason"],
    "Adverts for the VIP's VRID that tell of a mistake: another checksum form, other addresses, a stranger, a unicast \
     checksum summed for multicast, another version; in version 2 another password or interval.",
);
static REACHED_HOST: Family = Family::counter(
    "fmc_lb_vrrp_adverts_on_wire_total",
    &["vip"],
    "Adverts of the other node for the VIP that reached this host, before its firewall; more than those received: \
     it drops them.",
);
static LATENESS: Family = Family::gauge(
    "fmc_lb_vrrp_worst_lateness_seconds",
    &[],
    "Longest time since vrrp's start between the moment a wake-up was due and the moment it came.",
);
static WAKES: Family = Family::counter(
    "fmc_lb_vrrp_wakes_total",
    &["late"],
    "Wake-ups of vrrp's timer by how late they came: at most 100us, between that and 500us, and so on; \"more\" is later \
     than 100ms.",
);
static SLIPS: Family = Family::counter(
    "fmc_lb_vrrp_slips_total",
    &[],
    "Wake-ups that were later than half of the time after which others act: three heartbeats or adverts, 100 ms at most.",
);
static ADVERT_DELAYS: Family = Family::counter(
    "fmc_lb_vrrp_advert_delays_total",
    &["late"],
    "Valid adverts by how long they waited in the kernel's queue until vrrp read them, as fmc_lb_vrrp_wakes_total.",
);
static REALTIME: Family = Family::gauge(
    "fmc_lb_vrrp_realtime",
    &[],
    "1 if vrrp runs with real-time priority.",
);
static MEMORY_LOCKED: Family = Family::gauge(
    "fmc_lb_vrrp_memory_locked",
    &[],
    "1 if the memory of vrrp is locked.",
);
static RIVAL_CLAIMS: Family = Family::counter(
    "fmc_lb_vrrp_rival_claims_total",
    &["vip"],
    "Packets of foreign machines that claim the VIP, of ARP or of neighbour discovery.",
);
static RIVAL_AGE: Family = Family::gauge(
    "fmc_lb_vrrp_rival_seen_age_seconds",
    &["vip"],
    "Time since a foreign machine claimed the VIP; absent if none ever did.",
);
static PEER_PRIORITY: Family = Family::gauge(
    "fmc_lb_vrrp_peer_priority",
    &["vip"],
    "Priority of the other node; absent while unknown.",
);
static PEER_HEARD_AGE: Family = Family::gauge(
    "fmc_lb_vrrp_peer_heard_age_seconds",
    &[],
    "Time since the other node's last advert or heartbeat; absent before the first.",
);
static PAIR_UP: Family = Family::gauge(
    "fmc_lb_pair_up",
    &[],
    "1 while the other node's heartbeats arrive on the pair channel; absent without a second node.",
);
static PAIR_HEARTBEAT_AGE: Family = Family::gauge(
    "fmc_lb_pair_heartbeat_age_seconds",
    &[],
    "Time since the other node's last heartbeat on the pair channel; absent before the first.",
);
static PAIR_CONFIG_DIFFERS: Family = Family::gauge(
    "fmc_lb_pair_config_differs",
    &[],
    "1 if the other node said that it runs another configuration; absent while unknown.",
);
static PAIR_MAINTENANCE: Family = Family::gauge(
    "fmc_lb_pair_peer_maintenance",
    &[],
    "1 while the other node says that it is on maintenance; absent while it is not heard.",
);
static PAIR_QUESTIONS: Family = Family::counter(
    "fmc_lb_pair_questions_total",
    &[],
    "Questions to the other node's kernel, when it had not been heard for nearly three heartbeats.",
);
static PAIR_SILENCES: Family = Family::counter(
    "fmc_lb_pair_silences_total",
    &[],
    "Times that the other node was not heard for three heartbeats and its kernel did not answer.",
);
static PAIR_AVERTED: Family = Family::counter(
    "fmc_lb_pair_silences_averted_total",
    &[],
    "Times that only an answer of its kernel kept three missing heartbeats from being a silence.",
);
static PAIR_DROPS: Family = Family::counter(
    "fmc_lb_pair_dropped_datagrams_total",
    &["reason"],
    "Datagrams of the pair channel that were dropped, by the first check that they failed.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &VIP_STATE,
    &VIP_LEASED,
    &VIP_PRIORITY,
    &VIP_PINNED,
    &VIP_VIRTUAL_MAC,
    &MAINTENANCE,
    &HANDOVERS,
    &HANDOVER_REQUESTS,
    &BECAME_ACTIVE,
    &ADVERTS_SENT,
    &ADVERTS_RECEIVED,
    &ZERO_SENT,
    &ZERO_RECEIVED,
    &LEASES_REFUSED,
    &RIVAL_CLAIMS,
    &RIVAL_AGE,
    &ADVERT_WARNINGS,
    &REACHED_HOST,
    &DROPS,
    &LATENESS,
    &WAKES,
    &SLIPS,
    &ADVERT_DELAYS,
    &REALTIME,
    &MEMORY_LOCKED,
    &PEER_PRIORITY,
    &PEER_HEARD_AGE,
    &PAIR_UP,
    &PAIR_HEARTBEAT_AGE,
    &PAIR_CONFIG_DIFFERS,
    &PAIR_MAINTENANCE,
    &PAIR_QUESTIONS,
    &PAIR_SILENCES,
    &PAIR_AVERTED,
    &PAIR_DROPS,
];

pub(super) fn fill(page: &mut Page, view: &View, status: &Status) {
    let board = view.boards.vrrp;
    fill_vips(page, view, status);
    for (reason, cell) in DropReason::ALL.iter().zip(&board.drops) {
        page.count(&DROPS, &[reason.word()], cell.get());
    }
    page.gauge(&MAINTENANCE, &[], flag(status.maintenance));
    for end in HandoverEnd::ALL {
        if *end != HandoverEnd::None {
            let count = board.handovers[*end as usize].get();
            page.count(&HANDOVERS, &[end.word()], count);
        }
    }
    page.count(&HANDOVER_REQUESTS, &["taken"], board.handovers_taken.get());
    let refused = board.handovers_declined.get();
    page.count(&HANDOVER_REQUESTS, &["refused"], refused);
    page.gauge(&LATENESS, &[], board.worst_lateness.get() as f64 / 1e9);
    let bounds = LATENESS_BOUNDS.iter().map(|(_, word)| *word);
    let cells = board.lateness.wakes.iter().zip(&board.advert_delays);
    for (word, (wakes, delays)) in bounds.chain(["more"]).zip(cells) {
        page.count(&WAKES, &[word], wakes.get());
        page.count(&ADVERT_DELAYS, &[word], delays.get());
    }
    page.count(&SLIPS, &[], board.lateness.slips.get());
    page.gauge(&REALTIME, &[], flag(board.realtime.get() == 1));
    page.gauge(&MEMORY_LOCKED, &[], flag(board.memory_locked.get() == 1));
    if let Some(peer) = &status.peer {
        fill_peer(page, peer, status);
        for (reason, cell) in PairDrop::ALL.iter().zip(&board.pair_drops) {
            page.count(&PAIR_DROPS, &[reason.word()], cell.get());
        }
    }
}

fn fill_vips(page: &mut Page, view: &View, status: &Status) {
    let board = view.boards.vrrp;
    for (vip, (place, config)) in status.vips.iter().zip(view.config.live_vips()) {
        let (slot, wire) = (&board.vips[place.0], &board.wire[place.0]);
        let states = VipState::ALL.iter().map(|state| state.word());
        page.one_of(&VIP_STATE, &[&vip.name, &vip.address], (&vip.state, states));
        let labels = [vip.name.as_str()];
        page.gauge(&VIP_LEASED, &labels, flag(slot.leased.get() == 1));
        page.gauge(&VIP_PRIORITY, &labels, vip.priority as f64);
        page.gauge(&VIP_PINNED, &labels, flag(vip.pinned));
        let own = config.macvlan().and(vip.mac.as_ref());
        let is_virtual = own.map(|mac| flag(*mac == config.router_mac().to_string()));
        page.gauge_if_known(&VIP_VIRTUAL_MAC, &labels, is_virtual);
        page.count(&BECAME_ACTIVE, &labels, slot.became_active.get());
        page.count(&ADVERTS_SENT, &labels, slot.adverts_sent.get());
        page.count(&ADVERTS_RECEIVED, &labels, slot.adverts_received.get());
        page.count(&ZERO_SENT, &labels, slot.priority_zero_sent.get());
        page.count(&ZERO_RECEIVED, &labels, slot.priority_zero_received.get());
        let refused = &board.leases_refused[place.0];
        page.count(&LEASES_REFUSED, &labels, refused.get());
        for (warning, count) in AdvertWarning::ALL.iter().zip(&wire.warnings) {
            page.count(&ADVERT_WARNINGS, &[&vip.name, warning.word()], count.get());
        }
        page.count(&REACHED_HOST, &labels, wire.reached_host.get());
        page.count(&RIVAL_CLAIMS, &labels, vip.rival_claims);
        page.gauge_if_known(&RIVAL_AGE, &labels, vip.rival_ms_ago.map(seconds));
    }
}

fn fill_peer(page: &mut Page, peer: &PeerStatus, status: &Status) {
    for vip in &peer.vips {
        let priority = vip.priority.map(|priority| priority as f64);
        page.gauge_if_known(&PEER_PRIORITY, &[&vip.name], priority);
    }
    page.gauge_if_known(&PEER_HEARD_AGE, &[], peer.heard_ms_ago.map(seconds));
    page.gauge(&PAIR_UP, &[], flag(peer.pair_channel == "on"));
    let age = peer.heartbeat_ms_ago.map(seconds);
    page.gauge_if_known(&PAIR_HEARTBEAT_AGE, &[], age);
    page.count(&PAIR_QUESTIONS, &[], peer.questions);
    page.count(&PAIR_SILENCES, &[], peer.silences);
    page.count(&PAIR_AVERTED, &[], peer.silences_averted);
    let differs = peer.config_hash.as_ref();
    let differs = differs.map(|hash| flag(*hash != status.config_hash));
    page.gauge_if_known(&PAIR_CONFIG_DIFFERS, &[], differs);
    page.gauge_if_known(&PAIR_MAINTENANCE, &[], peer.maintenance.map(flag));
}
