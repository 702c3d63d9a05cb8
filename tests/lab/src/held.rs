//! Established connections that are held open, idle or with a ping-pong, and what becomes of them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use socket2::{Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::epoll::Ticker;
use crate::{Lab, Node, wait};

/// The loop's tick.
const TICK: Duration = Duration::from_millis(2);
/// Handshakes in flight at once, so that no accept queue overflows.
const OPENING: usize = 128;
/// A pong that is later than this breaks the session.
const PONG_LIMIT: Duration = Duration::from_secs(5);
/// Opening so many sessions may take this long.
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// What a ping is.
const PING: &[u8] = b"0123456789abcdef0123456789abcdef";
/// A session that hangs is known to within this.
const SETTLED: Duration = Duration::from_secs(6);
/// A ping that is under way for no longer is nothing to wait for.
const UNDER_WAY: Duration = Duration::from_millis(100);
/// An idle session notices a silent death by keepalive.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How many, and what they do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Sessions.
    pub count: usize,
    /// Time between two pings of a session; `None` = idle.
    pub ping: Option<Duration>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// RST, or another error of the socket.
    Reset,
    /// FIN, also where RST came behind it.
    Fin,
    /// No pong within five seconds, or nobody who acknowledges.
    Silent,
    /// A pong that was not the ping.
    Garbled,
}

/// A session that broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Number of the session.
    pub session: usize,
    /// When.
    pub at: Instant,
    /// How.
    pub how: How,
}

/// What became of them.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Sessions that were established.
    pub established: usize,
    /// Those that broke, in that order.
    pub broken: Vec<Broken>,
    /// Round trips of pings.
    pub round_trips: u64,
    /// The longest one.
    pub longest: Duration,
    /// How long the oldest ping without a pong has been under way.
    pub waiting: Duration,
    /// Sessions that could not be opened.
    pub failed: usize,
}

/// Sessions held open by a thread on a client. Dropping it closes them.
#[derive(Debug)]
pub struct Held {
    report: Arc<Mutex<Report>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Held {
    /// Opens the sessions to an echo and returns when all are established.
    ///
    /// # Errors
    /// When one cannot be opened, or not all within a minute.
    pub fn open(lab: &Lab, to: SocketAddr, plan: Plan) -> Result<Self> {
        Self::open_from(lab, Node::Client, to, plan)
    }

    /// The same on another machine: those of the cluster come by the router.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_from(lab: &Lab, from: Node, to: SocketAddr, plan: Plan) -> Result<Self> {
        let report = Arc::new(Mutex::new(Report::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ending) = (Arc::clone(&report), Arc::clone(&stop));
        let thread = lab.spawn_in(from, "held", move || {
            Holding::new(to, plan, shared)?.run(&ending)
        })?;
        let held = Self {
            report,
            stop,
            thread: Some(thread),
        };
        let all = || {
            let report = held.report();
            report.established + report.failed >= plan.count || held.has_ended()
        };
        wait::wait_until(OPEN_LIMIT, &format!("{} sessions to {to}", plan.count), all)?;
        let report = held.report();
        if report.established < plan.count {
            bail!(
                "only {} of {} sessions to {to}",
                report.established,
                plan.count
            );
        }
        Ok(held)
    }

    /// What became of them so far.
    pub fn report(&self) -> Report {
        self.report
            .lock()
            .expect("nothing panics while it holds the report")
            .clone()
    }

    /// Waits until no session has waited long for its pong: one that hangs is broken after five seconds, and looks well
    /// before.
    pub fn settled(&self) -> &Self {
        wait::within(SETTLED, || self.report().waiting < UNDER_WAY);
        self
    }

    /// How many are broken.
    pub fn broken(&self) -> usize {
        self.report
            .lock()
            .expect("nothing panics while it holds the report")
            .broken
            .len()
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its error was seen as sessions that are missing.
            drop(thread.join());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Opening,
    Idle,
    Pinged { at: Instant, got: usize },
}

#[derive(Debug)]
struct Session {
    socket: Socket,
    state: State,
    greeting: Vec<u8>,
}

struct Holding {
    to: SockAddr,
    plan: Plan,
    report: Arc<Mutex<Report>>,
    ticker: Ticker,
    /// By number; `None` = broken.
    sessions: Vec<Option<Session>>,
    opening: usize,
    /// When each session's next ping is due, soonest first (all have the same interval).
    due: VecDeque<(Instant, usize)>,
    /// Pings under way, oldest first.
    waiting: VecDeque<(Instant, usize)>,
}

impl Holding {
    fn new(to: SocketAddr, plan: Plan, report: Arc<Mutex<Report>>) -> Result<Self> {
        Ok(Self {
            to: to.into(),
            plan,
            report,
            ticker: Ticker::new(TICK).context("make the timer")?,
            sessions: Vec::with_capacity(plan.count),
            opening: 0,
            due: VecDeque::new(),
            waiting: VecDeque::new(),
        })
    }

    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let turn = self.ticker.wait().context("wait for pongs")?;
            let now = Instant::now();
            for (token, flags) in turn.ready {
                let number = usize::try_from(token).context("a session's number fits")?;
                self.progress(number, flags, now);
            }
            while self.opening < OPENING && self.sessions.len() < self.plan.count {
                self.open();
            }
            if turn.ticked {
                self.ping_due(now);
                self.expire(now);
                let oldest = self.waiting.front().map(|(since, _)| now - *since);
                self.lock().waiting = oldest.unwrap_or_default();
            }
        }
        Ok(())
    }

    fn open(&mut self) {
        let number = self.sessions.len();
        match self.connect(number) {
            Ok(socket) => {
                self.opening += 1;
                let session = Session {
                    socket,
                    state: State::Opening,
                    greeting: Vec::new(),
                };
                self.sessions.push(Some(session));
            }
            Err(_) => {
                self.sessions.push(None);
                self.lock().failed += 1;
            }
        }
    }

    fn connect(&self, number: usize) -> std::io::Result<Socket> {
        let socket = Socket::new(
            self.to.domain(),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE)
            .with_retries(2);
        socket.set_tcp_keepalive(&keepalive)?;
        if let Err(error) = socket.connect(&self.to)
            && error.raw_os_error() != Some(Errno::EINPROGRESS as i32)
        {
            return Err(error);
        }
        self.ticker.add(&socket, number as u64)?;
        Ok(socket)
    }

    fn progress(&mut self, number: usize, flags: EpollFlags, now: Instant) {
        let Some(session) = self.sessions.get_mut(number).and_then(Option::as_mut) else {
            return;
        };
        let opening = session.state == State::Opening;
        let result = if opening && !flags.contains(EpollFlags::EPOLLIN) && !failed(flags) {
            Ok(Progress::Nothing)
        } else {
            session.read(now)
        };
        match result {
            Ok(Progress::Nothing) => {}
            Ok(Progress::Established) => {
                self.opening -= 1;
                self.lock().established += 1;
                if let Some(interval) = self.plan.ping {
                    self.due.push_back((now + interval, number));
                }
            }
            Ok(Progress::Pong(time)) => {
                {
                    let mut report = self.lock();
                    report.round_trips += 1;
                    report.longest = report.longest.max(time);
                }
                if let Some(interval) = self.plan.ping {
                    // From the ping's own time on; later than the last in the queue by construction or nearly so.
                    self.due
                        .push_back((now + interval.saturating_sub(time), number));
                }
            }
            Err(how) => self.broke(number, how, now),
        }
    }

    fn broke(&mut self, number: usize, how: How, at: Instant) {
        let Some(session) = self.sessions[number].take() else {
            return;
        };
        if session.state == State::Opening {
            self.opening -= 1;
            self.lock().failed += 1;
        } else {
            self.lock().broken.push(Broken {
                session: number,
                at,
                how,
            });
        }
    }

    fn ping_due(&mut self, now: Instant) {
        while let Some((when, number)) = self.due.front().copied() {
            if when > now {
                break;
            }
            self.due.pop_front();
            let Some(session) = self.sessions[number].as_mut() else {
                continue;
            };
            session.state = State::Pinged { at: now, got: 0 };
            // Without room in the send buffer nothing has been answered for long: that ends as silence.
            match (&session.socket).write(PING) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    self.broke(number, how(&error), now);
                }
                Ok(_) | Err(_) => self.waiting.push_back((now, number)),
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((since, number)) = self.waiting.front().copied() {
            let state = self.sessions[number].as_ref().map(|session| &session.state);
            let waits = matches!(state, Some(State::Pinged { at, .. }) if *at == since);
            if waits && now - since < PONG_LIMIT {
                break;
            }
            self.waiting.pop_front();
            if waits {
                self.broke(number, How::Silent, now);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report
            .lock()
            .expect("nothing panics while it holds the report")
    }
}

enum Progress {
    Nothing,
    Established,
    Pong(Duration),
}

impl Session {
    fn read(&mut self, now: Instant) -> Result<Progress, How> {
        let mut buffer = [0; 256];
        let mut progress = Progress::Nothing;
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return Err(How::Fin),
                Ok(length) => {
                    let step = self.take(&buffer[..length], now)?;
                    if !matches!(step, Progress::Nothing) {
                        progress = step;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(progress),
                Err(error) => return Err(how(&error)),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant) -> Result<Progress, How> {
        match &mut self.state {
            State::Opening => {
                self.greeting.extend_from_slice(bytes);
                if self.greeting.last() != Some(&b'\n') {
                    return Ok(Progress::Nothing);
                }
                self.state = State::Idle;
                Ok(Progress::Established)
            }
            State::Idle => Err(How::Garbled),
            State::Pinged { at, got } => {
                if PING.get(*got..*got + bytes.len()) != Some(bytes) {
                    return Err(How::Garbled);
                }
                *got += bytes.len();
                if *got < PING.len() {
                    return Ok(Progress::Nothing);
                }
                let time = now - *at;
                self.state = State::Idle;
                Ok(Progress::Pong(time))
            }
        }
    }
}

/// What an error of a socket says of the end.
fn how(error: &std::io::Error) -> How {
    let kind = error.kind();
    if kind == ErrorKind::BrokenPipe {
        // What was said after a FIN was answered with RST.
        How::Fin
    } else if kind == ErrorKind::TimedOut {
        How::Silent
    } else {
        How::Reset
    }
}

fn failed(flags: EpollFlags) -> bool {
    flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP)
}
