//! What the admins of the two nodes tell each other, and what becomes of it when a machine is lost.

use super::{Cell, MomentCell, Text};

/// The connections between the admins of the two nodes, as this node's sees them.
#[repr(C)]
#[derive(Debug, Default)]
pub struct LinkSlot {
    /// Since when the other node is told of this one's sessions; "never" = it is not.
    pub telling: MomentCell,
    /// Since when the other node's sessions are told here; "never" = they are not, and what was told last is kept.
    pub hearing: MomentCell,
    /// Gauge: sessions that the other node has been told of.
    pub told: Cell,
    /// Gauge: sessions of the other node that are known here.
    pub heard: Cell,
    /// Connections that this node has made to the other.
    pub connects: Cell,
    /// Those that ended, or could not be made.
    pub failures: Cell,
    /// Connections to this node that were refused: not from the other node, or not with its key.
    pub refused: Cell,
    /// Sessions of this node that found no room in its table.
    pub untold: Cell,
    /// Sessions of the other node at an address that is no VIP here.
    pub strangers: Cell,
    /// Why the other node is not told; empty = it is.
    pub problem: Text,
    /// The other node stops, and what is left of its sessions then is reset; "never" = it does not.
    pub peer_drain_until: MomentCell,
    /// Sessions that its stop has closed at a quiet moment.
    pub peer_drain_closed: Cell,
    /// When its stop was asked for; "never" = it does not stop. Since layout 17, as all that follows.
    pub peer_stops: MomentCell,
    /// When it has stopped, as it said in its last word; "never" = it has said no such word, or others after it.
    pub peer_stopped: MomentCell,
    /// Sessions that were reset at the end of its drain.
    pub peer_drain_reset: Cell,
}

/// Rescues: clients of a lost machine are told.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RescueSlot {
    /// The verdict on the other node that the last one was for (see [`super::ForwardBoard::dead_as_of`]).
    pub verdict: MomentCell,
    /// Bit n: clients of the VIP with index n were told after that verdict.
    pub vips: Cell,
    /// When the last one began.
    pub began: MomentCell,
    /// How long it took, in nanoseconds; 0 while it runs.
    pub took: Cell,
    /// Sessions that it was for.
    pub clients: Cell,
    /// Of these, those whose client got an RST meanwhile.
    pub freed: Cell,
    /// The sums since the node's start.
    pub runs: Cell,
    pub clients_in_all: Cell,
    pub freed_in_all: Cell,
    /// Segments that asked a client for its RST.
    pub pokes_in_all: Cell,
    /// Segments that the kernel has refused.
    pub refused_in_all: Cell,
    /// Rescues that ended early: they could not be started, failed, or the machine was heard again.
    pub cut_short: Cell,
    /// Why the last one of those did; empty = none did.
    pub problem: Text,
}
