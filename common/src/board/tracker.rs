//! What trackers have found: on the board of whoever looks.

use super::{AdminBoard, Cell, MomentCell, Text, VrrpBoard};
use crate::config::TrackerKind;
use crate::time::Moment;
use crate::tracker::Tally;

board_enum! {
    /// What a tracker has found.
    TrackerState {
        /// Nobody has looked yet.
        Unknown = 0 => "unknown",
        Up = 1 => "up",
        Down = 2 => "down",
    }
}

/// One tracker, by its place in the configuration. It outlives who looks: a successor goes on with it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct TrackerSlot {
    /// [`TrackerState`]
    state: Cell,
    pub since: MomentCell,
    /// What the last look has found, in words.
    pub reason: Text,
    pub looks: Cell,
    /// Of these, the bad ones.
    pub failures: Cell,
    /// Changes from up to down.
    pub downs: Cell,
    /// When the last look ended.
    pub looked: MomentCell,
}

impl TrackerSlot {
    /// What is known.
    pub fn state(&self) -> TrackerState {
        TrackerState::from_board(self.state.get())
    }

    /// Nothing is known any more: another tracker has this place. The counters go on.
    pub fn forget(&self) {
        self.state.set(TrackerState::Unknown.on_board());
        self.since.clear();
        self.reason.set("");
        self.looked.clear();
    }

    /// Takes a look into account: `Ok` = good, both with words; whether the state has changed. Only
    /// who looks may call it.
    pub fn take(&self, tally: &mut Tally, found: Result<&str, &str>, now: Moment) -> bool {
        let before = tally.state();
        let changed = tally.take(found.is_ok());
        self.looks.add(1);
        if found.is_err() {
            self.failures.add(1);
        }
        let (Ok(words) | Err(words)) = found;
        self.reason.set(words);
        self.looked.set(now);
        if changed {
            self.since.set(now);
            if (before, tally.state()) == (TrackerState::Up, TrackerState::Down) {
                self.downs.add(1);
            }
            self.state.set(tally.state().on_board());
        }
        changed
    }
}

/// The slot of a tracker, on the board of whoever looks at its kind.
pub fn tracker_slot<'a>(
    kind: &TrackerKind,
    place: usize,
    (vrrp, admin): (&'a VrrpBoard, &'a AdminBoard),
) -> &'a TrackerSlot {
    if kind.is_of_vrrp() {
        &vrrp.trackers[place]
    } else {
        &admin.trackers[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_tells_state_words_and_counts() {
        let slot = TrackerSlot::default();
        let mut tally = Tally::new((1, 2), slot.state());
        let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
        assert_eq!(slot.state(), TrackerState::Unknown);
        assert!(slot.take(&mut tally, Ok("exit code 0"), at(1)));
        assert!(!slot.take(&mut tally, Err("exit code 1"), at(2)));
        assert_eq!(slot.state(), TrackerState::Up);
        assert_eq!(slot.reason.get(), "exit code 1");
        assert!(slot.take(&mut tally, Err("exit code 1"), at(3)));
        assert_eq!(slot.state(), TrackerState::Down);
        assert_eq!(slot.since.get(), Some(at(3)));
        let counts = [&slot.looks, &slot.failures, &slot.downs].map(Cell::get);
        assert_eq!(counts, [3, 2, 1]);
    }
}
