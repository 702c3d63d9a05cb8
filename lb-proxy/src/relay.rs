//! Bytes both ways between two sockets, until both directions have ended, one aborts, or nothing
//! was said for too long.
//!
//! Each direction reads into the thread's scratch buffer and writes from it at once; only what the
//! other socket does not take is kept, in a buffer of its own that is freed when it is empty, and
//! nothing more is read meanwhile. So an idle session owns no buffer. When much comes at once the
//! direction goes on by splice(2) through a large pipe ([`bulk`]), until little comes again.
#![expect(clippy::disallowed_types, reason = "moves bytes between sockets")]

mod bulk;
mod pipe;
mod side;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use common::config::BackendIndex;
use common::time::Moment;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use self::bulk::{MANY, Stop, bulk};
use self::side::{source_broke, target, target_broke};
use crate::connect::{First, keepalive_options};
use crate::context::{Bytes, Thread};
use crate::registry::{Cut, Record};

pub(crate) use self::pipe::share_among;
pub(crate) use self::side::{Broken, Side};

/// What is read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that one direction moves before it lets others run: about a quarter of a millisecond's
/// work.
pub(crate) const CHUNKS_IN_A_ROW: u32 = 4;
/// Limits from here on are kept to within [`crate::context::ROUND`].
const LONG: Duration = Duration::from_secs(10);
/// A session that has moved nothing for so long has nothing under way.
const QUIET: Duration = Duration::from_secs(1);
/// A session that is too old and never quiet is ended after so long, and a tenth of its lifetime.
const GRACE: Duration = Duration::from_secs(5);
/// The coarse clock is at most this far behind.
const CLOCK_STEP: Duration = Duration::from_millis(10);

thread_local! {
    /// Every read of this thread goes here; it holds nothing between two polls.
    pub(crate) static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// How a relay ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Both directions by FIN, everything handed to the kernel: close in order.
    Finished,
    /// Nothing was said for the idle timeout, and nothing waits to be written: close in order.
    Idle,
    /// The same, but this side has not taken what it was sent: closing in order would make a cut
    /// stream look complete.
    Stuck(Side),
    /// It had lasted as long as it may.
    Old(Close),
    /// It was ended from outside: reset both.
    Cut(Cut),
    /// One side reset or broke: reset both.
    Aborted(Broken),
}

/// How a session that is ended by us closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// Nothing is under way: by FIN.
    InOrder,
    /// Something is: by RST, so that it does not look complete.
    Abort,
}

/// What a relay needs of its surroundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter<'a> {
    /// Its clock, its sums of bytes, its rounds.
    pub(crate) thread: &'a Thread,
    pub(crate) session: &'a Record,
    pub(crate) backend: BackendIndex,
    /// Whether the server was sent something already.
    pub(crate) first: First,
    /// Limit of silence in both directions.
    pub(crate) idle: Option<Duration>,
    /// Limit of the whole session; it then ends at the next quiet moment.
    pub(crate) lifetime: Option<Duration>,
}

/// One direction of a session. Its parts are handed around together: every argument of an async
/// function stays in its future, and every session has two of them.
struct Way<'a, const TO_SERVER: bool> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    state: &'a State<'a>,
    /// Of all sessions of the listener, and of this one.
    bytes: [&'a Bytes; 2],
}

/// To the server.
type Up<'a> = Way<'a, true>;
/// To the client.
type Down<'a> = Way<'a, false>;

/// Relays until one of the ends of [`End`].
pub(crate) async fn relay(
    client: &mut TcpStream,
    server: &mut TcpStream,
    meter: &Meter<'_>,
) -> End {
    let state = State::new(meter);
    let session = meter.session;
    let traffic = &meter.thread.traffic[session.listener()];
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut up = Up {
        from: from_client,
        to: to_server,
        state: &state,
        bytes: [&traffic.up, &session.up],
    };
    let mut down = Down {
        from: from_server,
        to: to_client,
        state: &state,
        bytes: [&traffic.down, &session.down],
    };
    // Made in their places: futures that are moved there take their room twice.
    let moved = tokio::select! {
        biased;
        moved = direction(&mut up) => moved,
        moved = direction(&mut down) => moved,
        why = session.cut() => return End::Cut(why),
        end = state.limits() => return end,
    };
    match moved {
        Ok(()) => End::Finished,
        Err(broken) => End::Aborted(broken),
    }
}

/// One direction to its end. The first that ends passes the FIN on and stays to hear whether its
/// source aborts; the second returns.
async fn direction<const TO_SERVER: bool>(way: &mut Way<'_, TO_SERVER>) -> Result<(), Broken> {
    pump(way).await?;
    if way.state.end_direction() == Ended::Both {
        // The caller closes both sockets at once, which sends the FIN.
        return Ok(());
    }
    way.to.shutdown().await.map_err(target_broke::<TO_SERVER>)?;
    way.state.touch();
    Err(Box::pin(source_breaks::<TO_SERVER>(&way.from)).await)
}

/// Moves bytes until the source's FIN.
async fn pump<const TO_SERVER: bool>(way: &mut Way<'_, TO_SERVER>) -> Result<(), Broken> {
    let mut in_a_row = 0;
    loop {
        let moved = poll_fn(|cx| {
            let moved = move_bytes(way, cx);
            if moved.is_pending() {
                in_a_row = 0;
            }
            moved
        });
        match moved.await? {
            Moved::End => return Ok(()),
            Moved::All(n) => {
                way.count(n);
                // In boxes, as all that not every session comes to: an idle one is small.
                if n >= MANY && Box::pin(bulk(way)).await? == Stop::End {
                    return Ok(());
                }
            }
            Moved::Rest(n, rest) => {
                way.count(n);
                Box::pin(write_rest(way, rest)).await?;
            }
        }
        in_a_row += 1;
        if in_a_row >= CHUNKS_IN_A_ROW {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }
}

impl<const TO_SERVER: bool> Way<'_, TO_SERVER> {
    /// Before bytes are written to a server whose first ones it may not have acknowledged yet. Many
    /// sessions write once: for them there is nothing to be delayed, and no option to be set.
    fn write_again(&self) -> io::Result<()> {
        let wrote = self.state.wrote.load(Ordering::Relaxed);
        if TO_SERVER && wrote < 2 {
            self.state.wrote.store(wrote + 1, Ordering::Relaxed);
            if wrote == 1 {
                self.to.as_ref().set_nodelay(true)?;
            }
        }
        Ok(())
    }

    /// Once a session has lasted a round, its server is asked now and then whether it is there.
    fn settle(&self) -> io::Result<()> {
        let due = Settled::Due as u8;
        if !TO_SERVER && self.state.settled.load(Ordering::Relaxed) == due {
            let done = Settled::Done as u8;
            self.state.settled.store(done, Ordering::Relaxed);
            let Meter {
                thread, backend, ..
            } = self.state.meter;
            if let Some(keepalive) = thread.proxy.config.backends[backend.0].keepalive {
                let socket = SockRef::from(self.from.as_ref());
                socket.set_tcp_keepalive(&keepalive_options(keepalive))?;
            }
        }
        Ok(())
    }

    fn count(&self, n: usize) {
        for bytes in self.bytes {
            bytes.add(n);
        }
        self.state.touch();
    }
}

/// What one step has done.
enum Moved {
    /// The source has sent its FIN.
    End,
    /// So many bytes were read and written.
    All(usize),
    /// So many bytes were written, these were not.
    Rest(usize, Box<[u8]>),
}

/// One read, and one write of what was read.
fn move_bytes<const TO_SERVER: bool>(
    way: &mut Way<'_, TO_SERVER>,
    cx: &mut Context<'_>,
) -> Poll<Result<Moved, Broken>> {
    way.settle().map_err(source_broke::<TO_SERVER>)?;
    SCRATCH.with_borrow_mut(|scratch| {
        let mut read = ReadBuf::new(scratch);
        ready!(Pin::new(&mut way.from).poll_read(cx, &mut read))
            .map_err(source_broke::<TO_SERVER>)?;
        let read = read.filled();
        if read.is_empty() {
            return Poll::Ready(Ok(Moved::End));
        }
        way.write_again().map_err(target_broke::<TO_SERVER>)?;
        let written = match Pin::new(&mut way.to).poll_write(cx, read) {
            Poll::Ready(written) => written.map_err(target_broke::<TO_SERVER>)?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(if written == read.len() {
            Moved::All(written)
        } else {
            Moved::Rest(written, read[written..].into())
        }))
    })
}

/// Writes what the other socket did not take at once. The source is not read meanwhile, but its
/// abort is heard.
async fn write_rest<const TO_SERVER: bool>(
    way: &mut Way<'_, TO_SERVER>,
    rest: Box<[u8]>,
) -> Result<(), Broken> {
    way.write_again().map_err(target_broke::<TO_SERVER>)?;
    let _waiting = way.state.waiting(target::<TO_SERVER>());
    let mut left = &rest[..];
    while !left.is_empty() {
        let n = tokio::select! {
            biased;
            written = way.to.write(left) => written.map_err(target_broke::<TO_SERVER>)?,
            broken = source_breaks::<TO_SERVER>(&way.from) => return Err(broken),
        };
        way.count(n);
        left = &left[n..];
    }
    Ok(())
}

/// Returns when the source has an error (it has reset the connection), whoever reads from it or not.
async fn source_breaks<const TO_SERVER: bool>(source: &ReadHalf<'_>) -> Broken {
    source_broke::<TO_SERVER>(match source.ready(Interest::ERROR).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    One,
    Both,
}

/// What the two directions and the idle timer know of each other. All in one task: the atomics are
/// never contended.
pub(crate) struct State<'a> {
    meter: &'a Meter<'a>,
    last_activity: AtomicU64,
    ended: AtomicU8,
    /// Bytes that were read and not taken yet: [`FOR_CLIENT`], [`FOR_SERVER`].
    waiting: AtomicU8,
    /// Writes to the server: none, one, more.
    wrote: AtomicU8,
    /// [`Settled`]
    settled: AtomicU8,
}

/// Whether the session has lasted so long that it needs what short ones never do.
#[derive(Debug, Clone, Copy)]
enum Settled {
    Not = 0,
    /// What it needs is to be set.
    Due = 1,
    Done = 2,
}

impl<'a> State<'a> {
    pub(crate) fn new(meter: &'a Meter<'a>) -> Self {
        Self {
            meter,
            last_activity: AtomicU64::new(meter.thread.clock.read().as_nanos()),
            ended: AtomicU8::new(0),
            waiting: AtomicU8::new(0),
            wrote: AtomicU8::new(u8::from(meter.first == First::Us)),
            settled: AtomicU8::new(Settled::Not as u8),
        }
    }

    fn now(&self) -> Moment {
        self.meter.thread.clock.read()
    }

    pub(crate) fn touch(&self) {
        let now = self.now().as_nanos();
        self.last_activity.store(now, Ordering::Relaxed);
    }

    fn end_direction(&self) -> Ended {
        match self.ended.fetch_add(1, Ordering::Relaxed) {
            0 => Ended::One,
            _ => Ended::Both,
        }
    }

    /// To be held while this side does not take what it is to be sent.
    pub(crate) fn waiting(&self, side: Side) -> Waiting<'_> {
        let bit = match side {
            Side::Client => FOR_CLIENT,
            Side::Server => FOR_SERVER,
        };
        self.waiting.fetch_or(bit, Ordering::Relaxed);
        Waiting(&self.waiting, bit)
    }

    /// Who does not take what it is sent, if one of the two.
    fn stuck(&self) -> Option<Side> {
        match self.waiting.load(Ordering::Relaxed) {
            0 => None,
            FOR_SERVER => Some(Side::Server),
            _ => Some(Side::Client),
        }
    }

    /// Returns when nothing was moved for the idle limit, or when the session is older than its
    /// lifetime and nothing moves. Moving a byte costs no timer: what could have passed is looked at
    /// now and then.
    ///
    /// Long limits are looked at when the thread says so, which needs no timer of the session's own;
    /// short ones have one, in a box.
    pub(crate) async fn limits(&self) -> End {
        let began = self.now();
        let meter = self.meter;
        let shortest = meter.idle.into_iter().chain(meter.lifetime).min();
        if shortest.is_some_and(|shortest| shortest < LONG) {
            return Box::pin(self.exact_limits(began)).await;
        }
        loop {
            meter.thread.rounds.notified().await;
            if self.settled.load(Ordering::Relaxed) == Settled::Not as u8 {
                // The direction from the server does it, when it is polled in the next round.
                self.settled.store(Settled::Due as u8, Ordering::Relaxed);
            }
            if let Err(end) = self.look(began) {
                return end;
            }
        }
    }

    async fn exact_limits(&self, began: Moment) -> End {
        loop {
            match self.look(began) {
                Ok(next) => sleep_until(Instant::now() + next.max(CLOCK_STEP)).await,
                Err(end) => return end,
            }
        }
    }

    /// How long nothing can have passed its limit.
    ///
    /// # Errors
    ///
    /// How the session ends now.
    fn look(&self, began: Moment) -> Result<Duration, End> {
        let (meter, now) = (self.meter, self.now());
        let last = Moment::from_nanos(self.last_activity.load(Ordering::Relaxed));
        let (quiet, age) = (now.since(last), now.since(began));
        if meter.idle.is_some_and(|limit| quiet >= limit) {
            return Err(self.stuck().map_or(End::Idle, End::Stuck));
        }
        let mut next = meter.idle.map_or(Duration::MAX, |limit| limit - quiet);
        if let Some(limit) = meter.lifetime {
            if age >= limit && quiet >= QUIET && self.stuck().is_none() {
                return Err(End::Old(Close::InOrder));
            }
            if age >= limit + limit / 10 + GRACE {
                return Err(End::Old(Close::Abort));
            }
            next = next.min(if age >= limit { QUIET } else { limit - age });
        }
        Ok(next)
    }
}

/// In [`State::waiting`].
const FOR_CLIENT: u8 = 1;
const FOR_SERVER: u8 = 2;

/// A direction has bytes that its target does not take.
pub(crate) struct Waiting<'a>(&'a AtomicU8, u8);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_and(!self.1, Ordering::Relaxed);
    }
}
