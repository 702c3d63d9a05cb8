//! The life of one connection, top to bottom: hear what it wants → pick and connect → relay →
//! account.
#![expect(
    clippy::disallowed_types,
    reason = "holds the two sockets of a session"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::board::ListenerSlot;
use common::config::{Backend, BackendIndex, Config};
use socket2::SockRef;
use tokio::io::{AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::accepting::Post;
use crate::announce;
use crate::clock;
use crate::connect::{self, Caller, ConnectError, Dress, First, Link, Undressed};
use crate::context::{Counted, Proxy, Thread};
use crate::entrance::Entrance;
use crate::hash;
use crate::limit::Admitted;
use crate::opening::{self, Opening, Refused, Said};
use crate::proxy_protocol::EncodeError;
use crate::registry::{Cut, Record, Session};
use crate::relay::{Close, End, Meter, Side, relay};
use crate::session_log::Entry;
use crate::termination::Ending;
use crate::tls::failure;

/// An accepted connection, counted as a session of its listener and of its client from before the
/// next one is accepted.
#[derive(Debug)]
pub(crate) struct Client {
    /// Told before the session leaves.
    pub(crate) entry: Entry,
    pub(crate) stream: TcpStream,
    pub(crate) session: Session,
    pub(crate) _admitted: Option<Box<Admitted>>,
    pub(crate) _counted: Counted,
}

impl Client {
    pub(crate) fn new(
        (stream, address): (TcpStream, SocketAddr),
        admitted: Option<Box<Admitted>>,
        (post, entrance): (&Post, &Entrance),
    ) -> Self {
        let (thread, listener) = (&post.thread, post.listener);
        let proxy = &thread.proxy;
        let registry = &proxy.registries[thread.index];
        let client = (address, entrance.end_of(&stream, &proxy.config));
        let session = registry.enter(client, listener, thread.clock.read());
        Self {
            entry: Entry::open(proxy, &session, &stream),
            stream,
            session,
            _admitted: admitted,
            _counted: Counted::new(&proxy.board.listeners[listener].sessions),
        }
    }
}

/// Serves an accepted connection to its end. Both sockets reset when dropped, unless they were
/// closed in order.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function keeps its arguments twice, and every session these 80 bytes"
)]
pub(crate) fn serve(
    mut client: Client,
    thread: Arc<Thread>,
) -> impl Future<Output = ()> + Send + 'static {
    async move {
        let _alive = thread.sessions.enter();
        // In a box of its own, which is gone when the relay begins: what an idle session keeps in memory
        // is the relay's state alone.
        let preparing = Box::pin(prepare_unless_cut(&mut client, &thread));
        let (mut server, backend, first) = match preparing.await {
            Ok(prepared) => prepared,
            Err(reason) => {
                let whose = (&*client.session, &mut client.entry);
                return account_for(&reason, whose, &thread);
            }
        };
        let listener = client.session.listener();
        let meter = Meter {
            thread: &thread,
            session: &client.session,
            backend,
            first,
            idle: idle_limit(&thread.proxy.config, listener, backend),
            lifetime: lifetime(&thread, listener),
        };
        let end = relay(&mut client.stream, &mut server.stream, &meter).await;
        let sockets = [&client.stream, &server.stream];
        finish(end, sockets, &meter, &mut client.entry);
    }
}

/// Logs and counts how a session ended, and lets both sockets be closed in order where that is
/// right.
pub(crate) fn finish(end: End, sockets: [&TcpStream; 2], meter: &Meter<'_>, entry: &mut Entry) {
    entry.close(&Ending::Relayed(&end, less_patient(meter)));
    let (session, thread) = (meter.session, meter.thread);
    let slot = slot_of(session, thread);
    match end {
        End::Finished => close_in_order(sockets),
        End::Idle | End::HalfClosed(_) => {
            slot.idle_closed.add(1);
            close_in_order(sockets);
        }
        End::Stuck(_) => slot.idle_closed.add(1),
        End::Drained => {
            thread.proxy.board.drain.closed.add(1);
            close_in_order(sockets);
        }
        End::Old(Close::InOrder) => {
            slot.lifetime_closed.add(1);
            close_in_order(sockets);
        }
        End::Old(Close::Abort) => slot.lifetime_closed.add(1),
        End::Cut(why) => account_for_cut(why, session, thread),
        End::Aborted(broken) => {
            if broken.kind() == io::ErrorKind::UnexpectedEof {
                // A stream of TLS that may have been cut.
                slot.tls.truncated.add(1);
            } else {
                slot.aborted.add(1);
            }
            let listener = name_of(session, thread);
            let reason = with_causes(&broken);
            debug!(listener, reason, "a session was aborted");
        }
    }
}

/// Why a connection became no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSession {
    #[error("hearing what the client wants")]
    Opening(#[from] Refused),
    #[error("agreeing on TLS with the client")]
    Handshake(#[source] io::Error),
    #[error("the client has gone while a server was looked for")]
    ClientGone,
    #[error("it was ended from outside")]
    Cut(Cut),
    #[error("finding a server")]
    Server(#[from] ConnectError),
    #[error("making the PROXY protocol header")]
    Header(#[from] EncodeError),
    #[error("sending the server what comes first")]
    Head(#[source] io::Error),
}

/// Logs and counts a session that did not come to a server.
pub(crate) fn account_for(
    reason: &NoSession,
    (session, entry): (&Record, &mut Entry),
    thread: &Thread,
) {
    entry.close(&Ending::NoSession(reason));
    let slot = slot_of(session, thread);
    match reason {
        NoSession::Opening(Refused::Client(_)) | NoSession::ClientGone => slot.aborted.add(1),
        NoSession::Opening(Refused::Header(_) | Refused::HeaderLate | Refused::HeaderCut) => {
            slot.bad_headers.add(1);
        }
        NoSession::Handshake(error) => slot.tls.failure(failure::of(error)).add(1),
        NoSession::Cut(why) => account_for_cut(*why, session, thread),
        NoSession::Server(_) | NoSession::Header(_) | NoSession::Head(_) => slot.failed.add(1),
    }
    tell(
        reason,
        name_of(session, thread),
        (session.peer().ip(), thread),
    );
}

fn account_for_cut(why: Cut, session: &Record, thread: &Thread) {
    match (why, session.server()) {
        (Cut::ServerDown | Cut::ActiveUp, Some(place)) => {
            thread.proxy.board.servers[place].cut.add(1)
        }
        (Cut::ServerDown | Cut::ActiveUp, None) | (Cut::Administrator, _) => {
            slot_of(session, thread).killed.add(1)
        }
    }
}

fn slot_of(session: &Record, thread: &Thread) -> &'static ListenerSlot {
    &thread.proxy.board.listeners[session.listener()]
}

fn name_of<'a>(session: &Record, thread: &'a Thread) -> &'a str {
    &thread.proxy.config.listeners[session.listener()].name
}

/// A lack of this machine fails every client, and somebody should look; but not at a line for each.
fn tell(reason: &NoSession, listener: &str, (peer, thread): (IpAddr, &Thread)) {
    let words = with_causes(reason);
    let lack = matches!(reason, NoSession::Server(ConnectError::Lack { .. }));
    if lack && thread.proxy.lack_warnings.is_due(clock::now()) {
        warn!(listener, reason = words, "sessions cannot be served");
    } else {
        debug!(listener, %peer, reason = words, "no session for a client");
    }
}

async fn prepare_unless_cut<'a>(
    client: &mut Client,
    thread: &'a Thread,
) -> Result<(Link<'a>, BackendIndex, First), NoSession> {
    let Client {
        stream,
        session,
        entry,
        ..
    } = client;
    tokio::select! {
        biased;
        why = session.cut() => Err(NoSession::Cut(why)),
        prepared = prepare((stream, session), entry, thread) => prepared,
    }
}

/// Hears what the client wants, and goes to a server with it.
async fn prepare<'a>(
    (client, session): (&TcpStream, &Session),
    entry: &mut Entry,
    thread: &'a Thread,
) -> Result<(Link<'a>, BackendIndex, First), NoSession> {
    let (proxy, listener) = (&thread.proxy, session.listener());
    let wanted = (&proxy.config.listeners[listener], &proxy.routers[listener]);
    let slot = slot_of(session, thread);
    let opening = opening::read(client, session, wanted, (slot, &thread.turns)).await?;
    let backend = opening.backend;
    let (link, first) = reach((client, session), opening, entry, thread).await?;
    Ok((link, backend, first))
}

/// Connects to a server, and gives it what comes before the relay.
pub(crate) async fn reach<'a>(
    (client, session): (&TcpStream, &Session),
    opening: Opening,
    entry: &mut Entry,
    thread: &'a Thread,
) -> Result<(Link<'a>, First), NoSession> {
    let (proxy, listener) = (&thread.proxy, session.listener());
    let Opening {
        backend,
        mut head,
        said,
    } = opening;
    entry.wants(backend, &said);
    let settings = &proxy.config.backends[backend.0];
    let first = if head.is_empty() && settings.send_proxy.is_none() {
        First::Either
    } else {
        First::Us
    };
    let caller = caller((client, session), &said, (settings, first));
    let mut link = find(client, (backend, caller, &Undressed), entry, proxy).await?;
    let mut opening = announce::header(settings, client, &said, || proxy.name_session())?;
    // The client's own bytes; the header before them is ours.
    let heard = head.len();
    opening.append(&mut head);
    begin(&mut link.stream, &opening, settings).await?;
    for bytes in [&thread.traffic[listener].up, &session.up] {
        bytes.add(heard);
    }
    Ok((link, first))
}

/// Whose connection a session is, for whoever picks a server.
pub(crate) fn caller<'a>(
    (client, session): (&TcpStream, &'a Session),
    said: &Said,
    (settings, first): (&Backend, First),
) -> Caller<'a> {
    let port = || {
        said.endpoints_of(client)
            .map(|ends| ends.destination.port())
    };
    Caller {
        session,
        client: said.client(session.peer().ip()),
        port: settings.keeps_ports().then(port).flatten(),
        first,
    }
}

/// Connects to a server, for a client that may go meanwhile.
pub(crate) async fn find<'a, D: Dress>(
    client: &TcpStream,
    (backend, caller, dress): (BackendIndex, Caller<'_>, &D),
    entry: &mut Entry,
    proxy: &'a Proxy,
) -> Result<Link<'a, D::Stream>, NoSession> {
    tokio::select! {
        biased;
        connected = connect::to_backend(proxy, backend, (caller, dress), entry) => Ok(connected?),
        // Its RST only: a client may well have sent its FIN behind its request.
        _ = client.ready(Interest::ERROR) => Err(NoSession::ClientGone),
    }
}

/// Gives a server what comes first.
pub(crate) async fn begin(
    server: &mut (impl AsyncWrite + Unpin),
    first: &[u8],
    settings: &Backend,
) -> Result<(), NoSession> {
    if first.is_empty() {
        return Ok(());
    }
    let sending = async {
        // All in one segment, as receivers of headers like it.
        server.write_all(first).await?;
        server.flush().await
    };
    match timeout(settings.connect_timeout, sending).await {
        Ok(sent) => sent.map_err(NoSession::Head),
        Err(_) => Err(NoSession::Head(io::ErrorKind::TimedOut.into())),
    }
}

/// Limit of silence in both directions: the tunnel timeout; without one the shorter of the client's
/// and the server's.
pub(crate) fn idle_limit(
    config: &Config,
    listener: usize,
    backend: BackendIndex,
) -> Option<Duration> {
    let listener = &config.listeners[listener];
    let server_timeout = config.backends[backend.0].server_timeout;
    let sides = [listener.client_timeout, server_timeout];
    listener
        .tunnel_timeout
        .or_else(|| sides.into_iter().flatten().min())
}

/// Whose limit of silence that is. Both sides have the same tunnel timeout: HAProxy looks at the
/// client's first.
fn less_patient(meter: &Meter<'_>) -> Side {
    let config = &meter.thread.proxy.config;
    let listener = &config.listeners[meter.session.listener()];
    let server = config.backends[meter.backend.0].server_timeout;
    let client = listener.client_timeout;
    match (listener.tunnel_timeout, server) {
        (None, Some(server)) if client.is_none_or(|client| server < client) => Side::Server,
        (Some(_), _) | (None, Some(_) | None) => Side::Client,
    }
}

/// The listener's limit and up to a tenth more, so that sessions that began together do not end
/// together.
pub(crate) fn lifetime(thread: &Thread, listener: usize) -> Option<Duration> {
    let limit = thread.proxy.config.listeners[listener].max_lifetime?;
    let number = thread.proxy.named.fetch_add(1, Ordering::Relaxed);
    let share = u32::try_from(hash::mix(number) % 1_024).unwrap_or(0);
    Some(limit + limit / 10 * share / 1_024)
}

/// Lets sockets be closed with FIN when they are dropped; what the kernel still holds is
/// delivered.
pub(crate) fn close_in_order<const N: usize>(sockets: [&TcpStream; N]) {
    for stream in sockets {
        if let Err(error) = SockRef::from(stream).set_linger(None) {
            debug!(%error, "a session is reset instead of closed");
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// What is written, write by write.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Sockets put each write of a new connection into a segment of its own.
    #[tokio::test]
    async fn what_comes_first_is_written_at_once() {
        let text = r#"
            [nodes.lb1]
            address = "127.0.0.1"
            [pair]
            interface = "lo"
            [listeners.web]
            bind = ["127.0.0.1:80"]
            backend = "web"
            [backends.web]
            servers = ["10.0.0.1:80"]
        "#;
        let config = Config::from_running(text).expect("it is valid");
        let mut writes = Writes::default();
        let begun = begin(&mut writes, b"a header and more", &config.backends[0]).await;
        begun.expect("it takes everything");
        assert_eq!(writes.0, [b"a header and more"]);
    }
}
