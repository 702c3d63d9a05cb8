//! Who is probed now: a task for each server that is present and follows no other one, and one for
//! each agent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::roster::{Member, Roster};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::context::Proxy;
use crate::keeper::Outcome;
use crate::probe::agent::{self, Patron, Report};
use crate::probe::{self, Target};
use crate::spread::first_start;

/// The tasks that probe; they end when this is dropped.
pub(crate) struct Probing {
    proxy: Arc<Proxy>,
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
            proxy,
            outcomes,
            reports,
            running: JoinSet::new(),
            tasks: BTreeMap::new(),
            roster: None,
        }
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
                let target = Target::of(&self.proxy, member, offset)?;
                let task = probe::probe_loop(target, self.outcomes.clone());
                self.running.spawn(task)
            }
            Asked::Agent => {
                let patron = Patron::of(&self.proxy, member, offset)?;
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

fn key(member: &Member, asked: Asked) -> Key {
    (member.place, member.server.address, asked)
}
