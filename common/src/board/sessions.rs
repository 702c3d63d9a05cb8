//! A table of sessions that one process writes and others read: who would wait in silence if the machine were lost.
//!
//! A node has two of them. In one the proxy keeps its own sessions, which admin tells the other node's; in the other admin
//! keeps what it is told, for the rescue after that machine's loss (it outlives admin). Only sessions that came to a VIP
//! stand there: an address that is lost with its machine cannot be spoken for.
//!
//! Each relay thread has a part of the table of its own, so that two of them never write to one cache line.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Cell;
use crate::config::{MAX_THREADS, MAX_VIPS, VipIndex};

/// As many as a proxy can have: it has 262,144 descriptors, and each session two of them. Only rows that were used take
/// memory, 24 bytes each.
pub const MAX_TABLE_SESSIONS: usize = 131_072;

/// All sessions of a node that came to its VIPs.
#[repr(C)]
#[derive(Debug)]
pub struct SessionTable {
    /// Parts that the table is divided into; 0 = nobody has written yet.
    threads: Cell,
    /// Rows of each part that were ever used.
    used: [Cell; MAX_THREADS],
    /// Sessions that found no room, and are told to nobody.
    pub untold: Cell,
    rows: [SessionRow; MAX_TABLE_SESSIONS],
}

/// Place of one session.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SessionRow {
    /// Ports, VIP and a number that makes it differ from the session before it; 0 = the row is empty.
    word: AtomicU64,
    /// The client's address; IPv4 as IPv4-mapped.
    client: [AtomicU64; 2],
}

/// A session as it stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VipSession {
    pub vip: VipIndex,
    /// The port of the VIP, never 0.
    pub port: u16,
    pub client: SocketAddr,
}

/// The part of one relay thread.
#[derive(Debug, Clone, Copy)]
pub struct SessionPart {
    used: &'static Cell,
    untold: &'static Cell,
    rows: &'static [SessionRow],
}

impl SessionTable {
    /// Empties the table and divides it. To be called by its writer.
    pub fn begin(&self, threads: usize) {
        for (_, row) in self.rows() {
            row.clear();
        }
        self.used.iter().for_each(|used| used.set(0));
        self.threads.set(threads.clamp(1, MAX_THREADS) as u64);
    }

    /// Parts that it is divided into; 0 = nobody has written yet.
    pub fn threads(&self) -> usize {
        let threads = usize::try_from(self.threads.get()).unwrap_or(MAX_THREADS);
        threads.min(MAX_THREADS)
    }

    /// The part of a thread, below [`SessionTable::threads`]. Empty if its writer divides the table anew meanwhile.
    ///
    /// # Panics
    /// If no table has so many parts.
    pub fn part(&'static self, thread: usize) -> SessionPart {
        let room = self.room();
        let rows = self.rows.get(thread * room..(thread + 1) * room);
        SessionPart {
            used: &self.used[thread],
            untold: &self.untold,
            rows: rows.unwrap_or_default(),
        }
    }

    /// Every row that was ever used, with its number.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &SessionRow)> {
        let room = self.room();
        (0..self.threads()).flat_map(move |thread| {
            let used = usize::try_from(self.used[thread].get()).unwrap_or(room);
            let first = thread * room;
            let numbers = first..first + used.min(room);
            // Its writer may divide it anew meanwhile.
            numbers.filter_map(move |number| Some((small(number), self.rows.get(number)?)))
        })
    }

    /// The number of the first row of a part.
    pub fn first_row(&self, thread: usize) -> u32 {
        small(thread * self.room())
    }

    /// The row with a number, which counts as used from now on; `None` = the table has no such row. For whoever fills
    /// the table with another node's rows.
    pub fn use_row(&self, number: u32) -> Option<&SessionRow> {
        let number = usize::try_from(number).ok()?;
        let room = self.room();
        if number >= room * self.threads() {
            return None;
        }
        let used = self.used.get(number / room)?;
        used.raise((number % room + 1) as u64);
        self.rows.get(number)
    }

    /// Every session.
    pub fn sessions(&self) -> impl Iterator<Item = VipSession> {
        self.rows()
            .filter_map(|(_, row)| row.get().map(|(_, session)| session))
    }

    fn room(&self) -> usize {
        MAX_TABLE_SESSIONS / self.threads().max(1)
    }
}

impl SessionPart {
    /// The rows that were ever used.
    pub fn rows(&self) -> &'static [SessionRow] {
        let used = usize::try_from(self.used.get()).unwrap_or(usize::MAX);
        &self.rows[..used.min(self.rows.len())]
    }

    /// Writes the session at a place of the part. `generation` differs from that of the session before it.
    pub fn enter(&self, place: u32, session: &VipSession, generation: u64) {
        let Some(row) = self.rows.get(place as usize) else {
            self.untold.add(1);
            return;
        };
        row.set(session, generation);
        if self.used.get() <= u64::from(place) {
            self.used.set(u64::from(place) + 1);
        }
    }

    /// Whatever is at the place has ended.
    pub fn leave(&self, place: u32) {
        if let Some(row) = self.rows.get(place as usize)
            && u64::from(place) < self.used.get()
        {
            row.clear();
        }
    }
}

impl SessionRow {
    /// Writes a session. A reader sees it whole or not at all.
    pub fn set(&self, session: &VipSession, generation: u64) {
        self.word.store(0, Ordering::Relaxed);
        // Who reads half of the new address sees that the old word is gone.
        fence(Ordering::Release);
        let client = match session.client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let bits = client.to_bits();
        self.client[0].store((bits >> 64) as u64, Ordering::Relaxed);
        self.client[1].store(bits as u64, Ordering::Relaxed);
        let word = generation << 40
            | (session.vip.0 as u64 & 0xff) << 32
            | u64::from(session.port) << 16
            | u64::from(session.client.port());
        self.word.store(word, Ordering::Release);
    }

    /// Empties it.
    pub fn clear(&self) {
        self.word.store(0, Ordering::Release);
    }

    /// What changes with every session; 0 = empty.
    pub fn word(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// The session and its word; `None` also while it is being written.
    pub fn get(&self) -> Option<(u64, VipSession)> {
        let word = self.word();
        let bits = [0, 1].map(|half| u128::from(self.client[half].load(Ordering::Relaxed)));
        fence(Ordering::Acquire);
        let vip = (word >> 32 & 0xff) as usize;
        let port = (word >> 16) as u16;
        if port == 0 || vip >= MAX_VIPS || self.word.load(Ordering::Relaxed) != word {
            return None;
        }
        let ip = IpAddr::V6(Ipv6Addr::from_bits(bits[0] << 64 | bits[1])).to_canonical();
        let session = VipSession {
            vip: VipIndex(vip),
            port,
            client: SocketAddr::new(ip, word as u16),
        };
        Some((word, session))
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("the table has fewer rows")
}

const _: () = assert!(MAX_VIPS <= 256);

#[cfg(test)]
mod tests {
    use super::*;

    fn session(port: u16, client: &str) -> VipSession {
        VipSession {
            vip: VipIndex(15),
            port,
            client: client.parse().expect("an address"),
        }
    }

    /// Of so many rows, as a thread has it.
    fn part(rows: usize) -> SessionPart {
        let rows: Vec<SessionRow> = std::iter::repeat_with(SessionRow::default)
            .take(rows)
            .collect();
        SessionPart {
            used: Box::leak(Box::default()),
            untold: Box::leak(Box::default()),
            rows: rows.leak(),
        }
    }

    #[test]
    fn a_session_comes_back_as_it_was_written() {
        let row = SessionRow::default();
        assert_eq!((row.word(), row.get()), (0, None));
        for (generation, one) in [
            (u64::MAX, session(6443, "192.168.0.100:40000")),
            (7, session(u16::MAX, "[fd00:0:0:1::100]:65535")),
            (0, session(1, "255.255.255.255:0")),
        ] {
            row.set(&one, generation);
            assert_eq!(row.get(), Some((row.word(), one)));
        }
        row.clear();
        assert_eq!((row.word(), row.get()), (0, None));
    }

    #[test]
    fn the_same_client_again_is_another_session() {
        let row = SessionRow::default();
        row.set(&session(80, "10.0.0.1:1"), 3);
        let first = row.word();
        row.set(&session(80, "10.0.0.1:1"), 4);
        assert_ne!(row.word(), first);
    }

    #[test]
    fn who_finds_no_room_is_counted() {
        let part = part(2);
        for place in 0..3 {
            part.enter(place, &session(80, "10.0.0.1:1"), 1);
        }
        assert_eq!((part.used.get(), part.untold.get()), (2, 1));
        part.leave(2);
        part.leave(1);
        assert!(part.rows[0].get().is_some() && part.rows[1].get().is_none());
    }

    #[test]
    fn readers_never_see_half_a_session() {
        let part = part(1);
        let (one, other) = (
            session(80, "[1111:1111:1111:1111:1111:1111:1111:1111]:1"),
            session(80, "[2222:2222:2222:2222:2222:2222:2222:2222]:2"),
        );
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0..20_000 {
                    part.enter(0, &one, 2 * turn);
                    part.enter(0, &other, 2 * turn + 1);
                }
            });
            for _ in 0..20_000 {
                let seen = part.rows[0].get().map(|(_, session)| session);
                assert!(
                    seen.is_none_or(|seen| seen == one || seen == other),
                    "{seen:?}"
                );
            }
        });
    }
}
