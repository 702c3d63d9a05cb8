//! Full servers and who waits for them, backups, slow start, sessions that are too old.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::board::ServerState;
use common::command::Wish;
use common::config::{Balance, ProbeKind};

use crate::harness::*;
use crate::runtime::{act, wish};

fn limited(servers: &[SocketAddr], sessions: u32) -> Setup {
    let mut setup = Setup::new(servers);
    for server in &mut setup.backend().servers {
        server.max_sessions = Some(sessions);
    }
    setup
}

#[test]
fn who_finds_all_servers_full_waits_in_order() {
    let setup = limited(&[named(b'a'), named(b'b')], 1);
    let proxy = setup.start();
    let mut first = proxy.connect();
    let mut second = proxy.connect();
    let mut held = [letter(&mut first), letter(&mut second)];
    held.sort_unstable();
    assert_eq!(held, *b"ab");
    let mut waiting = Vec::new();
    for n in 1..=3 {
        waiting.push(proxy.connect());
        eventually("it waits", || proxy.board.backends[0].queued.get() == n);
    }
    // One after the other ends, and the one that waited longest has its place.
    drop(first);
    letter(&mut waiting[0]);
    eventually("two wait", || proxy.board.backends[0].queued.get() == 2);
    drop(second);
    letter(&mut waiting[1]);
    drop(waiting.remove(0));
    letter(&mut waiting[1]);
    assert_eq!(proxy.board.backends[0].waited.get(), 3);
    assert_eq!(proxy.listener().failed.get(), 0);
}

#[test]
fn the_queue_has_a_length_and_a_limit_of_time() {
    let mut setup = limited(&[named(b'a')], 1);
    setup.backend().queue = 1;
    setup.backend().queue_timeout = Duration::from_millis(200);
    let proxy = setup.start();
    let mut held = proxy.connect();
    letter(&mut held);
    let start = Instant::now();
    let mut waiting = proxy.connect();
    eventually("it waits", || proxy.board.backends[0].queued.get() == 1);
    expect_refusal(&proxy);
    assert_eq!(proxy.board.backends[0].queue_full.get(), 1);
    expect_reset(&mut waiting);
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(proxy.board.backends[0].queue_timeouts.get(), 1);
    eventually("nobody waits", || proxy.board.backends[0].queued.get() == 0);
}

#[test]
fn who_waits_and_goes_away_takes_nobodys_place() {
    let proxy = limited(&[named(b'a')], 1).start();
    let mut held = proxy.connect();
    letter(&mut held);
    let gone = proxy.connect();
    eventually("it waits", || proxy.board.backends[0].queued.get() == 1);
    let slot = &proxy.board.backends[0];
    let first = slot.waiting_since.get();
    let mut stays = proxy.connect();
    eventually("both wait", || slot.queued.get() == 2);
    assert_eq!(slot.waiting_since.get(), first);
    reset(gone);
    eventually("one waits, since a later time", || {
        slot.queued.get() == 1 && slot.waiting_since.get() > first
    });
    drop(held);
    letter(&mut stays);
    eventually("nobody waits", || slot.waiting_since.get().is_none());
    assert!(slot.longest_wait.get() > 0);
}

#[test]
fn a_backup_serves_only_while_no_other_server_can() {
    let mut setup = Setup::new(&[named(b'a'), named(b'b')]);
    setup.backend().servers[1].backup = true;
    let proxy = setup.start();
    for _ in 0..4 {
        assert_eq!(letter(&mut proxy.connect()), b'a');
    }
    drop(proxy);
    let (refused, _socket) = refusing();
    let mut setup = Setup::new(&[refused, named(b'b')]);
    setup.backend().servers[1].backup = true;
    setup.probe(probe_each(Duration::from_millis(30), ProbeKind::Tcp));
    let proxy = setup.start();
    eventually("the first one is down", || {
        ServerState::from_board(proxy.board.servers[0].state.get()) == ServerState::Down
    });
    assert_eq!(letter(&mut proxy.connect()), b'b');
}

#[test]
fn a_client_meets_its_server_again() {
    for balance in [Balance::Source, Balance::ConsistentHash] {
        let servers = [named(b'a'), named(b'b'), named(b'c')];
        let mut setup = Setup::new(&servers);
        setup.threads = 2;
        setup.backend().balance = balance;
        let proxy = setup.start();
        let mut seen = std::collections::BTreeSet::new();
        for last in 1..40 {
            let client = Ipv4Addr::new(127, 0, 3, last);
            let mut own = std::collections::BTreeSet::new();
            for _ in 0..3 {
                own.insert(letter(&mut connect_from(client, proxy.address)));
            }
            assert_eq!(own.len(), 1, "{client} met {own:?}");
            seen.extend(own);
        }
        assert_eq!(seen.len(), 3, "all serve some client");
    }
}

#[test]
fn first_fills_one_server_after_the_other() {
    let mut setup = limited(&[named(b'a'), named(b'b')], 2);
    setup.backend().balance = Balance::First;
    let proxy = setup.start();
    let mut clients = Vec::new();
    let met: Vec<u8> = (0..4)
        .map(|_| {
            clients.push(proxy.connect());
            letter(clients.last_mut().expect("just pushed"))
        })
        .collect();
    assert_eq!(met, b"aabb");
}

#[test]
fn random_of_two_uses_every_server() {
    let mut setup = Setup::new(&[named(b'a'), named(b'b'), named(b'c')]);
    setup.backend().balance = Balance::Random;
    let proxy = setup.start();
    let mut held = Vec::new();
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..60 {
        let mut client = proxy.connect();
        *counts.entry(letter(&mut client)).or_insert(0) += 1;
        held.push(client);
    }
    // The less loaded one of two: never far apart.
    assert!(
        counts.values().all(|count| (14..=26).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_server_that_comes_up_gets_its_share_little_by_little() {
    let (address, socket) = refusing();
    let mut setup = Setup::new(&[named(b'a'), address]);
    setup.backend().slow_start = Some(Duration::from_secs(3));
    setup.probe(probe_each(Duration::from_millis(30), ProbeKind::Tcp));
    let proxy = setup.start();
    let slot = &proxy.board.servers[1];
    eventually("there is none at the start", || {
        proxy.board.servers[0].ramp.get() == 256
    });
    let state = || ServerState::from_board(slot.state.get());
    eventually("it is down", || state() == ServerState::Down);
    socket.listen(1_024).expect("listen");
    eventually("it is up", || state() == ServerState::Up);
    let up = Instant::now();
    let early = slot.ramp.get();
    assert!(early < 64, "{early} of 256 at once");
    let share = |count: usize| {
        let both = || {
            let servers = &proxy.board.servers[..2];
            servers.iter().map(|slot| slot.connected.get()).sum::<u64>()
        };
        let (before, all) = (slot.connected.get(), both());
        let clients: Vec<_> = (0..count).map(|_| proxy.connect()).collect();
        eventually("all are connected", || both() == all + count as u64);
        drop(clients);
        slot.connected.get() - before
    };
    let first = share(40);
    assert!(first <= 12, "{first} of 40 in the first moments");
    eventually("it has its whole share", || slot.ramp.get() == 256);
    let took = up.elapsed();
    assert!(took >= Duration::from_millis(2_500), "{took:?}");
    eventually("all have ended", || proxy.listener().sessions.get() == 0);
    let whole = share(40);
    assert!((18..=22).contains(&whole), "{whole} of 40 in the end");
}

#[test]
fn a_session_that_is_too_old_ends_in_a_quiet_moment() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().max_lifetime = Some(Duration::from_secs(1));
    let proxy = setup.start();
    let mut quiet = proxy.connect();
    ping(&mut quiet);
    let start = Instant::now();
    expect_fin(&mut quiet);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(950) && took < Duration::from_millis(2_500),
        "{took:?}"
    );
    assert_eq!(proxy.listener().lifetime_closed.get(), 1);
    // One that is never quiet is reset in the end.
    let mut busy = proxy.connect();
    let start = Instant::now();
    let end = loop {
        let mut byte = [0];
        if let Err(error) = busy
            .write_all(b"?")
            .and_then(|()| busy.read_exact(&mut byte))
        {
            break error.kind();
        }
        assert!(start.elapsed() < LIMIT, "it lives for ever");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(end, std::io::ErrorKind::ConnectionReset);
    assert!(start.elapsed() >= Duration::from_secs(6));
}

/// A session of another thread ends between the look at a full server and the place in the line.
#[test]
fn a_slot_that_is_freed_while_a_client_joins_the_line_is_seen() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.threads = 2;
    setup.backend().servers[0].max_sessions = Some(1);
    setup.backend().queue_timeout = Duration::from_secs(1);
    let proxy = setup.start();
    let address = proxy.address;
    let start = Instant::now();
    let mut round = 0_u64;
    while start.elapsed() < Duration::from_secs(5) {
        round += 1;
        let mut first = proxy.connect();
        ping(&mut first);
        let pause = Duration::from_nanos(round * 7_919 % 150_000);
        let ends = std::thread::spawn(move || {
            let start = Instant::now();
            while start.elapsed() < pause {
                std::hint::spin_loop();
            }
            drop(first);
        });
        ping(&mut connect(address));
        ends.join().expect("no panic");
    }
    let backend = &proxy.board.backends[0];
    let failures = (backend.queue_timeouts.get(), proxy.listener().failed.get());
    assert_eq!(failures, (0, 0));
}

/// Two sessions end in the same moment in which two clients come: neither has to wait for a third one
/// to end.
#[test]
fn two_slots_that_become_free_at_once_serve_two_clients() {
    let mut setup = limited(&[named(b'a')], 2);
    setup.threads = 2;
    let proxy = setup.start();
    let served = || {
        let mut client = proxy.connect();
        letter(&mut client);
        client
    };
    let mut held = [served(), served()];
    for _ in 0..1_000 {
        let barrier = std::sync::Barrier::new(4);
        held = std::thread::scope(|scope| {
            for old in held {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    drop(old);
                });
            }
            let new = [(); 2].map(|()| {
                scope.spawn(|| {
                    barrier.wait();
                    served()
                })
            });
            new.map(|client| client.join().expect("it is served"))
        });
    }
    assert_eq!(proxy.board.backends[0].queue_timeouts.get(), 0);
    assert_eq!(proxy.listener().failed.get(), 0);
}

/// One that comes just as a slot becomes free does not take it from the one that waits.
#[test]
fn who_comes_later_is_served_later() {
    let mut setup = limited(&[named(b'a')], 1);
    setup.threads = 2;
    let proxy = setup.start();
    let mut held = proxy.connect();
    letter(&mut held);
    for _ in 0..300 {
        let mut waits = proxy.connect();
        eventually("it waits", || proxy.board.backends[0].queued.get() == 1);
        let barrier = std::sync::Barrier::new(2);
        let mut comes = std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                drop(held);
            });
            barrier.wait();
            proxy.connect()
        });
        letter(&mut waits);
        drop(waits);
        letter(&mut comes);
        held = comes;
    }
}

/// Who has tried the only server with a free slot does not hold up those behind it.
#[test]
fn who_has_nothing_left_to_try_lets_the_next_one_go() {
    let (address, socket) = refusing();
    let mut setup = Setup::new(&[address, named(b'b')]);
    setup.backend().balance = Balance::First;
    setup.backend().servers[1].max_sessions = Some(1);
    let proxy = setup.start();
    let mut held = proxy.connect();
    assert_eq!(letter(&mut held), b'b');
    let _waits = proxy.connect();
    let queued = || proxy.board.backends[0].queued.get();
    eventually("it waits", || queued() == 1);
    socket.listen(16).expect("listen");
    let _goes = proxy.connect();
    let slot = &proxy.board.servers[0];
    eventually("it is served", || slot.connected.get() == 1);
    assert_eq!(queued(), 1);
}

#[test]
fn a_server_that_comes_back_from_maintenance_gets_its_share_little_by_little() {
    let (first, second) = (named(b'a'), named(b'b'));
    let mut setup = Setup::new(&[first, second]);
    setup.backend().slow_start = Some(Duration::from_secs(60));
    let proxy = setup.start();
    let ramp = || proxy.board.servers[1].ramp.get();
    eventually("there is none at the start", || ramp() == 256);
    act(&proxy, wish(second, Wish::Maintenance, None));
    act(&proxy, wish(second, Wish::Ready, None));
    assert!(ramp() < 64, "{} of 256 at once", ramp());
    assert_eq!(proxy.board.servers[0].ramp.get(), 256);
}
