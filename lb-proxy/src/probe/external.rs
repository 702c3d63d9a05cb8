//! A program as a probe. The admin process runs it: this one starts nothing. What is wanted and how
//! it ended stand on the boards of the two, so neither is held up by the other.
#![expect(
    clippy::disallowed_methods,
    reason = "looks at the board until the answer is there"
)]

use std::net::SocketAddr;
use std::time::Duration;

use common::board::{AdminBoard, ExternalAnswer, ExternalEnd, ExternalWish, ProbeStatus};
use common::config::BackendIndex;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::context::Proxy;
use crate::finding::Finding;
use crate::health::Verdict;

/// How often the board is looked at while a program runs.
const LOOK: Duration = Duration::from_millis(10);
/// What a new admin process needs at most, and one that is busy until it has begun.
const START: Duration = Duration::from_secs(2);
/// An admin process without a heartbeat for so long is dead or hangs.
const ALIVE: Duration = Duration::from_secs(1);
/// While it lives, other programs may come first; but not so many times over.
const MOST_WAITS: u32 = 30;

/// The program of one server.
pub(super) struct External {
    wish: &'static ExternalWish,
    answer: &'static ExternalAnswer,
    admin: &'static AdminBoard,
    /// Index of the backend.
    backend: usize,
    server: SocketAddr,
    timeout: Duration,
}

impl External {
    /// Of the server at a place of a backend.
    pub(super) fn of(
        proxy: &Proxy,
        (backend, place): (BackendIndex, usize),
        (server, timeout): (SocketAddr, Duration),
    ) -> Self {
        Self {
            wish: &proxy.board.external[place],
            answer: &proxy.admin.external[place],
            admin: proxy.admin,
            backend: backend.0,
            server,
            timeout,
        }
    }

    /// Has it run once.
    pub(super) async fn run(&self) -> Verdict {
        let asked = Instant::now();
        let number = self.wish.ask(self.backend, &self.server.to_string());
        loop {
            if let Some(end) = self.answer.to(number) {
                return verdict(end);
            }
            if self.is_hopeless(asked.elapsed()) {
                let words = "the admin process has not run the program";
                return Verdict::NotAsked(Finding::new(ProbeStatus::SockErr, words));
            }
            sleep(LOOK).await;
        }
    }

    fn is_hopeless(&self, waited: Duration) -> bool {
        let patience = self.timeout + START;
        let beat = self.admin.header.heartbeat.get();
        let lives = beat.is_some_and(|beat| clock::now().since(beat) < ALIVE);
        waited > patience && !lives || waited > patience * MOST_WAITS
    }
}

fn verdict(end: ExternalEnd) -> Verdict {
    let finding = Finding {
        status: end.status,
        code: end.code.map(u16::from),
        words: end.words,
    };
    match end.status {
        ProbeStatus::ProcOk => Verdict::Good(finding),
        // It could not be started: says nothing of the server.
        ProbeStatus::SockErr => Verdict::NotAsked(finding),
        ProbeStatus::ProcErr
        | ProbeStatus::ProcTout
        | ProbeStatus::Unk
        | ProbeStatus::Ini
        | ProbeStatus::L4Ok
        | ProbeStatus::L4Tout
        | ProbeStatus::L4Con
        | ProbeStatus::L6Ok
        | ProbeStatus::L6Tout
        | ProbeStatus::L6Rsp
        | ProbeStatus::L7Ok
        | ProbeStatus::L7Okc
        | ProbeStatus::L7Tout
        | ProbeStatus::L7Rsp
        | ProbeStatus::L7Sts => Verdict::Failed(finding),
    }
}
