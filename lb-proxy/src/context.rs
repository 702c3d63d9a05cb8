//! What a session may look at: the whole proxy, and the thread that it lives on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use common::board::{AdminBoard, Cell, ProxyBoard};
use common::config::{Config, NodeIndex};
use common::roster::Roster;
use common::time::Moment;
use tracing::{error, info};

use crate::access::Access;
use crate::clock::CoarseClock;
use crate::drain::{Tracker, Window};
use crate::lack::Warnings;
use crate::limit::Limits;
use crate::lists::Lists;
use crate::pace::Paces;
use crate::pool::Pool;
use crate::registry::{Cut, Record, Registry, Withdrawn};
use crate::rounds::Rounds;
use crate::route::Router;
use crate::session_log::SessionLog;
use crate::source::Sources;
use crate::tls::Tls;
use crate::turns::Turns;
use crate::waiting::Waiting;

/// What all threads share. A reload makes another one ([`crate::generation`]): sessions keep the one that
/// they began with, and what outlives them is shared by both.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) config: Arc<Config>,
    pub(crate) node: NodeIndex,
    pub(crate) board: &'static ProxyBoard,
    /// What the admin process says.
    pub(crate) admin: &'static AdminBoard,
    pub(crate) pool: Arc<Pool>,
    /// As it stands on the board; the keeper publishes it.
    pub(crate) roster: Arc<ArcSwap<Roster>>,
    pub(crate) paces: Arc<Paces>,
    pub(crate) sources: Sources,
    pub(crate) limits: Limits,
    /// By listener.
    pub(crate) access: Vec<Access>,
    pub(crate) lists: Lists,
    pub(crate) lack_warnings: Arc<Warnings>,
    pub(crate) waiting: Waiting,
    pub(crate) session_log: SessionLog,
    /// By listener.
    pub(crate) routers: Vec<Router>,
    pub(crate) tls: Tls,
    /// The sessions of each relay thread.
    pub(crate) registries: Vec<Arc<Registry>>,
    /// Sessions with a name of their own so far: the next one's number.
    pub(crate) named: Arc<AtomicU64>,
    /// When this process began, in nanoseconds: its sessions' names are not those of another one.
    pub(crate) began: u64,
}

impl Proxy {
    /// Ends the sessions for which `which` is true, by RST to both sides; how many these are.
    pub(crate) fn cut(&self, why: Cut, which: impl Fn(&Record) -> bool) -> u64 {
        let registries = self.registries.iter();
        registries.map(|registry| registry.cut(why, &which)).sum()
    }

    /// Takes the server at a place from its sessions, which nobody picks any more: see
    /// [`Registry::withdraw`]. Those of proxies that have retired follow.
    pub(crate) fn withdraw(&self, place: usize, why: Cut, now: Moment) -> Withdrawn {
        self.board.withdrawals[place].say(why as u64, now);
        self.withdraw_here(place, why)
    }

    /// The servers that the proxy that accepts now has taken from their sessions are taken from those here.
    pub(crate) fn withdraw_as(&self, successor: &ProxyBoard) {
        let slots = self.board.withdrawals.iter().zip(&successor.withdrawals);
        for (place, (own, theirs)) in slots.enumerate() {
            let Some(why) = own.hear(theirs) else {
                continue;
            };
            let Withdrawn { ended, moved } = self.withdraw_here(place, Cut::from_number(why));
            info!(
                place,
                ended, moved, "the sessions of a server are ended, as those of the next proxy"
            );
        }
    }

    fn withdraw_here(&self, place: usize, why: Cut) -> Withdrawn {
        let all = self.registries.iter().map(|one| one.withdraw(place, why));
        all.fold(Withdrawn::default(), |sum, one| Withdrawn {
            ended: sum.ended + one.ended,
            moved: sum.moved + one.moved,
        })
    }

    /// Uses new contents of files for the connections to come. To be called on a thread that may take
    /// its time.
    pub(crate) fn replace_files(&self, files: &BTreeMap<PathBuf, Vec<u8>>) {
        for (path, content) in files {
            if let Err(error) = self.lists.replace(path, content) {
                let error: &dyn std::error::Error = &error;
                error!(error, "a changed list cannot be used, the old one stays");
            }
        }
        if let Err(error) = self.tls.replace(&self.config, files) {
            let error: &dyn std::error::Error = &error;
            error!(
                error,
                "changed certificates cannot be used, the old ones stay"
            );
        }
        self.count_entries();
    }

    /// Brings the number of entries of each list to the board.
    pub(crate) fn count_entries(&self) {
        for (place, entries) in self.lists.entries() {
            self.board.list_entries[place].set(entries as u64);
        }
    }

    /// Whose connection a session is by a header of a balancer in front of us.
    pub(crate) fn advertised(&self, session: &Record) -> Option<SocketAddr> {
        self.registries[session.id.thread()].advertised(session.id)
    }

    /// A name for a session that no other one of this node has: process and number.
    pub(crate) fn name_session(&self) -> String {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number:x}", self.began)
    }
}

/// What the sessions of one relay thread share that began with the same configuration.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) proxy: Arc<Proxy>,
    /// Its place in [`ProxyBoard::accepting`].
    pub(crate) index: usize,
    pub(crate) clock: Arc<CoarseClock>,
    /// Bytes that are not on the board yet, by listener.
    pub(crate) traffic: Vec<Traffic>,
    pub(crate) sessions: Arc<Tracker>,
    /// When its sessions look whether they have lasted too long.
    pub(crate) rounds: Arc<Rounds>,
    /// Of what many of its sessions do at once.
    pub(crate) turns: Arc<Turns>,
    /// Of those that have much to move.
    pub(crate) bulk: Arc<Turns>,
    drain: Arc<OnceLock<Window>>,
}

impl Thread {
    pub(crate) fn new(proxy: Arc<Proxy>, index: usize, now: Moment) -> Self {
        Self {
            traffic: no_traffic(&proxy),
            proxy,
            index,
            clock: Arc::new(CoarseClock::new(now)),
            sessions: Arc::default(),
            rounds: Arc::new(Rounds::new(now)),
            turns: Arc::default(),
            bulk: Arc::default(),
            drain: Arc::default(),
        }
    }

    /// For the sessions that begin from now on with another configuration.
    pub(crate) fn after(&self, proxy: Arc<Proxy>) -> Self {
        Self {
            traffic: no_traffic(&proxy),
            proxy,
            index: self.index,
            clock: Arc::clone(&self.clock),
            sessions: Arc::clone(&self.sessions),
            rounds: Arc::clone(&self.rounds),
            turns: Arc::clone(&self.turns),
            bulk: Arc::clone(&self.bulk),
            drain: Arc::clone(&self.drain),
        }
    }

    /// From now on its sessions end.
    pub(crate) fn begin_drain(&self, window: Window) {
        // There is one stop.
        let _first = self.drain.set(window);
    }

    /// Once its sessions are to end: in what time.
    pub(crate) fn drain(&self) -> Option<Window> {
        self.drain.get().copied()
    }

    /// A turn of the thread's loop: sets its clock.
    pub(crate) fn tick(&self, now: Moment) {
        self.clock.set(now);
        self.rounds.turn(now);
        self.flush();
    }

    /// Brings its sums to the board.
    pub(crate) fn flush(&self) {
        for (traffic, slot) in self.traffic.iter().zip(&self.proxy.board.listeners) {
            traffic.flush(&slot.bytes_in, &slot.bytes_out);
        }
    }
}

/// The last session of a configuration that does not run any more has ended.
impl Drop for Thread {
    fn drop(&mut self) {
        self.flush();
    }
}

fn no_traffic(proxy: &Proxy) -> Vec<Traffic> {
    let each = std::iter::repeat_with(Traffic::default);
    each.take(proxy.config.listeners.len()).collect()
}

/// Bytes that one thread has relayed for one listener since the last flush.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// From clients.
    pub(crate) up: Bytes,
    /// To clients.
    pub(crate) down: Bytes,
}

impl Traffic {
    fn flush(&self, bytes_in: &Cell, bytes_out: &Cell) {
        for (bytes, cell) in [(&self.up, bytes_in), (&self.down, bytes_out)] {
            match bytes.0.swap(0, Ordering::Relaxed) {
                0 => {}
                n => cell.add(n),
            }
        }
    }
}

/// A sum that only one thread writes, so that adding to it is no contended operation.
#[derive(Debug, Default)]
pub(crate) struct Bytes(AtomicU64);

impl Bytes {
    pub(crate) fn add(&self, n: usize) {
        let sum = self.0.load(Ordering::Relaxed);
        self.0.store(sum + n as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One more in a gauge of the board, until dropped.
#[derive(Debug)]
pub(crate) struct Counted(&'static Cell);

impl Counted {
    pub(crate) fn new(gauge: &'static Cell) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}
