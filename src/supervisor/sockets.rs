//! The listening sockets: bound once, here, and passed to the processes that accept from them.

#![expect(
    clippy::disallowed_types,
    reason = "this file binds the listening sockets"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use common::config::capacity::{MAX_SOCKETS, RESERVED_DESCRIPTORS};
use common::config::{AdminHttp, Bind, Config, Listener, MAX_THREADS, NodeIndex, SocketOptions};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::tcp_options;
use crate::control::Handle;
use crate::rights;

/// Relay threads: as many as the file says, or one for each core that this process may use.
pub(super) fn threads(config: &Config) -> usize {
    config
        .proxy
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
        .clamp(1, MAX_THREADS)
}

/// Binds every address of every listener, once for each relay thread (SO_REUSEPORT spreads
/// connections over them).
pub(super) fn bind_listeners(
    config: &Config,
    threads: usize,
) -> anyhow::Result<Vec<(Handle, OwnedFd)>> {
    require_descriptors(config, threads)?;
    let socket = |wanted: Wanted| {
        let socket = bind(&config.listeners[wanted.listener], wanted.address)?;
        Ok((wanted.handle(), socket))
    };
    wanted(config, threads).map(socket).collect()
}

/// A listening socket that a configuration wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) listener: usize,
    bind: usize,
    port: usize,
    pub(super) thread: usize,
    pub(super) address: SocketAddr,
}

impl Wanted {
    pub(super) fn handle(self) -> Handle {
        let Self {
            listener,
            bind,
            port,
            thread,
            ..
        } = self;
        Handle::Listener {
            listener,
            bind,
            port,
            thread,
        }
    }
}

/// One for each address of every listener and each relay thread.
pub(super) fn wanted(config: &Config, threads: usize) -> impl Iterator<Item = Wanted> {
    let listeners = config.listeners.iter().enumerate();
    let binds = listeners.flat_map(|(listener, settings)| {
        let binds = settings.binds.iter().enumerate();
        binds.map(move |(bind, addresses)| (listener, bind, addresses))
    });
    let addresses = binds.flat_map(|(listener, bind, addresses)| {
        let addresses = addresses.addresses().enumerate();
        addresses.map(move |(port, address)| (listener, bind, port, address))
    });
    addresses.flat_map(move |(listener, bind, port, address)| {
        (0..threads).map(move |thread| Wanted {
            listener,
            bind,
            port,
            thread,
            address,
        })
    })
}

/// Binds one address of a listener, for one relay thread.
pub(super) fn bind(listener: &Listener, address: SocketAddr) -> anyhow::Result<OwnedFd> {
    relay_socket(address, &listener.socket, backlog_limit())
        .with_context(|| format!("listener {}: bind {address}", listener.name))
}

/// Makes the queue of a socket that listens already as long as its listener has it.
pub(super) fn listen(socket: &OwnedFd, options: &SocketOptions) -> io::Result<()> {
    let backlog = options.backlog.map_or(backlog_limit(), i32::from);
    SockRef::from(socket).listen(backlog)
}

/// Each socket has two descriptors while it is passed on.
pub(super) fn require_descriptors(config: &Config, threads: usize) -> anyhow::Result<()> {
    let binds = config.listeners.iter().flat_map(|listener| &listener.binds);
    let sockets = threads * binds.map(Bind::ports).sum::<usize>();
    let limit = rights::descriptors();
    let possible = limit.saturating_sub(RESERVED_DESCRIPTORS) / 2;
    let most = usize::try_from(possible).map_or(MAX_SOCKETS, |possible| possible.min(MAX_SOCKETS));
    if sockets > most {
        bail!(
            "{sockets} listening sockets (one for each port and relay thread), and {most} is the \
             most with {limit} descriptors: make the ranges of ports smaller, say fewer threads in \
             [proxy], or raise LimitNOFILE"
        );
    }
    Ok(())
}

/// Listeners whose backlog the kernel cuts.
pub(super) fn backlog_warnings(config: &Config) -> Vec<String> {
    capped_backlogs(config, backlog_limit())
}

fn capped_backlogs(config: &Config, limit: i32) -> Vec<String> {
    let capped = config.listeners.iter().filter_map(|listener| {
        let wanted = i32::from(listener.socket.backlog?);
        (wanted > limit).then(|| {
            format!(
                "listener {}: net.core.somaxconn caps the backlog of {wanted} at {limit}",
                listener.name
            )
        })
    });
    capped.collect()
}

/// Binds the admin HTTP server's addresses. One that is taken costs a warning, not the start: the
/// node's work does not depend on it, and a second node on the same machine has the loopback
/// address already.
pub(super) fn bind_http(config: &Config, node: NodeIndex) -> (Vec<(Handle, OwnedFd)>, Vec<String>) {
    let mut addresses: Vec<SocketAddr> = match config.admin.http {
        None => Vec::new(),
        Some(AdminHttp::Address(address)) => vec![address],
        Some(AdminHttp::Node(port)) => vec![
            (config.nodes[node.0].address, port).into(),
            (Ipv4Addr::LOCALHOST, port).into(),
        ],
    };
    // A node for trying has the loopback address as its own.
    addresses.dedup();
    let (mut sockets, mut warnings) = (Vec::new(), Vec::new());
    for address in addresses {
        match small_socket(address) {
            Ok(socket) => sockets.push((
                Handle::Http {
                    address: address.to_string(),
                },
                socket,
            )),
            Err(error) => warnings.push(format!("no admin HTTP at {address}: {error}")),
        }
    }
    (sockets, warnings)
}

/// Binds this node's own address for the other node's admin; gives a warning where that is taken.
pub(super) fn bind_for_peer(config: &Config, node: NodeIndex) -> Result<OwnedFd, String> {
    let address = SocketAddr::from((config.nodes[node.0].address, config.pair.port));
    small_socket(address).map_err(|error| {
        format!("the other node's admin cannot be heard at TCP {address}: {error}; nobody is told when its machine is lost")
    })
}

/// Binds the admin socket: its group may read, everybody else is refused by the file's mode.
pub(super) fn bind_admin_socket(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Nobody can connect before listen(), so the mode is never wider than it should be.
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o660))?;
    if let Some(group) = rights::admin_group() {
        nix::unistd::chown(path, None, Some(group))?;
    }
    socket.listen(128)?;
    Ok(socket.into())
}

/// Everything set here is inherited by each accepted connection: a killed proxy ends its sessions
/// with RST (linger 0), so that a truncated stream never looks complete.
fn relay_socket(
    address: SocketAddr,
    options: &SocketOptions,
    backlog_limit: i32,
) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(interface) = &options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    if let Some(mss) = options.mss {
        socket.set_tcp_mss(mss.into())?;
    }
    if let Some(wait) = options.defer_accept {
        let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
        tcp_options::set_defer_accept(&socket, seconds)?;
    }
    if let Some(queue) = options.fast_open {
        tcp_options::set_fast_open(&socket, queue.into())?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog.map_or(backlog_limit, i32::from))?;
    Ok(socket.into())
}

fn small_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Not bound yet; may take an address that is not on this machine (now).
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    Ok(socket)
}

/// As much as the kernel allows: connections wait here while a dead proxy is replaced.
fn backlog_limit() -> i32 {
    i32::try_from(rights::longest_backlog()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_connections_inherit_linger_and_nodelay() {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let listening =
            Socket::from(relay_socket(any, &SocketOptions::default(), 8).expect("bind"));
        let address = listening.local_addr().expect("address");
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        client.connect(&address).expect("connect");
        listening.set_nonblocking(false).expect("blocking");
        let (accepted, _) = listening.accept().expect("accept");
        assert_eq!(accepted.linger().expect("linger"), Some(Duration::ZERO));
        assert!(accepted.tcp_nodelay().expect("nodelay"));
    }

    #[test]
    fn each_thread_has_a_socket_of_its_own_on_the_same_address() {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let first = Socket::from(relay_socket(any, &SocketOptions::default(), 8).expect("bind"));
        let address = first.local_addr().expect("address").as_socket();
        relay_socket(
            address.expect("an IP address"),
            &SocketOptions::default(),
            8,
        )
        .expect("bind again");
    }

    #[test]
    fn the_options_of_the_file_are_set() {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let options = SocketOptions {
            interface: Some("lo".to_owned()),
            backlog: Some(16),
            defer_accept: Some(Duration::from_secs(3)),
            fast_open: Some(32),
            mss: Some(1_200),
            mark: Some(7),
        };
        let listening = Socket::from(relay_socket(any, &options, 4_096).expect("root may set all"));
        assert_eq!(listening.device().expect("device"), Some(b"lo".to_vec()));
        assert_eq!(listening.mark().expect("mark"), 7);
        assert_eq!(listening.tcp_mss().expect("mss"), 1_200);
        let fast_open = tcp_options::fast_open(&listening);
        assert_eq!(fast_open.expect("TCP_FASTOPEN"), 32);
        let address = listening.local_addr().expect("address");
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        client.connect(&address).expect("connect");
        // Nothing was sent, so there is nothing to accept yet.
        let error = listening.accept().expect_err("deferred");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        client.send(b"hello").expect("send");
        listening.set_nonblocking(false).expect("blocking");
        let limit = Some(Duration::from_secs(5));
        listening
            .set_read_timeout(limit)
            .expect("accept(2) obeys it");
        listening.accept().expect("it has data now");
    }

    #[test]
    fn no_more_than_the_backlog_wait_in_the_kernel() {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let options = SocketOptions {
            backlog: Some(1),
            ..SocketOptions::default()
        };
        let listening = Socket::from(relay_socket(any, &options, 4_096).expect("bind"));
        let address = listening.local_addr().expect("address");
        let clients = [(); 5].map(|()| Socket::new(Domain::IPV4, Type::STREAM, None).expect("one"));
        let limit = Duration::from_millis(200);
        let connects = |one: &Socket| one.connect_timeout(&address, limit).is_ok();
        // One more than the backlog (tcp(7)).
        assert_eq!(clients.iter().filter(|one| connects(one)).count(), 2);
    }

    #[test]
    fn a_socket_of_ipv6_is_of_ipv6_alone() {
        let any: SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, 0).into();
        let both = Socket::from(relay_socket(any, &SocketOptions::default(), 8).expect("bind"));
        assert!(both.only_v6().expect("an option"));
    }

    #[test]
    fn a_backlog_that_the_kernel_cuts_is_a_warning() {
        let text = r#"
            [nodes.lb1]
            address = "127.0.0.1"
            [pair]
            interface = "lo"
            [listeners.web]
            bind = ["127.0.0.1:80"]
            backend = "web"
            backlog = 4096
            [listeners.api]
            bind = ["127.0.0.1:81"]
            backend = "web"
            [backends.web]
            servers = ["10.0.0.1:80"]
        "#;
        let config = Config::from_running(text).expect("it is valid");
        assert_eq!(capped_backlogs(&config, 4_096), [""; 0]);
        assert_eq!(
            capped_backlogs(&config, 128),
            ["listener web: net.core.somaxconn caps the backlog of 4096 at 128"]
        );
        assert_eq!(
            backlog_limit(),
            i32::try_from(rights::longest_backlog()).expect("small")
        );
    }

    #[test]
    fn every_port_of_a_range_has_a_socket_for_each_thread() {
        let text = r#"
            [nodes.lb1]
            address = "127.0.0.1"
            [pair]
            interface = "lo"
            [listeners.web]
            bind = ["127.0.0.1:1-3", "[::1]:7-8"]
            backend = "web"
            [backends.web]
            servers = ["10.0.0.1:80"]
        "#;
        let mut config = Config::from_running(text).expect("it is valid");
        // Any port is free of which the kernel says so.
        for bind in &mut config.listeners[0].binds {
            let ports = bind.ports();
            let free = free_ports(bind.address.ip(), ports);
            bind.address.set_port(free);
            bind.last_port = free + u16::try_from(ports - 1).expect("a few");
        }
        let bound = bind_listeners(&config, 2).expect("they are free");
        assert_eq!(bound.len(), 2 * (3 + 2));
        for (handle, socket) in bound {
            let Handle::Listener { bind, port, .. } = handle else {
                panic!("{handle:?}");
            };
            let wanted = config.listeners[0].binds[bind].addresses().nth(port);
            let local = Socket::from(socket)
                .local_addr()
                .expect("bound")
                .as_socket();
            assert_eq!(local, wanted);
        }
        config.listeners[0].binds[0].last_port = u16::MAX;
        let error = bind_listeners(&config, 64).expect_err("too many");
        let said = error.to_string();
        assert!(said.contains("make the ranges of ports smaller"), "{said}");
    }

    /// The first of so many ports in a row that nobody has.
    fn free_ports(ip: std::net::IpAddr, count: usize) -> u16 {
        let is_free = |port: u16| {
            let options = SocketOptions::default();
            relay_socket((ip, port).into(), &options, 1).is_ok()
        };
        let row = |first: &u16| (*first..).take(count).all(is_free);
        (28_000..30_000)
            .step_by(10)
            .find(row)
            .expect("some are free")
    }

    #[test]
    fn an_address_that_is_not_ours_yet_can_be_bound() {
        let vip: SocketAddr = ([192, 0, 2, 10], 6443).into();
        relay_socket(vip, &SocketOptions::default(), 8).expect("IP_FREEBIND");
    }

    #[test]
    fn a_taken_http_address_is_an_error() {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let first = Socket::from(small_socket(any).expect("bind"));
        let address = first.local_addr().expect("address").as_socket();
        let error = small_socket(address.expect("an IP address")).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
