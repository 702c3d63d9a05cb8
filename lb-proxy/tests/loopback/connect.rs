//! Finding a server that can be reached.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::*;

#[test]
fn a_server_that_refuses_is_no_failure_for_the_client() {
    let (refusing, _port) = refusing();
    let proxy = Setup::new(&[refusing, echo_server()]).start();
    for _ in 0..100 {
        ping(&mut proxy.connect());
    }
    let [bad, good] = [0, 1].map(|place| &proxy.board.servers[place]);
    assert!((40..=60).contains(&bad.connect_errors.get()), "{bad:?}");
    assert_eq!((bad.connected.get(), good.connected.get()), (0, 100));
    assert_eq!(proxy.listener().failed.get(), 0);
    eventually("no session is counted any more", || {
        bad.sessions.get() == 0 && good.sessions.get() == 0
    });
}

#[test]
fn a_server_that_is_silent_is_left_after_the_connect_timeout() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address, echo_server()]);
    setup.backend().connect_timeout = Duration::from_millis(150);
    let proxy = setup.start();
    let start = Instant::now();
    ping(&mut proxy.connect());
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(150) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert_eq!(proxy.board.servers[0].connect_errors.get(), 1);
    assert_eq!(proxy.listener().failed.get(), 0);
}

#[test]
fn without_a_reachable_server_the_client_is_reset() {
    let ((first, _a), (second, _b)) = (refusing(), refusing());
    let mut setup = Setup::new(&[first, second]);
    setup.backend().retries = 2;
    setup.backend().connect_timeout = Duration::from_millis(300);
    let proxy = setup.start();
    let start = Instant::now();
    expect_refusal(&proxy);
    // Both at once, then a pause before one of them is tried again.
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    let errors: u64 = (0..2)
        .map(|p| proxy.board.servers[p].connect_errors.get())
        .sum();
    assert_eq!(errors, 3);
    assert_eq!(proxy.listener().failed.get(), 1);
}

#[test]
fn what_this_machine_lacks_is_no_fault_of_the_servers() {
    let mut setup = Setup::new(&[echo_server(), echo_server()]);
    setup.backend().retries = 3;
    // The kernel's choice is a VIP, and the address to bind in its place is not this machine's:
    // EADDRNOTAVAIL, as when no port is left.
    setup.config.vips[0].address = localhost();
    setup.config.nodes[0].address = IpAddr::from([192, 0, 2, 77]);
    let proxy = setup.start();
    for _ in 0..4 {
        expect_refusal(&proxy);
    }
    eventually("each client was failed", || {
        proxy.listener().failed.get() == 4
    });
    for server in &proxy.board.servers[..2] {
        assert_eq!(server.connect_errors.get(), 0, "{server:?}");
        assert_eq!(server.connected.get(), 0, "{server:?}");
    }
}

#[test]
fn a_backend_without_any_weight_serves_nobody() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.backend().servers[0].weight = 0;
    let proxy = setup.start();
    expect_refusal(&proxy);
    assert_eq!(proxy.listener().failed.get(), 1);
    assert_eq!(proxy.board.servers[0].connected.get(), 0);
}

#[test]
fn a_client_that_goes_away_ends_the_search_for_a_server() {
    let hole = BlackHole::new();
    let proxy = Setup::new(&[hole.address]).start();
    let client = proxy.connect();
    let server = &proxy.board.servers[0];
    eventually("the session is counted", || server.sessions.get() == 1);
    let start = Instant::now();
    reset(client);
    eventually("the session has ended", || server.sessions.get() == 0);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(proxy.listener().aborted.get(), 1);
    assert_eq!(proxy.listener().failed.get(), 0);
}

#[test]
fn a_fin_behind_the_request_does_not_end_the_search() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address, echo_server()]);
    setup.backend().connect_timeout = Duration::from_millis(200);
    let proxy = setup.start();
    let mut client = proxy.connect();
    client.write_all(b"request").expect("write");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("answer");
    assert_eq!(answer, "request");
}

#[test]
fn no_byte_is_relayed_over_a_connection_from_a_vip() {
    let (sender, peers) = mpsc::channel();
    let address = server(move |mut stream| {
        // A connection that was given up has no peer any more, and brings no byte.
        let peer = stream.peer_addr();
        if let (Ok(1), Ok(peer)) = (stream.read(&mut [0]), peer) {
            sender.send(peer.ip()).expect("the test listens");
            stream.write_all(b"?").expect("echo");
        }
    });
    let mut setup = Setup::new(&[address]);
    // The kernel's choice on loopback, made a VIP.
    setup.config.vips[0].address = localhost();
    let own = setup.config.nodes[0].address;
    assert_ne!(own, localhost());
    let proxy = setup.start();
    for _ in 0..5 {
        ping(&mut proxy.connect());
        assert_eq!(peers.recv(), Ok(own));
    }
    assert_eq!(proxy.listener().failed.get(), 0);
}
