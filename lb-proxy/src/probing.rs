//! Who is probed now: a task for each server that is present and follows no other one, and one for
//! each agent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::config::{Backend, ProbeProxy};
use common::roster::{Member, Roster};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::context::Proxy;
use crate::keeper::Outcome;
use crate::probe::agent::{self, Patron, Report};
use crate::probe::{self, Target};
use crate::spread::first_start;
use crate::tls::client::Clients;

/// The tasks that probe; they end when this is dropped.
pub(crate) struct Probing {
    proxy: Arc<Proxy>,
    /// The same for the tasks, which outlive it.
    current: Arc<ArcSwap<Proxy>>,
    outcomes: mpsc::Sender<Outcome>,
    reports: mpsc::Sender<Report>,
    running: JoinSet<Infallible>,
    tasks: BTreeMap<Key, AbortHandle>,
    /// What they were made of.
    roster: Option<Arc<Roster>>,
}

/// Place and address of a server, and what is asked.
type Key = (usize, SocketAddr, Asked);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Server,
    Agent,
}

impl Probing {
    pub(crate) fn new(
        proxy: Arc<Proxy>,
        (outcomes, reports): (mpsc::Sender<Outcome>, mpsc::Sender<Report>),
    ) -> Self {
        Self {
            current: Arc::new(ArcSwap::new(Arc::clone(&proxy))),
            proxy,
            outcomes,
            reports,
            running: JoinSet::new(),
            tasks: BTreeMap::new(),
            roster: None,
        }
    }

    /// Goes over to the next generation: who is asked as before is asked on, at the times that are due.
    pub(crate) fn go_over(&mut self, next: Arc<Proxy>) {
        if Arc::ptr_eq(&next, &self.proxy) {
            return;
        }
        let before = std::mem::replace(&mut self.proxy, Arc::clone(&next));
        self.current.store(Arc::clone(&next));
        let (old, new) = (self.roster.clone(), next.roster.load_full());
        self.tasks.retain(|(place, _, asked), task| {
            let was = old.as_ref().and_then(|old| old.at(*place));
            let stays = was.zip(new.at(*place)).is_some_and(|(was, is)| {
                Question::of(&before, was, *asked) == Question::of(&next, is, *asked)
            });
            if !stays {
                task.abort();
            }
            stays
        });
    }

    /// Begins to probe who has come, and ends it for who has gone. Those of the start are spread over
    /// an interval; who comes later is asked at once.
    pub(crate) fn follow(&mut self, roster: &Arc<Roster>) {
        let before = self.roster.replace(Arc::clone(roster));
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, roster))
        {
            return;
        }
        let is_start = before.is_none();
        let present = || roster.all().filter(|one| one.is_present());
        let servers = present().filter(|one| self.is_probed(one));
        let agents = present().filter(|one| self.has_agent(one));
        let wanted: Vec<(Key, &Member)> = servers
            .map(|one| (key(one, Asked::Server), one))
            .chain(agents.map(|one| (key(one, Asked::Agent), one)))
            .collect();
        self.tasks.retain(|known, task| {
            let stays = wanted.iter().any(|(key, _)| key == known);
            if !stays {
                task.abort();
            }
            stays
        });
        for (index, (key, member)) in wanted.iter().enumerate() {
            if self.tasks.contains_key(key) {
                continue;
            }
            let offset = match is_start {
                true => first_start(index, wanted.len(), self.interval(member, key.2)),
                false => Duration::ZERO,
            };
            if let Some(task) = self.start((member, key.2), offset) {
                self.tasks.insert(*key, task);
            }
        }
    }

    fn start(
        &mut self,
        (member, asked): (&Member, Asked),
        offset: Duration,
    ) -> Option<AbortHandle> {
        Some(match asked {
            Asked::Server => {
                let target = Target::of(&self.current, member, offset)?;
                let task = probe::probe_loop(target, self.outcomes.clone());
                self.running.spawn(task)
            }
            Asked::Agent => {
                let patron = Patron::of(&self.current, member, offset)?;
                let task = agent::ask_loop(patron, self.reports.clone());
                self.running.spawn(task)
            }
        })
    }

    /// Returns when a task has ended unasked.
    pub(crate) async fn ended(&mut self) {
        loop {
            match self.running.join_next().await {
                None => std::future::pending().await,
                Some(Err(error)) if JoinError::is_cancelled(&error) => {}
                Some(Ok(_) | Err(_)) => return,
            }
        }
    }

    fn is_probed(&self, member: &Member) -> bool {
        let backend = &self.proxy.config.backends[member.backend.0];
        member.follows.is_none() && backend.probe.is_some()
    }

    fn has_agent(&self, member: &Member) -> bool {
        let backend = &self.proxy.config.backends[member.backend.0];
        backend.agent.is_some()
    }

    fn interval(&self, member: &Member, asked: Asked) -> Duration {
        let backend = &self.proxy.config.backends[member.backend.0];
        let interval = match asked {
            Asked::Server => backend.probe.as_ref().map(|probe| probe.fast_interval),
            Asked::Agent => backend.agent.as_ref().map(|agent| agent.interval),
        };
        interval.unwrap_or_default()
    }
}

/// How a server, or its agent, is asked: where two of them are equal the same task asks on.
struct Question<'a> {
    backend: &'a Backend,
    asked: Asked,
    address: SocketAddr,
    header: ProbeProxy,
    tls: Option<&'a Arc<Clients>>,
}

impl<'a> Question<'a> {
    fn of(proxy: &'a Proxy, member: &Member, asked: Asked) -> Self {
        let backend = &proxy.config.backends[member.backend.0];
        Self {
            backend,
            asked,
            address: backend.probe_target(&member.server),
            header: backend.probe_proxy(&member.server),
            tls: proxy.tls.probe(member.backend),
        }
    }
}

impl PartialEq for Question<'_> {
    fn eq(&self, other: &Self) -> bool {
        let same_backend = self.backend.name == other.backend.name;
        same_backend
            && match self.asked {
                Asked::Server => {
                    let same_tls = match (self.tls, other.tls) {
                        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                        (None, None) => true,
                        (None, Some(_)) | (Some(_), None) => false,
                    };
                    same_tls
                        && self.backend.probe == other.backend.probe
                        && (self.address, self.header) == (other.address, other.header)
                }
                Asked::Agent => self.backend.agent == other.backend.agent,
            }
    }
}

fn key(member: &Member, asked: Asked) -> Key {
    (member.place, member.server.address, asked)
}
