//! The configuration that a node runs by, as its supervisor sees it.

use super::{Cell, ListenerSlot, MomentCell, Text, TlsSlot};

board_enum! {
    /// How a reload has ended.
    ReloadEnd {
        /// There was none since the node's start.
        None = 0 => "none",
        /// The node runs by what the file said.
        Applied = 1 => "applied",
        /// The file is not valid, or cannot be read.
        Invalid = 2 => "invalid",
        /// A running node cannot take it over, or a process did not.
        Refused = 3 => "refused",
    }
}

/// The running configuration, and the last reload.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ReloadSlot {
    /// Since when the node runs by it.
    pub since: MomentCell,
    /// [`ReloadEnd`]
    pub end: Cell,
    pub ended: MomentCell,
    /// Why the last one was not done; empty = it was.
    pub reason: Text,
    pub applied: Cell,
    /// Those that changed nothing.
    pub failed: Cell,
    /// Last look at the file on disk.
    pub looked: MomentCell,
    /// 1 = the file on disk says something else, or cannot be read.
    pub differs: Cell,
}

impl ListenerSlot {
    /// Forgets the listener that was at this place: another one comes.
    pub fn forget(&self) {
        let Self {
            sessions,
            accepted,
            denied,
            failed,
            accept_errors,
            bytes_in,
            bytes_out,
            idle_closed,
            lifetime_closed,
            aborted,
            dropped,
            limited_sessions,
            limited_rate,
            bad_headers,
            not_tls,
            hello_timeouts,
            hold,
            holds,
            killed,
            pause,
            clients_at_limit,
            tls,
        } = self;
        for cell in [
            sessions,
            accepted,
            denied,
            failed,
            accept_errors,
            bytes_in,
            bytes_out,
            idle_closed,
            lifetime_closed,
            aborted,
            dropped,
            limited_sessions,
            limited_rate,
            bad_headers,
            not_tls,
            hello_timeouts,
            hold,
            holds,
            killed,
            clients_at_limit,
        ] {
            cell.set(0);
        }
        pause.clear();
        let TlsSlot {
            handshakes,
            failures,
            truncated,
        } = tls;
        let cells = handshakes.iter().chain(failures).chain([truncated]);
        cells.for_each(|cell| cell.set(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_at_the_place_of_another_one_begins_with_nothing() {
        let slot = ListenerSlot::default();
        slot.accepted.add(7);
        slot.pause.set(1, None);
        slot.tls.handshakes[2].add(1);
        slot.tls.failures[3].add(1);
        slot.forget();
        assert_eq!(
            format!("{slot:?}"),
            format!("{:?}", ListenerSlot::default())
        );
    }
}
