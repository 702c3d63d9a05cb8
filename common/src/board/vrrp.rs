//! What vrrp says.

use std::array;

use super::{
    Cell, HandoverResultSlot, Header, LATENESS_BOUNDS, LatenessSlot, MomentCell, RouteSlot, Text,
    TrackerSlot,
};
use crate::config::{MAX_ROUTES, MAX_TRACKERS, MAX_VIPS};

/// What vrrp says.
#[repr(C)]
#[derive(Debug)]
pub struct VrrpBoard {
    pub header: Header,
    pub vips: [VipSlot; MAX_VIPS],
    pub peer: PeerSlot,
    /// Dropped packets of protocol 112 by [`super::DropReason`].
    pub drops: [Cell; 32],
    /// Dropped datagrams of the pair channel by [`super::PairDrop`].
    pub pair_drops: [Cell; 8],
    /// 1 = the loop runs with real-time priority.
    pub realtime: Cell,
    /// 1 = its memory is locked.
    pub memory_locked: Cell,
    /// What the last advert was stamped with; 0 = none was signed.
    pub advert_stamp: Cell,
    /// Longest time between the moment a wake was due and the moment it came, in nanoseconds, since start.
    pub worst_lateness: Cell,
    /// By place in the configuration, of the kinds that vrrp looks at itself.
    pub trackers: [TrackerSlot; MAX_TRACKERS],
    /// Trackers that keep the other node from each VIP, as its heartbeats have it; valid while
    /// `peer.heartbeat` is fresh.
    pub peer_faults: [Cell; MAX_VIPS],
    /// Last time that another machine said that it owns a VIP (priority 255) of which this node is the
    /// owner.
    pub owner_heard: [MomentCell; MAX_VIPS],
    /// Questions to the other node's kernel, when it had not been heard for nearly three heartbeats.
    pub questions: Cell,
    /// Silences: nothing was heard and nobody answered.
    pub silences: Cell,
    /// Times that only an answer kept three missing heartbeats from being one.
    pub silences_averted: Cell,
    /// Who else claims each VIP.
    pub rivals: [RivalSlot; MAX_VIPS],
    /// Last time that everybody was asked for the other node's hardware address.
    pub peer_asked: MomentCell,
    /// Last time that its kernel answered.
    pub peer_answered: MomentCell,
    /// What the adverts on the wire tell of each VIP, beside what they say.
    pub wire: [WireSlot; MAX_VIPS],
    pub lateness: LatenessSlot,
    /// How the last handover ended that admin has wanted.
    pub handover: HandoverResultSlot,
    /// 1 = this node holds the VIP since a handover, and keeps it against preemption.
    pub pinned: [Cell; MAX_VIPS],
    /// Handovers that this node was to give, by [`super::HandoverEnd`].
    pub handovers: [Cell; 8],
    /// Requests of the other node that this one has followed.
    pub handovers_taken: Cell,
    /// Those that it has refused.
    pub handovers_declined: Cell,
    /// 1 = the other node says that it is on maintenance; valid while `peer.heartbeat` is fresh.
    pub peer_maintenance: Cell,
    /// The other node's hardware address on the pair's interface, in the lower six bytes; 0 = it has not answered yet.
    pub peer_mac: Cell,
    /// 1 = it tells the TC program of flow forwarding who is active.
    pub tells_forwarding: Cell,
    /// 1 = the other node forwards, as its last heartbeat had it.
    pub peer_forwards: Cell,
    /// Times that the other node's machine was found dead.
    pub deaths: Cell,
    /// What follows the VIPs, by place in the configuration.
    pub routes: [RouteSlot; MAX_ROUTES],
    /// [`MacPreflight`]
    pub mac_preflight: Cell,
    /// The hardware address that each VIP is reached at on this node, in the lower six bytes; 0 = its lease is not here.
    pub macs: [Cell; MAX_VIPS],
    /// Interval of the adverts that were heard last, in nanoseconds. Since layout 15.
    pub heard_interval: [Cell; MAX_VIPS],
    /// Times that the kernel did not take each VIP's lease, new or renewed. Since layout 17.
    pub leases_refused: [Cell; MAX_VIPS],
    /// Adverts by how long they had waited until they were read, as [`LatenessSlot::wakes`]. Since layout 17.
    pub advert_delays: [Cell; LATENESS_BOUNDS.len() + 1],
}

/// As nobody has written it yet.
impl Default for VrrpBoard {
    fn default() -> Self {
        Self {
            header: Default::default(),
            vips: array::from_fn(|_| Default::default()),
            peer: Default::default(),
            drops: array::from_fn(|_| Default::default()),
            pair_drops: array::from_fn(|_| Default::default()),
            realtime: Default::default(),
            advert_stamp: Default::default(),
            memory_locked: Default::default(),
            worst_lateness: Default::default(),
            trackers: array::from_fn(|_| Default::default()),
            peer_faults: array::from_fn(|_| Default::default()),
            owner_heard: array::from_fn(|_| Default::default()),
            questions: Default::default(),
            silences: Default::default(),
            silences_averted: Default::default(),
            rivals: Default::default(),
            peer_asked: Default::default(),
            peer_answered: Default::default(),
            wire: Default::default(),
            lateness: Default::default(),
            handover: Default::default(),
            pinned: Default::default(),
            handovers: Default::default(),
            handovers_taken: Default::default(),
            handovers_declined: Default::default(),
            peer_maintenance: Default::default(),
            peer_mac: Default::default(),
            tells_forwarding: Default::default(),
            peer_forwards: Default::default(),
            deaths: Default::default(),
            routes: array::from_fn(|_| Default::default()),
            mac_preflight: Default::default(),
            macs: Default::default(),
            heard_interval: Default::default(),
            leases_refused: Default::default(),
            advert_delays: Default::default(),
        }
    }
}

board_enum! {
    /// Whether frames to a second hardware address come through to this machine, as a virtual router's is.
    MacPreflight {
        /// Not asked, or the other node was not heard meanwhile.
        Unknown = 0 => "unknown",
        Passed = 1 => "passed",
        Failed = 2 => "failed",
    }
}

/// Adverts for a VIP's VRID that tell of a mistake in a configuration or in a firewall.
#[repr(C)]
#[derive(Debug, Default)]
pub struct WireSlot {
    /// How many, by [`super::AdvertWarning`].
    pub warnings: [Cell; 8],
    /// When the last one came.
    pub warned: [MomentCell; 8],
    /// Who sent the last one that is a stranger's or names other addresses.
    pub source: Text,
    /// Adverts of the other node that reached this host, whatever its firewall does with them then.
    pub reached_host: Cell,
    pub reached_host_at: MomentCell,
    /// The last advert that came to vrrp's socket, right but for its signature.
    pub reached_us_at: MomentCell,
}

/// A foreign machine that claims a VIP, by ARP or neighbour discovery.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RivalSlot {
    /// The last one's hardware address, in the lower six bytes.
    pub mac: Cell,
    /// Its last claim.
    pub seen: MomentCell,
    /// Claims since the start.
    pub claims: Cell,
}

/// One virtual IP on this node.
#[repr(C)]
#[derive(Debug, Default)]
pub struct VipSlot {
    /// [`super::VipState`]
    pub state: Cell,
    pub since: MomentCell,
    /// Why it is in this state, in words.
    pub reason: Text,
    /// 1 = the lease is installed, as the kernel acknowledged.
    pub leased: Cell,
    pub became_active: Cell,
    pub adverts_sent: Cell,
    pub adverts_received: Cell,
    pub priority_zero_sent: Cell,
    pub priority_zero_received: Cell,
    /// Priority that is (or would be) advertised.
    pub priority: Cell,
    /// Last advert from the other node for this VRID (not heartbeats).
    pub advert_heard: MomentCell,
    /// Priority in it.
    pub peer_priority: Cell,
}

/// The other node, as heard on the pair channel and by adverts.
#[repr(C)]
#[derive(Debug, Default)]
pub struct PeerSlot {
    /// Last advert or heartbeat of it.
    pub heard: MomentCell,
    /// Last good heartbeat of the pair channel.
    pub heartbeat: MomentCell,
    /// Its version, as major << 32 | minor << 16 | patch; 0 = unknown.
    pub version: Cell,
    /// Hash of its configuration; 0 = unknown.
    pub config_hash: Cell,
    /// Its health byte for each VIP (see [`super::ProxyBoard::vip_sure`]), 255 = it does not know yet;
    /// valid while `heartbeat` is fresh.
    pub vip_health: [Cell; MAX_VIPS],
    /// Its [`super::VipState`] for each VIP; valid while `heartbeat` is fresh.
    pub vip_state: [Cell; MAX_VIPS],
}
