//! The intervals of RFC 9568, section 6.1, in whole nanoseconds, rounded down, and that of the
//! lease.

use std::time::Duration;

use common::addr::Priority;

/// Skew_Time = (256 - priority) × interval / 256. In version 2 the interval of this formula is one
/// second always (RFC 3768, section 6.1): see [`Skew`].
pub fn skew_time(priority: Priority, interval: Duration) -> Duration {
    // Multiplied first, divided last: whole centiseconds would give every Backup the same skew at
    // short intervals.
    interval * u32::from(256 - u16::from(priority.value())) / 256
}

/// What a skew time is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skew {
    /// Version 3: the interval of the Active.
    OfInterval,
    /// Version 2.
    OfSecond,
}

impl Skew {
    /// Skew_Time of a Backup that hears adverts of this interval.
    pub fn time(self, priority: Priority, interval: Duration) -> Duration {
        match self {
            Self::OfInterval => skew_time(priority, interval),
            Self::OfSecond => skew_time(priority, Duration::from_secs(1)),
        }
    }
}

/// Active_Down_Interval = 3 × interval + Skew_Time, and never below three heartbeats of the pair
/// channel (`heartbeat` is its interval; `None` = the channel is off).
pub fn active_down_interval(
    (priority, skew): (Priority, Skew),
    interval: Duration,
    heartbeat: Option<Duration>,
) -> Duration {
    let by_adverts = interval * 3 + skew.time(priority, interval);
    by_adverts.max(heartbeat.unwrap_or_default() * 3)
}

/// Lifetime of a lease: nine tenths of the active-down interval in whole seconds, 1 s to 5 s, so
/// that a dead node's address is gone before the other node takes over, where whole seconds allow
/// it.
pub fn lease_lifetime(active_down_interval: Duration) -> Duration {
    Duration::from_secs((active_down_interval * 9 / 10).as_secs().clamp(1, 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTISECONDS: [u64; 4] = [1, 10, 100, 4095];

    fn priorities() -> impl Iterator<Item = Priority> {
        (1..=255).filter_map(Priority::new)
    }

    #[test]
    fn tim_37_in_version_2_the_skew_is_a_share_of_a_second_at_any_interval() {
        for priority in priorities() {
            let share = (256 - u64::from(priority.value())) * 1_000_000_000 / 256;
            for seconds in [1, 3, 255] {
                let interval = Duration::from_secs(seconds);
                let down = active_down_interval((priority, Skew::OfSecond), interval, None);
                assert_eq!(down, interval * 3 + Duration::from_nanos(share));
            }
        }
    }

    #[test]
    fn tim_37_skew_and_active_down_interval_are_exact_for_all_priorities() {
        for centiseconds in CENTISECONDS {
            let interval = Duration::from_millis(centiseconds * 10);
            for priority in priorities() {
                let nanos = u128::from(centiseconds) * 10_000_000;
                let skew_256ths = (256 - u128::from(priority.value())) * nanos;
                assert_eq!(
                    skew_time(priority, interval).as_nanos(),
                    skew_256ths / 256,
                    "{priority}, {centiseconds} cs"
                );
                assert_eq!(
                    active_down_interval((priority, Skew::OfInterval), interval, None).as_nanos(),
                    (3 * 256 * nanos + skew_256ths) / 256,
                    "{priority}, {centiseconds} cs"
                );
            }
        }
    }

    #[test]
    fn skew_differs_between_neighbours_even_at_10_ms() {
        let interval = Duration::from_millis(10);
        let skews: Vec<_> = priorities().map(|p| skew_time(p, interval)).collect();
        assert!(skews.is_sorted_by(|higher, lower| higher > lower));
    }

    #[test]
    fn the_table_of_the_usual_settings() {
        let at = |milliseconds, priority| {
            let priority = Priority::new(priority).expect("not zero");
            let interval = Duration::from_millis(milliseconds);
            (
                skew_time(priority, interval),
                active_down_interval((priority, Skew::OfInterval), interval, None),
            )
        };
        let micros = Duration::from_micros;
        assert_eq!(at(1000, 100), (micros(609_375), micros(3_609_375)));
        assert_eq!(at(100, 100).1, Duration::from_nanos(360_937_500));
        assert_eq!(at(10, 100).0, Duration::from_nanos(6_093_750));
    }

    #[test]
    fn the_active_down_interval_is_never_below_three_heartbeats() {
        let priority = Priority::new(250).expect("not zero");
        let down = |interval, heartbeat| {
            active_down_interval(
                (priority, Skew::OfInterval),
                Duration::from_millis(interval),
                Some(Duration::from_millis(heartbeat)),
            )
        };
        assert_eq!(down(10, 20), Duration::from_millis(60));
        assert_eq!(
            down(100, 20),
            active_down_interval(
                (priority, Skew::OfInterval),
                Duration::from_millis(100),
                None
            )
        );
    }

    #[test]
    fn a_lease_ends_before_the_active_down_interval_where_whole_seconds_allow() {
        for (down, lifetime) in [(36, 1), (1300, 1), (3023, 2), (3609, 3), (162_840, 5)] {
            assert_eq!(
                lease_lifetime(Duration::from_millis(down)),
                Duration::from_secs(lifetime),
                "{down} ms"
            );
        }
    }
}
