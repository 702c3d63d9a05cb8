//! Slow start: a server that came up gets its sessions little by little, while its caches and pools
//! fill.

use std::time::Duration;

use common::time::Moment;

/// The ramp of a server that has its whole weight.
pub const FULL: u16 = 256;

/// The part of weight and limit, in 1/256, of a server that came up at `since`: a straight line from
/// 1 to [`FULL`] over `time`.
///
/// `None` is a server that was up when the process started: its sessions did not end, so it has
/// nothing to warm up.
pub fn ramp(since: Option<Moment>, time: Duration, now: Moment) -> u16 {
    let Some(since) = since else { return FULL };
    let passed = now.since(since);
    if passed >= time {
        return FULL;
    }
    let part = passed.as_nanos() * u128::from(FULL) / time.as_nanos();
    u16::try_from(part).unwrap_or(FULL).clamp(1, FULL)
}

/// When the ramp has its next value; `None` once it is full.
pub fn next_step(since: Option<Moment>, time: Duration, now: Moment) -> Option<Moment> {
    let since = since?;
    let ramp = ramp(Some(since), time, now);
    if ramp == FULL {
        return None;
    }
    let next = u128::from(ramp) + 1;
    let after = (time.as_nanos() * next).div_ceil(u128::from(FULL));
    Some(since + Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{RoundRobin, Slate, Tried, candidates};
    use super::*;

    const UP: Moment = Moment::from_nanos(1_000_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn after(passed: Duration) -> u16 {
        ramp(Some(UP), MINUTE, UP + passed)
    }

    #[test]
    fn a_ramp_is_a_straight_line_from_one_to_full() {
        assert_eq!(after(Duration::ZERO), 1);
        assert_eq!(after(Duration::from_secs(15)), 64);
        assert_eq!(after(Duration::from_secs(30)), 128);
        assert_eq!(after(Duration::from_millis(59_999)), 255);
        assert_eq!(after(MINUTE), FULL);
        assert_eq!(after(Duration::from_secs(100_000)), FULL);
    }

    #[test]
    fn a_server_that_was_up_at_the_start_has_its_whole_weight() {
        assert_eq!(ramp(None, MINUTE, UP), FULL);
        assert_eq!(next_step(None, MINUTE, UP), None);
    }

    #[test]
    fn without_a_time_there_is_no_ramp() {
        assert_eq!(ramp(Some(UP), Duration::ZERO, UP), FULL);
        assert_eq!(next_step(Some(UP), Duration::ZERO, UP), None);
    }

    #[test]
    fn even_a_server_of_weight_one_starts_slowly() {
        let mut servers = candidates(&[1, 1]);
        servers[1].ramp = after(Duration::from_secs(15));
        let (mut turns, none) = (RoundRobin::default(), Tried::default());
        let mut shares = [0; 2];
        for _ in 0..500 {
            let picked = turns.pick(&Slate::new(&servers, &none, |_| 0));
            shares[picked.expect("both may serve")] += 1;
        }
        assert_eq!(shares, [400, 100]);
    }

    proptest! {
        #[test]
        fn the_steps_lead_through_every_value(time in 1_u64..100_000_000_000) {
            let time = Duration::from_nanos(time);
            let (mut now, mut value) = (UP, ramp(Some(UP), time, UP));
            let mut steps = 0;
            while let Some(next) = next_step(Some(UP), time, now) {
                prop_assert!(next > now);
                let just_before = Moment::from_nanos(next.as_nanos() - 1);
                prop_assert_eq!(ramp(Some(UP), time, just_before.max(now)), value);
                let stepped = ramp(Some(UP), time, next);
                prop_assert!(stepped > value);
                (now, value) = (next, stepped);
                steps += 1;
                prop_assert!(steps <= 256);
            }
            prop_assert_eq!(value, FULL);
        }
    }
}
