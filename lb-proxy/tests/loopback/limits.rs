//! Who waits, who is refused, and from where servers are connected to.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::board::Hold;
use common::config::SourceLimit;
use nix::sys::socket::{getsockopt, sockopt};
use socket2::Socket;

use crate::harness::*;

fn hold(proxy: &RunningProxy) -> Hold {
    proxy.board.hold(0)
}

/// A session that is relayed.
fn pinged(proxy: &RunningProxy) -> TcpStream {
    let mut client = proxy.connect();
    ping(&mut client);
    client
}

/// Whether an answer comes within a fifth of a second.
fn is_served(client: &mut TcpStream) -> bool {
    client.write_all(b"?").expect("write");
    client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("set");
    let mut byte = [0];
    let read = client.read(&mut byte);
    client.set_read_timeout(Some(LIMIT)).expect("set");
    matches!(read, Ok(1))
}

#[test]
fn sessions_beyond_the_listeners_limit_wait_and_are_not_refused() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().max_sessions = Some(2);
    let proxy = setup.start();
    let one = pinged(&proxy);
    let two = pinged(&proxy);
    let mut waiting = [proxy.connect(), proxy.connect()];
    for client in &mut waiting {
        assert!(!is_served(client));
    }
    assert_eq!(hold(&proxy), Hold::Sessions);
    assert!(proxy.listener().holds.get() >= 1);
    drop(one);
    // The one that waited longest has its answer now: the byte was sent above.
    let mut byte = [0];
    waiting[0].read_exact(&mut byte).expect("its turn");
    assert!(!is_served(&mut waiting[1]));
    eventually("never more than two", || {
        proxy.listener().sessions.get() == 2
    });
    drop(two);
    waiting[1].read_exact(&mut byte).expect("its turn");
    eventually("nothing is held back", || hold(&proxy) == Hold::None);
}

#[test]
fn a_listener_holds_back_as_long_as_one_of_its_threads_does() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.threads = 2;
    setup.listener().max_sessions = Some(1);
    let proxy = setup.start();
    let one = pinged(&proxy);
    // The kernel spreads them, until each thread has one.
    let mut waiting = Vec::new();
    let held = || proxy.board.holding[0].threads(Hold::Sessions);
    while held() < 2 {
        assert!(waiting.len() < 64, "one thread has them all");
        waiting.push(proxy.connect());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(hold(&proxy), Hold::Sessions);
    for client in &mut waiting {
        client.set_nonblocking(true).expect("set");
        client.write_all(b"?").expect("write");
    }
    drop(one);
    // One of the two has its turn.
    eventually("one is served", || {
        waiting.iter().any(|client| client.peek(&mut [0]).is_ok())
    });
    for _ in 0..50 {
        assert_eq!(hold(&proxy), Hold::Sessions, "the other one is held");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(waiting);
    eventually("nothing is held back", || hold(&proxy) == Hold::None);
}

#[test]
fn sessions_beyond_the_limit_of_the_process_wait() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.config.proxy.max_sessions = Some(1);
    let proxy = setup.start();
    let one = pinged(&proxy);
    let mut waiting = proxy.connect();
    assert!(!is_served(&mut waiting));
    assert_eq!(hold(&proxy), Hold::AllSessions);
    drop(one);
    waiting.read_exact(&mut [0]).expect("its turn");
}

#[test]
fn the_accept_rate_holds_new_sessions_back() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().accept_rate = Some(50);
    let proxy = setup.start();
    let start = Instant::now();
    let clients: Vec<_> = (0..35).map(|_| proxy.connect()).collect();
    for mut client in clients {
        ping(&mut client);
    }
    // A burst of 5, then 30 at 50 a second.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(580), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(proxy.listener().holds.get() > 0);
}

#[test]
fn a_client_with_too_many_sessions_is_reset_and_others_are_not() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().source_limit = SourceLimit {
        sessions: Some(2),
        exempt: vec![net("127.0.0.40/32")],
        ..SourceLimit::default()
    };
    let proxy = setup.start();
    let from = |last: u8| connect_from(Ipv4Addr::new(127, 0, 0, last), proxy.address);
    let mut held: Vec<_> = (0..2).map(|_| from(5)).collect();
    held.iter_mut().for_each(ping);
    expect_refusal_from(Ipv4Addr::new(127, 0, 0, 5), &proxy);
    assert_eq!(proxy.listener().limited_sessions.get(), 1);
    ping(&mut from(6));
    let mut cluster: Vec<_> = (0..5).map(|_| from(40)).collect();
    cluster.iter_mut().for_each(ping);
    drop(held);
    eventually("its sessions have ended", || {
        proxy.listener().sessions.get() <= 5
    });
    ping(&mut from(5));
}

#[test]
fn a_client_that_comes_too_fast_is_reset() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().source_limit = SourceLimit {
        rate: Some(10),
        ..SourceLimit::default()
    };
    let proxy = setup.start();
    let from = |last: u8| connect_from(Ipv4Addr::new(127, 0, 0, last), proxy.address);
    ping(&mut from(5));
    expect_refusal_from(Ipv4Addr::new(127, 0, 0, 5), &proxy);
    assert_eq!(proxy.listener().limited_rate.get(), 1);
    ping(&mut from(6));
    std::thread::sleep(Duration::from_millis(150));
    ping(&mut from(5));
}

#[test]
fn deny_and_drop_come_before_allow() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().allow = Some(vec![net("127.0.0.0/8")]);
    setup.listener().deny = vec![net("127.0.0.5/32")];
    setup.listener().drop = vec![net("127.0.0.6/32")];
    let proxy = setup.start();
    let from = |last: u8| connect_from(Ipv4Addr::new(127, 0, 0, last), proxy.address);
    ping(&mut from(4));
    expect_refusal_from(Ipv4Addr::new(127, 0, 0, 5), &proxy);
    assert_eq!(proxy.listener().denied.get(), 1);
    // On the node's own network the RST is seen; that it goes no further is its time to live.
    expect_refusal_from(Ipv4Addr::new(127, 0, 0, 6), &proxy);
    assert_eq!(proxy.listener().dropped.get(), 1);
}

#[test]
fn servers_are_connected_to_from_the_configured_addresses_in_turn() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    let wanted = [Ipv4Addr::new(127, 0, 0, 21), Ipv4Addr::new(127, 0, 0, 22)];
    setup.backend().source = wanted
        .into_iter()
        // Not of this machine: the other node's.
        .chain([Ipv4Addr::new(192, 0, 2, 23)])
        .map(Into::into)
        .collect();
    let proxy = setup.start();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let _client = proxy.connect();
        let server = accept(&socket);
        let peer = server.peer_addr().expect("a peer");
        seen.push(peer.ip());
        let ours = own_socket(peer, address);
        // Otherwise each port of a source would serve one server only.
        assert!(getsockopt(&ours, sockopt::IpBindAddressNoPort).expect("an option"));
    }
    let [one, two] = wanted.map(IpAddr::from);
    assert_eq!(seen, [one, two, one, two]);
}

#[test]
fn the_user_timeout_is_set_on_both_sides() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().user_timeout = Some(Duration::from_secs(7));
    setup.backend().user_timeout = Some(Duration::from_secs(9));
    let proxy = setup.start();
    eventually("it accepts", || proxy.board.accepting[0].get().is_some());
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    client.write_all(b"?").expect("write");
    server.read_exact(&mut [0]).expect("the session is relayed");
    for (end, seconds) in [(&client, 7), (&server, 9)] {
        let ours = own_socket(
            end.peer_addr().expect("peer"),
            end.local_addr().expect("local"),
        );
        let timeout = ours.tcp_user_timeout().expect("a timeout");
        assert_eq!(timeout, Some(Duration::from_secs(seconds)));
    }
}

#[test]
fn what_follows_the_first_bytes_is_not_held_back_from_the_server() {
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    for _ in 0..2 {
        client.write_all(b"?").expect("write");
        server.read_exact(&mut [0]).expect("it is relayed");
    }
    let ours = own_socket(server.peer_addr().expect("peer"), address);
    assert!(ours.tcp_nodelay().expect("an option"));
}

/// The socket of this process between these two ends.
pub(crate) fn own_socket(local: SocketAddr, peer: SocketAddr) -> Socket {
    let this = rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    )
    .expect("pidfd");
    let open = std::fs::read_dir("/proc/self/fd").expect("proc");
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut sockets = numbers.filter_map(|number: i32| {
        let flags = rustix::process::PidfdGetfdFlags::empty();
        rustix::process::pidfd_getfd(&this, number, flags)
            .ok()
            .map(Socket::from)
    });
    let is_it = |socket: &Socket| {
        let ends = (socket.local_addr(), socket.peer_addr());
        matches!(ends, (Ok(own), Ok(other))
            if own.as_socket() == Some(local) && other.as_socket() == Some(peer))
    };
    sockets.find(is_it).expect("the proxy runs in this process")
}
