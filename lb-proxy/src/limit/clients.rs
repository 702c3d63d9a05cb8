//! What each client address has: sessions at the same time, and new ones a second.
//!
//! A client of IPv6 is its /64, which is what one machine is given. The table has an entry for each
//! client with sessions or a recent one; the others are swept out when it has doubled, so it is
//! bounded by what the limits of sessions and of the rate let in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::board::Cell;
use common::config::SourceLimit;
use common::time::Moment;

use super::rate::Rate;
use crate::lists::List;

/// Locks of the table: threads rarely meet.
const SHARDS: usize = 16;
/// Entries of a shard that are not worth a sweep.
const FEW: usize = 64;

/// The clients of one listener.
#[derive(Debug)]
pub struct Clients {
    limit: Option<u32>,
    rate: Option<Rate>,
    exempt: List,
    /// Stays where a reload changes the limits.
    table: Arc<Table>,
}

#[derive(Debug)]
struct Table {
    /// Most sessions of a client; 0 = no limit.
    max_sessions: AtomicU32,
    /// Clients that have as many sessions as they may have.
    at_limit: &'static Cell,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<u128, Entry>,
    /// Entries after the last sweep.
    kept: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    sessions: u32,
    /// See [`Rate::take`].
    next: u64,
}

/// Why a client's session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Sessions,
    Rate,
}

/// A session that is counted for its client, until dropped.
#[derive(Debug)]
pub struct Admitted {
    clients: Arc<Clients>,
    key: u128,
}

impl Clients {
    /// `None` = there is no limit.
    pub fn new(
        limit: &SourceLimit,
        exempt: impl FnOnce() -> List,
        at_limit: &'static Cell,
    ) -> Option<Arc<Self>> {
        let table = || {
            Arc::new(Table {
                max_sessions: AtomicU32::new(limit.sessions.unwrap_or(0)),
                at_limit,
                shards: std::array::from_fn(|_| Mutex::default()),
            })
        };
        Self::with(limit, exempt, table)
    }

    /// The same clients with other limits, in force from [`Clients::take_over`] on.
    pub(crate) fn after(
        &self,
        limit: &SourceLimit,
        exempt: impl FnOnce() -> List,
    ) -> Option<Arc<Self>> {
        Self::with(limit, exempt, || Arc::clone(&self.table))
    }

    fn with(
        limit: &SourceLimit,
        exempt: impl FnOnce() -> List,
        table: impl FnOnce() -> Arc<Table>,
    ) -> Option<Arc<Self>> {
        let limited = limit.sessions.is_some() || limit.rate.is_some();
        limited.then(|| {
            Arc::new(Self {
                limit: limit.sessions,
                rate: limit.rate.map(Rate::per_second),
                exempt: exempt(),
                table: table(),
            })
        })
    }

    /// From now on its limits count for the sessions that the clients have, too.
    pub(crate) fn take_over(&self) {
        let Table {
            max_sessions,
            at_limit,
            shards,
        } = &*self.table;
        let most = self.limit.unwrap_or(0);
        if max_sessions.load(Ordering::Relaxed) == most {
            return;
        }
        // All at once: nobody enters or leaves while they are counted anew.
        let shards: Vec<_> = shards.iter().map(lock).collect();
        max_sessions.store(most, Ordering::Relaxed);
        let entries = shards.iter().flat_map(|shard| shard.entries.values());
        let full = entries.filter(|entry| most > 0 && entry.sessions >= most);
        at_limit.set(full.count() as u64);
    }

    /// Counts a new session; `Ok(None)` = this client has no limit. In a box, since most sessions
    /// have none.
    pub fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        now: Moment,
    ) -> Result<Option<Box<Admitted>>, Refusal> {
        let client = client.to_canonical();
        if self.exempt.has(client) {
            return Ok(None);
        }
        let key = key(client);
        let mut shard = self.shard(key);
        if shard.entries.len() >= FEW.max(2 * shard.kept) {
            shard.sweep(now);
        }
        let mut entry = shard.entries.get(&key).copied().unwrap_or_default();
        let most = self.table.most();
        if most.is_some_and(|most| entry.sessions >= most) {
            return Err(Refusal::Sessions);
        }
        if let Some(rate) = self.rate {
            entry.next = rate.take(entry.next, now).map_err(|_| Refusal::Rate)?;
        }
        entry.sessions += 1;
        if most == Some(entry.sessions) {
            self.table.at_limit.add(1);
        }
        shard.entries.insert(key, entry);
        drop(shard);
        Ok(Some(Box::new(Admitted {
            clients: Arc::clone(self),
            key,
        })))
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        let folded = (key ^ (key >> 64)) as u64;
        // The last bits of addresses are the ones that differ.
        let place = (folded ^ (folded >> 4)) as usize % SHARDS;
        lock(&self.table.shards[place])
    }
}

impl Table {
    fn most(&self) -> Option<u32> {
        Some(self.max_sessions.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn sweep(&mut self, now: Moment) {
        self.entries
            .retain(|_, entry| entry.sessions > 0 || !Rate::is_at_rest(entry.next, now));
        self.kept = self.entries.len();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut shard = self.clients.shard(self.key);
        if let Some(entry) = shard.entries.get_mut(&self.key) {
            // One that has more, since the limit was lowered, is at the limit still.
            if self.clients.table.most() == Some(entry.sessions) {
                self.clients.table.at_limit.sub(1);
            }
            entry.sessions -= 1;
            if entry.sessions == 0 && self.clients.rate.is_none() {
                shard.entries.remove(&self.key);
            }
        }
    }
}

/// An IPv4 address, or the first half of an IPv6 one.
fn key(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Lists;

    fn clients(sessions: Option<u32>, rate: Option<u64>) -> Arc<Clients> {
        let limit = SourceLimit {
            sessions,
            rate,
            ..SourceLimit::default()
        };
        let exempt = || {
            let lists = Lists::default();
            lists.list(&["192.168.0.40/32".parse().expect("a network")], None)
        };
        let at_limit = Box::leak(Box::default());
        Clients::new(&limit, exempt, at_limit).expect("there is a limit")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn entries(clients: &Clients) -> usize {
        let len = |shard: &Mutex<Shard>| shard.lock().expect("not poisoned").entries.len();
        clients.table.shards.iter().map(len).sum()
    }

    #[test]
    fn a_client_has_its_sessions_and_no_more() {
        let clients = clients(Some(2), None);
        let one = clients.admit(ip("10.0.0.1"), at(0)).expect("the first");
        let two = clients.admit(ip("10.0.0.1"), at(0)).expect("the second");
        let refused = clients.admit(ip("10.0.0.1"), at(0)).err();
        assert_eq!(refused, Some(Refusal::Sessions));
        let another = clients.admit(ip("10.0.0.2"), at(0)).expect("another one");
        assert_eq!(clients.table.at_limit.get(), 1);
        drop((one, another));
        assert_eq!(clients.table.at_limit.get(), 0);
        clients.admit(ip("10.0.0.1"), at(0)).expect("one has ended");
        drop(two);
        assert_eq!(entries(&clients), 0);
    }

    #[test]
    fn a_reload_changes_the_limits_and_forgets_no_session() {
        let clients = clients(Some(3), None);
        let admit = |clients: &Arc<Clients>| clients.admit(ip("10.0.0.1"), at(0));
        let mut held: Vec<_> = (0..2).map(|_| admit(&clients).expect("of three")).collect();
        let limit = |sessions| SourceLimit {
            sessions,
            ..SourceLimit::default()
        };
        let none = || Lists::default().list(&[], None);
        let lower = clients.after(&limit(Some(1)), none).expect("a limit");
        assert_eq!(clients.table.at_limit.get(), 0, "it is only prepared");
        lower.take_over();
        assert_eq!(clients.table.at_limit.get(), 1);
        assert_eq!(admit(&lower).err(), Some(Refusal::Sessions));
        held.pop();
        assert_eq!(clients.table.at_limit.get(), 1);
        assert_eq!(admit(&lower).err(), Some(Refusal::Sessions));
        held.pop();
        assert_eq!((clients.table.at_limit.get(), entries(&lower)), (0, 0));
        let higher = lower.after(&limit(Some(2)), none).expect("a limit");
        higher.take_over();
        held.extend((0..2).map(|_| admit(&higher).expect("of two")));
        assert_eq!(admit(&higher).err(), Some(Refusal::Sessions));
        assert!(higher.after(&limit(None), none).is_none());
    }

    #[test]
    fn a_client_that_is_too_fast_is_refused_until_it_has_waited() {
        let clients = clients(None, Some(10));
        let fast: Vec<_> = (0..5)
            .map(|_| clients.admit(ip("10.0.0.1"), at(0)).is_ok())
            .collect();
        assert_eq!(fast, [true, false, false, false, false]);
        clients
            .admit(ip("10.0.0.1"), at(100))
            .expect("a tenth of a second later");
    }

    #[test]
    fn who_is_exempt_has_no_limit() {
        let clients = clients(Some(1), Some(1));
        for _ in 0..10 {
            let admitted = clients.admit(ip("::ffff:192.168.0.40"), at(0));
            assert!(matches!(admitted, Ok(None)));
        }
        assert_eq!(entries(&clients), 0);
    }

    #[test]
    fn a_client_of_ipv6_is_its_64() {
        let clients = clients(Some(1), None);
        let _one = clients.admit(ip("2001:db8:0:1::1"), at(0)).expect("one");
        assert!(clients.admit(ip("2001:db8:0:1::2"), at(0)).is_err());
        assert!(clients.admit(ip("2001:db8:0:2::1"), at(0)).is_ok());
    }

    #[test]
    fn clients_that_are_gone_are_swept_out() {
        let clients = clients(None, Some(1_000));
        for n in 0..100_000_u32 {
            let address = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let admitted = clients.admit(address, at(u64::from(n)));
            drop(admitted.expect("each comes once"));
        }
        assert!(entries(&clients) <= SHARDS * FEW, "{}", entries(&clients));
    }
}
