//! From a backend to a connected server: pick, connect, and another server if that fails.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "opens the sockets to the servers"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::config::{BackendIndex, Keepalive};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::balance::{Candidate, Tried, Vacancy};
use crate::context::{Counted, Proxy};
use crate::lack::{is_of_ports, is_ours};
use crate::observe;
use crate::pool::Wanted;
use crate::registry::Record;
use crate::session_log::Entry;
use crate::source::Bound;
use crate::waiting::{Look, Patience, WaitError, Waiting};

/// Longest pause before a server is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Who speaks first on a connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// We do, as soon as it is made: its handshake ends with the first bytes instead of a segment of
    /// its own (the kernel would send an empty one only after 200 ms).
    Us,
    /// Nobody knows.
    Either,
}

/// Whose connection wants a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) session: &'a Record,
    pub(crate) client: IpAddr,
    /// The port that it came to, where servers of the backend keep it.
    pub(crate) port: Option<u16>,
    pub(crate) first: First,
}

impl Caller<'_> {
    /// Where its connection to a server goes.
    fn destination(self, server: &Candidate) -> io::Result<SocketAddr> {
        let Some(offset) = server.port_offset else {
            return Ok(server.address);
        };
        let port = self.port.and_then(|port| offset.of(port));
        let words = "the client came to no port that its server has";
        let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, words))?;
        Ok(SocketAddr::new(server.address.ip(), port))
    }
}

/// What a connection to a server needs before a session has it; all in the time to connect.
pub(crate) trait Dress {
    type Stream;

    /// Makes a connection fit for sessions. An error counts as one of the server.
    fn dress(
        &self,
        stream: TcpStream,
        server: Candidate,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    fn socket(stream: &Self::Stream) -> &TcpStream;

    /// Told of every connection that was not fit for sessions.
    fn failed(&self, _error: &io::Error) {}
}

/// Nothing.
#[derive(Debug)]
pub(crate) struct Undressed;

impl Dress for Undressed {
    type Stream = TcpStream;

    async fn dress(&self, stream: TcpStream, _server: Candidate) -> io::Result<TcpStream> {
        Ok(stream)
    }

    fn socket(stream: &TcpStream) -> &TcpStream {
        stream
    }
}

/// A connected server; counted as one of its sessions until dropped.
#[derive(Debug)]
pub(crate) struct Link<'a, S = TcpStream> {
    pub(crate) stream: S,
    /// Of the server on the board.
    pub(crate) place: usize,
    pub(crate) taken: Taken<'a>,
}

/// A place among the sessions of a server; whoever waits for one is told when it is free.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    session: Option<Counted>,
    waiting: &'a Waiting,
    backend: BackendIndex,
}

impl<'a> Taken<'a> {
    fn new(proxy: &'a Proxy, backend: BackendIndex, place: usize) -> Self {
        Self {
            session: Some(Counted::new(&proxy.board.servers[place].sessions)),
            waiting: &proxy.waiting,
            backend,
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        drop(self.session.take());
        self.waiting.release(self.backend);
    }
}

/// Why a session has no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no server is usable")]
    NoServer,
    #[error("waiting for a server with a free slot")]
    Wait(#[from] WaitError),
    #[error("connecting to {address} as the last attempt of {attempts}")]
    Exhausted {
        address: SocketAddr,
        attempts: u32,
        #[source]
        source: io::Error,
    },
    /// The server is not to blame.
    #[error("connecting to {address}: this machine lacks something")]
    Lack {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Connects to a server of the backend: at most `1 + retries` attempts, each on another server
/// while there is one. The same server is tried again only after a pause. While all are full the
/// client waits its turn. An attempt whose server is taken away meanwhile is none.
pub(crate) async fn to_backend<'a, D: Dress>(
    proxy: &'a Proxy,
    index: BackendIndex,
    (caller, dress): (Caller<'_>, &D),
    entry: &mut Entry,
) -> Result<Link<'a, D::Stream>, ConnectError> {
    let backend = &proxy.config.backends[index.0];
    let mut search = Search {
        proxy,
        index,
        caller,
        tried: Tried::default(),
        patience: Patience::default(),
    };
    let mut attempts = 0;
    if proxy.waiting.has_waiters(index) {
        search.stand_in_line(entry).await?;
    }
    loop {
        let (server, taken) = search.next(entry).await?;
        entry.tries(server.place, server.address);
        let Some(connected) = attempt(proxy, taken, (server, caller, dress)).await else {
            continue;
        };
        attempts += 1;
        match connected {
            Ok(link) => {
                entry.connects(link.place, D::socket(&link.stream));
                return Ok(link);
            }
            Err(source) if is_everywhere(&source) || attempts > backend.retries => {
                return Err(given_up((server.address, attempts), source));
            }
            Err(error) => debug!(
                backend = backend.name, server = %server.address, %error,
                "a server could not be connected to, another attempt follows"
            ),
        }
    }
}

/// The way of one client to the servers that are tried for it.
struct Search<'a, 'c> {
    proxy: &'a Proxy,
    index: BackendIndex,
    caller: Caller<'c>,
    tried: Tried,
    patience: Patience<'a>,
}

impl<'a> Search<'a, '_> {
    /// The server to be tried now, and a place among its sessions; once there is one.
    async fn next(&mut self, entry: &mut Entry) -> Result<(Candidate, Taken<'a>), ConnectError> {
        let (proxy, index, session) = (self.proxy, self.index, self.caller.session);
        loop {
            let generation = proxy.pool.generation();
            let server = match pick((proxy, index), self.caller, &self.tried) {
                Ok(picked) => picked,
                Err(Vacancy::Full) => {
                    self.stand_in_line(entry).await?;
                    continue;
                }
                Err(Vacancy::NoneStands) if self.tried.is_empty() => {
                    return Err(ConnectError::NoServer);
                }
                Err(Vacancy::AllTried | Vacancy::NoneStands) => {
                    self.tried = Tried::default();
                    self.patience.leave_line();
                    let limit = proxy.config.backends[index.0].connect_timeout;
                    sleep(limit.min(PAUSE)).await;
                    continue;
                }
            };
            session.goes_to(server.place);
            if proxy.pool.generation() != generation {
                // It may have been taken away before it was seen that we go there.
                session.turns_back();
                continue;
            }
            self.tried.insert(server.place);
            let taken = Taken::new(proxy, index, server.place);
            self.patience.leave_line();
            return Ok((server, taken));
        }
    }

    /// Returns when it is this client's turn to look for a free slot.
    async fn stand_in_line(&mut self, entry: &mut Entry) -> Result<(), WaitError> {
        let (proxy, index, caller, tried) = (self.proxy, self.index, self.caller, &self.tried);
        let look = || match pick((proxy, index), caller, tried) {
            Err(Vacancy::Full) if tried.is_empty() => Look::Full,
            Err(Vacancy::Full) => Look::FullForIt,
            Ok(_) | Err(Vacancy::NoneStands | Vacancy::AllTried) => Look::Go,
        };
        let queue = (index, &proxy.board.backends[index.0]);
        let waiting = &proxy.waiting;
        waiting.wait(queue, &mut self.patience, entry, look).await
    }
}

fn pick(
    (proxy, backend): (&Proxy, BackendIndex),
    caller: Caller<'_>,
    tried: &Tried,
) -> Result<Candidate, Vacancy> {
    let wanted = Wanted {
        backend,
        client: caller.client,
        tried,
    };
    proxy.pool.pick(wanted, proxy.board)
}

/// One attempt; `None` = its server was taken away meanwhile.
async fn attempt<'a, D: Dress>(
    proxy: &'a Proxy,
    taken: Taken<'a>,
    (server, caller, dress): (Candidate, Caller<'_>, &D),
) -> Option<io::Result<Link<'a, D::Stream>>> {
    let connected = tokio::select! {
        biased;
        () = caller.session.withdrawn() => return None,
        connected = to_server(proxy, taken, (server, caller, dress)) => connected,
    };
    match connected {
        Ok(link) => caller.session.arrives().then_some(Ok(link)),
        Err(error) => {
            caller.session.turns_back();
            Some(Err(error))
        }
    }
}

/// Whether no other server can be connected to either.
fn is_everywhere(error: &io::Error) -> bool {
    is_ours(error) && !is_of_ports(error)
}

fn given_up((address, attempts): (SocketAddr, u32), source: io::Error) -> ConnectError {
    if is_ours(&source) {
        return ConnectError::Lack { address, source };
    }
    ConnectError::Exhausted {
        address,
        attempts,
        source,
    }
}

/// Connects to one server. The session is counted already, so that a burst of clients spreads.
async fn to_server<'a, D: Dress>(
    proxy: &'a Proxy,
    taken: Taken<'a>,
    (server, caller, dress): (Candidate, Caller<'_>, &D),
) -> io::Result<Link<'a, D::Stream>> {
    let index = taken.backend;
    let address = caller.destination(&server)?;
    let backend = &proxy.config.backends[index.0];
    let slot = &proxy.board.servers[server.place];
    let mut dressing = false;
    let connecting = async {
        let stream = open(proxy, index, (server.place, address), caller.first).await?;
        dressing = true;
        dress.dress(stream, server).await
    };
    let connected = match timeout(backend.connect_timeout, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    if let (Err(error), true) = (&connected, dressing) {
        dress.failed(error);
    }
    let stream = connected.inspect_err(|error| {
        if !is_ours(error) {
            slot.connect_errors.add(1);
            if let Some(observe) = &backend.observe {
                observe::count_error(slot, error, observe.error_limit);
            }
        }
    })?;
    if backend.observe.is_some() {
        observe::count_success(slot);
    }
    // TCP_NODELAY and keepalive come with the second write and the second round: see relay.
    if backend.user_timeout.is_some() {
        SockRef::from(D::socket(&stream)).set_tcp_user_timeout(backend.user_timeout)?;
    }
    slot.connected.add(1);
    if server.in_need {
        proxy.board.backends[index.0].fail_open_sessions.add(1);
    }
    Ok(Link {
        stream,
        place: server.place,
        taken,
    })
}

/// Connects to the server at `place`, with SO_LINGER 0 from the start and never from a VIP.
pub(crate) async fn open(
    proxy: &Proxy,
    backend: BackendIndex,
    (place, address): (usize, SocketAddr),
    first: First,
) -> io::Result<TcpStream> {
    let mut in_use = 0;
    while let Some(bound) = proxy.sources.bound(backend, (place, address), in_use) {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_linger(Some(Duration::ZERO))?;
        if first == First::Us {
            socket.set_tcp_quickack(false)?;
        }
        let connected = match bind(&socket, bound, address) {
            Ok(()) => connect(socket, address).await,
            Err(error) => Err(error),
        };
        let stream = match connected {
            Err(error) if bound.port != 0 && is_in_use(&error) => {
                in_use += 1;
                continue;
            }
            connected => connected?,
        };
        if bound.address.is_some() || !proxy.sources.is_wrong(place, stream.local_addr()?.ip()) {
            return Ok(stream);
        }
        if !proxy.sources.has_own_for(address) {
            warn!(server = %address, "this node has no address of that kind but virtual IPs: give it one, or name it in `source`");
            break;
        }
        warn!(server = %address, "the kernel connects from a virtual IP, the node's own address is bound from now on");
    }
    // As the kernel says it of its own range.
    Err(Errno::EADDRNOTAVAIL.into())
}

fn bind(socket: &Socket, from: Bound, server: SocketAddr) -> io::Result<()> {
    let any = || match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    match (from.address, from.port) {
        (None, 0) => return Ok(()),
        (Some(_), 0) => setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?,
        // Another connection from this port, to another server, is no hindrance.
        (_, 1..) => socket.set_reuse_address(true)?,
    }
    let address = from.address.unwrap_or_else(any);
    socket.bind(&SocketAddr::new(address, from.port).into())
}

/// The port, on this machine or for this server.
fn is_in_use(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    number == Some(Errno::EADDRINUSE as i32) || number == Some(Errno::EADDRNOTAVAIL as i32)
}

/// As tokio's own, but the socket is asked for its error only when the kernel says that it has one.
async fn connect(socket: Socket, address: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    let ready = stream.ready(Interest::WRITABLE | Interest::ERROR).await?;
    if (ready.is_error() || ready.is_write_closed())
        && let Some(error) = stream.take_error()?
    {
        return Err(error);
    }
    Ok(stream)
}

/// The socket options of a configured keepalive.
pub(crate) fn keepalive_options(keepalive: Keepalive) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.count)
}
