//! Shares of real connections.

use std::net::TcpStream;

use common::config::Balance;

use crate::harness::*;

fn connected(proxy: &RunningProxy) -> Vec<u64> {
    let servers = &proxy.board.servers[..3];
    servers.iter().map(|slot| slot.connected.get()).collect()
}

fn held(proxy: &RunningProxy) -> Vec<u64> {
    let servers = &proxy.board.servers[..3];
    servers.iter().map(|slot| slot.sessions.get()).collect()
}

/// Three servers that echo, two relay threads.
fn three_servers() -> Setup {
    let mut setup = Setup::new(&[echo_server(), echo_server(), echo_server()]);
    setup.threads = 2;
    setup
}

fn hold(proxy: &RunningProxy, count: usize) -> Vec<TcpStream> {
    let mut clients: Vec<_> = (0..count).map(|_| proxy.connect()).collect();
    clients.iter_mut().for_each(ping);
    clients
}

#[test]
fn round_robin_is_even_over_3000_connections_and_two_threads() {
    let proxy = three_servers().start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..750 {
                    ping(&mut proxy.connect());
                }
            });
        }
    });
    let shares = connected(&proxy);
    assert!(
        shares.iter().all(|share| (980..=1_020).contains(share)),
        "{shares:?}"
    );
    assert_eq!(shares.iter().sum::<u64>(), 3_000);
    eventually("no session is counted any more", || {
        held(&proxy) == [0, 0, 0]
    });
}

#[test]
fn round_robin_follows_the_weights() {
    let mut setup = three_servers();
    for (server, weight) in setup.backend().servers.iter_mut().zip([3, 0, 1]) {
        server.weight = weight;
    }
    let proxy = setup.start();
    for _ in 0..100 {
        ping(&mut proxy.connect());
    }
    assert_eq!(connected(&proxy), [75, 0, 25]);
}

#[test]
fn least_connections_fills_the_emptiest_server() {
    let mut setup = three_servers();
    setup.backend().balance = Balance::LeastConnections;
    let proxy = setup.start();
    let mut clients = hold(&proxy, 60);
    let even = held(&proxy);
    assert!(
        even.iter().all(|sessions| (19..=21).contains(sessions)),
        "{even:?}"
    );
    clients.truncate(30);
    eventually("half of them have ended", || {
        held(&proxy).iter().sum::<u64>() == 30
    });
    clients.extend(hold(&proxy, 30));
    let even = held(&proxy);
    assert!(
        even.iter().all(|sessions| (19..=21).contains(sessions)),
        "{even:?}"
    );
}

#[test]
fn least_connections_follows_the_weights() {
    let mut setup = three_servers();
    setup.threads = 1;
    setup.backend().balance = Balance::LeastConnections;
    for (server, weight) in setup.backend().servers.iter_mut().zip([4, 2, 0]) {
        server.weight = weight;
    }
    let proxy = setup.start();
    let _clients = hold(&proxy, 60);
    assert_eq!(held(&proxy), [40, 20, 0]);
}

#[test]
fn consistent_hash_spreads_one_client_beyond_the_factor_only() {
    let held_with = |factor: Option<u32>| {
        let mut setup = three_servers();
        setup.threads = 1;
        setup.backend().balance = Balance::ConsistentHash;
        setup.backend().hash_balance_factor = factor;
        let proxy = setup.start();
        let _clients = hold(&proxy, 30);
        let mut sessions = held(&proxy);
        sessions.sort_unstable();
        sessions
    };
    assert_eq!(held_with(None), [0, 0, 30]);
    let bounded = held_with(Some(125));
    assert!(bounded[2] <= 13 && bounded[0] > 0, "{bounded:?}");
}
