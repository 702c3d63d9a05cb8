//! Bytes both ways between two sides of which at least one is TLS.
//!
//! As in the plain relay ([`crate::relay`]) a direction reads into the thread's scratch buffer and
//! keeps only what its target does not take at once, an abort is heard at any time, and an end is
//! passed on as what it was: close_notify becomes FIN and FIN close_notify. A stream that ends without
//! close_notify may have been cut by anybody between us and the client (RFC 8446, section 6.1): it is
//! an error ([`io::ErrorKind::UnexpectedEof`]), and both sides are reset.
#![expect(clippy::disallowed_types, reason = "hears whether sockets were reset")]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::side::Side;
use crate::context::Bytes;
use crate::relay::{
    Broken, CHUNKS_IN_A_ROW, Close, End, Meter, SCRATCH, Side as Whose, State, Waiting,
};

/// Relays until one of the ends of [`End`]. What was said to a side at its end is with the kernel
/// then.
pub(crate) async fn relay(
    (client, server): (&mut Side, &mut Side),
    sockets: [&TcpStream; 2],
    meter: &Meter<'_>,
) -> End {
    let state = State::new(meter);
    let session = meter.session;
    let traffic = &meter.thread.traffic[session.listener()];
    let up = [&traffic.up, &session.up];
    let mut up = Flow::new(&state, (Whose::Client, Whose::Server), up);
    let down = [&traffic.down, &session.down];
    let mut down = Flow::new(&state, (Whose::Server, Whose::Client), down);
    let end = tokio::select! {
        biased;
        moved = poll_fn(|cx| {
            let up = up.poll(client, server, cx)?;
            let down = down.poll(server, client, cx)?;
            match up.is_ready() && down.is_ready() {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            }
        }) => match moved {
            Ok(()) => End::Finished,
            Err(broken) => End::Aborted(broken),
        },
        error = broken(sockets[0]) => End::Aborted(Broken::new(Whose::Client, error)),
        error = broken(sockets[1]) => End::Aborted(Broken::new(Whose::Server, error)),
        why = session.cut() => End::Cut(why),
        end = state.limits() => end,
    };
    let by_us = matches!(
        end,
        End::Idle | End::HalfClosed(_) | End::Drained | End::Old(Close::InOrder)
    );
    if by_us && let Err(whose) = take_leave([client, server]).await {
        return match end {
            End::Old(_) => End::Old(Close::Abort),
            End::Idle
            | End::HalfClosed(_)
            | End::Drained
            | End::Finished
            | End::Stuck(_)
            | End::Cut(_)
            | End::Aborted(_) => End::Stuck(whose),
        };
    }
    end
}

/// Says to both sides, the client's and the server's, that nothing follows. Nothing waits to be
/// written, so the kernel takes it at once; an error says whose did not.
async fn take_leave(sides: [&mut Side; 2]) -> Result<(), Whose> {
    for (side, whose) in sides.into_iter().zip([Whose::Client, Whose::Server]) {
        let left = poll_fn(|cx| Poll::Ready(Pin::new(&mut *side).poll_shutdown(cx))).await;
        if !matches!(left, Poll::Ready(Ok(()))) {
            return Err(whose);
        }
    }
    Ok(())
}

/// Returns when the socket has an error: its peer has reset the connection.
async fn broken(socket: &TcpStream) -> io::Error {
    match socket.ready(Interest::ERROR).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}

/// One direction of a session.
struct Flow<'a> {
    stage: Stage,
    /// Whose side it reads from, and whose it writes to.
    ways: (Whose, Whose),
    state: &'a State<'a>,
    /// While its target does not take what it has.
    waiting: Option<Waiting<'a>>,
    /// Of all sessions of the listener, and of this one.
    bytes: [&'a Bytes; 2],
}

/// What a direction does.
enum Stage {
    Reading,
    /// Writes what its target did not take at once, from this place on.
    Writing(Box<[u8]>, usize),
    /// All was written; TLS may hold some of it.
    Flushing,
    /// Its source has ended: says so to its target.
    Closing,
    Ended,
}

impl<'a> Flow<'a> {
    fn new(state: &'a State<'a>, ways: (Whose, Whose), bytes: [&'a Bytes; 2]) -> Self {
        Self {
            stage: Stage::Reading,
            ways,
            state,
            waiting: None,
            bytes,
        }
    }

    /// Goes on as far as it gets; ready when it has ended.
    fn poll(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let (_, target) = self.ways;
        let mut chunks = 0;
        loop {
            let moved = match &self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Reading if chunks == CHUNKS_IN_A_ROW => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Reading => {
                    self.waiting = None;
                    chunks += 1;
                    ready!(self.read(from, to, cx))?;
                    continue;
                }
                Stage::Writing(..) => self.write(to, cx),
                Stage::Flushing => self.then(Stage::Reading, Pin::new(&mut *to).poll_flush(cx)),
                Stage::Closing => self.close(to, cx),
            };
            match moved {
                Poll::Ready(moved) => moved.map_err(|error| Broken::new(target, error))?,
                Poll::Pending => {
                    let state = self.state;
                    self.waiting.get_or_insert_with(|| state.waiting(target));
                    return Poll::Pending;
                }
            }
        }
    }

    /// One read, and one write of what was read.
    fn read(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let (source, target) = self.ways;
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(cx, &mut read))
                .map_err(|error| Broken::new(source, error))?;
            let read = read.filled();
            if read.is_empty() {
                self.stage = Stage::Closing;
                return Poll::Ready(Ok(()));
            }
            let written = match Pin::new(to).poll_write(cx, read) {
                Poll::Ready(written) => written.map_err(|error| Broken::new(target, error))?,
                Poll::Pending => 0,
            };
            self.count(written);
            self.stage = if written == read.len() {
                Stage::Flushing
            } else {
                Stage::Writing(read[written..].into(), 0)
            };
            Poll::Ready(Ok(()))
        })
    }

    fn write(&mut self, to: &mut Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Stage::Writing(rest, place) = &mut self.stage {
            let n = ready!(Pin::new(&mut *to).poll_write(cx, &rest[*place..]))?;
            *place += n;
            if *place == rest.len() {
                self.stage = Stage::Flushing;
            }
            self.count(n);
        }
        Poll::Ready(Ok(()))
    }

    fn then(&mut self, next: Stage, done: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if matches!(done, Poll::Ready(Ok(()))) {
            self.stage = next;
            self.state.touch();
        }
        done
    }

    fn close(&mut self, to: &mut Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.then(Stage::Ended, Pin::new(to).poll_shutdown(cx)))?;
        self.state.end_direction(self.ways.0);
        Poll::Ready(Ok(()))
    }

    fn count(&self, n: usize) {
        for sum in self.bytes {
            sum.add(n);
        }
        self.state.touch();
    }
}
