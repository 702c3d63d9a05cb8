//! Connections for sessions that fail, and what they tell of a server.

use std::net::Shutdown;
use std::time::Duration;

use common::board::{ServerSlot, ServerState};
use common::config::{Observe, OnError, Probe, ProbeKind};
use socket2::Socket;

use crate::harness::*;

const SOON: Duration = Duration::from_millis(50);

/// A probe that asks again in an hour, and when it is hurried after that time.
fn rare(fall: u32, hurried: Duration) -> Probe {
    Probe {
        fast_interval: hurried,
        timeout: Duration::from_secs(1),
        fall,
        ..probe_each(Duration::from_secs(3_600), ProbeKind::Tcp)
    }
}

/// A proxy whose first server refuses sessions while another port of its answers the probes, so
/// that these find it well.
struct Refuser {
    proxy: RunningProxy,
    socket: Socket,
}

impl Refuser {
    fn new(observe: Option<Observe>, (fall, hurried): (u32, Duration)) -> Self {
        let (address, socket) = refusing();
        let mut setup = Setup::new(&[address]);
        let probed = echo_server();
        setup.backend().retries = 0;
        setup.backend().observe = observe;
        setup.probe(Probe {
            port: Some(probed.port()),
            ..rare(fall, hurried)
        });
        let proxy = setup.start();
        let refuser = Self { proxy, socket };
        eventually("it is up", || refuser.state() == ServerState::Up);
        refuser
    }

    fn slot(&self) -> &ServerSlot {
        &self.proxy.board.servers[0]
    }

    fn state(&self) -> ServerState {
        ServerState::from_board(self.slot().state.get())
    }

    fn fail(&self, times: u64) {
        let before = self.slot().connect_errors.get();
        for _ in 0..times {
            expect_refusal(&self.proxy);
        }
        eventually("each was an error", || {
            self.slot().connect_errors.get() == before + times
        });
    }
}

const fn observe(error_limit: u32, on_error: OnError) -> Option<Observe> {
    Some(Observe {
        error_limit,
        on_error,
    })
}

#[test]
fn errors_of_sessions_say_nothing_unless_they_are_observed() {
    let refuser = Refuser::new(None, (1, SOON));
    refuser.fail(20);
    let slot = refuser.slot();
    assert_eq!(slot.errors_in_row.get(), 0);
    assert_eq!(
        (slot.error_limits.get(), refuser.state()),
        (0, ServerState::Up)
    );
}

#[test]
fn so_many_errors_in_a_row_mark_a_server_down_until_a_probe_finds_it_well() {
    let refuser = Refuser::new(observe(5, OnError::MarkDown), (3, SOON));
    let slot = refuser.slot();
    refuser.fail(4);
    assert_eq!((slot.error_limits.get(), slot.downs.get()), (0, 0));
    let health = || refuser.proxy.board.vip_hope[0].get();
    refuser.fail(1);
    // A hurried probe brings it up again, and no VIP has moved in between.
    eventually("it went down", || slot.downs.get() == 1);
    assert_eq!(health(), 100);
    eventually("it is up again", || refuser.state() == ServerState::Up);
    assert_eq!((slot.error_limits.get(), health()), (1, 100));
    assert!(slot.probes.get() >= 2);
}

#[test]
fn a_connection_that_succeeds_begins_the_row_anew() {
    let refuser = Refuser::new(observe(5, OnError::MarkDown), (3, SOON));
    let slot = refuser.slot();
    refuser.fail(4);
    assert_eq!(slot.errors_in_row.get(), 4);
    refuser.socket.listen(16).expect("listen");
    drop(refuser.proxy.connect());
    eventually("one succeeds", || slot.connected.get() == 1);
    assert_eq!(slot.errors_in_row.get(), 0);
    assert_eq!((slot.error_limits.get(), slot.downs.get()), (0, 0));
}

#[test]
fn as_failed_probes_they_are_counted_and_named() {
    let refuser = Refuser::new(observe(2, OnError::FailProbe), (3, Duration::from_secs(2)));
    let slot = refuser.slot();
    refuser.fail(2);
    eventually("the error is counted, or a probe has answered it", || {
        slot.error_limits.get() == 1 && slot.probes.get() >= 2
    });
    // Three more, before the next probe.
    refuser.fail(6);
    eventually("it went down", || slot.downs.get() == 1);
    eventually("it is up again", || refuser.state() == ServerState::Up);
}

#[test]
fn a_server_that_errors_have_marked_down_says_so_and_is_left_alone() {
    let (address, socket) = refusing();
    let mut setup = Setup::new(&[address]);
    setup.backend().retries = 0;
    setup.backend().observe = observe(3, OnError::MarkDown);
    setup.probe(rare(1, Duration::from_secs(3_600)));
    socket.listen(16).expect("listen");
    let proxy = setup.start();
    let slot = &proxy.board.servers[0];
    let state = || ServerState::from_board(slot.state.get());
    eventually("it is up", || state() == ServerState::Up);
    // The port is closed, and nothing asks for an hour.
    socket.shutdown(Shutdown::Both).expect("shutdown");
    for _ in 0..3 {
        expect_refusal(&proxy);
    }
    eventually("it is down", || state() == ServerState::Down);
    assert_eq!(
        slot.reason.get(),
        "3 connections in a row failed, the last: connection refused"
    );
    assert_eq!(slot.probes.get(), 1);
    // Nobody is sent there any more.
    expect_refusal(&proxy);
    assert_eq!(slot.connect_errors.get(), 3);
}

/// A server that is well for its first probe, and then refuses sessions and probes alike.
fn dying(on_error: OnError, (fall, hurried): (u32, Duration)) -> (RunningProxy, Socket) {
    let (address, socket) = refusing();
    let mut setup = Setup::new(&[address]);
    setup.backend().retries = 0;
    setup.backend().observe = observe(2, on_error);
    setup.probe(rare(fall, hurried));
    socket.listen(16).expect("listen");
    let proxy = setup.start();
    eventually("it is up", || state(&proxy) == ServerState::Up);
    socket.shutdown(Shutdown::Both).expect("shutdown");
    (proxy, socket)
}

fn state(proxy: &RunningProxy) -> ServerState {
    ServerState::from_board(proxy.board.servers[0].state.get())
}

#[test]
fn a_sudden_death_is_confirmed_by_the_next_probe_which_comes_soon() {
    let (proxy, _socket) = dying(OnError::SuddenDeath, (5, SOON));
    let began = std::time::Instant::now();
    (0..2).for_each(|_| expect_refusal(&proxy));
    eventually("it is down", || state(&proxy) == ServerState::Down);
    // Neither in an hour nor by five probes.
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(proxy.board.servers[0].probes.get(), 2);
}

#[test]
fn a_second_sudden_death_needs_no_probe() {
    let refuser = Refuser::new(
        observe(2, OnError::SuddenDeath),
        (5, Duration::from_secs(3_600)),
    );
    let slot = refuser.slot();
    refuser.fail(2);
    eventually("it is an error", || slot.error_limits.get() == 1);
    // The keeper looks each few milliseconds.
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!((slot.downs.get(), refuser.state()), (0, ServerState::Up));
    refuser.fail(2);
    eventually("it is down", || refuser.state() == ServerState::Down);
    assert_eq!((slot.probes.get(), slot.downs.get()), (1, 1));
}

#[test]
fn errors_that_only_hurry_the_probes_change_no_state() {
    let refuser = Refuser::new(observe(2, OnError::FastProbe), (1, SOON));
    let slot = refuser.slot();
    refuser.fail(2);
    eventually("a probe has come soon", || slot.probes.get() == 2);
    assert_eq!((slot.downs.get(), refuser.state()), (0, ServerState::Up));
    // What they find counts: sooner than in an hour.
    let (proxy, _socket) = dying(OnError::FastProbe, (3, SOON));
    (0..2).for_each(|_| expect_refusal(&proxy));
    eventually("it is down", || state(&proxy) == ServerState::Down);
    assert_eq!(proxy.board.servers[0].probes.get(), 4);
}
