//! How late the loop of vrrp woke up: a machine that is paused, starved or robbed of its CPU shows it here first.

use std::time::Duration;

use super::{Cell, MomentCell};
use crate::config::{Config, NodeIndex};
use crate::time::Moment;

/// A vrrp that has not turned for so long is replaced by the supervisor.
pub const VRRP_HUNG: Duration = Duration::from_millis(100);
/// Wake-ups are counted by the first of these that they are not later than.
pub const LATENESS_BOUNDS: [(Duration, &str); 9] = [
    (Duration::from_micros(100), "100us"),
    (Duration::from_micros(500), "500us"),
    (Duration::from_millis(1), "1ms"),
    (Duration::from_millis(2), "2ms"),
    (Duration::from_millis(5), "5ms"),
    (Duration::from_millis(10), "10ms"),
    (Duration::from_millis(20), "20ms"),
    (Duration::from_millis(50), "50ms"),
    (Duration::from_millis(100), "100ms"),
];
/// Slips further apart than this are not of one series.
const SERIES: Duration = Duration::from_secs(60);

/// Wake-ups that were due: those that something other than the loop's timer caused before are not among them.
#[repr(C)]
#[derive(Debug, Default)]
pub struct LatenessSlot {
    /// How many, by [`LATENESS_BOUNDS`]; the last cell = later than all of them.
    pub wakes: [Cell; LATENESS_BOUNDS.len() + 1],
    /// Those that took half of what others have patience for ([`Config::patience_with`]).
    pub slips: Cell,
    /// The last one of these.
    pub slipped: MomentCell,
    /// The longest one of the last series, in nanoseconds.
    pub longest: Cell,
}

impl LatenessSlot {
    /// One wake-up, so much later than it was due at `now`.
    pub fn take(&self, lateness: Duration, patience: Duration, now: Moment) {
        count_lateness(&self.wakes, lateness);
        if lateness < patience / 2 {
            return;
        }
        let nanos = u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX);
        match self.slipped.get() {
            Some(last) if now.since(last) < SERIES => self.longest.raise(nanos),
            Some(_) | None => self.longest.set(nanos),
        }
        self.slips.add(1);
        self.slipped.set(now);
    }
}

/// Counts one by the first bound that it is not later than.
pub fn count_lateness(cells: &[Cell; LATENESS_BOUNDS.len() + 1], lateness: Duration) {
    let mut bounds = LATENESS_BOUNDS.iter();
    let place = bounds.position(|(bound, _)| lateness <= *bound);
    cells[place.unwrap_or(LATENESS_BOUNDS.len())].add(1);
}

impl Config {
    /// How long a node's vrrp may stand still before others act: the other node, after three heartbeats or three adverts,
    /// or its own supervisor.
    pub fn patience_with(&self, node: NodeIndex) -> Duration {
        let heartbeat = self.pair.heartbeat;
        let heartbeat = heartbeat.filter(|_| self.has_pair_channel(node));
        let adverts = self.vips.iter().map(|vip| vip.advert_interval);
        let waited = adverts.chain(heartbeat).map(|interval| interval * 3);
        waited.fold(VRRP_HUNG, Duration::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(60);

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn each_wake_up_is_counted_once_under_the_first_bound_that_holds() {
        let slot = LatenessSlot::default();
        for micros in [0, 100, 101, 1_000, 29_999, 100_000, 100_001] {
            slot.take(Duration::from_micros(micros), PATIENCE * 10, at(1));
        }
        let counts = slot.wakes.each_ref().map(Cell::get);
        assert_eq!(counts, [2, 1, 1, 0, 0, 0, 0, 1, 1, 1]);
        assert_eq!((slot.slips.get(), slot.slipped.get()), (0, None));
    }

    #[test]
    fn half_of_the_patience_is_a_slip_and_the_longest_of_a_minute_is_kept() {
        let slot = LatenessSlot::default();
        for (millis, second) in [(29, 1), (30, 10), (50, 20), (40, 70)] {
            slot.take(Duration::from_millis(millis), PATIENCE, at(second));
        }
        assert_eq!((slot.slips.get(), slot.longest.get()), (3, 50_000_000));
        slot.take(Duration::from_millis(31), PATIENCE, at(130));
        assert_eq!((slot.slips.get(), slot.longest.get()), (4, 31_000_000));
        assert_eq!(slot.slipped.get(), Some(at(130)));
    }
}
