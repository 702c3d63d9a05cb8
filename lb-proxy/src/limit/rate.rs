//! A rate that allows short bursts: the generic cell rate algorithm (ITU-T I.371), one number of
//! state. Pure.

use std::time::Duration;

use common::time::Moment;

/// A burst may be what the rate allows in so long.
const BURST: Duration = Duration::from_millis(100);
const SECOND_NANOS: u64 = 1_000_000_000;

/// So many in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds between two at an even pace.
    interval: u64,
    burst: u64,
}

impl Rate {
    /// `per_second` is at least 1.
    pub fn per_second(per_second: u64) -> Self {
        let interval = (SECOND_NANOS / per_second.max(1)).max(1);
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        Self {
            interval,
            // One at a time is always possible.
            burst: burst.max(interval),
        }
    }

    /// Takes one at `now`. `next` is when an even pace would have the next one, in nanoseconds of
    /// the same clock (0 = at the start); the value for the next call, or how long to wait.
    pub fn take(self, next: u64, now: Moment) -> Result<u64, Duration> {
        let now = now.as_nanos();
        let after = next.max(now) + self.interval;
        let early = (after - now).saturating_sub(self.burst);
        if early > 0 {
            Err(Duration::from_nanos(early))
        } else {
            Ok(after)
        }
    }

    /// Whether nothing that was taken counts any more.
    pub fn is_at_rest(next: u64, now: Moment) -> bool {
        next <= now.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many are taken when somebody tries each `step` for `length`.
    fn taken(rate: Rate, step: Duration, length: Duration) -> u64 {
        let (mut next, mut count, mut at) = (0, 0, Duration::from_secs(5));
        let end = at + length;
        while at < end {
            let now = Moment::from_nanos(u64::try_from(at.as_nanos()).expect("a few seconds"));
            if let Ok(after) = rate.take(next, now) {
                next = after;
                count += 1;
            }
            at += step;
        }
        count
    }

    #[test]
    fn the_rate_holds_after_a_burst_of_a_tenth_of_a_second() {
        let rate = Rate::per_second(1_000);
        let greedy = taken(rate, Duration::from_micros(50), Duration::from_secs(2));
        assert!((2_099..=2_101).contains(&greedy), "{greedy}");
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused() {
        let rate = Rate::per_second(1_000);
        let even = taken(rate, Duration::from_millis(1), Duration::from_secs(2));
        assert_eq!(even, 2_000);
    }

    #[test]
    fn one_a_second_is_possible_and_no_more() {
        let rate = Rate::per_second(1);
        let greedy = taken(rate, Duration::from_millis(10), Duration::from_secs(10));
        assert_eq!(greedy, 10);
    }

    proptest! {
        #[test]
        fn after_the_wait_there_is_one(
            per_second in 1_u64..100_000, next in 0_u64..u64::MAX / 4, now in 0_u64..u64::MAX / 4,
        ) {
            let rate = Rate::per_second(per_second);
            if let Err(wait) = rate.take(next, Moment::from_nanos(now)) {
                let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                prop_assert!(rate.take(next, Moment::from_nanos(now + wait)).is_ok());
                prop_assert!(rate.take(next, Moment::from_nanos(now + wait - 1)).is_err());
            }
        }
    }
}
