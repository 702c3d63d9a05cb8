//! Who is probed now: a task for each server that is present and follows no other one.

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
use crate::probe::{self, Target};
use crate::spread::first_start;

/// The tasks that probe; they end when this is dropped.
pub(crate) struct Probing {
    proxy: Arc<Proxy>,
    outcomes: mpsc::Sender<Outcome>,
    running: JoinSet<Infallible>,
    /// By place and address.
    tasks: BTreeMap<(usize, SocketAddr), AbortHandle>,
    /// What they were made of.
    roster: Option<Arc<Roster>>,
}

impl Probing {
    pub(crate) fn new(proxy: Arc<Proxy>, outcomes: mpsc::Sender<Outcome>) -> Self {
        Self {
            proxy,
            outcomes,
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
        let wanted: Vec<&Member> = roster.all().filter(|one| self.is_probed(one)).collect();
        let key = |one: &Member| (one.place, one.server.address);
        self.tasks.retain(|known, task| {
            let stays = wanted.iter().any(|one| key(one) == *known);
            if !stays {
                task.abort();
            }
            stays
        });
        for (index, member) in wanted.iter().enumerate() {
            if self.tasks.contains_key(&key(member)) {
                continue;
            }
            let offset = match is_start {
                true => self.offset(member, (index, wanted.len())),
                false => Duration::ZERO,
            };
            if let Some(target) = Target::of(&self.proxy, member, offset) {
                let task = probe::probe_loop(target, self.outcomes.clone());
                self.tasks.insert(key(member), self.running.spawn(task));
            }
        }
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
        member.is_present() && member.follows.is_none() && backend.probe.is_some()
    }

    fn offset(&self, member: &Member, (index, count): (usize, usize)) -> Duration {
        let probe = self.proxy.config.backends[member.backend.0].probe.as_ref();
        let interval = probe.map_or(Duration::ZERO, |probe| probe.fast_interval);
        first_start(index, count, interval)
    }
}
