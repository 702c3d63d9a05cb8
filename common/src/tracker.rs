//! The verdict over something that is looked at again and again. Pure.

use crate::board::TrackerState;

/// Counts looks in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    rise: u32,
    fall: u32,
    state: TrackerState,
    /// Looks in a row that speak against the state.
    against: u32,
}

impl Tally {
    /// `state` is what an earlier process has found, so that its death changes nothing.
    pub const fn new((rise, fall): (u32, u32), state: TrackerState) -> Self {
        Self {
            rise,
            fall,
            state,
            against: 0,
        }
    }

    /// What is known.
    pub const fn state(&self) -> TrackerState {
        self.state
    }

    /// Counts a look; whether the state has changed. The first one of all decides by itself: until
    /// then the node does not know whether it is ready.
    pub fn take(&mut self, is_good: bool) -> bool {
        let (speaks_for, needed) = if is_good {
            (TrackerState::Up, self.rise)
        } else {
            (TrackerState::Down, self.fall)
        };
        if self.state == speaks_for {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.state != TrackerState::Unknown && self.against < needed {
            return false;
        }
        self.state = speaks_for;
        self.against = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::TrackerState::{Down, Unknown, Up};
    use super::*;

    #[test]
    fn it_takes_fall_bad_and_rise_good_looks_in_a_row() {
        let mut tally = Tally::new((2, 3), Up);
        let looks = "bbg bbb gbgg";
        let states: Vec<_> = looks
            .chars()
            .filter(|look| *look != ' ')
            .map(|look| {
                tally.take(look == 'g');
                tally.state()
            })
            .collect();
        let expected = [Up, Up, Up, Up, Up, Down, Down, Down, Down, Up];
        assert_eq!(states, expected);
    }

    #[test]
    fn the_first_look_decides_by_itself() {
        for (is_good, state) in [(true, Up), (false, Down)] {
            let mut tally = Tally::new((5, 5), Unknown);
            assert!(tally.take(is_good));
            assert_eq!(tally.state(), state);
            assert!(!tally.take(is_good), "a change is told once");
        }
    }

    #[test]
    fn a_successor_goes_on_with_what_was_found() {
        let mut tally = Tally::new((2, 2), Down);
        assert!(!tally.take(true));
        assert!(tally.take(true));
    }
}
