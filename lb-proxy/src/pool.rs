//! The backends as a pick sees them: one published snapshot, swapped whole, and whose turn it is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use common::board::{ProxyBoard, ServerState};
use common::config::{BackendIndex, Balance, Config};

use crate::balance::{Candidate, RoundRobin, Slate, Tried, least_connections, slow_start};
use crate::health::usable;

/// All servers of all backends, by index; nobody changes a published one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    backends: Vec<Vec<Candidate>>,
}

impl Snapshot {
    /// The configuration's servers in the states that `state` gives for their places.
    pub(crate) fn new(config: &Config, state: impl Fn(usize) -> ServerState) -> Self {
        let backends = config.backends.iter().map(|backend| {
            let servers = backend.servers.iter().enumerate();
            let candidates = servers.map(|(index, server)| {
                let place = backend.first_server + index;
                Candidate {
                    address: server.address,
                    weight: server.weight,
                    ramp: slow_start::FULL,
                    backup: false,
                    limit: None,
                    usable: usable(state(place)),
                    place,
                }
            });
            candidates.collect()
        });
        Self {
            backends: backends.collect(),
        }
    }
}

/// What one backend remembers between two picks.
#[derive(Debug)]
enum Turn {
    /// Shared by all relay threads, so that the shares are even over all of them; held for the walk
    /// over the servers.
    RoundRobin(Mutex<RoundRobin>),
    /// Where the next search begins.
    LeastConnections(AtomicUsize),
}

/// Where sessions get their servers from.
#[derive(Debug)]
pub(crate) struct Pool {
    published: ArcSwap<Snapshot>,
    turns: Vec<Turn>,
}

impl Pool {
    pub(crate) fn new(config: &Config, snapshot: Snapshot) -> Self {
        let turn = |balance| match balance {
            Balance::RoundRobin => Turn::RoundRobin(Mutex::default()),
            Balance::LeastConnections => Turn::LeastConnections(AtomicUsize::new(0)),
        };
        Self {
            published: ArcSwap::from_pointee(snapshot),
            turns: config.backends.iter().map(|b| turn(b.balance)).collect(),
        }
    }

    /// Replaces the snapshot; every pick from now on sees the new one.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.published.store(snapshot.into());
    }

    /// The server for a new session: its index in the backend and itself; `None` if none may serve.
    pub(crate) fn pick(
        &self,
        backend: BackendIndex,
        tried: &Tried,
        board: &ProxyBoard,
    ) -> Option<(usize, Candidate)> {
        let snapshot = self.published.load();
        let servers = &snapshot.backends[backend.0];
        let sessions = |index: usize| board.servers[servers[index].place].sessions.get();
        let slate = Slate::new(servers, tried, sessions);
        let index = match &self.turns[backend.0] {
            Turn::RoundRobin(turns) => turns
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pick(&slate),
            Turn::LeastConnections(first) => {
                let first = first.fetch_add(1, Ordering::Relaxed);
                least_connections(&slate, first)
            }
        };
        index.map(|index| (index, servers[index]))
    }
}
