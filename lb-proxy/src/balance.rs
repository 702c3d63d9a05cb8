//! Choosing a server: one algorithm per file, pure.
//!
//! A pick is given a [`Slate`]: the servers, narrowed to those that are in question. What it needs
//! beyond that (whose turn it is, a random number, the client's address) is its own. Nothing here
//! allocates during a pick.

mod draw;
mod first;
mod least_connections;
mod maglev;
mod random_of_two;
mod round_robin;
#[cfg(test)]
mod scenario;
mod server_set;
mod slate;
pub mod slow_start;
mod source_hash;

use std::net::SocketAddr;

use common::config::PortOffset;

pub use self::first::first;
pub use self::least_connections::least_connections;
pub use self::maglev::{LoadBound, Maglev};
pub use self::random_of_two::random_of_two;
pub use self::round_robin::RoundRobin;
pub use self::server_set::ServerSet;
pub use self::slate::{Slate, Vacancy};
pub use self::source_hash::source_hash;

/// Servers that this session has already tried, by their places: the servers of the backend may
/// change between two tries.
pub type Tried = ServerSet;

/// A server as the pick sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub address: SocketAddr,
    /// What is added to the port that the client came to, in the place of the address's port.
    pub port_offset: Option<PortOffset>,
    /// Share of new sessions; 0 = none.
    pub weight: u16,
    /// What slow start leaves of weight and limit, 1 to [`slow_start::FULL`].
    pub ramp: u16,
    /// Its state allows new sessions.
    pub usable: bool,
    /// Serves only while no other server can.
    pub backup: bool,
    /// Most sessions at a time; `None` = no limit.
    pub limit: Option<u32>,
    /// It is usable only because every server of the backend is down.
    pub in_need: bool,
    /// Its place on the board.
    pub place: usize,
}

impl Candidate {
    /// The weight in 1/256: slow start must be able to divide a weight of 1.
    const fn ramped_weight(&self) -> u32 {
        self.weight as u32 * self.ramp as u32
    }

    /// The sessions that it may have now. A server that starts slowly gets its limit slowly too,
    /// but never less than one session.
    fn ramped_limit(&self) -> Option<u64> {
        let ramp = u64::from(self.ramp);
        self.limit
            .map(|limit| u64::from(limit.min(1)).max(u64::from(limit) * ramp / FULL))
    }

    /// Whether slow start lets the server have this key, of those that a hash gives it: the part
    /// grows from 1/256 to all, and what was given stays.
    fn admits(&self, key: u64) -> bool {
        key % FULL < u64::from(self.ramp)
    }
}

const FULL: u64 = slow_start::FULL as u64;

#[cfg(test)]
pub(crate) fn candidates(weights: &[u16]) -> Vec<Candidate> {
    weights
        .iter()
        .enumerate()
        .map(|(place, weight)| Candidate {
            address: SocketAddr::from((
                [10, 17, 4, 21],
                6_443 + u16::try_from(place).expect("a test has few servers"),
            )),
            port_offset: None,
            weight: *weight,
            ramp: slow_start::FULL,
            usable: true,
            backup: false,
            limit: None,
            in_need: false,
            place,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_grows_with_slow_start_from_one_session() {
        let mut server = candidates(&[1])[0];
        for (limit, ramp, wanted) in [
            (100, 256, 100),
            (100, 128, 50),
            (100, 1, 1),
            (1, 255, 1),
            (0, 256, 0),
        ] {
            (server.limit, server.ramp) = (Some(limit), ramp);
            assert_eq!(server.ramped_limit(), Some(wanted));
        }
        server.limit = None;
        assert_eq!(server.ramped_limit(), None);
    }

    #[test]
    fn the_keys_that_a_slow_start_admits_are_as_many_as_its_ramp_and_stay() {
        let mut server = candidates(&[1])[0];
        let mut before = Vec::new();
        for ramp in 1..=slow_start::FULL {
            server.ramp = ramp;
            let admitted: Vec<_> = (0..512).filter(|key| server.admits(*key)).collect();
            assert_eq!(admitted.len(), 2 * usize::from(ramp));
            assert!(before.iter().all(|key| admitted.contains(key)));
            before = admitted;
        }
    }
}
