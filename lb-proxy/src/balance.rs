//! Choosing a server: one algorithm per file, pure.

mod least_connections;
mod round_robin;

use std::net::SocketAddr;

use common::config::MAX_SERVERS;

pub(crate) use self::least_connections::least_connections;
pub(crate) use self::round_robin::RoundRobin;

/// A server as the pick sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    /// Share of new sessions; 0 = none.
    pub(crate) weight: u16,
    /// Its state allows new sessions.
    pub(crate) usable: bool,
    /// Its place on the board.
    pub(crate) place: usize,
}

impl Candidate {
    fn may_serve(&self, index: usize, tried: &Tried) -> bool {
        self.usable && self.weight > 0 && !tried.contains(index)
    }
}

/// Servers of a backend that this session has already tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tried([u64; MAX_SERVERS / 64]);

impl Tried {
    pub(crate) fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & 1 << (index % 64) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
pub(crate) fn candidates(weights: &[u16]) -> Vec<Candidate> {
    weights
        .iter()
        .enumerate()
        .map(|(place, weight)| Candidate {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            weight: *weight,
            usable: true,
            place,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tried_servers_are_remembered_up_to_the_last_place() {
        let mut tried = Tried::default();
        assert!(tried.is_empty());
        for index in [0, 63, 64, MAX_SERVERS - 1] {
            assert!(!tried.contains(index));
            tried.insert(index);
            assert!(tried.contains(index));
        }
        assert!(!tried.contains(1) && !tried.is_empty());
    }
}
