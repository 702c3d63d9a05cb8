//! When probes start: not all at once. Pure.

use std::time::Duration;

use crate::hash::mix;

/// Longest spread of the first probes: a node that starts knows its servers soon.
const FIRST: Duration = Duration::from_millis(100);

/// When the first probe of the `index`th of `count` servers starts, counted from the start of the
/// process.
pub(crate) fn first_start(index: usize, count: usize, interval: Duration) -> Duration {
    let (index, count) = (
        u32::try_from(index).unwrap_or(0),
        u32::try_from(count).unwrap_or(1),
    );
    interval.min(FIRST) * index / count.max(1)
}

/// An interval between 95 % and 105 % of `interval`, for the `round`th probe of the server with
/// this seed.
pub(crate) fn jittered(interval: Duration, seed: u64, round: u64) -> Duration {
    let permille = 950 + mix(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 101;
    interval * u32::try_from(permille).unwrap_or(1_000) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_probes_lie_within_a_tenth_of_a_second() {
        let second = Duration::from_secs(1);
        assert_eq!(first_start(0, 4, second), Duration::ZERO);
        assert_eq!(first_start(3, 4, second), Duration::from_millis(75));
        assert_eq!(
            first_start(1, 2, Duration::from_millis(20)),
            Duration::from_millis(10)
        );
    }

    #[test]
    fn jitter_stays_within_five_percent_and_varies() {
        let interval = Duration::from_secs(2);
        let starts: Vec<_> = (0..1_000)
            .map(|round| jittered(interval, 7, round))
            .collect();
        assert!(
            starts
                .iter()
                .all(|wait| (1_900..=2_100).contains(&wait.as_millis()))
        );
        assert!(starts.iter().any(|wait| wait.as_millis() < 1_920));
        assert!(starts.iter().any(|wait| wait.as_millis() > 2_080));
        let mean = starts.iter().sum::<Duration>() / 1_000;
        assert!((1_990..=2_010).contains(&mean.as_millis()), "{mean:?}");
    }
}
