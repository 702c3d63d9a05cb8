//! The ports that connections to servers come from, where the file names a range. Pure.
//!
//! The kernel chooses only within net.ipv4.ip_local_port_range, which is the whole machine's. Bound
//! ports with SO_REUSEADDR are good for one connection to each server.

use std::sync::atomic::{AtomicU64, Ordering};

use common::config::PortRange;

use crate::hash::mix;

/// Ports that are tried: where nine of ten are in use, one of them is free in 999 cases of 1,000.
const TRIES: u32 = 64;

/// A range, and who is next.
#[derive(Debug)]
pub(super) struct Ports {
    range: PortRange,
    turn: AtomicU64,
}

impl Ports {
    pub(super) fn new(range: PortRange) -> Self {
        // Not where the process before this one began: the server may remember its connections.
        let turn = AtomicU64::new(mix(u64::from(std::process::id())));
        Self { range, turn }
    }

    pub(super) fn is_of(&self, range: PortRange) -> bool {
        self.range == range
    }

    /// The port to try after so many that were in use: in turn, so that a port rests as long as can
    /// be, and after that anywhere, since a process before this one may have neighbours of it in use.
    /// `None` = it has been tried often enough.
    pub(super) fn next(&self, in_use: u32) -> Option<u16> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match in_use {
            0 => Some(self.range.port(turn)),
            1..TRIES => Some(self.range.port(mix(turn))),
            TRIES.. => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ports() -> Ports {
        Ports::new(PortRange::new(10_000, 10_999).expect("a range"))
    }

    #[test]
    fn each_has_its_turn_before_one_comes_again() {
        let ports = ports();
        let found: BTreeSet<_> = (0..1_000).filter_map(|_| ports.next(0)).collect();
        assert_eq!(found.len(), 1_000);
    }

    #[test]
    fn a_free_one_is_found_beside_a_long_row_that_is_not() {
        let ports = ports();
        let is_free = |port: u16| port >= 10_900;
        let found = |ports: &Ports| (0..).map_while(|n| ports.next(n)).any(is_free);
        let searches = 1_000;
        let good = (0..searches).filter(|_| found(&ports)).count();
        assert!(good >= searches - 10, "{good}");
    }

    #[test]
    fn a_search_ends() {
        let ports = ports();
        assert_eq!((0..).map_while(|n| ports.next(n)).count(), 64);
    }
}
