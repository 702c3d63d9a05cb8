//! Servers that follow another one instead of being probed themselves.

use std::net::SocketAddr;
use std::time::Duration;

use common::board::{ServerSlot, ServerState};
use common::command::{Command, ServerName, Wish};
use common::config::{Backend, BackendIndex, OnMarkedDown, ProbeKind, Track};

use crate::harness::*;

/// The setup's backend `k3s-api` is probed; behind it come one that follows it, which the listener
/// uses, and one that follows that one.
fn chained(probed: SocketAddr, servers: [SocketAddr; 2]) -> Setup {
    let mut setup = Setup::new(&[probed]);
    setup.probe(probe_each(Duration::from_millis(40), ProbeKind::Tcp));
    for (index, address) in servers.into_iter().enumerate() {
        let before = &setup.config.backends[index];
        let mut follower = Backend {
            name: format!("follower-{index}"),
            places: vec![index + 1],
            probe: None,
            ..before.clone()
        };
        follower.servers[0].address = address;
        follower.servers[0].track = Some(Track {
            backend: BackendIndex(index),
            server: 0,
        });
        setup.config.backends.push(follower);
    }
    setup.listener().backend = BackendIndex(1);
    setup
}

fn slot(proxy: &RunningProxy, place: usize) -> &ServerSlot {
    &proxy.board.servers[place]
}

#[track_caller]
fn all_become(proxy: &RunningProxy, state: ServerState) {
    for place in 0..3 {
        eventually("it follows", || {
            ServerState::from_board(slot(proxy, place).state.get()) == state
        });
    }
}

fn say(proxy: &RunningProxy, (backend, address): (&str, SocketAddr), state: Wish) {
    let command = Command::ServerState {
        server: ServerName {
            backend: backend.to_owned(),
            address,
        },
        state,
        for_ms: None,
    };
    let reply = proxy.control.command(command, LIMIT).expect("a reply");
    assert!(reply.done.is_some(), "{:?}", reply.error);
}

#[test]
fn who_follows_is_up_and_down_with_the_probed_one_and_is_not_probed() {
    let (probed, socket) = refusing();
    let server = echo_server();
    let mut setup = chained(probed, [server, server]);
    setup.config.backends[1].on_marked_down = OnMarkedDown::Cut;
    let proxy = setup.start();
    all_become(&proxy, ServerState::Down);
    expect_refusal(&proxy);
    let reason = format!("as k3s-api/{probed}: L4CON: connection refused");
    for place in 1..3 {
        assert_eq!(slot(&proxy, place).reason.get(), reason);
    }
    assert_eq!(proxy.board.vip_health[0].get(), 0);
    socket.listen(1_024).expect("listen");
    all_become(&proxy, ServerState::Up);
    eventually("the VIP has a server", || {
        proxy.board.vip_health[0].get() == 100
    });
    let mut client = proxy.connect();
    ping(&mut client);
    // The server itself serves on, but its sessions are cut with the one that it follows.
    socket.shutdown(std::net::Shutdown::Both).expect("shutdown");
    expect_reset(&mut client);
    all_become(&proxy, ServerState::Down);
    assert_eq!(
        (slot(&proxy, 1).cut.get(), slot(&proxy, 1).downs.get()),
        (1, 2)
    );
    assert!(slot(&proxy, 0).probes.get() > 0);
    assert_eq!(
        (slot(&proxy, 1).probes.get(), slot(&proxy, 2).probes.get()),
        (0, 0)
    );
}

#[test]
fn who_follows_drains_with_the_probed_one_and_alone() {
    let server = echo_server();
    let proxy = chained(server, [server, server]).start();
    all_become(&proxy, ServerState::Up);
    let states = || [0, 1, 2].map(|place| slot(&proxy, place).effective_state(now()));
    use ServerState::{Draining, Maintenance, Up};
    for (wish, state) in [(Wish::Drain, Draining), (Wish::Maintenance, Maintenance)] {
        say(&proxy, ("k3s-api", server), wish);
        assert_eq!(states(), [state; 3]);
        expect_refusal(&proxy);
    }
    say(&proxy, ("k3s-api", server), Wish::Ready);
    assert_eq!(states(), [Up; 3]);
    ping(&mut proxy.connect());
    // What is said of one that follows is said of those only who follow it.
    say(&proxy, ("follower-0", server), Wish::Drain);
    assert_eq!(states(), [Up, Draining, Draining]);
    expect_refusal(&proxy);
}

#[test]
fn the_next_proxy_begins_with_what_was_found() {
    let (probed, _socket) = refusing();
    let server = echo_server();
    let setup = chained(probed, [server, server]);
    let board = setup.board;
    let proxy = setup.start();
    all_become(&proxy, ServerState::Down);
    drop(proxy);
    let mut next = chained(probed, [server, server]);
    next.board = board;
    let probe = next.backend().probe.as_mut().expect("it is probed");
    probe.fast_interval = Duration::from_secs(3_600);
    let proxy = next.start();
    all_become(&proxy, ServerState::Down);
    expect_refusal(&proxy);
    assert_eq!(board.probed.get(), 1);
}
