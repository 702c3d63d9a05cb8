//! What admin says.

use super::{
    Cell, ExternalAnswer, ExternalGroup, HandoverWishSlot, Header, LinkSlot, Override, TrackerSlot,
};
use crate::config::{MAX_SERVERS, MAX_TRACKERS};

/// What admin says.
#[repr(C)]
#[derive(Debug)]
pub struct AdminBoard {
    pub header: Header,
    /// HTTP connections from addresses that `[admin] allow` does not list: told so, and closed.
    pub http_denied: Cell,
    /// HTTP connections closed without an answer, because too many were open.
    pub http_dropped: Cell,
    /// How the programs ended that are probes, by place of their servers.
    pub external: [ExternalAnswer; MAX_SERVERS],
    /// Programs that were run as probes.
    pub external_runs: Cell,
    /// Of these, those that were killed: their time was over, or they wrote too much.
    pub external_kills: Cell,
    /// Gauge: programs that run now.
    pub external_running: Cell,
    /// Gauge: programs that wait for their turn.
    pub external_waiting: Cell,
    /// By place in the configuration, of the kinds that admin looks at.
    pub trackers: [TrackerSlot; MAX_TRACKERS],
    /// Programs that run now, by place of their servers.
    pub external_groups: [ExternalGroup; MAX_SERVERS],
    /// Scripts that run now, by place of their trackers.
    pub tracker_groups: [ExternalGroup; MAX_TRACKERS],
    /// CPU time that a hypervisor has taken since the boot, of all processors, in milliseconds.
    pub stolen_ms: Cell,
    /// Gauge: its share of the CPU time of the last minute, in thousandths.
    pub stolen_permille: Cell,
    /// The last handover that an administrator has wanted.
    pub handover: HandoverWishSlot,
    /// Not 0 = the node is on maintenance. Outlives admin and vrrp.
    pub maintenance: Override,
    pub link: LinkSlot,
}

impl Default for AdminBoard {
    fn default() -> Self {
        Self {
            header: Header::default(),
            http_denied: Cell::default(),
            http_dropped: Cell::default(),
            external: std::array::from_fn(|_| ExternalAnswer::default()),
            external_runs: Cell::default(),
            external_kills: Cell::default(),
            external_running: Cell::default(),
            external_waiting: Cell::default(),
            trackers: std::array::from_fn(|_| TrackerSlot::default()),
            external_groups: std::array::from_fn(|_| ExternalGroup::default()),
            tracker_groups: std::array::from_fn(|_| ExternalGroup::default()),
            stolen_ms: Cell::default(),
            stolen_permille: Cell::default(),
            handover: HandoverWishSlot::default(),
            maintenance: Override::default(),
            link: LinkSlot::default(),
        }
    }
}
