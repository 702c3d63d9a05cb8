//! The backends as a pick sees them: one published snapshot, swapped whole, and what each
//! algorithm remembers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use common::board::ProxyBoard;
use common::config::{Backend, BackendIndex, Balance, Config};

use crate::balance::{
    Candidate, LoadBound, Maglev, RoundRobin, Slate, Tried, Vacancy, first, least_connections,
    random_of_two, source_hash,
};
use crate::fail_open::{self, Candidacy};
use crate::hash;

/// What is known of a server beyond the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) candidacy: Candidacy,
    /// What slow start leaves of its share, 1 to [`crate::balance::slow_start::FULL`].
    pub(crate) ramp: u16,
    /// What an administrator has put in the place of its configured weight.
    pub(crate) weight: Option<u16>,
}

/// All servers of all backends, by index; nobody changes a published one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    backends: Vec<Vec<Candidate>>,
}

impl Snapshot {
    /// The configuration's servers, as `standing` gives it for their places.
    pub(crate) fn new(config: &Config, standing: impl Fn(usize) -> Standing) -> Self {
        let backends = config.backends.iter().map(|backend| {
            let servers = backend.servers.iter().enumerate();
            let known = servers.map(|(index, server)| {
                let standing = standing(backend.first_server + index);
                (server, standing, standing.weight.unwrap_or(server.weight))
            });
            let known: Vec<_> = known.collect();
            let servers = known.iter().map(|(_, it, weight)| (*weight, it.candidacy));
            let in_need = fail_open::is_due(backend, servers);
            let candidates = known.into_iter().enumerate();
            let candidates = candidates.map(|(index, (server, standing, weight))| Candidate {
                address: server.address,
                port_offset: server.port_offset,
                weight,
                ramp: standing.ramp,
                // All are tried, whatever they are.
                backup: server.backup && !in_need,
                limit: server.max_sessions,
                usable: match standing.candidacy {
                    Candidacy::Usable => true,
                    Candidacy::Doubted => in_need,
                    Candidacy::Unproven | Candidacy::Withdrawn => false,
                },
                in_need,
                place: backend.first_server + index,
            });
            candidates.collect()
        });
        Self {
            backends: backends.collect(),
        }
    }

    /// Whether sessions of the backend are tried although every server is down.
    pub(crate) fn fails_open(&self, backend: usize) -> bool {
        self.backends[backend].iter().any(|server| server.in_need)
    }
}

/// How a backend chooses, and what it remembers between two picks.
#[derive(Debug)]
enum Method {
    /// Shared by all relay threads, so that the shares are even over all of them; held for the walk
    /// over the servers.
    RoundRobin(Mutex<RoundRobin>),
    /// Where the next search begins.
    LeastConnections(AtomicUsize),
    /// Where the random numbers have got to.
    Random(AtomicU64),
    Source,
    ConsistentHash {
        /// Of the servers' addresses and weights.
        table: ArcSwap<Maglev>,
        bound: Option<LoadBound>,
    },
    First,
}

/// Where sessions get their servers from.
#[derive(Debug)]
pub(crate) struct Pool {
    published: ArcSwap<Snapshot>,
    methods: Vec<Method>,
}

/// Who wants a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) backend: BackendIndex,
    /// Whose connection it is.
    pub(crate) client: IpAddr,
    pub(crate) tried: &'a Tried,
}

impl Pool {
    /// `seed` makes the random numbers of this process differ from another's.
    pub(crate) fn new(config: &Config, snapshot: Snapshot, seed: u64) -> Self {
        let backends = config.backends.iter().zip(&snapshot.backends);
        let methods = backends.map(|(backend, servers)| Method::new(backend, servers, seed));
        Self {
            methods: methods.collect(),
            published: ArcSwap::from_pointee(snapshot),
        }
    }

    /// Replaces the snapshot; every pick from now on sees the new one.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let before = self.published.load();
        for (index, method) in self.methods.iter().enumerate() {
            let (old, new) = (&before.backends[index], &snapshot.backends[index]);
            let weights = |servers: &[Candidate]| -> Vec<u16> {
                servers.iter().map(|server| server.weight).collect()
            };
            if let Method::ConsistentHash { table, .. } = method
                && weights(old) != weights(new)
            {
                table.store(Maglev::new(new).into());
            }
        }
        self.published.store(snapshot.into());
    }

    /// The server for a new session: its index in the backend and itself.
    ///
    /// # Errors
    ///
    /// Why none may serve.
    pub(crate) fn pick(
        &self,
        wanted: Wanted<'_>,
        board: &ProxyBoard,
    ) -> Result<(usize, Candidate), Vacancy> {
        let snapshot = self.published.load();
        let servers = &snapshot.backends[wanted.backend.0];
        let sessions = |index: usize| board.servers[servers[index].place].sessions.get();
        let slate = Slate::new(servers, wanted.tried, sessions);
        let index = self.methods[wanted.backend.0].pick(&slate, wanted.client);
        match index {
            Some(index) => Ok((index, servers[index])),
            None => Err(slate.vacancy()),
        }
    }
}

impl Method {
    fn new(backend: &Backend, servers: &[Candidate], seed: u64) -> Self {
        match backend.balance {
            Balance::RoundRobin => Self::RoundRobin(Mutex::default()),
            Balance::LeastConnections => Self::LeastConnections(AtomicUsize::new(0)),
            Balance::Random => Self::Random(AtomicU64::new(seed)),
            Balance::Source => Self::Source,
            Balance::ConsistentHash => Self::ConsistentHash {
                table: ArcSwap::from_pointee(Maglev::new(servers)),
                bound: backend.hash_balance_factor.and_then(LoadBound::new),
            },
            Balance::First => Self::First,
        }
    }

    fn pick(&self, slate: &Slate<'_, impl Fn(usize) -> u64>, client: IpAddr) -> Option<usize> {
        match self {
            Self::RoundRobin(turns) => turns
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pick(slate),
            Self::LeastConnections(next) => {
                least_connections(slate, next.fetch_add(1, Ordering::Relaxed))
            }
            Self::Random(state) => {
                // SplitMix64: the counter needs no lock, the mixing makes it random enough.
                let counter = state.fetch_add(hash::GOLDEN_RATIO, Ordering::Relaxed);
                random_of_two(slate, hash::mix(counter))
            }
            Self::Source => source_hash(slate, client),
            Self::ConsistentHash { table, bound } => table.load().pick(slate, client, *bound),
            Self::First => first(slate),
        }
    }
}
