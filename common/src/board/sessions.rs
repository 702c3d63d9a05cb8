//! A table of sessions that one process writes and others read: who would wait in silence if the machine were lost.
//!
//! A node has two of them. In one the proxy keeps its own sessions, which admin tells the other node's; in the other admin
//! keeps what it is told, for the rescue after that machine's loss (it outlives admin). Only sessions that came to a VIP
//! stand there: an address that is lost with its machine cannot be spoken for.
//!
//! After an upgrade in place several proxies of a node have sessions: each has a lane of the table. Each relay thread has a
//! part of its proxy's lane, so that two of them never write to one cache line.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{Cell, MAX_RETIRED};
use crate::config::{MAX_THREADS, MAX_VIPS, VipIndex};

/// Rows of a lane: as many sessions as a proxy can have, with its 262,144 descriptors and two of them for each session.
/// Only rows that were used take memory, 24 bytes each.
const LANE: usize = 131_072;
/// The proxy that accepts, and those that have retired.
const LANES: usize = MAX_RETIRED + 1;
/// Sessions that a table has room for.
pub const MAX_TABLE_SESSIONS: usize = LANE * LANES;

/// All sessions of a node that came to its VIPs.
#[repr(C)]
#[derive(Debug)]
pub struct SessionTable {
    /// Parts that each lane is divided into; 0 = nobody has written yet.
    threads: Cell,
    /// Rows of each part that were ever used.
    used: [Cell; MAX_THREADS * LANES],
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

/// Where one proxy writes its sessions.
#[derive(Debug, Clone, Copy)]
pub struct SessionLane {
    table: &'static SessionTable,
    /// Its number, see [`SessionTable::lane`].
    number: usize,
}

/// The part of one relay thread.
#[derive(Debug, Clone, Copy)]
pub struct SessionPart {
    used: &'static Cell,
    untold: &'static Cell,
    rows: &'static [SessionRow],
}

impl SessionTable {
    /// Empties the table and divides its lanes. To be called by its writer.
    pub fn begin(&self, threads: usize) {
        (0..self.parts()).for_each(|part| self.clear(part));
        self.threads.set(threads.clamp(1, MAX_THREADS) as u64);
    }

    /// Parts that each lane is divided into; 0 = nobody has written yet.
    pub fn threads(&self) -> usize {
        let threads = usize::try_from(self.threads.get()).unwrap_or(MAX_THREADS);
        threads.min(MAX_THREADS)
    }

    /// Parts that the table is divided into, lane after lane; 0 = nobody has written yet.
    pub fn parts(&self) -> usize {
        self.threads() * LANES
    }

    /// The lane of a proxy; `None` = no table has so many.
    pub fn lane(&'static self, number: usize) -> Option<SessionLane> {
        (number < LANES).then_some(SessionLane {
            table: self,
            number,
        })
    }

    /// Empties every lane that is none of these: the proxies that wrote there are gone.
    pub fn clear_lanes_but(&self, living: &[usize]) {
        let threads = self.threads();
        let others = (0..LANES).filter(|lane| !living.contains(lane));
        others
            .flat_map(|lane| lane * threads..(lane + 1) * threads)
            .for_each(|part| self.clear(part));
    }

    /// The lowest lane that is none of these.
    pub fn free_lane(taken: &[usize]) -> Option<usize> {
        (0..LANES).find(|lane| !taken.contains(lane))
    }

    /// A part, below [`SessionTable::parts`]. Empty if its writer divides the table anew meanwhile.
    ///
    /// # Panics
    /// If no table has so many parts.
    pub fn part(&'static self, part: usize) -> SessionPart {
        let room = self.room();
        let rows = self.rows.get(part * room..(part + 1) * room);
        SessionPart {
            used: &self.used[part],
            untold: &self.untold,
            rows: rows.unwrap_or_default(),
        }
    }

    /// Every row that was ever used, with its number.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &SessionRow)> {
        (0..self.parts()).flat_map(|part| self.rows_of(part))
    }

    /// The number of the first row of a part.
    pub fn first_row(&self, part: usize) -> u32 {
        small(part * self.room())
    }

    /// The row with a number, which counts as used from now on; `None` = the table has no such row. For whoever fills
    /// the table with another node's rows.
    pub fn use_row(&self, number: u32) -> Option<&SessionRow> {
        let number = usize::try_from(number).ok()?;
        let room = self.room();
        if number >= room * self.parts() {
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

    fn rows_of(&self, part: usize) -> impl Iterator<Item = (u32, &SessionRow)> {
        let room = self.room();
        let used = usize::try_from(self.used[part].get()).unwrap_or(room);
        let first = part * room;
        let numbers = first..first + used.min(room);
        // Its writer may divide it anew meanwhile.
        numbers.filter_map(|number| Some((small(number), self.rows.get(number)?)))
    }

    fn clear(&self, part: usize) {
        self.rows_of(part).for_each(|(_, row)| row.clear());
        self.used[part].set(0);
    }

    fn room(&self) -> usize {
        LANE / self.threads().max(1)
    }
}

impl SessionLane {
    /// Empties it, for a proxy with so many threads. All proxies of a node that live at one time have the same number.
    pub fn begin(&self, threads: usize) {
        if self.table.threads() != threads.clamp(1, MAX_THREADS) {
            self.table.begin(threads);
        }
        (0..threads).for_each(|thread| self.table.clear(self.part_of(thread)));
    }

    /// The part of a relay thread of the proxy.
    ///
    /// # Panics
    /// If no proxy has so many threads.
    pub fn part(&self, thread: usize) -> SessionPart {
        self.table.part(self.part_of(thread))
    }

    fn part_of(&self, thread: usize) -> usize {
        self.number * self.table.threads() + thread
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
    fn a_lane_is_free_when_nobody_has_it() {
        assert_eq!(SessionTable::free_lane(&[]), Some(0));
        assert_eq!(SessionTable::free_lane(&[2, 0, usize::MAX]), Some(1));
        let all: Vec<usize> = (0..LANES).collect();
        assert_eq!(SessionTable::free_lane(&all), None);
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
