//! The life of a connection that speaks TLS on one side or on both: hear what it wants → the client's
//! handshake → pick, connect, the server's handshake → relay → account.
#![expect(
    clippy::disallowed_types,
    reason = "holds the two sockets of a session"
)]

use std::io;
use std::sync::Arc;

use common::config::{Backend, BackendIndex, Listener, SendProxy};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::failure;
use super::handshake::{self, accept};
use super::listener::Ended;
use super::relay::relay;
use super::server::{Begun, Secured, SecuredStream};
use super::side::Side;
use super::told;
use super::wire::Wire;
use crate::announce;
use crate::connect::{First, Link, Taken, keepalive_options};
use crate::context::Thread;
use crate::opening::{self, Heard, Opening};
use crate::registry::Session;
use crate::relay::{self, Meter};
use crate::session::{
    Client, NoSession, account_for, begin, caller, close_in_order, find, finish, idle_limit,
    lifetime, reach,
};
use crate::session_log::Entry;

/// Serves an accepted connection of a listener that speaks TLS on any side to its end. Both sockets reset when
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
    if let (Side::Plain(_), Side::Plain(_)) = (&ready.client_side, &ready.server_side) {
        return Box::pin(relay_plainly((client, ready), &meter, &mut entry)).await;
    }
    let sockets = [&*client, &*ready.server];
    let sides = (&mut ready.client_side, &mut ready.server_side);
    let end = relay(sides, sockets, &meter).await;
    finish(end, sockets, &meter, &mut entry);
}

/// A session of a listener of which only others speak TLS: it has no less than on a listener without.
async fn relay_plainly(
    (client, ready): (Arc<TcpStream>, Ready<'_>),
    meter: &Meter<'_>,
    entry: &mut Entry,
) {
    let Ready {
        server,
        client_side,
        server_side,
        _taken,
        ..
    } = ready;
    drop((client_side, server_side));
    let [mut client, mut server] =
        [client, server].map(|socket| Arc::into_inner(socket).expect("only its side had it too"));
    let end = relay::relay(&mut client, &mut server, meter).await;
    finish(end, [&client, &server], meter, entry);
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

/// Hears what the client wants or agrees with it, connects to a server, and gives that what comes
/// before the relay.
async fn prepare<'a>(
    client: &Arc<TcpStream>,
    session: &Session,
    entry: &mut Entry,
    thread: &'a Thread,
) -> Result<Ready<'a>, NoSession> {
    let (opening, client_side) = open(client, session, thread).await?;
    let backend = opening.backend;
    let settings = &thread.proxy.config.backends[backend.0];
    let (server, server_side, first, taken) = match thread.proxy.tls.begun(backend) {
        None => {
            let (link, first) = reach((client, session), opening, entry, thread).await?;
            let server = Arc::new(link.stream);
            let side = Side::Plain(Wire::new(Arc::clone(&server), Vec::new()));
            (server, side, first, link.taken)
        }
        Some(begun) => {
            let link = secure((client, session), (opening, begun), entry, thread).await?;
            let SecuredStream { socket, tls } = link.stream;
            (
                socket,
                Side::Tls(Box::new(tls.into())),
                First::Us,
                link.taken,
            )
        }
    };
    settle(&server, settings).map_err(NoSession::Head)?;
    Ok(Ready {
        backend,
        first,
        client_side,
        server_side,
        server,
        _taken: taken,
    })
}

/// What the client wants, and how it is spoken to.
async fn open(
    client: &Arc<TcpStream>,
    session: &Session,
    thread: &Thread,
) -> Result<(Opening, Side), NoSession> {
    let (proxy, listener) = (&thread.proxy, session.listener());
    let config = &proxy.config.listeners[listener];
    let Some(ended) = proxy.tls.ended(listener) else {
        let wanted = (config, &proxy.routers[listener]);
        let slot = &proxy.board.listeners[listener];
        let opening = opening::read(client, session, wanted, (slot, &thread.turns)).await?;
        let side = Side::Plain(Wire::new(Arc::clone(client), Vec::new()));
        return Ok((opening, side));
    };
    let (head, mut said) = opening::read_header(client, session, config).await?;
    let (stream, backend) = agree(client, head, (ended, listener, thread)).await?;
    let (_, connection) = stream.get_ref();
    // What was agreed on counts more than what is told of it.
    said.authority = connection.server_name().map(str::to_owned);
    said.alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
    said.common_name = told::common_name(connection);
    said.ssl = match proxy.config.backends[backend.0].send_proxy {
        Some(SendProxy::V2(tlvs)) if tlvs.ssl => {
            Some(told::entry(connection, said.common_name.as_deref()))
        }
        Some(SendProxy::V1 | SendProxy::V2(_)) | None => None,
    };
    let opening = Opening {
        backend,
        head: Vec::new(),
        said,
    };
    Ok((opening, Side::Tls(Box::new(stream.into()))))
}

/// Connects to a server in TLS, and gives it what the client has said already.
async fn secure<'a>(
    (client, session): (&TcpStream, &Session),
    (opening, begun): (Opening, &Begun),
    entry: &mut Entry,
    thread: &'a Thread,
) -> Result<Link<'a, SecuredStream>, NoSession> {
    let (proxy, listener) = (&thread.proxy, session.listener());
    let Opening {
        backend,
        head,
        said,
    } = opening;
    entry.wants(backend, &said);
    let settings = &proxy.config.backends[backend.0];
    let header = announce::header(settings, client, &said, || proxy.name_session())?;
    let caller = caller((client, session), &said, (settings, First::Us));
    let secured = Secured {
        begun,
        header: &header,
        alpn: offered(&proxy.config.listeners[listener], settings, said.alpn),
        turns: &thread.turns,
    };
    let mut link = find(client, (backend, caller, &secured), entry, proxy).await?;
    begin(&mut link.stream.tls, &head, settings).await?;
    for bytes in [&thread.traffic[listener].up, &session.up] {
        bytes.add(head.len());
    }
    Ok(link)
}

/// The protocols that a server is offered in the place of the backend's: client and server are to
/// speak the same.
fn offered(
    listener: &Listener,
    backend: &Backend,
    agreed: Option<Vec<u8>>,
) -> Option<Vec<Vec<u8>>> {
    let known = &backend.tls.as_ref()?.alpn;
    listener.tls.as_ref().filter(|tls| !tls.alpn.is_empty())?;
    let agreed = agreed.filter(|agreed| known.iter().any(|name| name.as_bytes() == agreed));
    Some(agreed.into_iter().collect())
}

/// Takes the client's handshake to its end, in time; and the backend that the client gets by what it
/// asks for in it.
async fn agree(
    client: &Arc<TcpStream>,
    mut head: Vec<u8>,
    (ended, listener, thread): (&Ended, usize, &Thread),
) -> Result<(TlsStream<Wire>, BackendIndex), NoSession> {
    let proxy = &thread.proxy;
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
    let (_, connection) = stream.get_ref();
    handshake::count(connection, &proxy.board.listeners[listener].tls);
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
