//! Servers behind the balancer that say who they are. One thread each, inside the machine's namespace.
//!
//! - Echo: greets with `I am w1\n`, then echoes.
//! - HTTP: `GET /` says `I am w1\n`, `GET /file/N` sends N bytes of the stream of [`crate::payload`], `PUT /upload`
//!   checks what it gets against that stream and answers after the half-close (or after Content-Length bytes) with
//!   `length N checksum HEX exact|wrong at N`, `GET /watch` sends a chunk each 100 ms.
//! - TLS: the echo inside TLS.
//! - The API server: [`crate::apiserver`].

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufStream,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::apiserver::{self, ApiState};
use crate::http::{self, Request};
use crate::{Lab, Node, payload, wait};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;
/// Bytes read or written at once.
const CHUNK: usize = 64 * 1_024;
/// A thread does what it is told within this.
const LATE: Duration = Duration::from_secs(1);
/// A line of a watch is sent this often.
const WATCH_STEP: Duration = Duration::from_millis(100);
/// The end of a connection that lasted as long is remembered.
const LONG: Duration = Duration::from_millis(500);
/// So many are remembered.
const REMEMBERED: usize = 65_536;

/// What a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// TCP echo that greets with its name.
    Echo,
    /// HTTP/1.1.
    Http,
    /// The echo inside TLS.
    TlsEcho,
    /// A Kubernetes API server's health endpoints over TLS.
    ApiServer,
}

/// How a backend treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Serves.
    Up,
    /// Its port is closed: new connections get RST, established ones live on.
    Refuse,
    /// Accepts and says nothing, not even TLS; established connections live on.
    Hang,
}

/// How established connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Reset(u64),
    Fin(u64),
}

/// A connection that has ended by the other side's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// When it was accepted.
    pub began: Instant,
    /// When it ended.
    pub at: Instant,
    /// The error that the socket had; `None` = it was closed in order, with FIN.
    pub error: Option<io::ErrorKind>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    mode: watch::Sender<Mode>,
    /// What the thread does by now.
    done: watch::Sender<Mode>,
    end: watch::Sender<End>,
    stop: watch::Sender<bool>,
    accepted: AtomicU64,
    sessions: AtomicU64,
    past: Mutex<VecDeque<Past>>,
    pub(crate) api: watch::Sender<ApiState>,
}

/// A running backend. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Backend {
    shared: Arc<Shared>,
    address: SocketAddrV4,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Starts a service on a port of the machine; it calls itself by the machine's name.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(lab: &Lab, node: Node, port: u16, service: Service) -> Result<Self> {
        let address = SocketAddrV4::new(node.address(), port);
        let shared = Arc::new(Shared {
            name: node.name().to_owned(),
            mode: watch::Sender::new(Mode::Up),
            done: watch::Sender::new(Mode::Up),
            end: watch::Sender::new(End::NotYet),
            stop: watch::Sender::new(false),
            accepted: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            past: Mutex::default(),
            api: watch::Sender::new(ApiState::default()),
        });
        let tls = match service {
            Service::Echo | Service::Http => None,
            Service::TlsEcho | Service::ApiServer => Some(TlsAcceptor::from(
                lab.pki().server(node.name(), node.address())?,
            )),
        };
        let server = Server {
            shared: Arc::clone(&shared),
            address,
            service,
            tls,
        };
        let (ready, started) = std::sync::mpsc::channel();
        let thread = lab.spawn_in(node, &format!("port-{port}"), move || server.run(&ready))?;
        let backend = Self {
            shared,
            address,
            thread: Some(thread),
        };
        started
            .recv()
            .map_err(|_| anyhow!("the backend's thread ended"))?
            .with_context(|| format!("listen on {address} of {node}"))?;
        Ok(backend)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::V4(self.address)
    }

    /// The name that it tells.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Changes how it treats connections. When this returns it does so: nobody gets into the queue of a port that is
    /// about to be closed.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        // A thread that has ended does nothing any more.
        wait::within(LATE, || *self.shared.done.borrow() == mode);
    }

    /// Ends every established connection with RST.
    pub fn reset_sessions(&self) {
        self.shared.end.send_replace(End::Reset(self.accepted()));
    }

    /// Ends every established connection with FIN.
    pub fn close_sessions(&self) {
        self.shared.end.send_replace(End::Fin(self.accepted()));
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn sessions(&self) -> u64 {
        self.shared.sessions.load(Ordering::Relaxed)
    }

    /// Connections of half a second and more that the other side has ended since then; the last 65,536 are known.
    pub fn ended_since(&self, since: Instant) -> Vec<Past> {
        let past = self.shared.past();
        past.iter().filter(|one| one.at >= since).copied().collect()
    }

    pub(crate) fn api(&self) -> &watch::Sender<ApiState> {
        &self.shared.api
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of the backend was printed when it happened.
            drop(thread.join());
        }
    }
}

/// What the thread owns.
struct Server {
    shared: Arc<Shared>,
    address: SocketAddrV4,
    service: Service,
    tls: Option<TlsAcceptor>,
}

impl Server {
    fn run(self, ready: &std::sync::mpsc::Sender<io::Result<()>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                drop(ready.send(Err(error)));
                return;
            }
        };
        runtime.block_on(async {
            match listen(self.address) {
                Ok(listener) => {
                    drop(ready.send(Ok(())));
                    self.serve(listener).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    }

    async fn serve(self, listener: TcpListener) {
        let server = Arc::new(self);
        let mut mode = server.shared.mode.subscribe();
        let mut stop = server.shared.stop.subscribe();
        let mut listener = Some(listener);
        loop {
            let now = *mode.borrow_and_update();
            if now == Mode::Refuse {
                listener = None;
            } else if listener.is_none() {
                listener = listen(server.address).ok();
            }
            server.shared.done.send_replace(now);
            tokio::select! {
                accepted = accept(listener.as_ref()) => server.session(accepted, now),
                changed = mode.changed() => if changed.is_err() { return },
                _ = stop.changed() => return,
            }
        }
    }

    fn session(self: &Arc<Self>, stream: TcpStream, mode: Mode) {
        let server = Arc::clone(self);
        server.shared.accepted.fetch_add(1, Ordering::Relaxed);
        server.shared.sessions.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            server.one(stream, mode).await;
            server.shared.sessions.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn one(&self, mut stream: TcpStream, mode: Mode) {
        let began = Instant::now();
        let mut end = self.shared.end.subscribe();
        end.mark_unchanged();
        // Small answers at once; it cannot fail on a socket that was just accepted in any way that matters here.
        drop(stream.set_nodelay(true));
        let kind = tokio::select! {
            spoken = self.speak(&mut stream, mode) => {
                self.shared.remember(began, spoken);
                End::NotYet
            }
            _ = end.changed() => *end.borrow(),
        };
        if matches!(kind, End::Reset(_)) {
            drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
        }
    }

    async fn speak(&self, stream: &mut TcpStream, mode: Mode) -> io::Result<()> {
        if mode == Mode::Hang {
            return std::future::pending().await;
        }
        match &self.tls {
            None => self.converse(BufStream::new(stream)).await,
            Some(tls) => {
                let stream = tls.accept(stream).await?;
                let known = stream.get_ref().1.peer_certificates().is_some();
                if self.service == Service::ApiServer {
                    return apiserver::converse(&self.shared, BufStream::new(stream), known).await;
                }
                self.converse(BufStream::new(stream)).await
            }
        }
    }

    async fn converse<S: AsyncBufRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<()> {
        match self.service {
            Service::Echo | Service::TlsEcho => echo(self.shared.name(), stream).await,
            Service::Http | Service::ApiServer => serve_http(self.shared.name(), stream).await,
        }
    }
}

impl Shared {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn remember(&self, began: Instant, spoken: io::Result<()>) {
        let at = Instant::now();
        if at - began < LONG {
            return;
        }
        let mut past = self.past();
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        let error = spoken.err().map(|error| error.kind());
        past.push_back(Past { began, at, error });
    }

    fn past(&self) -> std::sync::MutexGuard<'_, VecDeque<Past>> {
        self.past
            .lock()
            .expect("nothing panics while it holds the past")
    }
}

/// A port that can be closed and opened again at once.
fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::V4(address))?;
    socket.listen(BACKLOG)
}

/// The next connection; never, without a listener. An error (no descriptor left) is tried again a little later.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(name: &str, mut stream: S) -> io::Result<()> {
    stream
        .write_all(format!("I am {name}\n").as_bytes())
        .await?;
    stream.flush().await?;
    let mut buffer = vec![0; 4_096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..length]).await?;
        stream.flush().await?;
    }
}

async fn serve_http<S: AsyncBufRead + AsyncWrite + Unpin>(
    name: &str,
    mut stream: S,
) -> io::Result<()> {
    while let Some(request) = http::read_request(&mut stream).await? {
        respond(name, &mut stream, &request).await?;
        if request.close {
            break;
        }
    }
    stream.shutdown().await
}

async fn respond<S: AsyncBufRead + AsyncWrite + Unpin>(
    name: &str,
    stream: &mut S,
    request: &Request,
) -> io::Result<()> {
    if request.method == "PUT" {
        let verdict = receive(stream, request.length).await?;
        return http::answer(stream, 200, &verdict).await;
    }
    if let Some(length) = request
        .path
        .strip_prefix("/file/")
        .and_then(|n| n.parse().ok())
    {
        return send_file(stream, length).await;
    }
    match request.path.as_str() {
        "/" => http::answer(stream, 200, &format!("I am {name}\n")).await,
        "/watch" => watch_stream(name, stream).await,
        _ => http::answer(stream, 404, "no such page\n").await,
    }
}

async fn send_file<S: AsyncWrite + Unpin>(stream: &mut S, length: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; CHUNK];
    let mut sent = 0;
    while sent < length {
        let left = usize::try_from(length - sent).unwrap_or(usize::MAX);
        let part = buffer.len().min(left);
        payload::fill(sent, &mut buffer[..part]);
        stream.write_all(&buffer[..part]).await?;
        sent += part as u64;
    }
    stream.flush().await
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S, length: Option<u64>) -> io::Result<String> {
    let mut check = payload::Check::default();
    let mut buffer = vec![0; CHUNK];
    while length.is_none_or(|length| check.length() < length) {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        check.update(&buffer[..read]);
    }
    let verdict = match check.first_wrong() {
        None => "exact".to_owned(),
        Some(at) => format!("wrong at {at}"),
    };
    Ok(format!(
        "length {} checksum {:016x} {verdict}\n",
        check.length(),
        check.checksum()
    ))
}

/// A chunk each 100 ms until the client closes, as a watch of the API does.
pub(crate) async fn watch_stream<S: AsyncBufRead + AsyncWrite + Unpin>(
    name: &str,
    stream: &mut S,
) -> io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    for event in 0_u64.. {
        let line = format!("{{\"type\":\"BOOKMARK\",\"from\":\"{name}\",\"event\":{event}}}\n");
        stream
            .write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())
            .await?;
        stream.flush().await?;
        tokio::select! {
            () = tokio::time::sleep(WATCH_STEP) => {}
            more = stream.fill_buf() => {
                if more?.is_empty() {
                    break;
                }
                // A client that goes on sending is answered after the watch, which does not end.
                tokio::time::sleep(WATCH_STEP).await;
            }
        }
    }
    Ok(())
}

/// Where a machine's service listens.
pub fn at(node: Node, port: u16) -> SocketAddr {
    let address: Ipv4Addr = node.address();
    SocketAddr::from((address, port))
}
