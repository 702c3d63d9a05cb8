//! The sessions of one relay thread: who they are, what they have moved, and how to end one from
//! outside.
//!
//! A session enters and leaves under a lock that is held for nanoseconds. What it moves it counts in
//! atomics of its own, which nobody else writes; that it is to end it hears from one more atomic and
//! by a wake of its task. So no byte waits for anybody who looks.

mod way;

use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use common::board::{SessionPart, VipSession};
use common::config::{MAX_THREADS, VipIndex};
use common::time::Moment;

use self::way::{Step, Way};
use crate::context::Bytes;
use crate::entrance::LocalEnd;

/// The sessions of one relay thread.
#[derive(Debug)]
pub(crate) struct Registry {
    kept: Mutex<Kept>,
    /// Where the sessions that came to a VIP are told; `None` = nowhere.
    told: Option<SessionPart>,
}

#[derive(Debug)]
struct Kept {
    sessions: Vec<Option<Arc<Record>>>,
    /// Places in `sessions` that are empty.
    free: Vec<u32>,
    /// Clients that a header names: most sessions have none, and shall not have room for one.
    advertised: BTreeMap<SessionId, SocketAddr>,
    next: SessionId,
}

/// There are fewer VIPs.
const NO_VIP: u8 = u8::MAX;

/// What a session is called: no other one of this node since its boot has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(u64);

/// Why a session is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// An administrator has said so.
    Administrator = 1,
    /// Its server went down, and `on_marked_down` says so.
    ServerDown = 2,
    /// It has a backup, a server that is none came up, and `on_marked_up` says so.
    ActiveUp = 3,
}

impl Cut {
    /// As a board says it.
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Administrator,
            3 => Self::ActiveUp,
            _ => Self::ServerDown,
        }
    }
}

/// What is known of a session.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: SessionId,
    pub(crate) started: Moment,
    /// From the client.
    pub(crate) up: Bytes,
    /// To the client.
    pub(crate) down: Bytes,
    task: OnceLock<Waker>,
    peer: Address,
    /// In [`Kept::sessions`].
    place: u32,
    listener: u16,
    /// Place of the VIP that it came to; [`NO_VIP`] = to none.
    vip: u8,
    cut: AtomicU8,
    way: Way,
}

/// What became of the sessions of a server that is taken from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Withdrawn {
    /// They had reached it.
    pub(crate) ended: u64,
    /// They were still connecting to it, and go to another one.
    pub(crate) moved: u64,
}

/// A socket's address in 18 bytes instead of 32: IPv4 as IPv4-mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    ip: Ipv6Addr,
    port: u16,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            },
            port: address.port(),
        }
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> Self {
        Self::new(IpAddr::V6(address.ip).to_canonical(), address.port)
    }
}

impl Registry {
    /// `began` makes the names differ from those of an earlier process: they begin at its
    /// microsecond since boot, and no thread accepts a million sessions a second.
    pub(crate) fn new(thread: usize, began: Moment, told: Option<SessionPart>) -> Self {
        let first = began.as_nanos() / 1_000 * MAX_THREADS as u64 + thread as u64;
        Self {
            kept: Mutex::new(Kept {
                sessions: Vec::new(),
                free: Vec::new(),
                advertised: BTreeMap::new(),
                next: SessionId(first),
            }),
            told,
        }
    }

    /// Keeps a session until the value is dropped; with its end here, if that is a VIP.
    pub(crate) fn enter(
        self: &Arc<Self>,
        (peer, end): (SocketAddr, Option<LocalEnd>),
        listener: usize,
        started: Moment,
    ) -> Session {
        let mut kept = self.kept();
        let id = kept.next;
        kept.next = SessionId(id.0 + MAX_THREADS as u64);
        let place = kept.free.pop().unwrap_or_else(|| {
            kept.sessions.push(None);
            u32::try_from(kept.sessions.len() - 1).expect("descriptors are fewer")
        });
        let record = Arc::new(Record {
            id,
            started,
            up: Bytes::default(),
            down: Bytes::default(),
            task: OnceLock::new(),
            peer: peer.into(),
            place,
            listener: small(listener),
            vip: end.map_or(NO_VIP, |end| u8::try_from(end.vip.0).unwrap_or(NO_VIP)),
            cut: AtomicU8::new(0),
            way: Way::default(),
        });
        kept.sessions[place as usize] = Some(Arc::clone(&record));
        drop(kept);
        if let (Some(told), Some(end)) = (&self.told, end) {
            let session = VipSession {
                vip: end.vip,
                port: end.port,
                client: peer,
            };
            told.enter(place, &session, id.0 / MAX_THREADS as u64);
        }
        Session {
            record,
            registry: Arc::clone(self),
        }
    }

    /// Whose connection it is by a header of a balancer in front of us.
    pub(crate) fn advertised(&self, session: SessionId) -> Option<SocketAddr> {
        self.kept().advertised.get(&session).copied()
    }

    /// Ends the sessions for which `which` is true, by RST to both sides; how many these are.
    pub(crate) fn cut(&self, why: Cut, which: impl Fn(&Record) -> bool) -> u64 {
        let kept = self.kept();
        let chosen = kept.sessions.iter().flatten().filter(|one| which(one));
        chosen.map(|one| u64::from(one.end(why))).sum()
    }

    /// Takes the server at `place` from its sessions: ends those that have reached it by RST to both
    /// sides, and lets those that are connecting look for another one. To be called when nobody picks
    /// the server any more.
    pub(crate) fn withdraw(&self, place: usize, why: Cut) -> Withdrawn {
        // Either this sees the session on its way, or that one sees the new snapshot.
        fence(Ordering::SeqCst);
        let mut withdrawn = Withdrawn::default();
        for one in self.kept().sessions.iter().flatten() {
            match one.way.withdraw(place) {
                Some(Step::Reached) => withdrawn.ended += u64::from(one.end(why)),
                Some(Step::Connecting) => {
                    withdrawn.moved += 1;
                    one.wake();
                }
                None => {}
            }
        }
        withdrawn
    }

    /// Shows the sessions at so many places from one on; whether there are more behind these.
    pub(crate) fn visit(
        &self,
        (from, most): (usize, usize),
        mut each: impl FnMut(&Record),
    ) -> bool {
        let kept = self.kept();
        let rest = kept.sessions.get(from..).unwrap_or_default();
        let some = rest.iter().take(most).flatten();
        some.for_each(|one| each(one));
        rest.len() > most
    }

    /// Brings the sessions for which `which` is true to a list of the oldest ones.
    pub(crate) fn collect(&self, oldest: &mut Oldest, which: impl Fn(&Record) -> bool) {
        let kept = self.kept();
        for one in kept.sessions.iter().flatten().filter(|one| which(one)) {
            oldest.offer(one);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics between two statements that belong together.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session of a registry; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    record: Arc<Record>,
    registry: Arc<Registry>,
}

impl Session {
    /// A header names another client than the socket does.
    pub(crate) fn advertise(&self, client: SocketAddr) {
        self.registry.kept().advertised.insert(self.id, client);
    }

    /// What is known of it, for somebody who outlives it.
    pub(crate) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record)
    }
}

impl Deref for Session {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(told) = &self.registry.told {
            // Before another session has the place.
            told.leave(self.place);
        }
        let mut kept = self.registry.kept();
        kept.sessions[self.place as usize] = None;
        kept.free.push(self.place);
        if !kept.advertised.is_empty() {
            kept.advertised.remove(&self.id);
        }
    }
}

impl Record {
    /// The VIP that it came to.
    pub(crate) fn vip(&self) -> Option<VipIndex> {
        (self.vip != NO_VIP).then_some(VipIndex(self.vip.into()))
    }

    /// Where the connection comes from.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer.into()
    }

    pub(crate) fn listener(&self) -> usize {
        self.listener.into()
    }

    /// Among the sessions of its thread; another one has it later.
    pub(crate) fn place(&self) -> u32 {
        self.place
    }

    /// The place on the board of the server that it has, or is connecting to.
    pub(crate) fn server(&self) -> Option<usize> {
        self.way.server()
    }

    /// It connects to the server at a place from now on. Whoever picked that one looks after this
    /// whether it may still be picked: it is seen here, or that is.
    pub(crate) fn goes_to(&self, place: usize) {
        self.way.go(small(place));
        fence(Ordering::SeqCst);
    }

    /// Its server is not the one that it was going to.
    pub(crate) fn turns_back(&self) {
        self.way.turn_back();
    }

    /// It is connected; `false` = its server was withdrawn meanwhile.
    pub(crate) fn arrives(&self) -> bool {
        self.way.arrive()
    }

    /// Returns when the server is withdrawn that it is connecting to; to be awaited by its own task
    /// only.
    pub(crate) fn withdrawn(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| {
            self.listen(cx);
            match self.way.is_withdrawn() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
    }

    /// Returns when the session is to end; to be awaited by its own task only. A future without
    /// states of its own: every session has one.
    pub(crate) fn cut(&self) -> impl Future<Output = Cut> {
        poll_fn(|cx| {
            self.listen(cx);
            match self.cut.load(Ordering::Relaxed) {
                0 => Poll::Pending,
                number => Poll::Ready(Cut::from_number(number.into())),
            }
        })
    }

    fn listen(&self, cx: &Context<'_>) {
        if self.task.get().is_none() {
            // A task has one waker for all its life.
            self.task.get_or_init(|| cx.waker().clone());
            // Either `wake` sees the waker, or this task sees what was said before it.
            fence(Ordering::SeqCst);
        }
    }

    /// Whether it was not to end already.
    fn end(&self, why: Cut) -> bool {
        let first = self
            .cut
            .compare_exchange(0, why as u8, Ordering::Relaxed, Ordering::Relaxed);
        self.wake();
        first.is_ok()
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

/// The oldest sessions of those that it was offered, bounded.
#[derive(Debug)]
pub(crate) struct Oldest {
    most: usize,
    /// The youngest on top.
    heap: BinaryHeap<ByAge>,
    seen: u64,
}

impl Oldest {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            heap: BinaryHeap::new(),
            seen: 0,
        }
    }

    fn offer(&mut self, session: &Arc<Record>) {
        self.seen += 1;
        if self.heap.len() < self.most {
            self.heap.push(ByAge(Arc::clone(session)));
        } else if let Some(mut youngest) = self.heap.peek_mut()
            && key(session) < key(&youngest.0)
        {
            *youngest = ByAge(Arc::clone(session));
        }
    }

    /// The oldest first, and how many more there are.
    pub(crate) fn into_list(self) -> (Vec<Arc<Record>>, u64) {
        let sorted = self.heap.into_sorted_vec();
        let more = self.seen - sorted.len() as u64;
        (sorted.into_iter().map(|one| one.0).collect(), more)
    }
}

#[derive(Debug)]
struct ByAge(Arc<Record>);

fn key(session: &Record) -> (Moment, SessionId) {
    (session.started, session.id)
}

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ByAge {}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        key(&self.0).cmp(&key(&other.0))
    }
}

impl SessionId {
    /// The thread whose session this is.
    pub(crate) fn thread(self) -> usize {
        usize::try_from(self.0 % MAX_THREADS as u64).expect("it is small")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Listeners and servers have places on a board, which has room for far fewer.
fn small(place: usize) -> u16 {
    u16::try_from(place).expect("a board has fewer places")
}

const _: () = assert!(common::config::MAX_SERVERS < u16::MAX as usize);
const _: () = assert!(common::config::MAX_LISTENERS < u16::MAX as usize);

#[cfg(test)]
mod tests;
