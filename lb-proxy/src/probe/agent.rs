//! Asking the agents beside the servers, on a schedule of their own.
#![expect(
    clippy::disallowed_types,
    reason = "opens connections to the agents on a schedule"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::config::BackendIndex;
use common::roster::Member;
use common::time::Moment;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::exchange::read_more;
use super::words;
use crate::agent::{self, MAX_ANSWER, Said};
use crate::clock;
use crate::connect::{self, First};
use crate::context::Proxy;
use crate::http_answer::Input;
use crate::spread::jittered;

/// What an agent has said, or why it has said nothing.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) place: usize,
    pub(crate) server: SocketAddr,
    pub(crate) ended: Moment,
    pub(crate) heard: Result<Said, String>,
}

/// The agent of one server.
pub(crate) struct Patron {
    current: Arc<ArcSwap<Proxy>>,
    backend: BackendIndex,
    place: usize,
    server: SocketAddr,
    address: SocketAddr,
    question: Vec<u8>,
    interval: Duration,
    timeout: Duration,
    /// From the start of its task to the first question.
    offset: Duration,
}

/// Asks one agent for ever.
pub(crate) async fn ask_loop(patron: Patron, reports: mpsc::Sender<Report>) -> Infallible {
    let seed = clock::now().as_nanos() ^ patron.place as u64;
    sleep_until(Instant::now() + patron.offset).await;
    for round in 0_u64.. {
        let start = Instant::now();
        let heard = match timeout_at(start + patron.timeout, patron.ask()).await {
            Ok(heard) => heard,
            Err(_) => Err("no answer in time".to_owned()),
        };
        let report = Report {
            place: patron.place,
            server: patron.server,
            ended: clock::now(),
            heard,
        };
        if reports.send(report).await.is_err() {
            // The keeper is gone, and with it soon this task.
            break;
        }
        sleep_until(start + jittered(patron.interval, seed, round)).await;
    }
    std::future::pending().await
}

impl Patron {
    /// How the agent of a server is asked, from so long after now on; `None` = it has none.
    pub(crate) fn of(
        current: &Arc<ArcSwap<Proxy>>,
        member: &Member,
        offset: Duration,
    ) -> Option<Self> {
        let proxy = current.load();
        let backend = &proxy.config.backends[member.backend.0];
        let agent = backend.agent.as_ref()?;
        let server = member.server.address;
        Some(Self {
            current: Arc::clone(current),
            backend: member.backend,
            place: member.place,
            server,
            address: agent.of(server),
            question: agent.question(&backend.name, server),
            interval: agent.interval,
            timeout: agent.timeout,
            offset,
        })
    }

    async fn ask(&self) -> Result<Said, String> {
        let mut stream = self.connect().await.map_err(|error| words(&error))?;
        let mut answer = Vec::new();
        while !agent::is_whole(&answer) {
            match read_more(&mut stream, &mut answer, MAX_ANSWER).await {
                Ok(Input::Open) => {}
                Ok(Input::Ended | Input::Late) => break,
                Err(error) => return Err(words(&error)),
            }
        }
        agent::read(&answer).ok_or_else(|| "it answers without a word".to_owned())
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let place = (self.place, self.address);
        let proxy = self.current.load_full();
        let mut stream = connect::open(&proxy, self.backend, place, First::Either).await?;
        // An agent that logs resets has something to say otherwise.
        socket2::SockRef::from(&stream).set_linger(None)?;
        stream.write_all(&self.question).await?;
        Ok(stream)
    }
}
