//! Where the admin process reads its two clocks.

#![expect(clippy::disallowed_methods, reason = "this file reads the clocks")]

use std::time::{Duration, SystemTime};

use common::time::Moment;
use nix::time::{ClockId, clock_gettime};

/// The epoch is kept until the wall clock has moved this far against the monotonic one: a state that did not change
/// then has the same `since` in every answer.
const CLOCK_STEP: Duration = Duration::from_millis(100);

/// Both clocks at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) now: Moment,
    /// The wall clock (since 1970 in UTC) at the monotonic clock's zero, in whole milliseconds.
    pub(crate) epoch: Duration,
}

impl Clocks {
    /// Reads both.
    pub(crate) fn read() -> Self {
        let now = now();
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let epoch = wall.saturating_sub(Duration::from_nanos(now.as_nanos()));
        Self {
            now,
            epoch: Duration::from_millis(u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The same instant, with the epoch of an earlier reading if the wall clock was not set since.
    pub(crate) fn with_epoch_of(self, earlier: Self) -> Self {
        if self.epoch.abs_diff(earlier.epoch) < CLOCK_STEP {
            Self {
                epoch: earlier.epoch,
                ..self
            }
        } else {
            self
        }
    }
}

/// The monotonic clock that all processes of the node share.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC");
    let nanos = Duration::from(time).as_nanos();
    Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_changes_only_when_the_wall_clock_is_set() {
        let first = Clocks {
            now: Moment::from_nanos(5_000_000_000),
            epoch: Duration::from_secs(1_000),
        };
        let later = Clocks {
            now: Moment::from_nanos(9_000_000_000),
            epoch: Duration::from_millis(1_000_003),
        };
        assert_eq!(later.with_epoch_of(first).epoch, first.epoch);
        assert_eq!(later.with_epoch_of(first).now, later.now);
        let set = Clocks {
            epoch: Duration::from_secs(1_007),
            ..later
        };
        assert_eq!(set.with_epoch_of(first), set);
    }
}
