//! When an interface that came back is trusted again. Pure.
//!
//! A link that comes and goes must not take the VIPs with it each time: after each loss it has to
//! stay for an advert interval before the node takes part in elections again, and for twice as long as
//! the last time if it did not stay for [`STEADY`].

use std::time::Duration;

use common::time::Moment;

/// Who was up for so long is not flapping.
const STEADY: Duration = Duration::from_secs(10);
/// Longest time that it has to stay.
const LONGEST: Duration = Duration::from_secs(10);

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Debounce {
    base: Duration,
    /// How long it has to stay the next time.
    hold: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was never lost.
    New,
    Lost,
    /// Since then, and trusted from then on.
    Back {
        since: Moment,
        trusted: Moment,
    },
}

impl Debounce {
    /// `base` is the shortest time that it has to stay.
    pub(crate) fn new(base: Duration) -> Self {
        Self {
            base,
            hold: base,
            state: State::New,
        }
    }

    /// It can carry VIPs now, or it cannot. Until when it is not trusted although it can.
    pub(crate) fn look(&mut self, can_carry: bool, now: Moment) -> Option<Moment> {
        match (self.state, can_carry) {
            (State::New, true) => None,
            (State::Lost, false) => None,
            (State::Lost, true) => {
                let trusted = now + self.hold;
                self.state = State::Back {
                    since: now,
                    trusted,
                };
                Some(trusted)
            }
            (State::Back { trusted, .. }, true) => (now < trusted).then_some(trusted),
            (State::New, false) => {
                self.state = State::Lost;
                None
            }
            (State::Back { since, .. }, false) => {
                self.hold = if now.since(since) >= STEADY {
                    self.base
                } else {
                    (self.hold * 2).min(LONGEST.max(self.base))
                };
                self.state = State::Lost;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn what_was_never_lost_is_trusted() {
        let mut debounce = Debounce::new(BASE);
        assert_eq!(debounce.look(true, at(0)), None);
        let mut late = Debounce::new(BASE);
        assert_eq!(late.look(false, at(0)), None);
        assert_eq!(late.look(true, at(5_000)), Some(at(5_100)));
    }

    #[test]
    fn after_a_loss_it_has_to_stay_for_an_interval() {
        let mut debounce = Debounce::new(BASE);
        debounce.look(false, at(0));
        assert_eq!(debounce.look(true, at(50)), Some(at(150)));
        assert_eq!(debounce.look(true, at(149)), Some(at(150)));
        assert_eq!(debounce.look(true, at(150)), None);
    }

    #[test]
    fn par_66_a_link_that_flaps_for_a_minute_is_trusted_once() {
        let mut debounce = Debounce::new(BASE);
        let mut trusted = 0;
        for flap in 0..150 {
            debounce.look(false, at(flap * 400));
            for millis in (200..400).step_by(20) {
                let now = at(flap * 400 + millis);
                let before = trusted;
                if debounce.look(true, now).is_none() && millis < 380 {
                    trusted = flap + 1;
                }
                assert!(trusted <= before.max(1), "flap {flap}");
            }
        }
        assert_eq!(trusted, 1, "only the first time");
        // It stays now, at most as long as it takes.
        let end = 150 * 400;
        debounce.look(false, at(end));
        assert_eq!(debounce.look(true, at(end)), Some(at(end) + LONGEST));
        assert_eq!(debounce.look(true, at(end) + LONGEST), None);
        // Steady for so long, it begins anew.
        debounce.look(false, at(end) + LONGEST + STEADY);
        let again = at(end) + LONGEST + STEADY;
        assert_eq!(debounce.look(true, again), Some(again + BASE));
    }
}
