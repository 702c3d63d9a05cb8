//! Asking the servers how they are: when, and by which probe.
#![expect(
    clippy::disallowed_types,
    reason = "opens connections to the servers on a schedule"
)]

pub(crate) mod agent;
mod certificate;
mod exchange;
mod external;
mod handshake;
mod http;
mod kind;
mod kube_apiserver;
mod send_expect;
pub(crate) mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::board::{AdminState, ProbeStatus};
use common::config::{BackendIndex, ProbeProxy};
use common::roster::Member;
use common::time::Moment;
use nix::errno::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::external::External;
use self::kind::{Kind, Recipe};
use crate::announce;
use crate::clock;
use crate::connect::{self, First};
use crate::context::Proxy;
use crate::finding::Finding;
use crate::health::{Pace, Verdict};
use crate::keeper::Outcome;
use crate::lack::is_ours;
use crate::spread::jittered;

/// One server and how it is probed.
pub(crate) struct Target {
    current: Arc<ArcSwap<Proxy>>,
    backend: BackendIndex,
    place: usize,
    server: SocketAddr,
    /// Where the probes go.
    address: SocketAddr,
    /// `None` = a program is run.
    kind: Option<Kind>,
    intervals: Intervals,
    timeout: Duration,
    pace: watch::Receiver<Pace>,
    /// What it says before anything else.
    header: ProbeProxy,
    /// From the start of its task to the first probe.
    offset: Duration,
}

/// Between the starts of two probes.
#[derive(Debug, Clone, Copy)]
struct Intervals {
    steady: Duration,
    fast: Duration,
    down: Duration,
}

impl Intervals {
    const fn at(&self, pace: Pace) -> Duration {
        match pace {
            Pace::Steady => self.steady,
            Pace::Fast => self.fast,
            Pace::Down => self.down,
        }
    }
}

impl Target {
    /// How a server is probed, from so long after now on; `None` = it is not.
    pub(crate) fn of(
        current: &Arc<ArcSwap<Proxy>>,
        member: &Member,
        offset: Duration,
    ) -> Option<Self> {
        let proxy = current.load();
        let backend = &proxy.config.backends[member.backend.0];
        let probe = backend.probe.as_ref()?;
        if member.follows.is_some() {
            return None;
        }
        let recipe = Recipe::new(&probe.kind, proxy.tls.probe(member.backend));
        let address = backend.probe_target(&member.server);
        Some(Self {
            current: Arc::clone(current),
            backend: member.backend,
            place: member.place,
            server: member.server.address,
            address,
            kind: recipe.kind_for(address),
            intervals: Intervals {
                steady: probe.interval,
                fast: probe.fast_interval,
                down: probe.down_interval,
            },
            timeout: probe.timeout,
            pace: proxy.paces.follow(member.place),
            header: backend.probe_proxy(&member.server),
            offset,
        })
    }
}

/// Probes one server for ever.
pub(crate) async fn probe_loop(mut target: Target, outcomes: mpsc::Sender<Outcome>) -> Infallible {
    let seed = clock::now().as_nanos() ^ target.place as u64;
    sleep_until(Instant::now() + target.offset).await;
    for round in 0_u64.. {
        let start = Instant::now();
        if !target.in_maintenance(clock::now()) && !target.report(&outcomes).await {
            // The keeper is gone, and with it soon this task.
            break;
        }
        target
            .until_next(start, |interval| jittered(interval, seed, round))
            .await;
    }
    std::future::pending().await
}

impl Target {
    fn in_maintenance(&self, now: Moment) -> bool {
        let slot = &self.current.load().board.servers[self.place];
        slot.effective_admin(now) == AdminState::Maintenance
    }

    /// Probes, and tells the keeper; `false` = there is none any more.
    async fn report(&self, outcomes: &mpsc::Sender<Outcome>) -> bool {
        let started = clock::now();
        let verdict = self.probe(Instant::now() + self.timeout).await;
        let ended = clock::now();
        let outcome = Outcome {
            place: self.place,
            server: self.server,
            ended,
            took: ended.since(started),
            certificate_not_after: self.kind.as_ref().and_then(Kind::certificate_not_after),
            verdict,
        };
        outcomes.send(outcome).await.is_ok()
    }

    /// Waits until the next probe is due, by what the keeper says of the last one: it may say so
    /// only after the wait has begun, and something else while it lasts.
    async fn until_next(&mut self, start: Instant, jitter: impl Fn(Duration) -> Duration) {
        loop {
            let interval = self.intervals.at(*self.pace.borrow_and_update());
            tokio::select! {
                biased;
                Ok(()) = self.pace.changed() => {}
                () = sleep_until(start + jitter(interval)) => return,
            }
        }
    }

    async fn probe(&self, deadline: Instant) -> Verdict {
        let Some(kind) = &self.kind else {
            let place = (self.backend, self.place);
            let program = External::of(&self.current.load(), place, (self.address, self.timeout));
            return program.run().await;
        };
        let stream = match self.connect(deadline).await {
            Ok(stream) => stream,
            Err(verdict) => return verdict,
        };
        kind.ask(stream, deadline).await
    }

    async fn connect(&self, deadline: Instant) -> Result<TcpStream, Verdict> {
        let proxy = self.current.load_full();
        let connecting = connect::open(
            &proxy,
            self.backend,
            (self.place, self.address),
            First::Either,
        );
        let error = match timeout_at(deadline, connecting).await {
            Ok(Ok(mut stream)) => match self.introduce(&mut stream, deadline).await {
                Ok(()) => return Ok(stream),
                Err(error) => error,
            },
            Ok(Err(error)) => error,
            Err(_) => return Err(failed(ProbeStatus::L4Tout, "no connection in time")),
        };
        Err(Self::judge(&error))
    }

    /// What every probe does first; a server that expects a PROXY protocol header gets one.
    async fn introduce(&self, stream: &mut TcpStream, deadline: Instant) -> io::Result<()> {
        // A probe has nothing to lose by a reset, and a server that logs resets has something to
        // say otherwise.
        socket2::SockRef::from(&*stream).set_linger(None)?;
        if self.header == ProbeProxy::Off {
            return Ok(());
        }
        let header = announce::of_probe(self.header, (stream.local_addr()?, self.address));
        match timeout_at(deadline, stream.write_all(&header)).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn judge(error: &io::Error) -> Verdict {
        if is_ours(error) {
            Verdict::NotAsked(Finding::new(ProbeStatus::SockErr, words(error)))
        } else if error.kind() == io::ErrorKind::TimedOut {
            failed(ProbeStatus::L4Tout, "no connection in time")
        } else {
            failed(ProbeStatus::L4Con, words(error))
        }
    }
}

fn failed(status: ProbeStatus, words: impl Into<String>) -> Verdict {
    Verdict::Failed(Finding::new(status, words))
}

/// The error in words, without its number.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}
