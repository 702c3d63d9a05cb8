//! Runs the programs that are probes, when the proxy wants them: which are due stands on the proxy's
//! board, how they ended on ours. A few run at a time, on threads of their own, so that a program
//! that hangs, or a disk that it is on, holds up no answer of this process. However this process
//! ends, its programs end with it, and what they had started ends with the beginning of the next
//! one; only what has left its process group (setsid(2)) does not.

mod confine;
mod run;
mod words;

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io::{self, PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use common::board::{AdminBoard, ExternalGroup, ExternalWish, ProxyBoard};
use common::config::{Backend, Config, MAX_SERVERS, ProbeKind};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{debug, warn};

pub(super) use self::run::Job;
use self::run::Ran;
use super::clock;

/// How often the boards are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Time before the next try, where this machine could not run any.
const AGAIN: Duration = Duration::from_secs(1);
/// Programs that run at a time.
pub(super) const MOST_AT_ONCE: usize = 8;
/// What programs find others in.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The programs of the configuration that runs: somebody who runs them is there while there are any.
pub(super) struct Programs {
    config: Arc<Config>,
    node: String,
    boards: (&'static ProxyBoard, &'static AdminBoard),
}

impl Programs {
    /// Ends what an earlier process has left.
    pub(super) fn new(
        (config, node): (&Arc<Config>, String),
        boards: (&'static ProxyBoard, &'static AdminBoard),
    ) -> Self {
        end_abandoned(&boards.1.external_groups);
        Self {
            config: Arc::clone(config),
            node,
            boards,
        }
    }

    /// Runs what is wanted for ever, as the configuration has it that came last.
    pub(super) async fn serve(self, mut configs: watch::Receiver<Option<Arc<Config>>>) {
        let Self {
            mut config,
            node,
            boards,
        } = self;
        let mut runner = None;
        loop {
            if runner.is_none() && config.backends.iter().any(is_external) {
                match Runner::new((&config, node.clone()), boards) {
                    Ok(new) => runner = Some(new),
                    Err(error) => warn!(%error, "no program can be run, trying again"),
                }
            }
            let changed = match &mut runner {
                Some(runner) => {
                    runner.config = Arc::clone(&config);
                    tokio::select! {
                        changed = configs.changed() => changed.is_ok(),
                        never = runner.serve() => match never {},
                    }
                }
                None if config.backends.iter().any(is_external) => {
                    let changed = timeout(AGAIN, configs.changed()).await;
                    changed.is_err() || changed.is_ok_and(|changed| changed.is_ok())
                }
                None => configs.changed().await.is_ok(),
            };
            if !changed {
                return;
            }
            if let Some(next) = configs.borrow_and_update().clone() {
                config = next;
            }
        }
    }
}

/// Runs the programs of a configuration.
struct Runner {
    config: Arc<Config>,
    node: String,
    proxy: &'static ProxyBoard,
    board: &'static AdminBoard,
    /// Places whose program is due, in the order in which that was seen.
    due: VecDeque<usize>,
    running: JoinSet<(usize, u64, Ran)>,
    /// Places whose program runs.
    places: BTreeSet<usize>,
    /// Processes that the kernel does not let go.
    left: Vec<Child>,
    /// Hung up when this is dropped, which ends the programs.
    stop: (Arc<PipeReader>, PipeWriter),
}

impl Runner {
    /// # Errors
    /// This machine has no more descriptors.
    fn new(
        (config, node): (&Arc<Config>, String),
        (proxy, board): (&'static ProxyBoard, &'static AdminBoard),
    ) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        board.external_running.set(0);
        board.external_waiting.set(0);
        Ok(Self {
            config: Arc::clone(config),
            node,
            proxy,
            board,
            due: VecDeque::new(),
            running: JoinSet::new(),
            places: BTreeSet::new(),
            left: Vec::new(),
            stop: (Arc::new(reader), writer),
        })
    }

    /// Runs what is wanted for ever; goes on where it was when it is called again.
    async fn serve(&mut self) -> Infallible {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => self.notice(),
                Some(ended) = self.running.join_next() => match ended {
                    Ok((place, number, ran)) => self.answer(place, (number, ran)),
                    Err(error) => warn!(%error, "a program could not be watched"),
                },
            }
            self.start();
        }
    }

    /// Looks for questions that were not answered yet.
    fn notice(&mut self) {
        self.left
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        for place in 0..MAX_SERVERS {
            let wanted = self.proxy.external[place].number();
            let answered = self.board.external[place].number();
            let known = self.places.contains(&place) || self.due.contains(&place);
            if wanted != answered && !known {
                self.due.push_back(place);
            }
        }
    }

    /// Starts what is due, as far as there is room.
    fn start(&mut self) {
        while self.running.len() + self.left.len() < MOST_AT_ONCE
            && let Some(place) = self.due.pop_front()
        {
            let wish = &self.proxy.external[place];
            let number = wish.number();
            let Some(job) = self.job(wish) else {
                debug!(place, "the proxy wants a program that there is not");
                continue;
            };
            let stop = Arc::clone(&self.stop.0);
            let group = &self.board.external_groups[place];
            self.places.insert(place);
            self.board.external_runs.add(1);
            self.running
                .spawn_blocking(move || (place, number, job.run(&stop, group)));
        }
        self.board.external_running.set(self.running.len() as u64);
        self.board.external_waiting.set(self.due.len() as u64);
    }

    fn answer(&mut self, place: usize, (number, ran): (u64, Ran)) {
        self.places.remove(&place);
        if ran.was_killed {
            self.board.external_kills.add(1);
        }
        if let Some(child) = ran.left {
            warn!(
                pid = child.id(),
                "a killed program does not end, its place is not used"
            );
            self.left.push(child);
        }
        debug!(
            place,
            status = ran.end.status.word(),
            words = ran.end.words,
            "a program has ended"
        );
        self.board.external[place].set(number, &ran.end, clock::now());
    }

    /// What the proxy wants to be run: nothing but a program of the configuration.
    fn job(&self, wish: &ExternalWish) -> Option<Job> {
        let index = usize::try_from(wish.backend.get()).ok()?;
        let backend = self.config.backends.get(index)?;
        let server: SocketAddr = wish.server.get().parse().ok()?;
        job_of(backend, server, &self.node)
    }
}

/// Ends what an earlier process has left of its programs.
pub(super) fn end_abandoned(groups: &[ExternalGroup]) {
    for group in groups {
        group.running().into_iter().for_each(run::kill_abandoned);
        group.end();
    }
}

fn is_external(backend: &Backend) -> bool {
    let kind = backend.probe.as_ref().map(|probe| &probe.kind);
    matches!(kind, Some(ProbeKind::External(_)))
}

/// The program of a backend for one of its servers.
fn job_of(backend: &Backend, server: SocketAddr, node: &str) -> Option<Job> {
    let probe = backend.probe.as_ref()?;
    let ProbeKind::External(external) = &probe.kind else {
        return None;
    };
    let timeout = probe.timeout;
    let environment = [
        ("PATH", PATH.to_owned()),
        ("FMC_LB_NODE", node.to_owned()),
        ("FMC_LB_BACKEND", backend.name.clone()),
        ("FMC_LB_SERVER", server.to_string()),
        ("FMC_LB_SERVER_ADDRESS", server.ip().to_string()),
        ("FMC_LB_SERVER_PORT", server.port().to_string()),
        ("FMC_LB_TIMEOUT_MS", timeout.as_millis().to_string()),
    ];
    Some(Job {
        program: external.program.clone(),
        arguments: external.arguments_for(&backend.name, server),
        environment: environment.map(|(key, value)| (key, value.into())).into(),
        timeout,
    })
}

#[cfg(test)]
#[path = "external/tests.rs"]
mod tests;
