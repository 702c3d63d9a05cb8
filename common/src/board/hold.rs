//! Clients that limits hold back: each relay thread holds one at most, those behind it wait in the
//! kernel's queue.

use super::{Cell, LAYOUT, ProxyBoard};

board_enum! {
    /// Why a listener accepts nothing now: more connections wait in the kernel's queue.
    Hold {
        None = 0 => "none",
        /// It has as many sessions as it may have.
        Sessions = 1 => "max_sessions",
        /// All listeners together have.
        AllSessions = 2 => "proxy.max_sessions",
        Rate = 3 => "accept_rate",
        /// An administrator has paused it.
        Paused = 4 => "paused",
    }
}

/// Gauges of one listener: relay threads that hold a client back, by [`Hold`].
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct HoldSlot([Cell; 8]);

impl HoldSlot {
    /// One more thread does, for this reason.
    pub fn begin(&self, hold: Hold) {
        self.cell(hold).add(1);
    }

    /// One of them does no more.
    pub fn end(&self, hold: Hold) {
        self.cell(hold).sub(1);
    }

    /// Nobody does: of a proxy that begins.
    pub fn clear(&self) {
        self.0.iter().for_each(|cell| cell.set(0));
    }

    /// Threads that hold a client back for this reason.
    pub fn threads(&self, hold: Hold) -> u64 {
        self.cell(hold).get()
    }

    /// The reason that is told where threads have several: the listener's own limits last.
    fn reason(&self) -> Hold {
        let reasons = [Hold::Paused, Hold::AllSessions, Hold::Sessions, Hold::Rate];
        let mut given = reasons.into_iter().filter(|one| self.threads(*one) > 0);
        given.next().unwrap_or(Hold::None)
    }

    fn cell(&self, hold: Hold) -> &Cell {
        &self.0[hold as usize % self.0.len()]
    }
}

impl ProxyBoard {
    /// Why a listener holds clients back now, whichever thread does.
    pub fn hold(&self, listener: usize) -> Hold {
        if self
            .header
            .layout
            .load(std::sync::atomic::Ordering::Acquire)
            < SINCE
        {
            // What the thread said that spoke last.
            return Hold::from_board(self.listeners[listener].hold.get());
        }
        self.holding[listener].reason()
    }
}

/// The layout that has these gauges.
const SINCE: u32 = 6;
const _: () = assert!(SINCE <= LAYOUT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_holds_back_until_the_last_thread_does_not() {
        let slot = HoldSlot::default();
        assert_eq!(slot.reason(), Hold::None);
        slot.begin(Hold::Rate);
        slot.begin(Hold::Sessions);
        slot.begin(Hold::Sessions);
        assert_eq!(slot.reason(), Hold::Sessions);
        slot.end(Hold::Sessions);
        assert_eq!(
            (slot.reason(), slot.threads(Hold::Sessions)),
            (Hold::Sessions, 1)
        );
        slot.end(Hold::Sessions);
        assert_eq!(slot.reason(), Hold::Rate);
        slot.clear();
        assert_eq!(slot.reason(), Hold::None);
        for hold in Hold::ALL.iter().copied() {
            assert!((hold as usize) < slot.0.len(), "{hold:?} has no gauge");
        }
    }
}
