//! The measuring instrument: an outside client that starts an attempt each 2 ms (connect, request, identified answer).
//!
//! Outage = the longest gap between good answers. Fresh attempts find the new holder at once, so a lost SYN (sent again
//! only after a second) does not lengthen it.

mod report;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use socket2::{Protocol, SockAddr, Socket, Type};

pub use report::{Failed, Good, Outage, Report, Why};

use crate::epoll::Ticker;
use crate::{Lab, Node, limits};

/// Time between two attempts, unless another one is asked for.
pub const SPACING: Duration = Duration::from_millis(2);
/// An attempt that takes longer has failed, unless another limit is asked for.
pub const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);
/// No answer to a probe is longer.
const MAX_ANSWER: usize = 1_024;

/// What the prober speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The greeting of an echo and one line through it.
    Echo,
    /// `GET /`.
    Http,
}

/// Who asks whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// The machine that asks.
    pub from: Node,
    /// Where it asks.
    pub to: SocketAddr,
    /// What.
    pub question: Question,
    /// Time between two attempts.
    pub spacing: Duration,
    /// An attempt that takes longer has failed.
    pub limit: Duration,
}

/// A running prober. Dropping it stops it.
#[derive(Debug)]
pub struct Prober {
    report: Arc<Mutex<Report>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Prober {
    /// Starts it on the client.
    ///
    /// # Errors
    /// When its thread cannot be made.
    pub fn start(lab: &Lab, to: SocketAddr, question: Question) -> Result<Self> {
        let asking = Asking {
            from: Node::Client,
            to,
            question,
            spacing: SPACING,
            limit: ATTEMPT_LIMIT,
        };
        Self::start_asking(lab, asking)
    }

    /// The same from any machine, at any pace.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_asking(lab: &Lab, asking: Asking) -> Result<Self> {
        let now = Instant::now();
        let report = Arc::new(Mutex::new(Report {
            started: now,
            ended: now,
            good: Vec::new(),
            failed: Vec::new(),
            skipped: 0,
            latest: Duration::ZERO,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ending) = (Arc::clone(&report), Arc::clone(&stop));
        let thread = lab.spawn_in(asking.from, "prober", move || {
            limits::real_time();
            Probing::new(asking, shared)?.run(&ending)
        })?;
        Ok(Self {
            report,
            stop,
            thread: Some(thread),
        })
    }

    /// What was measured so far.
    pub fn report(&self) -> Report {
        let mut report = self.lock().clone();
        report.ended = Instant::now();
        report
    }

    /// Good answers to attempts begun at or after an instant.
    pub fn good_since(&self, since: Instant) -> usize {
        let report = self.lock();
        report
            .good
            .iter()
            .rev()
            .take_while(|good| good.started >= since)
            .count()
    }

    /// Stops it and returns everything.
    ///
    /// # Errors
    /// When the prober itself failed.
    pub fn finish(mut self) -> Result<Report> {
        let report = self.report();
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(result) => result.context("the prober")?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(report)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report
            .lock()
            .expect("nothing panics while it holds the report")
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its error was for who would have asked for the result.
            drop(thread.join());
        }
    }
}

/// One attempt in flight.
#[derive(Debug)]
struct Attempt {
    socket: Socket,
    started: Instant,
    request: Option<String>,
    line: String,
    answer: Vec<u8>,
}

struct Probing {
    to: SockAddr,
    question: Question,
    spacing: Duration,
    limit: Duration,
    report: Arc<Mutex<Report>>,
    ticker: Ticker,
    flying: BTreeMap<u64, Attempt>,
    next: u64,
}

impl Probing {
    fn new(asking: Asking, report: Arc<Mutex<Report>>) -> Result<Self> {
        let ticker = Ticker::new(asking.spacing).context("make the prober's timer")?;
        Ok(Self {
            to: asking.to.into(),
            question: asking.question,
            spacing: asking.spacing,
            limit: asking.limit,
            report,
            ticker,
            flying: BTreeMap::new(),
            next: 0,
        })
    }

    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut due = Instant::now() + self.spacing;
        while !stop.load(Ordering::Relaxed) {
            let turn = self.ticker.wait().context("wait for answers")?;
            let now = Instant::now();
            for (token, _) in turn.ready {
                self.progress(token, now);
            }
            if turn.ticked {
                due = self.keep_time(due, now);
                self.begin(now);
                self.expire(now);
            }
        }
        Ok(())
    }

    /// Notes how late this tick is and returns when the next one is due.
    fn keep_time(&self, due: Instant, now: Instant) -> Instant {
        let late = now.saturating_duration_since(due);
        let missed = late.as_nanos() / self.spacing.as_nanos();
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        let mut report = self
            .report
            .lock()
            .expect("nothing panics while it holds the report");
        report.latest = report.latest.max(late);
        report.skipped += u64::from(missed);
        due + self.spacing * missed.saturating_add(1)
    }

    fn begin(&mut self, now: Instant) {
        let token = self.next;
        self.next += 1;
        match self.open(token) {
            Ok(socket) => {
                let line = format!("probe {token}\n");
                let request = match self.question {
                    Question::Echo => line.clone(),
                    Question::Http => {
                        "GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n".into()
                    }
                };
                let attempt = Attempt {
                    socket,
                    started: now,
                    request: Some(request),
                    line,
                    answer: Vec::new(),
                };
                self.flying.insert(token, attempt);
            }
            Err(error) => self.failed(now, why(&error)),
        }
    }

    fn open(&self, token: u64) -> std::io::Result<Socket> {
        let socket = Socket::new(
            self.to.domain(),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        if let Err(error) = socket.connect(&self.to)
            && error.raw_os_error() != Some(Errno::EINPROGRESS as i32)
        {
            return Err(error);
        }
        self.ticker.add(&socket, token)?;
        Ok(socket)
    }

    fn progress(&mut self, token: u64, now: Instant) {
        let Some(attempt) = self.flying.get_mut(&token) else {
            return;
        };
        let started = attempt.started;
        match attempt.advance(self.question) {
            Ok(None) => {}
            Ok(Some(who)) => {
                self.flying.remove(&token);
                let mut report = self
                    .report
                    .lock()
                    .expect("nothing panics while it holds the report");
                report.good.push(Good {
                    started,
                    ended: now,
                    who,
                });
            }
            Err(why) => {
                self.flying.remove(&token);
                self.failed(started, why);
            }
        }
    }

    /// The oldest attempts come first, so the loop ends at the first that is still in time.
    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.flying.first_entry() {
            if now - first.get().started < self.limit {
                break;
            }
            let attempt = first.remove();
            self.failed(attempt.started, Why::TimedOut);
        }
    }

    fn failed(&self, started: Instant, why: Why) {
        let mut report = self
            .report
            .lock()
            .expect("nothing panics while it holds the report");
        report.failed.push(Failed {
            started,
            ended: Instant::now(),
            why,
        });
    }
}

impl Attempt {
    /// Sends what can be sent, reads what is there; the name once the answer is complete.
    fn advance(&mut self, question: Question) -> Result<Option<String>, Why> {
        if let Some(error) = self.socket.take_error().map_err(|error| why(&error))? {
            return Err(why(&error));
        }
        if let Some(request) = &self.request {
            // A few bytes into an empty send buffer: all or, before the handshake, nothing.
            match (&self.socket).write(request.as_bytes()) {
                Ok(_) => self.request = None,
                Err(error) if not_yet(&error) => return Ok(None),
                Err(error) => return Err(why(&error)),
            }
        }
        let mut buffer = [0; MAX_ANSWER];
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return self.complete(question).map(Some).ok_or(Why::Closed),
                Ok(length) => self.answer.extend_from_slice(&buffer[..length]),
                Err(error) if not_yet(&error) => return Ok(self.complete(question)),
                Err(error) => return Err(why(&error)),
            }
            if self.answer.len() > MAX_ANSWER {
                return Err(Why::Other);
            }
        }
    }

    fn complete(&self, question: Question) -> Option<String> {
        let text = std::str::from_utf8(&self.answer).ok()?;
        let (greeting, rest) = match question {
            Question::Echo => text.split_once('\n')?,
            Question::Http => {
                let (head, body) = text.split_once("\r\n\r\n")?;
                head.starts_with("HTTP/1.1 200 ")
                    .then(|| body.split_once('\n'))??
            }
        };
        let who = greeting.strip_prefix("I am ")?;
        match question {
            Question::Echo => (rest == self.line).then(|| who.to_owned()),
            Question::Http => Some(who.to_owned()),
        }
    }
}

/// Nothing to read, or the handshake is not over.
fn not_yet(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
        || error.kind() == std::io::ErrorKind::NotConnected
}

fn why(error: &std::io::Error) -> Why {
    let code = error.raw_os_error().unwrap_or(0);
    let is = |errno: Errno| errno as i32 == code;
    if is(Errno::ECONNREFUSED) {
        Why::Refused
    } else if is(Errno::ECONNRESET) || is(Errno::EPIPE) {
        Why::Reset
    } else if is(Errno::EHOSTUNREACH) || is(Errno::ENETUNREACH) {
        Why::Unreachable
    } else if is(Errno::ETIMEDOUT) {
        Why::TimedOut
    } else {
        Why::Other
    }
}
