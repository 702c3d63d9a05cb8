//! Servers by name, with a name server of the test's own.

mod zone;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use common::board::{NameSlot, Presence};
use common::command::{Command, Remaining};
use common::config::{NamedServers, ProbeKind};

use self::zone::{NameServer, Rcode};
use crate::harness::*;
use crate::reload::Reloadable;
use crate::runtime::{ask, letters, name};

/// Servers at 127.0.1.1 and so on, all at one port; each says its letter and echoes.
struct Row {
    port: u16,
}

impl Row {
    fn of(letters: &str) -> Self {
        'port: loop {
            let bind = |index: usize, port: u16| TcpListener::bind((ip(index), port));
            let first = bind(0, 0).expect("bind");
            let port = first.local_addr().expect("it is bound").port();
            let mut sockets = vec![first];
            for index in 1..letters.len() {
                match bind(index, port) {
                    Ok(socket) => sockets.push(socket),
                    Err(_) => continue 'port,
                }
            }
            for (socket, letter) in sockets.into_iter().zip(letters.bytes()) {
                std::thread::spawn(move || serve(&socket, letter));
            }
            return Self { port };
        }
    }

    fn at(&self, index: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(ip(index)), self.port)
    }
}

fn ip(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(index + 1).expect("few"))
}

fn serve(socket: &TcpListener, letter: u8) {
    for stream in socket.incoming() {
        let mut stream = stream.expect("accept");
        std::thread::spawn(move || {
            let mut buffer = [letter; 64];
            let mut count = 1;
            while stream.write_all(&buffer[..count]).is_ok() {
                match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => count = n,
                    _ => return,
                }
            }
        });
    }
}

/// A backend that is this name alone.
fn setup(dns: &NameServer, wanted: &str) -> Setup {
    let mut setup = Setup::new(&[]);
    setup.backend().names = vec![NamedServers {
        name: wanted.parse().expect("a name"),
        max_addresses: 8,
        weight: (!wanted.starts_with('_')).then_some(1),
        backup: false,
        max_sessions: None,
    }];
    let config = &mut setup.config.dns;
    config.servers = vec![dns.address];
    config.timeout = Duration::from_millis(150);
    (config.min_ttl, config.max_ttl) = (Duration::from_millis(50), Duration::from_millis(100));
    setup
}

fn host(row: &Row) -> String {
    format!("api.test:{}", row.port)
}

fn slot(proxy: &RunningProxy) -> &NameSlot {
    &proxy.board.names[0]
}

fn served(proxy: &RunningProxy, wanted: &str) {
    eventually("they serve", || {
        let end = TcpStream::connect(proxy.address).and_then(|mut one| one.read(&mut [0]));
        end.is_ok_and(|count| count == 1)
    });
    eventually(wanted, || letters(proxy, wanted.len()) == wanted);
}

fn greeted(proxy: &RunningProxy) -> TcpStream {
    let mut client = proxy.connect();
    client.read_exact(&mut [0]).expect("a letter");
    client
}

#[test]
fn who_is_named_serves_and_who_is_named_no_more_is_drained() {
    let (row, dns) = (Row::of("abc"), NameServer::start());
    dns.set_hosts("api.test", &[ip(0), ip(1)]);
    let proxy = setup(&dns, &host(&row)).start();
    served(&proxy, "aabb");
    let mut old: Vec<_> = (0..4).map(|_| greeted(&proxy)).collect();
    dns.set_hosts("api.test", &[ip(1), ip(2)]);
    served(&proxy, "bbcc");
    let place = (0..3).find(|place| proxy.board.roster[*place].presence() == Presence::Leaving);
    let place = place.expect("one leaves");
    assert_eq!(proxy.board.servers[place].sessions.get(), 2);
    old.iter_mut().for_each(ping);
    drop(old);
    eventually("its place is free", || {
        proxy.board.roster[place].presence() == Presence::Configured
    });
    let remove = Command::ServerRemove {
        server: name(row.at(1)),
        sessions: Remaining::Cut,
    };
    let error = ask(&proxy, remove).error.expect("refused");
    assert!(error.contains("comes from the DNS"), "{error}");
    assert!(slot(&proxy).queries.get() > 2);
    assert_eq!(slot(&proxy).failures.get(), 0);
}

#[test]
fn an_answer_that_says_nothing_takes_nobody_away() {
    let (row, dns) = (Row::of("ab"), NameServer::start());
    dns.set_hosts("api.test", &[ip(0)]);
    let proxy = setup(&dns, &host(&row)).start();
    served(&proxy, "aaa");
    for (rcode, words) in [
        (Rcode::ServFail, "Server Failure"),
        (Rcode::NxDomain, "NXDOMAIN"),
        (Rcode::Silence, "no answer in time"),
        (Rcode::Empty, "no such record"),
    ] {
        dns.answer_with(rcode);
        eventually(words, || {
            slot(&proxy).failing.get().is_some() && slot(&proxy).reason.get().contains(words)
        });
        assert_eq!(letters(&proxy, 3), "aaa");
    }
    dns.answer_with(Rcode::Good);
    dns.set_hosts("api.test", &[ip(1)]);
    served(&proxy, "bbb");
    eventually("all is well", || slot(&proxy).failing.get().is_none());
    assert_eq!(slot(&proxy).reason.get(), "");
}

#[test]
fn a_name_without_an_answer_yet_has_no_servers_and_gets_them_later() {
    let (row, dns) = (Row::of("a"), NameServer::start());
    dns.answer_with(Rcode::Silence);
    let mut setup = setup(&dns, &host(&row));
    setup.probe(probe_each(Duration::from_millis(20), ProbeKind::Tcp));
    let proxy = setup.start();
    eventually("it is told", || slot(&proxy).failing.get().is_some());
    expect_refusal(&proxy);
    assert_eq!(proxy.board.vip_health[0].get(), 0);
    assert!(slot(&proxy).answered.get().is_none());
    dns.set_hosts("api.test", &[ip(0)]);
    dns.answer_with(Rcode::Good);
    served(&proxy, "aaa");
    eventually("it is probed", || proxy.board.servers[0].probes.get() > 0);
    assert_eq!(proxy.board.vip_health[0].get(), 100);
}

/// Questions that a name server is asked which says nothing, until the name is given up once.
fn asked_in_vain(attempts: u32) -> usize {
    let (row, dns) = (Row::of("a"), NameServer::start());
    dns.answer_with(Rcode::Silence);
    let mut setup = setup(&dns, &host(&row));
    setup.config.dns.attempts = attempts;
    // Once in this test.
    setup.config.dns.min_ttl = Duration::from_secs(60);
    setup.config.dns.max_ttl = Duration::from_secs(60);
    let proxy = setup.start();
    eventually("it is told", || slot(&proxy).failing.get().is_some());
    dns.asked_by_udp()
}

#[test]
fn a_silent_name_server_is_asked_as_often_as_the_file_says() {
    let (once, thrice) = (asked_in_vain(1), asked_in_vain(3));
    assert_eq!((once, thrice), (2, 6), "for A and AAAA");
}

#[test]
fn what_fails_of_one_kind_of_address_says_nothing_of_the_other() {
    let (row, dns) = (Row::of("ab"), NameServer::start());
    dns.set_hosts("api.test", &[ip(0)]);
    dns.fail_aaaa();
    let proxy = setup(&dns, &host(&row)).start();
    served(&proxy, "aaa");
    dns.set_hosts("api.test", &[ip(1)]);
    served(&proxy, "bbb");
    let reason = slot(&proxy).reason.get();
    assert!(reason.contains("AAAA: the name server answers"), "{reason}");
}

#[test]
fn services_have_ports_weights_and_backups() {
    let (row, dns) = (Row::of("abc"), NameServer::start());
    let port = row.port;
    for (index, host) in ["a.test", "b.test", "c.test"].into_iter().enumerate() {
        dns.set_hosts(host, &[ip(index)]);
    }
    dns.set_service(
        "_api._tcp.test",
        &[
            (10, 3, port, "a.test"),
            (10, 1, port, "b.test"),
            (20, 9, port, "c.test"),
        ],
    );
    let proxy = setup(&dns, "_api._tcp.test").start();
    served(&proxy, "aaaaaabb");
    // Another priority is lowest now: the one that was the backup serves alone.
    dns.set_service(
        "_api._tcp.test",
        &[(10, 3, port, "a.test"), (5, 1, port, "c.test")],
    );
    served(&proxy, "cccc");
    dns.set_service(
        "_api._tcp.test",
        &[(10, 3, port, "a.test"), (10, 1, port, "c.test")],
    );
    served(&proxy, "aaac");
    // What is not known of a host takes nobody away.
    dns.set_hosts("a.test", &[]);
    eventually("it is told", || {
        slot(&proxy).reason.get().contains("a.test")
    });
    served(&proxy, "aaac");
}

/// One after the other they would take two seconds and more.
#[test]
fn the_hosts_of_a_service_are_asked_for_side_by_side_and_not_all_at_once() {
    const HOSTS: usize = 24;
    const LATE: Duration = Duration::from_millis(100);
    let (row, dns) = (Row::of("abc"), NameServer::start());
    let names: Vec<_> = (0..HOSTS).map(|index| format!("h{index}.test")).collect();
    for (index, name) in names.iter().enumerate() {
        dns.set_hosts(name, &[ip(index % 3)]);
    }
    let records: Vec<_> = names.iter().map(|name| (1, 1, row.port, &**name)).collect();
    dns.set_service("_api._tcp.test", &records);
    dns.answer_late(LATE);
    let mut setup = setup(&dns, "_api._tcp.test");
    setup.config.dns.timeout = Duration::from_secs(5);
    let began = std::time::Instant::now();
    let proxy = setup.start();
    eventually("they are known", || slot(&proxy).answered.get().is_some());
    let took = began.elapsed();
    // The service, and three times eight hosts.
    assert!(took >= 4 * LATE && took < 12 * LATE, "{took:?}");
    let most = dns.most_open();
    assert!((3..=16).contains(&most), "{most} at the same time");
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_by_tcp() {
    let (row, dns) = (Row::of("ab"), NameServer::start());
    dns.set_hosts("api.test", &[ip(0), ip(1)]);
    dns.answer_with(Rcode::Truncated);
    let proxy = setup(&dns, &host(&row)).start();
    served(&proxy, "aabb");
    assert!(dns.asked_by_tcp() > 0);
}

#[test]
fn more_addresses_than_there_may_be_are_left_out() {
    let (row, dns) = (Row::of("abc"), NameServer::start());
    dns.set_hosts("api.test", &[ip(0), ip(1), ip(2)]);
    let mut setup = setup(&dns, &host(&row));
    setup.backend().names[0].max_addresses = 2;
    let proxy = setup.start();
    served(&proxy, "aabb");
    assert_eq!(slot(&proxy).left_out.get(), 1);
    let reason = slot(&proxy).left_out_reason.get();
    assert!(reason.contains("more than max_addresses"), "{reason}");
}

#[test]
fn what_was_resolved_outlives_the_process() {
    let (row, dns) = (Row::of("ab"), NameServer::start());
    dns.set_hosts("api.test", &[ip(0), ip(1)]);
    let board = {
        let proxy = setup(&dns, &host(&row)).start();
        served(&proxy, "aabb");
        proxy.board
    };
    dns.answer_with(Rcode::Silence);
    let mut setup = setup(&dns, &host(&row));
    setup.board = board;
    let proxy = setup.start();
    assert_eq!(letters(&proxy, 4), "aabb");
    eventually("it is told", || slot(&proxy).failing.get().is_some());
    assert_eq!(letters(&proxy, 4), "aabb");
}

#[test]
fn after_a_failure_the_name_is_asked_for_again_after_the_least_time() {
    let dns = NameServer::start();
    dns.answer_with(Rcode::ServFail);
    let mut setup = setup(&dns, "api.test:1");
    setup.config.dns.max_ttl = Duration::from_hours(1);
    let proxy = setup.start();
    eventually("it is asked again", || slot(&proxy).failures.get() > 5);
}

#[test]
fn a_reload_brings_names_and_takes_them_away() {
    let (row, dns) = (Row::of("abc"), NameServer::start());
    dns.set_hosts("api.test", &[ip(0), ip(1)]);
    dns.set_hosts("web.test", &[ip(2)]);
    let mut proxy = Reloadable::start(setup(&dns, &host(&row)));
    served(&proxy, "aabb");
    let mut old: Vec<_> = (0..2).map(|_| greeted(&proxy)).collect();
    let asked = slot(&proxy).queries.get();
    let named = |text: &str, like: &NamedServers| NamedServers {
        name: text.parse().expect("a name"),
        ..like.clone()
    };
    // In front of the one that is there, which is the second one from now on.
    let web = format!("web.test:{}", row.port);
    proxy.reload(|config| {
        let first = named(&web, &config.backends[0].names[0]);
        config.backends[0].names.insert(0, first);
    });
    served(&proxy, "aabbcc");
    assert!(proxy.board.names[1].queries.get() >= asked);
    proxy.reload(|config| drop(config.backends[0].names.remove(1)));
    served(&proxy, "ccc");
    assert!(slot(&proxy).answered.get().is_some());
    old.iter_mut().for_each(ping);
    drop(old);
    eventually("who has left is gone", || {
        let there = |place: &usize| proxy.board.roster[*place].presence() != Presence::Configured;
        (0..8).filter(there).count() == 1
    });
    proxy.reload(|config| config.backends[0].names.clear());
    eventually("nobody is there", || {
        (0..8).all(|place| proxy.board.roster[place].presence() == Presence::Configured)
    });
}
