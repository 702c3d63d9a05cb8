//! Servers by name: what the resolver has found.

use super::{Cell, MomentCell, Text};
use crate::time::Moment;

/// One name of a backend. The servers that it stands for are on the roster.
#[repr(C)]
#[derive(Debug, Default)]
pub struct NameSlot {
    /// The last answer that named servers.
    pub answered: MomentCell,
    /// Since when every answer has failed, in whole or in part; "never" = the last one was good.
    pub failing: MomentCell,
    /// How the last one failed, in words; empty = it did not.
    pub reason: Text,
    /// Questions that were put.
    pub queries: Cell,
    /// Those of them that failed.
    pub failures: Cell,
    /// Gauge: addresses of the last good answer that became no servers.
    pub left_out: Cell,
    /// Why the first of them did not, in words.
    pub left_out_reason: Text,
}

/// What stands in a [`NameSlot`], to be put at another place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameRecord {
    pub answered: Option<Moment>,
    pub failing: Option<Moment>,
    pub reason: String,
    pub queries: u64,
    pub failures: u64,
    pub left_out: u64,
    pub left_out_reason: String,
}

impl NameSlot {
    pub fn record(&self) -> NameRecord {
        NameRecord {
            answered: self.answered.get(),
            failing: self.failing.get(),
            reason: self.reason.get(),
            queries: self.queries.get(),
            failures: self.failures.get(),
            left_out: self.left_out.get(),
            left_out_reason: self.left_out_reason.get(),
        }
    }

    /// Only the board's writer may call it.
    pub fn put(&self, record: &NameRecord) {
        let moments = [
            (&self.answered, record.answered),
            (&self.failing, record.failing),
        ];
        for (cell, moment) in moments {
            match moment {
                Some(moment) => cell.set(moment),
                None => cell.clear(),
            }
        }
        self.reason.set(&record.reason);
        self.queries.set(record.queries);
        self.failures.set(record.failures);
        self.left_out.set(record.left_out);
        self.left_out_reason.set(&record.left_out_reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_name_is_the_same_at_another_place() {
        let record = NameRecord {
            answered: Some(Moment::from_nanos(5)),
            failing: None,
            reason: "no such name".to_owned(),
            queries: 9,
            failures: 2,
            left_out: 1,
            left_out_reason: "10.0.0.1:1: more than max_addresses".to_owned(),
        };
        let slot = NameSlot::default();
        slot.failing.set(Moment::from_nanos(3));
        slot.put(&record);
        assert_eq!(slot.record(), record);
        slot.put(&NameRecord::default());
        assert_eq!(slot.record(), NameRecord::default());
    }
}
