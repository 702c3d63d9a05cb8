//! Who is let in.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::config::Keepalive;

use crate::harness::*;

#[test]
fn a_client_outside_the_allow_list_is_reset_and_no_server_hears_of_it() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().allow = Some(vec![net("127.0.0.2/32"), net("10.0.0.0/8")]);
    let proxy = setup.start();
    ping(&mut connect_from(
        Ipv4Addr::new(127, 0, 0, 2),
        proxy.address,
    ));
    for _ in 0..10 {
        expect_reset(&mut connect_from(
            Ipv4Addr::new(127, 0, 0, 3),
            proxy.address,
        ));
    }
    assert_eq!(proxy.listener().accepted.get(), 11);
    assert_eq!(proxy.listener().denied.get(), 10);
    assert_eq!(proxy.board.servers[0].connected.get(), 1);
}

#[test]
fn an_ipv4_mapped_client_is_compared_as_ipv4() {
    let mut setup = Setup::new(&[echo_server()]);
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    setup.listener().binds[0].address = SocketAddr::from((mapped, 0));
    setup.listener().allow = Some(vec![net("127.0.0.2/32")]);
    let proxy = setup.start();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.address.port()));
    ping(&mut connect_from(Ipv4Addr::new(127, 0, 0, 2), address));
    expect_reset(&mut connect_from(Ipv4Addr::new(127, 0, 0, 3), address));
    assert_eq!(proxy.listener().denied.get(), 1);
}

#[test]
fn every_thread_beats_all_the_time() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.threads = 2;
    let proxy = setup.start();
    let accepting = &proxy.board.accepting;
    eventually("both threads accept", || {
        accepting[0].get().is_some() && accepting[1].get().is_some()
    });
    assert_eq!(proxy.board.threads.get(), 2);
    assert_eq!(accepting[2].get(), None);
    assert_eq!(
        proxy
            .board
            .header
            .pid
            .load(std::sync::atomic::Ordering::Relaxed),
        std::process::id()
    );
    let beats = || {
        [
            accepting[0].get(),
            accepting[1].get(),
            proxy.board.header.heartbeat.get(),
        ]
    };
    // Once each 10 ms if nobody else wants the cores; other tests may.
    let (mut last, mut changes, start) = (beats(), [0; 3], Instant::now());
    while start.elapsed() < Duration::from_secs(5) && changes.iter().any(|count| *count < 25) {
        std::thread::sleep(Duration::from_millis(2));
        let now = beats();
        for index in 0..3 {
            changes[index] += u32::from(now[index] != last[index]);
        }
        last = now;
    }
    println!("{changes:?} beats in {:?}", start.elapsed());
    assert!(changes.iter().all(|count| *count >= 25), "{changes:?}");
}

#[test]
fn the_heartbeat_does_not_wait_behind_busy_sessions() {
    let proxy = Setup::new(&[echo_server()]).start();
    eventually("it accepts", || proxy.board.accepting[0].get().is_some());
    let longest = (0..3).map(|_| longest_pause_with_pings(&proxy, 400)).min();
    println!("longest time between two heartbeats with 400 busy sessions: {longest:?}");
    assert!(longest < Some(Duration::from_millis(60)), "{longest:?}");
}

/// Longest time between two heartbeats in a second of so many sessions, each with a ping on its way
/// all the time.
fn longest_pause_with_pings(proxy: &RunningProxy, sessions: usize) -> Duration {
    let accepting = &proxy.board.accepting[0];
    let mut clients: Vec<_> = (0..sessions).map(|_| proxy.connect()).collect();
    let end = Instant::now() + Duration::from_secs(1);
    let (mut last, mut longest) = (accepting.get(), Duration::ZERO);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut byte = [0];
            while Instant::now() < end {
                for client in &mut clients {
                    client.write_all(&[1]).expect("write");
                }
                for client in &mut clients {
                    client.read_exact(&mut byte).expect("the echo");
                }
            }
        });
        while Instant::now() < end {
            let beat = accepting.get();
            if let (Some(before), Some(now)) = (last, beat) {
                longest = longest.max(now.since(before));
            }
            last = beat;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    longest
}

#[test]
fn the_heartbeat_is_on_time_under_load() {
    let proxy = Setup::new(&[echo_server()]).start();
    eventually("it accepts", || proxy.board.accepting[0].get().is_some());
    // The best of three: other programs on this machine may keep the thread waiting, the load that
    // it serves may not.
    let longest = (0..3).map(|_| longest_pause_under_load(&proxy)).min();
    println!("longest time between two heartbeats under load: {longest:?}");
    assert!(longest < Some(Duration::from_millis(60)), "{longest:?}");
}

/// Longest time between two heartbeats while bulk transfers and new connections keep the thread
/// busy for a second.
fn longest_pause_under_load(proxy: &RunningProxy) -> Duration {
    let accepting = &proxy.board.accepting[0];
    let end = Instant::now() + Duration::from_secs(1);
    let (mut last, mut longest) = (accepting.get(), Duration::ZERO);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| bulk_until(proxy.connect(), end));
            scope.spawn(|| {
                while Instant::now() < end {
                    ping(&mut proxy.connect());
                }
            });
        }
        while Instant::now() < end {
            let beat = accepting.get();
            if let (Some(before), Some(now)) = (last, beat) {
                longest = longest.max(now.since(before));
            }
            last = beat;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    longest
}

/// Sends as fast as it goes through an echo, and reads it back.
fn bulk_until(mut client: TcpStream, end: Instant) {
    let mut reader = client.try_clone().expect("clone");
    std::thread::scope(|scope| {
        scope.spawn(move || read_to_end(&mut reader).expect("FIN"));
        while Instant::now() < end {
            client.write_all(&[1; 65_536]).expect("write");
        }
        client
            .shutdown(std::net::Shutdown::Write)
            .expect("shutdown");
    });
}

#[test]
fn both_sockets_of_a_session_have_the_configured_keepalive() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    let keepalive = |idle| {
        Some(Keepalive {
            idle: Duration::from_secs(idle),
            interval: Duration::from_secs(7),
            count: 4,
        })
    };
    setup.listener().keepalive = keepalive(33);
    setup.backend().keepalive = keepalive(44);
    let proxy = setup.start();
    // A connection that waited since before the proxy started has the settings of the listening
    // socket of then.
    eventually("it accepts", || proxy.board.accepting[0].get().is_some());
    let client = proxy.connect();
    let server = accept(&socket);
    for (end, idle) in [(&client, 33), (&server, 44)] {
        let ours = (
            end.peer_addr().expect("peer"),
            end.local_addr().expect("local"),
        );
        eventually("the keepalive timer runs", || {
            keepalive_timer(ours).is_some_and(|left| (idle - 8..=idle).contains(&left))
        });
    }
}

/// What is different from other proxies.
type Change = fn(&mut Setup);
/// What a session does before it lasts.
type Act = fn(&mut TcpStream, &mut TcpStream);

#[test]
fn every_lasting_session_has_the_keepalive_of_its_server() {
    fn half_close(end: &TcpStream) {
        end.shutdown(std::net::Shutdown::Write).expect("FIN");
    }
    let cases: [(&str, Change, Act); 6] = [
        ("nothing", |_| (), |_, _| ()),
        (
            "a short limit of silence",
            |setup| setup.listener().tunnel_timeout = Some(Duration::from_secs(9)),
            |_, _| (),
        ),
        ("the client's FIN", |_| (), |client, _| half_close(client)),
        (
            "the client's FIN, and a limit for that",
            |setup| setup.backend().server_fin_timeout = Some(Duration::from_hours(1)),
            |client, _| half_close(client),
        ),
        (
            "the server's FIN, and a limit for that",
            |setup| setup.listener().client_fin_timeout = Some(Duration::from_hours(1)),
            |_, server| half_close(server),
        ),
        (
            "a burst",
            |_| (),
            |client, server| {
                std::thread::scope(|scope| {
                    scope.spawn(|| server.write_all(&vec![1; 300_000]).expect("written"));
                    client.read_exact(&mut vec![0; 300_000]).expect("read");
                });
            },
        ),
    ];
    std::thread::scope(|scope| {
        for (what, change, act) in cases {
            scope.spawn(move || has_keepalive_after(what, change, act));
        }
    });
}

fn has_keepalive_after(what: &str, change: Change, act: Act) {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.backend().keepalive = Some(Keepalive {
        idle: Duration::from_secs(44),
        interval: Duration::from_secs(7),
        count: 4,
    });
    change(&mut setup);
    let proxy = setup.start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    client.write_all(b"?").expect("written");
    server.read_exact(&mut [0]).expect("relayed");
    act(&mut client, &mut server);
    let ours = (
        server.peer_addr().expect("peer"),
        server.local_addr().expect("local"),
    );
    eventually(&format!("keepalive after {what}"), || {
        keepalive_timer(ours).is_some()
    });
}

/// Seconds until the socket between these two ends sends a keepalive probe (proc_net_tcp.rst: timer
/// 2 is keepalive).
fn keepalive_timer((local, peer): (SocketAddr, SocketAddr)) -> Option<u64> {
    let ends = format!("{} {}", in_hex(local), in_hex(peer));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("proc");
    let line = table.lines().find(|line| line.contains(&ends))?;
    let timer = line.split_whitespace().nth(5)?.strip_prefix("02:")?;
    Some(u64::from_str_radix(timer, 16).expect("hex").div_ceil(100))
}

fn in_hex(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        panic!("this test speaks IPv4");
    };
    let ip = u32::from_le_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}
