//! The life of a connection whose TLS ends here: hear what it wants → handshake → pick and connect →
//! relay → account.
#![expect(
    clippy::disallowed_types,
    reason = "holds the two sockets of a session"
)]

use std::io;
use std::sync::Arc;

use common::config::{Backend, BackendIndex};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::failure;
use super::handshake::{self, accept};
use super::relay::relay;
use super::side::Side;
use super::wire::Wire;
use crate::connect::{First, Link, Taken, keepalive_options};
use crate::context::Thread;
use crate::opening::{self, Heard, Opening};
use crate::registry::Session;
use crate::relay::Meter;
use crate::session::{
    Client, NoSession, account_for, close_in_order, finish, idle_limit, lifetime, reach,
};
use crate::session_log::Entry;

/// Serves an accepted connection of a listener that ends TLS to its end. Both sockets reset when
/// dropped, unless they were closed in order.
pub(crate) async fn serve(client: Client, thread: Arc<Thread>) {
    let _alive = thread.sessions.enter();
    let Client {
        stream,
        session,
        mut entry,
        _admitted,
        _counted,
    } = client;
    let client = Arc::new(stream);
    let preparing = Box::pin(prepare_unless_cut(&client, &session, &mut entry, &thread));
    let mut ready = match preparing.await {
        Ok(ready) => ready,
        Err(reason) => {
            if let NoSession::Handshake(error) = &reason
                && failure::is_told(error)
            {
                close_in_order([&*client]);
            }
            return account_for(&reason, (&session, &mut entry), &thread);
        }
    };
    let listener = session.listener();
    let meter = Meter {
        thread: &thread,
        session: &session,
        backend: ready.backend,
        first: ready.first,
        idle: idle_limit(&thread.proxy.config, listener, ready.backend),
        lifetime: lifetime(&thread, listener),
    };
    let sockets = [&*client, &*ready.server];
    let sides = (&mut ready.client_side, &mut ready.server_side);
    let end = relay(sides, sockets, &meter).await;
    finish(end, sockets, &meter, &mut entry);
}

/// A session that can begin.
struct Ready<'a> {
    backend: BackendIndex,
    first: First,
    server: Arc<TcpStream>,
    client_side: Side,
    server_side: Side,
    _taken: Taken<'a>,
}

async fn prepare_unless_cut<'a>(
    client: &Arc<TcpStream>,
    session: &Session,
    entry: &mut Entry,
    thread: &'a Thread,
) -> Result<Ready<'a>, NoSession> {
    tokio::select! {
        biased;
        why = session.cut() => Err(NoSession::Cut(why)),
        prepared = prepare(client, session, entry, thread) => prepared,
    }
}

/// Agrees with the client, connects to a server, and gives it what comes before the relay.
async fn prepare<'a>(
    client: &Arc<TcpStream>,
    session: &Session,
    entry: &mut Entry,
    thread: &'a Thread,
) -> Result<Ready<'a>, NoSession> {
    let (config, listener) = (&thread.proxy.config, session.listener());
    let header = opening::read_header(client, session, &config.listeners[listener]);
    let (head, mut said) = header.await?;
    let (stream, backend) = agree(client, head, (listener, thread)).await?;
    let (_, connection) = stream.get_ref();
    // What was agreed on counts more than what is told of it.
    said.authority = connection.server_name().map(str::to_owned);
    said.alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
    let opening = Opening {
        backend,
        head: Vec::new(),
        said,
    };
    let (link, first) = reach((client, session), opening, entry, thread).await?;
    settle(&link.stream, &config.backends[backend.0]).map_err(NoSession::Head)?;
    let Link {
        stream: server,
        taken,
        ..
    } = link;
    let server = Arc::new(server);
    Ok(Ready {
        backend,
        first,
        client_side: Side::Tls(Box::new(stream.into())),
        server_side: Side::Plain(Wire::new(Arc::clone(&server), Vec::new())),
        server,
        _taken: taken,
    })
}

/// Takes the client's handshake to its end, in time; and the backend that the client gets by what it
/// asks for in it.
async fn agree(
    client: &Arc<TcpStream>,
    mut head: Vec<u8>,
    (listener, thread): (usize, &Thread),
) -> Result<(TlsStream<Wire>, BackendIndex), NoSession> {
    let proxy = &thread.proxy;
    let ended = proxy
        .tls
        .ended(listener)
        .expect("the accept loop gives no others");
    let (config, router) = (&proxy.config.listeners[listener], &proxy.routers[listener]);
    let agreeing = async {
        let hello = if router.has_routes() {
            match opening::hear(client, &mut head, config.hello_timeout).await? {
                Heard::Hello(hello) => Some(hello),
                Heard::Late => return Err(io::ErrorKind::TimedOut.into()),
                // Whoever says what is wrong with it says it to the client, too.
                Heard::Other(_) | Heard::End => None,
            }
        } else {
            None
        };
        let stream = accept(client, head, (ended.config(), &thread.turns)).await?;
        Ok((stream, router.backend(hello.as_ref())))
    };
    let agreed = timeout(ended.timeout, agreeing).await;
    let (stream, backend) = agreed
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(NoSession::Handshake)?;
    handshake::count(&stream, &proxy.board.listeners[listener].tls);
    Ok((stream, backend))
}

/// What a plain session gets when it turns out to need it: after a handshake it costs little.
fn settle(server: &TcpStream, settings: &Backend) -> io::Result<()> {
    server.set_nodelay(true)?;
    match settings.keepalive {
        Some(keepalive) => SockRef::from(server).set_tcp_keepalive(&keepalive_options(keepalive)),
        None => Ok(()),
    }
}
