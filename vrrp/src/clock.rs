//! Reads the clocks: once per turn of the loop, and nowhere else.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads a clock"
)]

use std::time::Duration;

use common::time::Moment;
use nix::time::{ClockId, clock_gettime};

use crate::syscall;

/// The current moment on `CLOCK_MONOTONIC`.
pub fn now() -> Moment {
    Moment::from_nanos(nanos(ClockId::CLOCK_MONOTONIC))
}

/// Time since 1970, UTC, as far as the machine knows it.
pub(crate) fn wall() -> Duration {
    Duration::from_nanos(nanos(ClockId::CLOCK_REALTIME))
}

/// The clocks, read together: kernel receive stamps are `CLOCK_REALTIME`, our timers are
/// `CLOCK_MONOTONIC`, and `CLOCK_BOOTTIME` alone goes on while the machine is suspended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    monotonic: Moment,
    realtime: Duration,
    suspended: Duration,
}

impl Clocks {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let monotonic = now();
        let boot = Moment::from_nanos(nanos(ClockId::CLOCK_BOOTTIME));
        Self {
            monotonic,
            realtime: wall(),
            suspended: boot.since(monotonic),
        }
    }

    /// The monotonic one.
    pub(crate) const fn now(&self) -> Moment {
        self.monotonic
    }

    /// Time since 1970, UTC, as far as the machine knows it.
    pub(crate) const fn wall(&self) -> Duration {
        self.realtime
    }

    /// How long the machine has been suspended in all, and what passed between two readings: some microseconds, or
    /// what a pause took just there.
    pub(crate) const fn suspended(&self) -> Duration {
        self.suspended
    }

    /// The moment of a kernel stamp, by its age at this reading. `earliest` bounds what a step of
    /// the real-time clock can do: the queue was empty then, so nothing in it is older.
    pub(crate) fn moment_of(&self, stamp: Option<Duration>, earliest: Moment) -> Moment {
        let age = stamp.map_or(Duration::ZERO, |stamp| self.realtime.saturating_sub(stamp));
        (self.monotonic - age).max(earliest.min(self.monotonic))
    }
}

/// Whether the kernel says that the real-time clock is synchronised (adjtimex(2)).
pub(crate) fn is_synchronised() -> bool {
    syscall::clock_is_synchronised()
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("these clocks exist on every Linux");
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks() -> Clocks {
        Clocks {
            monotonic: Moment::from_nanos(10_000),
            realtime: Duration::from_nanos(1_000_000),
            suspended: Duration::ZERO,
        }
    }

    #[test]
    fn a_stamp_counts_by_its_age() {
        let stamp = Some(Duration::from_nanos(999_400));
        assert_eq!(
            clocks().moment_of(stamp, Moment::from_nanos(0)),
            Moment::from_nanos(9_400)
        );
    }

    #[test]
    fn a_clock_step_cannot_move_a_stamp_out_of_the_turn() {
        let earliest = Moment::from_nanos(9_000);
        let long_ago = Some(Duration::from_nanos(5));
        let in_the_future = Some(Duration::from_nanos(2_000_000));
        assert_eq!(clocks().moment_of(long_ago, earliest), earliest);
        assert_eq!(
            clocks().moment_of(in_the_future, earliest),
            Moment::from_nanos(10_000)
        );
        assert_eq!(
            clocks().moment_of(None, earliest),
            Moment::from_nanos(10_000)
        );
    }
}
