//! Consistent hashing by Maglev's table (Eisenbud and others, NSDI 2016, section 3.4), with bounded
//! load (Mirrokni and others, "Consistent Hashing with Bounded Loads", 2017).
//!
//! The table is over all servers with a weight, backups too, whatever their state: a pick begins at
//! the entry of the client's hash and goes on to the next entry until it meets a server that may
//! serve. Neighbours in the table are unrelated, so a server that goes down moves its own clients
//! only, evenly over the others, and no table is built while servers come and go. A change of
//! weights or addresses builds a new one, which moves few clients of the others.
//!
//! Where a server's entries lie follows from its address, and servers take turns in the order of
//! their addresses: both nodes have the same table, also if they list the servers differently.

use std::net::IpAddr;

use common::config::MAX_SERVERS;

use super::{Candidate, ServerSet, Slate};
use crate::hash;

/// Entries of a table: the largest prime below 2^14. A prime, so that every step leads through the
/// whole table. 64 entries for each of 256 servers keep equal shares within 2 %, and 16 KiB stay in
/// the cache (the paper's 65,537 serve a thousand servers within 1 %).
const SIZE: usize = 16_381;

/// The table of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maglev {
    /// Indexes of servers; empty if none has a weight.
    entries: Box<[u8]>,
}

const _: () = assert!(MAX_SERVERS <= 256, "an entry is one byte");

impl Maglev {
    /// Builds the table, in at most a few milliseconds: for the thread that publishes servers, not
    /// for one that relays.
    pub fn new(candidates: &[Candidate]) -> Self {
        Self {
            entries: populate(candidates),
        }
    }

    /// The index of the client's server; `None` if none may serve. An IPv4-mapped address counts as
    /// IPv4. The slate is of the servers that the table was built for.
    ///
    /// A server that is at its bound, or in slow start and does not admit the client yet, is passed
    /// over, unless only such servers are left.
    pub fn pick(
        &self,
        slate: &Slate<'_, impl Fn(usize) -> u64>,
        client: IpAddr,
        bound: Option<LoadBound>,
    ) -> Option<usize> {
        let key = hash::of_address(client);
        let mut open = slate.serving();
        if let Some(bound) = bound {
            let has_room = bound.has_room(slate);
            open = narrowed(open, slate.len(), has_room);
        }
        open = narrowed(open, slate.len(), |index| {
            slate.candidate(index).admits(key)
        });
        let start = usize::try_from((u128::from(key) * SIZE as u128) >> 64).ok()?;
        let (before, from) = self.entries.split_at_checked(start)?;
        from.iter()
            .chain(before)
            .map(|entry| usize::from(*entry))
            .find(|index| open.contains(*index))
    }
}

/// Those of `set` that `keep` keeps, or all of them if it keeps none; all are below `servers`.
fn narrowed(set: ServerSet, servers: usize, keep: impl Fn(usize) -> bool) -> ServerSet {
    let kept: ServerSet = (0..servers)
        .filter(|index| set.contains(*index) && keep(*index))
        .collect();
    if kept.is_empty() { set } else { kept }
}

/// How far above its share of the sessions a server may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadBound {
    percent: u32,
}

impl Default for LoadBound {
    /// A quarter more than the average.
    fn default() -> Self {
        Self { percent: 125 }
    }
}

impl LoadBound {
    /// A bound of so many percent of the average; `None` if that is not above 100: servers that are
    /// all at the average would leave no room for a session.
    pub fn new(percent: u32) -> Option<Self> {
        (percent > 100).then_some(Self { percent })
    }

    /// Whether the server at an index stays, with another session, within the bound: the
    /// percentage of its share, by weight, of the sessions of all servers that stand, the new one
    /// counted, rounded up.
    fn has_room<S: Fn(usize) -> u64>(self, slate: &Slate<'_, S>) -> impl Fn(usize) -> bool {
        let weight = |index: usize| u128::from(slate.candidate(index).ramped_weight());
        let (mut sessions, mut weights) = (1, 0);
        for index in (0..slate.len()).filter(|index| slate.stands(*index)) {
            sessions += u128::from(slate.sessions(index));
            weights += weight(index);
        }
        // sessions < ceil(percent / 100 * all sessions * weight / weights), without division.
        move |index| {
            u128::from(slate.sessions(index)) * 100 * weights
                < u128::from(self.percent) * sessions * weight(index)
        }
    }
}

/// A server's walk through the table, and its claim on entries.
struct Walk {
    index: u8,
    weight: u64,
    claim: u64,
    position: usize,
    step: usize,
}

impl Walk {
    /// Takes the next free entry of its walk; there is one.
    fn take(&mut self, entries: &mut [Option<u8>]) {
        while entries[self.position].is_some() {
            self.position = (self.position + self.step) % SIZE;
        }
        entries[self.position] = Some(self.index);
    }
}

/// In each round every server gains its weight, and whoever has gained the greatest weight takes an
/// entry; in the first round each takes one, so none has less than that.
fn populate(candidates: &[Candidate]) -> Box<[u8]> {
    let mut walks = walks(candidates);
    let Some(greatest) = walks.iter().map(|walk| walk.weight).max() else {
        return Box::default();
    };
    for walk in &mut walks {
        walk.claim = greatest - walk.weight;
    }
    let mut entries = vec![None; SIZE];
    let mut free = SIZE;
    while free > 0 {
        for walk in &mut walks {
            walk.claim += walk.weight;
            if walk.claim >= greatest && free > 0 {
                walk.claim -= greatest;
                walk.take(&mut entries);
                free -= 1;
            }
        }
    }
    entries.into_iter().flatten().collect()
}

fn walks(candidates: &[Candidate]) -> Vec<Walk> {
    let mut servers: Vec<_> = (0_u8..=u8::MAX)
        .zip(candidates)
        .filter(|(_, server)| server.weight > 0)
        .collect();
    servers.sort_by_key(|(_, server)| server.address);
    let walk = |(index, server): (u8, &Candidate)| {
        let hash = hash::of_server(server.address);
        Walk {
            index,
            weight: u64::from(server.weight),
            claim: 0,
            position: remainder(hash, SIZE),
            step: remainder(hash::step(hash, 1), SIZE - 1) + 1,
        }
    };
    servers.into_iter().map(walk).collect()
}

fn remainder(hash: u64, divisor: usize) -> usize {
    usize::try_from(hash % divisor as u64).expect("less than a usize")
}

#[cfg(test)]
mod tests;
