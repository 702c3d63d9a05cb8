//! What vrrp and the TC program tell each other.

use super::{Cell, MomentCell, Text};
use crate::config::MAX_VIPS;

/// The one board that lies in the kernel, in a map of the TC program of flow forwarding
/// (`forward/src/program.c`, `struct state`, which has the same layout): the program writes its stamp there, vrrp the
/// rest, and the supervisor the roles of a vrrp that died.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ForwardBoard {
    /// Last frame of any kind from the other node's hardware address, exact to a millisecond; written by the program.
    pub peer_frame: MomentCell,
    /// The other node is dead as of this frame of it, until a newer one comes; "never" = no verdict.
    pub dead_as_of: MomentCell,
    /// By VIP: 1 = new connections are this node's own: it is active, or the other one has stopped.
    pub active: [Cell; MAX_VIPS],
}

impl ForwardBoard {
    /// Whether the program takes the other node for dead.
    pub fn is_peer_dead(&self) -> bool {
        let verdict = self.dead_as_of.get();
        verdict.is_some() && self.peer_frame.get() <= verdict
    }

    /// All that another program's board says, for the one that takes its place.
    pub fn go_on_from(&self, earlier: &Self) {
        if let Some(frame) = earlier.peer_frame.get() {
            self.peer_frame.set(frame);
        }
        if let Some(frame) = earlier.dead_as_of.get() {
            self.dead_as_of.set(frame);
        }
        for (own, earlier) in self.active.iter().zip(&earlier.active) {
            own.set(earlier.get());
        }
    }

    /// Of a vrrp that died: nobody asks, so nobody becomes dead, and this node is active for no VIP.
    pub fn resign(&self) {
        self.active.iter().for_each(|cell| cell.set(0));
    }
}

board_enum! {
    /// Whether segments of the other node's connections go there.
    Forwarding {
        /// The configuration has no use for it.
        Off = 0 => "off",
        /// This machine cannot; a plain failover is left.
        Refused = 1 => "refused",
        /// The other node has not been heard yet.
        Waiting = 2 => "waiting",
        /// The program is in place at every interface that carries VIPs.
        On = 3 => "on",
    }
}

/// Causes that are counted; there is room for more.
pub const MAX_CAUSES: usize = 16;

/// Flow forwarding, as the supervisor sees it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ForwardingSlot {
    /// [`Forwarding`]
    pub state: Cell,
    /// Why it is off, refused, or waits; empty = it is on.
    pub reason: Text,
    /// By the number of the cause (`forward::Cause`), since the program was loaded.
    pub packets: [Cell; MAX_CAUSES],
    pub bytes: [Cell; MAX_CAUSES],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    #[test]
    fn a_frame_takes_a_verdict_back() {
        let board = ForwardBoard::default();
        assert!(!board.is_peer_dead());
        board.peer_frame.set(Moment::from_nanos(5));
        board.dead_as_of.set(Moment::from_nanos(5));
        assert!(board.is_peer_dead());
        board.peer_frame.set(Moment::from_nanos(6));
        assert!(!board.is_peer_dead());
    }

    #[test]
    fn a_board_goes_on_where_another_one_was() {
        let (earlier, board) = (ForwardBoard::default(), ForwardBoard::default());
        earlier.peer_frame.set(Moment::from_nanos(5));
        earlier.dead_as_of.set(Moment::from_nanos(5));
        earlier.active[3].set(1);
        board.go_on_from(&earlier);
        assert!(board.is_peer_dead());
        assert_eq!((board.active[3].get(), board.active[4].get()), (1, 0));
    }

    #[test]
    fn who_resigns_keeps_the_verdict() {
        let board = ForwardBoard::default();
        board.active[15].set(1);
        board.dead_as_of.set(Moment::from_nanos(5));
        board.resign();
        assert_eq!(board.active[15].get(), 0);
        assert!(board.is_peer_dead());
    }
}
