//! When a holder announces its VIP: at once, soon again, then now and then, for as long as it holds
//! it.

use std::time::Duration;

use common::time::Moment;

/// Rounds after the first one, counted from it: switches and neighbours that lost the first frames,
/// or were busy moving, get it again.
const ROUNDS: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// After them: heals neighbours that were deceived by somebody whom this node cannot hear.
const REFRESH: Duration = Duration::from_secs(60);
/// Largest deviation from [`REFRESH`], so that many VIPs do not speak in step.
const JITTER_MILLIS: u64 = 6000;

/// Announcements of one holder from the first one on; it ends when it is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    started: Moment,
    /// Rounds of [`ROUNDS`] that are over.
    done: usize,
    next: Moment,
    /// One more round, besides the schedule.
    extra: Option<Moment>,
    random: u64,
}

impl Schedule {
    /// The first round goes out at `started`, by the caller; `seed` spreads the refreshes.
    pub(crate) fn new(started: Moment, seed: u64) -> Self {
        Self {
            started,
            done: 0,
            next: started + ROUNDS[0],
            extra: None,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// When the next round is due.
    pub(crate) fn next_at(&self) -> Moment {
        self.extra.map_or(self.next, |extra| extra.min(self.next))
    }

    /// Adds one round at `at`, unless one is added for an earlier time already.
    pub(crate) fn add(&mut self, at: Moment) {
        self.extra = Some(self.extra.map_or(at, |extra| extra.min(at)));
    }

    /// A round goes out now. Rounds that were missed are not made up for.
    pub(crate) fn advance(&mut self, now: Moment) {
        self.extra = self.extra.filter(|extra| *extra > now);
        while self.next <= now {
            self.done += 1;
            self.next = match ROUNDS.get(self.done) {
                Some(offset) => self.started + *offset,
                None => now + self.refresh(),
            };
        }
    }

    fn refresh(&mut self) -> Duration {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let jitter = self.random % (2 * JITTER_MILLIS + 1);
        REFRESH + Duration::from_millis(jitter) - Duration::from_millis(JITTER_MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_nanos(1_000_000_000);

    fn rounds(schedule: &mut Schedule, count: usize) -> Vec<u128> {
        let mut round = || {
            let at = schedule.next_at();
            schedule.advance(at);
            at.since(START).as_millis()
        };
        (0..count).map(|_| round()).collect()
    }

    #[test]
    fn rounds_come_at_their_times_and_then_each_minute_or_so() {
        let mut schedule = Schedule::new(START, 51);
        assert_eq!(rounds(&mut schedule, 5), [50, 250, 1000, 3000, 10_000]);
        let mut before = 10_000;
        let refreshes = rounds(&mut schedule, 100);
        for at in &refreshes {
            assert!((54_000..=66_000).contains(&(at - before)), "{refreshes:?}");
            before = *at;
        }
        let mut other = Schedule::new(START, 52);
        assert_ne!(rounds(&mut other, 105)[5..], refreshes);
    }

    #[test]
    fn missed_rounds_are_skipped() {
        let mut schedule = Schedule::new(START, 51);
        schedule.advance(START + Duration::from_millis(1500));
        assert_eq!(rounds(&mut schedule, 1), [3000]);
    }

    #[test]
    fn an_extra_round_leaves_the_schedule_alone() {
        let mut schedule = Schedule::new(START, 51);
        schedule.add(START + Duration::from_millis(100));
        schedule.add(START + Duration::from_millis(120));
        assert_eq!(rounds(&mut schedule, 3), [50, 100, 250]);
    }
}
