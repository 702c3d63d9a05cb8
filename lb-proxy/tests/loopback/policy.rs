//! What follows from probes for a backend as a whole.

use std::net::SocketAddr;
use std::time::Duration;

use common::board::{BackendSlot, ServerState};
use common::command::{Command, ServerName, Wish};
use common::config::{AllDown, OnMarkedUp, Probe, ProbeKind};

use crate::harness::*;

fn quick(kind: ProbeKind) -> Probe {
    Probe {
        timeout: Duration::from_millis(400),
        ..probe_each(Duration::from_millis(40), kind)
    }
}

/// Servers that serve, and of which the probe says that they do not: they speak no TLS.
fn misjudged(servers: &[SocketAddr], all_down: AllDown) -> RunningProxy {
    let mut setup = Setup::new(servers);
    setup.threads = 2;
    setup.backend().all_down = all_down;
    setup.backend().servers[1].backup = true;
    setup.probe(quick(crate::probe::kube()));
    let proxy = setup.start();
    for place in 0..servers.len() {
        eventually("it is down", || state(&proxy, place) == ServerState::Down);
    }
    proxy
}

fn state(proxy: &RunningProxy, place: usize) -> ServerState {
    ServerState::from_board(proxy.board.servers[place].state.get())
}

fn backend(proxy: &RunningProxy) -> &BackendSlot {
    &proxy.board.backends[0]
}

fn fails_open(proxy: &RunningProxy) -> bool {
    backend(proxy).fail_open.get().is_some()
}

fn say(proxy: &RunningProxy, address: SocketAddr, state: Wish) {
    let command = Command::ServerState {
        server: ServerName {
            backend: "k3s-api".to_owned(),
            address,
        },
        state,
        for_ms: None,
    };
    let reply = proxy.control.command(command, LIMIT).expect("a reply");
    assert!(reply.done.is_some(), "{:?}", reply.error);
}

/// The letters of so many sessions, sorted and without repetition.
fn letters(proxy: &RunningProxy, count: usize) -> Vec<u8> {
    let mut seen: Vec<u8> = (0..count).map(|_| letter(&mut proxy.connect())).collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn while_every_server_is_down_sessions_are_refused() {
    let proxy = misjudged(&[named(b'a'), named(b'b')], AllDown::Refuse);
    expect_refusal(&proxy);
    assert!(!fails_open(&proxy));
    assert_eq!(proxy.board.servers[0].connect_errors.get(), 0);
}

#[test]
fn while_every_server_is_down_sessions_are_tried_on_all_of_them_backups_too() {
    let servers = [named(b'a'), named(b'b'), named(b'c')];
    let proxy = misjudged(&servers, AllDown::TryAll);
    eventually("it fails open", || fails_open(&proxy));
    assert_eq!(letters(&proxy, 12), *b"abc");
    let placed = || backend(&proxy).fail_open_sessions.get();
    assert_eq!(placed(), 12);
    // The other node may have better ones.
    assert_eq!(proxy.board.vip_health[0].get(), 0);
    assert_eq!(proxy.board.vip_hope[0].get(), 0);
}

#[test]
fn who_is_kept_out_by_an_administrator_is_not_tried_in_need_either() {
    let servers = [named(b'a'), named(b'b'), named(b'c')];
    let proxy = misjudged(&servers, AllDown::TryAll);
    eventually("it fails open", || fails_open(&proxy));
    say(&proxy, servers[0], Wish::Drain);
    assert_eq!(letters(&proxy, 8), *b"bc");
    say(&proxy, servers[1], Wish::Maintenance);
    assert_eq!(letters(&proxy, 4), *b"c");
    say(&proxy, servers[2], Wish::Drain);
    assert!(!fails_open(&proxy));
    expect_refusal(&proxy);
    say(&proxy, servers[2], Wish::Ready);
    assert!(fails_open(&proxy));
    assert_eq!(letters(&proxy, 4), *b"c");
}

#[test]
fn the_first_server_that_is_up_ends_it() {
    let (first, socket) = refusing();
    let (second, _socket) = refusing();
    let mut setup = Setup::new(&[first, second]);
    setup.backend().all_down = AllDown::TryAll;
    setup.backend().retries = 1;
    setup.probe(quick(ProbeKind::Tcp));
    let proxy = setup.start();
    eventually("it fails open", || fails_open(&proxy));
    expect_refusal(&proxy);
    for place in 0..2 {
        let tried = proxy.board.servers[place].connect_errors.get();
        assert_eq!(tried, 1, "server {place}");
    }
    assert_eq!(backend(&proxy).fail_open_sessions.get(), 0);
    socket.listen(16).expect("listen");
    eventually("one is up", || state(&proxy, 0) == ServerState::Up);
    eventually("it is over", || !fails_open(&proxy));
    for _ in 0..4 {
        drop(proxy.connect());
    }
    eventually("all went there", || {
        proxy.board.servers[0].connected.get() == 4
    });
    assert_eq!(backend(&proxy).fail_open_sessions.get(), 0);
    assert_eq!(proxy.board.servers[1].connect_errors.get(), 1);
}

#[test]
fn a_server_that_is_up_but_kept_out_relieves_no_backup() {
    let (first, socket) = refusing();
    let mut setup = Setup::new(&[first, echo_server()]);
    setup.backend().on_marked_up = OnMarkedUp::CutBackups;
    setup.backend().servers[1].backup = true;
    setup.probe(quick(ProbeKind::Tcp));
    let proxy = setup.start();
    eventually("it is down", || state(&proxy, 0) == ServerState::Down);
    let mut client = proxy.connect();
    ping(&mut client);
    say(&proxy, first, Wish::Drain);
    socket.listen(1_024).expect("listen");
    eventually("it is up", || state(&proxy, 0) == ServerState::Up);
    // A cut is made before the next state is known.
    std::thread::sleep(Duration::from_millis(100));
    ping(&mut client);
    assert_eq!(proxy.board.servers[1].cut.get(), 0);
    say(&proxy, first, Wish::Ready);
    expect_reset(&mut client);
}
