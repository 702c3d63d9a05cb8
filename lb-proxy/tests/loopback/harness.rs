//! A proxy in this process, and the clients and servers around it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::board::{AdminBoard, ListenerSlot, ProxyBoard};
use common::config::{
    Backend, Bind, Config, Listener, NodeIndex, Probe, ProbeKind, Server, VipIndex,
};
use lb_proxy::{Control, Inputs, ListeningSocket, ProcessLog, RunError};
use socket2::{Domain, SockRef, Socket, Type};

/// Nothing on loopback takes this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Nothing ends a session but its ends; tests that want a limit set it.
const CONFIG: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[vips.api]
address = "192.0.2.10/24"
vrid = 51
[listeners.api]
bind = ["127.0.0.1:65535"]
backend = "k3s-api"
keepalive = "off"
[backends.k3s-api]
servers = ["127.0.0.1:1"]
probe = "off"
keepalive = "off"
[timeouts]
tunnel = "off"
[proxy]
drain = "5s"
[admin]
http = "off"
"#;

/// A configuration with one VIP, one listener and one backend, to be changed before the start.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) threads: usize,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) board: &'static ProxyBoard,
    /// What admin says.
    pub(crate) admin: &'static AdminBoard,
    pub(crate) process_log: ProcessLog,
}

impl Setup {
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let mut config = Config::from_running(CONFIG).expect("it is valid");
        // Each test its own port: the kernel chooses.
        let bind = &mut config.listeners[0].binds[0];
        bind.address.set_port(0);
        bind.last_port = 0;
        bind.vip = Some(VipIndex(0));
        // The address that connections to servers come from, if it is bound.
        config.nodes[0].address = IpAddr::from([127, 0, 0, 9]);
        let template = config.backends[0].servers[0];
        config.backends[0].places = (0..servers.len()).collect();
        config.backends[0].servers = servers
            .iter()
            .map(|address| Server {
                address: *address,
                ..template
            })
            .collect();
        Self {
            config,
            threads: 1,
            files: BTreeMap::new(),
            board: Box::leak(Box::default()),
            admin: Box::leak(Box::default()),
            process_log: |_| panic!("no session is to be logged"),
        }
    }

    pub(crate) fn listener(&mut self) -> &mut Listener {
        &mut self.config.listeners[0]
    }

    pub(crate) fn backend(&mut self) -> &mut Backend {
        &mut self.config.backends[0]
    }

    pub(crate) fn probe(&mut self, probe: Probe) {
        self.backend().probe = Some(probe);
    }

    pub(crate) fn start(self) -> RunningProxy {
        self.start_after(|_| {})
    }

    /// Starts it when this was said.
    pub(crate) fn start_after(self, say: impl FnOnce(&Control)) -> RunningProxy {
        let made = listening_sockets(&self.config, self.threads);
        self.start_on(made, say)
    }

    /// The same on sockets that were made before.
    pub(crate) fn start_on(
        self,
        (addresses, sockets): (Vec<SocketAddr>, Vec<ListeningSocket>),
        say: impl FnOnce(&Control),
    ) -> RunningProxy {
        let inputs = Inputs {
            config: Arc::new(self.config),
            node: NodeIndex(0),
            board: self.board,
            admin: self.admin,
            sessions: None,
            threads: self.threads,
            sockets,
            files: self.files,
            process_log: self.process_log,
        };
        let control = Control::new();
        say(&control);
        let handle = Arc::clone(&control);
        RunningProxy {
            address: addresses[0],
            addresses,
            board: self.board,
            control,
            running: Some(std::thread::spawn(|| lb_proxy::run(inputs, handle))),
        }
    }
}

/// A probe as the file makes it, but of this kind, at this interval whatever the server's state, and
/// with one probe that decides.
pub(crate) fn probe_each(interval: Duration, kind: ProbeKind) -> Probe {
    let text = CONFIG.replace("probe = \"off\"", "probe = {}");
    let mut config = Config::from_running(&text).expect("it is valid");
    let probe = config.backends[0].probe.take().expect("it is probed");
    Probe {
        kind,
        interval,
        fast_interval: interval,
        down_interval: interval,
        timeout: interval,
        rise: 1,
        fall: 1,
        ..probe
    }
}

/// As the supervisor makes them: for each port of each bind; and where they are.
pub(crate) fn listening_sockets(
    config: &Config,
    threads: usize,
) -> (Vec<SocketAddr>, Vec<ListeningSocket>) {
    let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
    for (listener, settings) in config.listeners.iter().enumerate() {
        for (bind, ports) in settings.binds.iter().enumerate() {
            for (port, address) in ports.addresses().enumerate() {
                let made = sockets_at(address, threads);
                addresses.push(made[0].local_addr().expect("it is bound"));
                let made = made.into_iter().enumerate();
                sockets.extend(made.map(|(thread, socket)| ListeningSocket {
                    listener,
                    bind,
                    port,
                    thread,
                    socket: socket.into(),
                }));
            }
        }
    }
    (addresses, sockets)
}

/// One for each thread, on the same address.
fn sockets_at(bind: SocketAddr, threads: usize) -> Vec<TcpListener> {
    let mut address = bind;
    let mut sockets = Vec::new();
    for _ in 0..threads {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
        socket.set_reuse_port(true).expect("reuse port");
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
        socket.bind(&address.into()).expect("bind");
        socket.listen(4_096).expect("listen");
        let socket = TcpListener::from(socket);
        address = socket.local_addr().expect("it is bound");
        sockets.push(socket);
    }
    sockets
}

/// A proxy that runs; it is stopped when dropped.
pub(crate) struct RunningProxy {
    /// Of the first bind.
    pub(crate) address: SocketAddr,
    /// Of every port of every bind, in their order.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) board: &'static ProxyBoard,
    pub(crate) control: Arc<Control>,
    running: Option<JoinHandle<Result<(), RunError>>>,
}

impl RunningProxy {
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub(crate) fn listener(&self) -> &ListenerSlot {
        &self.board.listeners[0]
    }

    /// Waits until `run` has returned.
    pub(crate) fn join(&mut self) -> Result<(), RunError> {
        let running = self.running.take().expect("joined once");
        running.join().expect("run does not panic")
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        self.control.request_stop(None);
        if let Some(running) = self.running.take()
            && let Ok(Err(error)) = running.join()
            && !std::thread::panicking()
        {
            panic!("the proxy ended with: {error}");
        }
    }
}

/// A bind that is a row of ports which nobody has, each time another one.
pub(crate) fn free_range(ip: IpAddr, count: u16) -> Bind {
    /// Below what the kernel gives to those who do not ask for a port.
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    const STEP: u16 = 20;
    assert!(count < STEP, "the port behind a row is nobody's");
    loop {
        let first = NEXT.fetch_add(STEP, Ordering::Relaxed);
        assert!(first < 28_000, "none is free");
        // Another run of these tests may go on beside this one.
        let name = format!("fmc-lb-test-ports-{first}");
        let name = UnixSocketAddr::from_abstract_name(name).expect("short");
        let Ok(reserved) = UnixDatagram::bind_addr(&name) else {
            continue;
        };
        let is_free = |port: u16| TcpListener::bind((ip, port)).is_ok();
        if (first..first + count).all(is_free) {
            // Until this process ends.
            std::mem::forget(reserved);
            return Bind {
                address: SocketAddr::new(ip, first),
                last_port: first + count - 1,
                vip: None,
            };
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT).expect("connect");
    limit(&stream);
    stream
}

/// A client from another address of the loopback network.
pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let source = SocketAddr::from((source, 0));
    socket.bind(&source.into()).expect("bind");
    socket.connect(&address.into()).expect("connect");
    let stream = TcpStream::from(socket);
    limit(&stream);
    stream
}

fn limit(stream: &TcpStream) {
    stream.set_read_timeout(Some(LIMIT)).expect("read timeout");
    stream
        .set_write_timeout(Some(LIMIT))
        .expect("write timeout");
}

/// A server that gives each connection to `handler`, in a thread of its own.
pub(crate) fn server(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = socket.local_addr().expect("it is bound");
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let stream = stream.expect("accept");
            limit(&stream);
            let handler = Arc::clone(&handler);
            std::thread::spawn(move || handler(stream));
        }
    });
    address
}

/// A server that echoes until the client's FIN; resets are expected.
pub(crate) fn echo_server() -> SocketAddr {
    server(|mut stream| {
        let mut buffer = [0; 16 * 1024];
        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 || stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    })
}

/// A server that tells its letter and echoes.
pub(crate) fn named(letter: u8) -> SocketAddr {
    server(move |mut stream| {
        if stream.write_all(&[letter]).is_ok() {
            let mut buffer = [0; 1024];
            while let Ok(n) = stream.read(&mut buffer) {
                if n == 0 || stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
        }
    })
}

pub(crate) fn letter(client: &mut TcpStream) -> u8 {
    let mut letter = [0];
    client.read_exact(&mut letter).expect("a server answers");
    letter[0]
}

/// A server whose connections are handed to the test.
pub(crate) fn accepting_server() -> (SocketAddr, TcpListener) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    (socket.local_addr().expect("it is bound"), socket)
}

pub(crate) fn accept(socket: &TcpListener) -> TcpStream {
    let patience = SockRef::from(socket).set_read_timeout(Some(LIMIT));
    patience.expect("set");
    let (stream, _) = socket.accept().expect("accept");
    limit(&stream);
    stream
}

/// A port where nobody listens; the socket keeps it from being given to anybody else.
pub(crate) fn refusing() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("bind");
    let address = socket.local_addr().expect("it is bound");
    (address.as_socket().expect("an IP address"), socket)
}

/// A port that does not answer a SYN: its accept queue is full.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    _sockets: Vec<Socket>,
}

impl BlackHole {
    pub(crate) fn new() -> Self {
        let (address, socket) = refusing();
        socket.listen(0).expect("listen");
        let mut sockets = vec![socket];
        for _ in 0..3 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
            filler.set_nonblocking(true).expect("nonblocking");
            let error = filler
                .connect(&address.into())
                .expect_err("it is in progress");
            assert_eq!(error.raw_os_error(), Some(nix::libc::EINPROGRESS));
            sockets.push(filler);
        }
        Self {
            address,
            _sockets: sockets,
        }
    }
}

/// Closes with RST.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(stream);
}

/// Sends a byte there and back, so that the session is known to be relayed.
pub(crate) fn ping(client: &mut TcpStream) {
    client.write_all(b"?").expect("write");
    let mut byte = [0];
    client.read_exact(&mut byte).expect("the echo of a ping");
    assert_eq!(&byte, b"?");
}

/// Reads what comes until FIN (`Ok`) or an error.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> io::Result<usize> {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(total),
            n => total += n,
        }
    }
}

#[track_caller]
pub(crate) fn expect_fin(stream: &mut TcpStream) {
    let end = read_to_end(stream);
    assert!(end.is_ok(), "not ended by FIN: {end:?}");
}

#[track_caller]
pub(crate) fn expect_reset(stream: &mut TcpStream) {
    let end = read_to_end(stream).map_err(|error| error.kind());
    assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
}

/// No session: the reset may come before the client's connect has returned.
#[track_caller]
pub(crate) fn expect_refusal(proxy: &RunningProxy) {
    let end = TcpStream::connect(proxy.address).and_then(|mut client| read_to_end(&mut client));
    let end = end.map_err(|error| error.kind());
    assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
}

/// As [`expect_refusal`], for a client at this address.
#[track_caller]
pub(crate) fn expect_refusal_from(source: Ipv4Addr, proxy: &RunningProxy) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket
        .bind(&SocketAddr::from((source, 0)).into())
        .expect("bind");
    let end = socket.connect(&proxy.address.into()).and_then(|()| {
        let mut client = TcpStream::from(socket);
        limit(&client);
        read_to_end(&mut client)
    });
    let end = end.map_err(|error| error.kind());
    assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "it did not come to pass: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The clock of the boards.
pub(crate) fn now() -> common::time::Moment {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("clock");
    let nanos = Duration::from(now).as_nanos();
    common::time::Moment::from_nanos(u64::try_from(nanos).expect("584 years"))
}

pub(crate) fn net(text: &str) -> ipnet::IpNet {
    text.parse().expect("a network")
}

pub(crate) fn localhost() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}
