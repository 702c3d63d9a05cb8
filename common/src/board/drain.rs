//! How a stopping proxy lets its sessions come to their end.

use std::time::Duration;

use super::{Cell, MomentCell};
use crate::time::Moment;

/// Since layout 9.
#[repr(C)]
#[derive(Debug, Default)]
pub struct DrainSlot {
    /// When what is left is reset; nothing before a stop was asked for.
    pub until: MomentCell,
    /// Closed in order at a quiet moment.
    pub closed: Cell,
}

/// A stop that somebody has asked for, as the supervisor knows it. Since layout 17.
#[repr(C)]
#[derive(Debug, Default)]
pub struct StopSlot {
    /// When that was; "never" = the node does not stop.
    pub since: MomentCell,
    /// How long sessions may go on from the end of vrrp, in nanoseconds.
    pub drain: Cell,
}

/// Bounds of the ages that sessions are counted by, each with its word; those beyond the last one are old.
pub const AGES: [(Duration, &str); 4] = [
    (Duration::from_secs(60), "1m"),
    (Duration::from_secs(600), "10m"),
    (Duration::from_secs(3_600), "1h"),
    (Duration::from_secs(86_400), "1d"),
];

/// How old the sessions of one relay thread are that accepts no more. Since layout 16.
#[repr(C)]
#[derive(Debug, Default)]
pub struct AgesSlot {
    /// By the first of [`AGES`] that they are below; behind these the old ones.
    pub counts: [Cell; AGES.len() + 1],
    /// When the oldest began.
    pub oldest: MomentCell,
}

/// The same, as it is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ages {
    pub counts: [u64; AGES.len() + 1],
    pub oldest: Option<Moment>,
}

impl Ages {
    /// A session more.
    pub fn count(&mut self, began: Moment, now: Moment) {
        let age = now.since(began);
        let place = AGES.iter().position(|(bound, _)| age < *bound);
        self.counts[place.unwrap_or(AGES.len())] += 1;
        self.oldest = Some(self.oldest.map_or(began, |oldest| oldest.min(began)));
    }

    /// Those of another thread too.
    pub fn add(&mut self, slot: &AgesSlot) {
        for (count, cell) in self.counts.iter_mut().zip(&slot.counts) {
            *count += cell.get();
        }
        self.oldest = self.oldest.into_iter().chain(slot.oldest.get()).min();
    }
}

impl AgesSlot {
    pub fn set(&self, ages: &Ages) {
        for (cell, count) in self.counts.iter().zip(ages.counts) {
            cell.set(count);
        }
        match ages.oldest {
            Some(oldest) => self.oldest.set(oldest),
            None => self.oldest.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_by_age_and_the_oldest_is_known() {
        let now = Moment::from_nanos(1_000_000_000_000_000);
        let mut ages = Ages::default();
        for seconds in [0, 59, 60, 3_599, 3_600, 86_400, 200_000] {
            ages.count(now - Duration::from_secs(seconds), now);
        }
        assert_eq!(ages.counts, [2, 1, 1, 1, 2]);
        let oldest = Some(now - Duration::from_secs(200_000));
        assert_eq!(ages.oldest, oldest);
        let slot = AgesSlot::default();
        slot.set(&ages);
        let mut sum = Ages::default();
        sum.add(&AgesSlot::default());
        assert_eq!(sum, Ages::default());
        sum.add(&slot);
        sum.add(&slot);
        assert_eq!((sum.counts, sum.oldest), ([4, 2, 2, 2, 4], oldest));
        slot.set(&Ages::default());
        assert_eq!(slot.oldest.get(), None);
    }
}
