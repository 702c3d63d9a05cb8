//! Handshakes, in turns.
//!
//! A signature holds its thread up: with ECDSA for 0.05 ms, with an RSA key of 4,096 bits on an old
//! machine for 10 ms. When many clients come at once their signatures would be made in a row, and the
//! thread's heartbeat be late by their sum: the VIPs would move for nothing. So one handshake of a
//! thread computes at a time, and after it the thread looks at its sockets, its timers and its
//! heartbeat before the next one may.
#![expect(clippy::disallowed_types, reason = "waits for a client's bytes")]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use common::board::{TlsHandshake, TlsSlot};
use rustls::{CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::wire::Wire;
use crate::turns::Turns;

/// A handshake under way.
pub(crate) trait Handshake: Future<Output = io::Result<Self::Stream>> + Unpin {
    type Stream;

    /// What it waits for.
    fn interest(&self) -> Interest;
}

impl Handshake for Accept<Wire> {
    type Stream = TlsStream<Wire>;

    fn interest(&self) -> Interest {
        self.get_ref().map_or(Interest::READABLE, Wire::interest)
    }
}

/// Takes a client's handshake to its end. `head` was read from the socket already.
pub(crate) async fn accept(
    socket: &Arc<TcpStream>,
    head: Vec<u8>,
    (config, turns): (Arc<ServerConfig>, &Turns),
) -> io::Result<TlsStream<Wire>> {
    if head.is_empty() {
        // A client that says nothing costs neither a turn nor the state of a handshake.
        socket.readable().await?;
    }
    let wire = Wire::new(Arc::clone(socket), head);
    in_turn(TlsAcceptor::from(config).accept(wire), socket, turns).await
}

/// Runs a handshake, waiting for a turn each time that it may have something to compute.
pub(crate) async fn in_turn<H: Handshake>(
    mut handshake: H,
    socket: &TcpStream,
    turns: &Turns,
) -> io::Result<H::Stream> {
    loop {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut handshake).poll(cx)));
        match turns.take(polled).await {
            Poll::Ready(done) => return done,
            Poll::Pending => socket.ready(handshake.interest()).await?,
        };
    }
}

/// Counts a handshake that has succeeded.
pub(crate) fn count(connection: &CommonState, slot: &TlsSlot) {
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    let old = connection.protocol_version() == Some(ProtocolVersion::TLSv1_2);
    let how = match (old, resumed) {
        (true, false) => TlsHandshake::Full12,
        (true, true) => TlsHandshake::Resumed12,
        (false, false) => TlsHandshake::Full13,
        (false, true) => TlsHandshake::Resumed13,
    };
    slot.handshake(how).add(1);
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "measures how long a thread is held up"
)]
mod tests {
    use std::task::Context;
    use std::time::{Duration, Instant};

    use tokio::net::TcpListener;
    use tokio::runtime::Builder;

    use super::*;

    const SIGNATURE: Duration = Duration::from_millis(5);

    /// A handshake that does nothing but compute.
    struct Busy;

    impl Future for Busy {
        type Output = io::Result<()>;

        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            std::thread::sleep(SIGNATURE);
            Poll::Ready(Ok(()))
        }
    }

    impl Handshake for Busy {
        type Stream = ();

        fn interest(&self) -> Interest {
            Interest::READABLE
        }
    }

    #[test]
    fn many_handshakes_at_once_do_not_hold_up_what_the_runtime_polls_itself() {
        const CLIENTS: usize = 60;
        let runtime = Builder::new_current_thread()
            .enable_all()
            // As of a relay thread.
            .event_interval(16)
            .build()
            .expect("a runtime");
        let longest = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            let address = listener.local_addr().expect("bound");
            let socket = Arc::new(TcpStream::connect(address).await.expect("connect"));
            let turns = Arc::new(Turns::default());
            let mut all = tokio::task::JoinSet::new();
            for _ in 0..CLIENTS {
                let (socket, turns) = (Arc::clone(&socket), Arc::clone(&turns));
                all.spawn(async move { in_turn(Busy, &socket, &turns).await });
            }
            let mut ticker = tokio::time::interval(Duration::from_millis(1));
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !all.is_empty() {
                tokio::select! {
                    biased;
                    _ = ticker.tick() => {}
                    Some(done) = all.join_next() => done.expect("no panic").expect("done"),
                }
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        });
        // Without turns sixteen signatures are made in a row.
        assert!(longest < 8 * SIGNATURE, "{longest:?}");
    }
}
