//! Servers that are taken from their sessions: removed, killed, marked down, or relieved as backups,
//! also while sessions are still connecting to them.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::board::{Presence, ServerState};
use common::command::{Command, Remaining, Wish};
use common::config::{LogFormat, OnMarkedDown, OnMarkedUp, ProbeKind};

use socket2::Socket;

use crate::harness::*;
use crate::runtime::{act, lettered, name, sessions, wish};
use crate::servers::{presence, remove, state};
use crate::session_log::Log;

/// A server that is being connected to for as long as the test lasts.
fn endless(setup: &mut Setup) {
    setup.backend().connect_timeout = Duration::from_secs(60);
}

/// A session that is connecting to the first server.
#[track_caller]
fn connecting(proxy: &RunningProxy) -> TcpStream {
    let client = proxy.connect();
    eventually("it is being connected to", || {
        proxy.board.servers[0].sessions.get() == 1
    });
    client
}

#[test]
fn a_removed_server_has_no_session_left_that_is_connecting_to_it() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address, lettered(b'b')]);
    endless(&mut setup);
    let proxy = setup.start();
    let mut client = connecting(&proxy);
    let listed = sessions(&proxy).remove(0).server;
    assert_eq!(listed, Some(hole.address.to_string()));
    let began = Instant::now();
    let said = act(&proxy, remove(hole.address, Remaining::Cut));
    let words = "its sessions were ended: 0; 1 that were still connecting";
    assert!(said.contains(words), "{said}");
    assert_eq!(letter(&mut client), b'b');
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(proxy.board.servers[0].sessions.get(), 0);
    let listed = sessions(&proxy).remove(0).server;
    assert_ne!(listed, Some(hole.address.to_string()));
    eventually("it has left", || presence(&proxy, 0) == Presence::Removed);
    assert_eq!(proxy.listener().killed.get(), 0);
    assert_eq!(proxy.board.servers[0].connect_errors.get(), 0);
}

#[test]
fn a_client_whose_only_server_is_removed_is_reset() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address]);
    endless(&mut setup);
    let proxy = setup.start();
    let mut client = connecting(&proxy);
    act(&proxy, remove(hole.address, Remaining::Cut));
    expect_reset(&mut client);
    assert_eq!(proxy.board.servers[0].sessions.get(), 0);
    eventually("it is counted", || proxy.listener().failed.get() == 1);
}

/// It is no attempt of those that a backend allows.
#[test]
fn a_withdrawn_server_costs_no_retry() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address, lettered(b'b')]);
    endless(&mut setup);
    setup.backend().retries = 0;
    let proxy = setup.start();
    let mut client = connecting(&proxy);
    act(&proxy, remove(hole.address, Remaining::Cut));
    assert_eq!(letter(&mut client), b'b');
}

#[test]
fn sessions_that_are_connecting_are_killed_with_those_of_their_server() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address]);
    endless(&mut setup);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let mut client = connecting(&proxy);
    let server = name(hole.address);
    let said = act(&proxy, Command::KillServerSessions { server });
    assert_eq!(said, "1 session was killed");
    expect_reset(&mut client);
    assert_eq!(proxy.listener().killed.get(), 1);
    let line = log.json(1).remove(0);
    assert_eq!(line["termination"], "KC", "{line}");
}

/// Two servers whose sessions and probes go to different ports; the probes of the first one go to
/// the given address.
fn probed_elsewhere(servers: [SocketAddr; 2], probes: SocketAddr) -> Setup {
    let mut setup = Setup::new(&servers);
    setup.backend().servers[0].probe_address = Some(probes);
    setup.backend().servers[1].probe_address = Some(echo_server());
    let probe = probe_each(Duration::from_millis(20), ProbeKind::Tcp);
    setup.probe(common::config::Probe {
        timeout: Duration::from_millis(500),
        ..probe
    });
    setup
}

fn wait_for(proxy: &RunningProxy, place: usize, wanted: ServerState) {
    eventually("the first server is in its state", || {
        state(proxy, place) == wanted
    });
}

#[test]
fn a_server_that_is_marked_down_loses_those_who_are_connecting_if_told() {
    for what in [OnMarkedDown::Cut, OnMarkedDown::Keep] {
        let hole = BlackHole::new();
        let (probes, socket) = refusing();
        socket.listen(4_096).expect("listen");
        let mut setup = probed_elsewhere([hole.address, lettered(b'b')], probes);
        endless(&mut setup);
        setup.backend().on_marked_down = what;
        let proxy = setup.start();
        wait_for(&proxy, 0, ServerState::Up);
        let mut client = connecting(&proxy);
        socket.shutdown(Shutdown::Both).expect("shutdown");
        wait_for(&proxy, 0, ServerState::Down);
        if what == OnMarkedDown::Cut {
            assert_eq!(letter(&mut client), b'b');
            assert_eq!(proxy.board.servers[0].sessions.get(), 0);
        } else {
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(proxy.board.servers[0].sessions.get(), 1, "it is kept");
        }
    }
}

/// A server that is down, its backup, and the socket that makes it well when it listens.
fn with_backup(what: OnMarkedUp) -> (RunningProxy, Log, SocketAddr, Socket) {
    let (probes, socket) = refusing();
    let servers = [lettered(b'a'), lettered(b'b')];
    let mut setup = probed_elsewhere(servers, probes);
    setup.backend().servers[1].backup = true;
    setup.backend().on_marked_up = what;
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    wait_for(&proxy, 0, ServerState::Down);
    (proxy, log, servers[0], socket)
}

#[test]
fn the_sessions_of_a_backup_end_when_a_server_comes_up_if_told() {
    let (proxy, log, _, socket) = with_backup(OnMarkedUp::CutBackups);
    let mut client = proxy.connect();
    assert_eq!(letter(&mut client), b'b');
    socket.listen(4_096).expect("listen");
    expect_reset(&mut client);
    assert_eq!(state(&proxy, 0), ServerState::Up);
    let line = log.json(1).remove(0);
    assert_eq!(line["termination"], "UD", "{line}");
    eventually("it is counted", || proxy.board.servers[1].cut.get() == 1);
    assert_eq!(letter(&mut proxy.connect()), b'a');
}

#[test]
fn the_sessions_of_a_backup_go_on_by_default() {
    assert_eq!(Setup::new(&[]).backend().on_marked_up, OnMarkedUp::Keep);
    let (proxy, _log, _, socket) = with_backup(OnMarkedUp::Keep);
    let mut client = proxy.connect();
    assert_eq!(letter(&mut client), b'b');
    socket.listen(4_096).expect("listen");
    wait_for(&proxy, 0, ServerState::Up);
    assert_eq!(letter(&mut proxy.connect()), b'a');
    assert_eq!(proxy.board.servers[1].sessions.get(), 1);
    assert_eq!(proxy.board.servers[1].cut.get(), 0);
}

#[test]
fn backups_are_relieved_of_a_server_that_an_administrator_lets_serve_again() {
    let (proxy, _log, server, socket) = with_backup(OnMarkedUp::CutBackups);
    socket.listen(4_096).expect("listen");
    wait_for(&proxy, 0, ServerState::Up);
    for (state, time) in [(Wish::Drain, None), (Wish::Maintenance, Some(300))] {
        let time = time.map(Duration::from_millis);
        act(&proxy, wish(server, state, time));
        let mut client = proxy.connect();
        assert_eq!(letter(&mut client), b'b');
        if time.is_none() {
            act(&proxy, wish(server, Wish::Ready, None));
        }
        expect_reset(&mut client);
        assert_eq!(letter(&mut proxy.connect()), b'a');
    }
}
