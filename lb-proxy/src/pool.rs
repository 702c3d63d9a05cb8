//! The backends as a pick sees them: one published snapshot, swapped whole, and what each
//! algorithm remembers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use common::board::{AgentSlot, ProxyBoard};
use common::config::{Backend, BackendIndex, Balance, Config, MAX_WEIGHT};
use common::roster::Roster;

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
    pub(crate) share: AgentShare,
}

/// What the agent of a server says of its share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AgentShare {
    /// Of the configured weight.
    percent: Option<u16>,
    /// Sessions at the same time; 0 = no limit.
    max_sessions: Option<u32>,
}

impl AgentShare {
    pub(crate) fn of(slot: &AgentSlot) -> Self {
        Self {
            percent: slot.percent(),
            max_sessions: slot.max_sessions(),
        }
    }
}

impl Standing {
    /// The weight in force. Where agents speak of weights these are in hundredths: a percentage of a
    /// small weight would be nothing, or all of it. An administrator's weight is not divided.
    fn weight(&self, configured: u16, in_hundredths: bool) -> u16 {
        let percent = match (self.weight, self.share.percent) {
            (None, Some(percent)) => percent,
            (Some(_), _) | (None, None) => WHOLE,
        };
        let weight = self.weight.unwrap_or(configured);
        if !in_hundredths {
            return weight;
        }
        let most = MAX_WEIGHT * u64::from(WHOLE);
        let weight = (u64::from(weight) * u64::from(percent)).min(most);
        u16::try_from(weight).unwrap_or(u16::MAX)
    }

    /// Whether it has a share of the new sessions: by an administrator's word, else by its agent's and
    /// the configuration.
    pub(crate) fn has_share(&self, configured: u16) -> bool {
        match (self.weight, self.share.percent) {
            (Some(said), _) => said > 0,
            (None, percent) => configured > 0 && percent != Some(0),
        }
    }

    fn limit(&self, configured: Option<u32>) -> Option<u32> {
        match self.share.max_sessions {
            None => configured,
            Some(most) => Some(most).filter(|most| *most > 0),
        }
    }
}

/// In percent.
const WHOLE: u16 = 100;

/// All servers of all backends; nobody changes a published one.
#[derive(Debug)]
pub(crate) struct Snapshot {
    backends: Vec<Choice>,
}

/// The servers of a backend.
#[derive(Debug, Clone)]
struct Choice {
    servers: Vec<Candidate>,
    /// Of their addresses and weights, where the algorithm wants one.
    table: Option<Arc<Maglev>>,
    /// How it chooses; `None` before it is published.
    method: Option<Arc<Method>>,
    /// The configuration has it no more. Sessions that began before may still choose, among those who
    /// were there at the last.
    retired: bool,
}

impl Snapshot {
    /// The servers that may have sessions, as `standing` gives it for their places.
    pub(crate) fn new(
        config: &Config,
        roster: &Roster,
        standing: impl Fn(usize) -> Standing,
    ) -> Self {
        let backends = config.backends.iter().enumerate();
        let backends = backends.map(|(index, backend)| {
            let known = roster.present(BackendIndex(index)).map(|member| {
                let standing = standing(member.place);
                (member, standing)
            });
            let known: Vec<_> = known.collect();
            let in_hundredths = known.iter().any(|(_, one)| one.share.percent.is_some());
            let weighed = known.into_iter().map(|(member, standing)| {
                let weight = standing.weight(member.server.weight, in_hundredths);
                (member, standing, weight)
            });
            let known: Vec<_> = weighed.collect();
            let servers = known.iter().map(|(_, it, weight)| (*weight, it.candidacy));
            let in_need = fail_open::is_due(backend, servers);
            let candidates = known.into_iter();
            let candidates = candidates.map(|(member, standing, weight)| Candidate {
                address: member.server.address,
                port_offset: member.server.port_offset,
                weight,
                ramp: standing.ramp,
                // All are tried, whatever they are.
                backup: member.server.backup && !in_need,
                limit: standing.limit(member.server.max_sessions),
                usable: match standing.candidacy {
                    Candidacy::Usable => true,
                    Candidacy::Doubted => in_need,
                    Candidacy::Unproven | Candidacy::Withdrawn => false,
                },
                in_need,
                place: member.place,
            });
            Choice {
                servers: candidates.collect(),
                table: None,
                method: None,
                retired: backend.retired,
            }
        });
        Self {
            backends: backends.collect(),
        }
    }

    /// Gives the backends what they choose by, and a table where that wants one: those of an earlier
    /// snapshot where that had the same servers.
    fn with_methods(mut self, methods: &[Arc<Method>], before: Option<&Self>) -> Self {
        let known = |servers: &[Candidate]| -> Vec<_> {
            let known = servers.iter().map(|server| (server.address, server.weight));
            known.collect()
        };
        for (index, choice) in self.backends.iter_mut().enumerate() {
            let old = before.and_then(|before| before.backends.get(index));
            if let (true, Some(old)) = (choice.retired, old) {
                *choice = Choice {
                    retired: true,
                    ..old.clone()
                };
                continue;
            }
            choice.method = Some(Arc::clone(&methods[index]));
            let Way::ConsistentHash(_) = methods[index].way else {
                continue;
            };
            let old = old.filter(|old| known(&old.servers) == known(&choice.servers));
            let table = old.and_then(|old| old.table.clone());
            choice.table = table.or_else(|| Some(Maglev::new(&choice.servers).into()));
        }
        self
    }

    /// Whether sessions of the backend are tried although every server is down.
    pub(crate) fn fails_open(&self, backend: usize) -> bool {
        let mut servers = self.backends[backend].servers.iter();
        servers.any(|server| server.in_need)
    }
}

/// How a backend chooses.
#[derive(Debug)]
struct Method {
    /// What the configuration says.
    said: (Balance, Option<u32>),
    way: Way,
}

/// The same with what it remembers between two picks.
#[derive(Debug)]
enum Way {
    /// Shared by all relay threads, so that the shares are even over all of them; held for the walk
    /// over the servers.
    RoundRobin(Mutex<RoundRobin>),
    /// Where the next search begins.
    LeastConnections(AtomicUsize),
    /// Where the random numbers have got to.
    Random(AtomicU64),
    Source,
    /// The table is the snapshot's.
    ConsistentHash(Option<LoadBound>),
    First,
}

/// Where sessions get their servers from.
#[derive(Debug)]
pub(crate) struct Pool {
    published: ArcSwap<Snapshot>,
    /// Snapshots that were published.
    generation: AtomicU64,
    /// What the next snapshot chooses by, by backend.
    methods: Mutex<Vec<Arc<Method>>>,
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
        let methods = methods(config, &[], seed);
        Self {
            published: ArcSwap::from_pointee(snapshot.with_methods(&methods, None)),
            generation: AtomicU64::new(0),
            methods: Mutex::new(methods),
        }
    }

    /// From the next snapshot on backends choose as this configuration says. Where it says the same as
    /// before, what was remembered is remembered on.
    pub(crate) fn reconfigure(&self, config: &Config, seed: u64) {
        let mut known = self.methods();
        *known = methods(config, &known, seed);
    }

    fn methods(&self) -> MutexGuard<'_, Vec<Arc<Method>>> {
        self.methods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the snapshot; every pick from now on sees the new one.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let before = self.published.load();
        let snapshot = snapshot.with_methods(&self.methods(), Some(&before));
        self.published.store(snapshot.into());
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Where this is the same before and after a pick, no other snapshot was published meanwhile.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The server for a new session.
    ///
    /// # Errors
    ///
    /// Why none may serve.
    pub(crate) fn pick(
        &self,
        wanted: Wanted<'_>,
        board: &ProxyBoard,
    ) -> Result<Candidate, Vacancy> {
        let snapshot = self.published.load();
        let Choice {
            servers,
            table,
            method,
            ..
        } = &snapshot.backends[wanted.backend.0];
        let sessions = |index: usize| board.servers[servers[index].place].sessions.get();
        let slate = Slate::new(servers, wanted.tried, sessions);
        let method = method.as_ref().expect("what is published has a method");
        let index = method.way.pick(&slate, (wanted.client, table.as_deref()));
        match index {
            Some(index) => Ok(servers[index]),
            None => Err(slate.vacancy()),
        }
    }
}

/// Those of a configuration: the known ones where it says the same of a backend.
fn methods(config: &Config, known: &[Arc<Method>], seed: u64) -> Vec<Arc<Method>> {
    let backends = config.backends.iter().enumerate();
    let method = |(index, backend): (usize, &Backend)| {
        let said = (backend.balance, backend.hash_balance_factor);
        let same = known.get(index).filter(|known| known.said == said);
        same.cloned().unwrap_or_else(|| {
            Arc::new(Method {
                said,
                way: Way::new(backend, seed),
            })
        })
    };
    backends.map(method).collect()
}

impl Way {
    fn new(backend: &Backend, seed: u64) -> Self {
        match backend.balance {
            Balance::RoundRobin => Self::RoundRobin(Mutex::default()),
            Balance::LeastConnections => Self::LeastConnections(AtomicUsize::new(0)),
            Balance::Random => Self::Random(AtomicU64::new(seed)),
            Balance::Source => Self::Source,
            Balance::ConsistentHash => {
                Self::ConsistentHash(backend.hash_balance_factor.and_then(LoadBound::new))
            }
            Balance::First => Self::First,
        }
    }

    fn pick(
        &self,
        slate: &Slate<'_, impl Fn(usize) -> u64>,
        (client, table): (IpAddr, Option<&Maglev>),
    ) -> Option<usize> {
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
            Self::ConsistentHash(bound) => table?.pick(slate, client, *bound),
            Self::First => first(slate),
        }
    }
}
