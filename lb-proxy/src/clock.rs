//! The clock that all processes of the node share.
#![expect(clippy::disallowed_methods, reason = "this is where the clock is read")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::time::Moment;
use nix::time::{ClockId, clock_gettime};

/// Now, on `CLOCK_MONOTONIC`.
pub(crate) fn now() -> Moment {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC");
    let since_boot = Duration::from(now);
    Moment::from_nanos(u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX))
}

/// Now by the calendar, since 1970 (UTC): for people, never to measure with.
pub(crate) fn calendar() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("every Linux has CLOCK_REALTIME");
    Duration::from(now)
}

/// The time of a relay thread's last tick: good enough to say when a session last moved a byte, and
/// free to read.
#[derive(Debug)]
pub(crate) struct CoarseClock(AtomicU64);

impl CoarseClock {
    pub(crate) fn new(now: Moment) -> Self {
        Self(AtomicU64::new(now.as_nanos()))
    }

    /// Sets the time; only the thread's ticker does.
    pub(crate) fn set(&self, now: Moment) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
