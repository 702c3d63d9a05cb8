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
mod state;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use common::config::BackendIndex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use self::bulk::{MANY, Stop, bulk};
use self::side::{source, source_broke, target, target_broke};
use self::state::{Ended, Settled};
use crate::connect::{First, keepalive_options};
use crate::context::{Bytes, Thread};
use crate::registry::{Cut, Record};

pub(crate) use self::pipe::share as share_pipes;
pub(crate) use self::side::{Broken, Side};
pub(crate) use self::state::{State, Waiting};

/// What is read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that one direction moves before it lets others run: about a tenth of a millisecond's
/// work.
pub(crate) const CHUNKS_IN_A_ROW: u32 = 2;

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
    /// The other side had ended its direction, and this one said nothing for its limit of such
    /// silence: close in order.
    HalfClosed(Side),
    /// It had lasted as long as it may.
    Old(Close),
    /// The node stops, and nothing was under way: close in order.
    Drained,
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
    if way.state.end_direction(source::<TO_SERVER>()) == Ended::Both {
        // The caller closes both sockets at once, which sends the FIN.
        return Ok(());
    }
    way.to.shutdown().await.map_err(target_broke::<TO_SERVER>)?;
    way.state.touch();
    Err(Box::pin(async {
        let mut broken = pin!(source_breaks::<TO_SERVER>(&way.from));
        poll_fn(|cx| match way.settle() {
            Ok(()) => broken.as_mut().poll(cx),
            Err(error) => Poll::Ready(source_broke::<TO_SERVER>(error)),
        })
        .await
    })
    .await)
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
            Box::pin(way.state.others_first()).await;
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
