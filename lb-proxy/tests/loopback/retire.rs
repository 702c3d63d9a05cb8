//! A proxy whose place another one takes: with the same sockets, beside it.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::board::{Presence, ProxyBoard};
use common::command::{Command, Remaining, ServerName, Wish};
use common::config::{Balance, ProbeKind};
use common::time::Moment;
use lb_proxy::ListeningSocket;

use crate::harness::*;
use crate::reload::copies;
use crate::runtime::{act, ask, wish};
use crate::servers::{add, presence, remove};

/// So many, one after the other, while the place is taken.
const CLIENTS: u32 = 200;

/// Listening sockets that somebody keeps for several proxies; nothing is bound anew that one of them has.
struct Sockets(Vec<SocketAddr>, Vec<ListeningSocket>);

impl Sockets {
    fn bind(setup: &Setup) -> Self {
        let (addresses, sockets) = listening_sockets(&setup.config, setup.threads);
        Self(addresses, sockets)
    }

    fn start(&self, setup: Setup) -> RunningProxy {
        setup.start_on((self.0.clone(), copies(&self.1)), |_| {})
    }
}

fn setup(server: SocketAddr) -> Setup {
    let mut setup = Setup::new(&[server]);
    setup.threads = 2;
    setup
}

/// A client whose connection the proxy relays.
fn served(proxy: &RunningProxy) -> TcpStream {
    let mut client = proxy.connect();
    ping(&mut client);
    client
}

#[test]
fn its_sessions_go_on_and_new_ones_are_the_other_ones() {
    let server = echo_server();
    let sockets = Sockets::bind(&setup(server));
    let mut old = sockets.start(setup(server));
    let mut held = served(&old);
    let new = sockets.start(setup(server));
    eventually("both threads of the new one accept", || {
        new.board.accepting[..2]
            .iter()
            .all(|one| one.get().is_some())
    });
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            for _ in 0..CLIENTS {
                drop(served(&new));
            }
        });
        old.control.request_retirement();
        clients.join().expect("nobody was refused");
    });
    eventually("the old one accepts no more", || {
        old.board.accepting[0].get().is_none()
    });
    let accepted = old.listener().accepted.get();
    drop(served(&new));
    assert_eq!(old.listener().accepted.get(), accepted);
    let served = accepted + new.listener().accepted.get();
    assert_eq!(served, u64::from(CLIENTS) + 2);
    // For as long as it lasts, whatever a drain would have left it: and nobody says that the node stops.
    std::thread::sleep(Duration::from_millis(100));
    ping(&mut held);
    assert_eq!(old.board.drain.until.get(), None);
    assert_eq!(old.listener().sessions.get(), 1);
    drop(held);
    old.join().expect("an orderly end");
    assert_eq!(
        (old.listener().sessions.get(), old.listener().aborted.get()),
        (0, 0)
    );
}

#[test]
fn what_is_left_drains_when_a_stop_is_asked_for() {
    let (server, socket) = accepting_server();
    let make = || {
        let mut setup = setup(server);
        setup.config.proxy.drain = Duration::from_millis(300);
        setup
    };
    let sockets = Sockets::bind(&make());
    let mut old = sockets.start(make());
    let mut client = old.connect();
    let mut far = accept(&socket);
    old.control.request_retirement();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(old.listener().sessions.get(), 1);
    old.control.request_stop(None);
    eventually("the drain is seen", || {
        old.board.drain.until.get().is_some()
    });
    old.join().expect("an orderly end");
    expect_reset(&mut client);
    expect_reset(&mut far);
    assert_eq!(old.board.drain_reset.get(), 1);
}

#[test]
fn a_client_that_is_held_back_is_served() {
    let server = echo_server();
    let make = || {
        let mut setup = setup(server);
        setup.threads = 1;
        setup.listener().max_sessions = Some(1);
        setup
    };
    let sockets = Sockets::bind(&make());
    let mut old = sockets.start(make());
    let mut first = served(&old);
    let mut second = old.connect();
    eventually("it is held back", || old.listener().holds.get() == 1);
    old.control.request_retirement();
    ping(&mut second);
    ping(&mut first);
    drop((first, second));
    old.join().expect("an orderly end");
}

#[test]
fn it_asks_no_server_and_obeys_whoever_knows_of_it_in_what_concerns_its_sessions() {
    let server = echo_server();
    let mut setup = setup(server);
    setup.probe(probe_each(Duration::from_millis(20), ProbeKind::Tcp));
    let admin = setup.admin;
    let mut old = setup.start();
    let mut held = served(&old);
    let probes = &old.board.servers[0].probes;
    eventually("it is probed", || probes.get() > 2);
    old.control.request_retirement();
    eventually("it accepts no more", || {
        old.board.accepting[0].get().is_none()
    });
    // One may have been under way.
    std::thread::sleep(Duration::from_millis(50));
    let asked = probes.get();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(probes.get(), asked);
    let name = ServerName {
        backend: "k3s-api".to_owned(),
        address: server,
    };
    let say = |command| old.control.command(command, Duration::from_secs(1));
    let list = || Command::Sessions {
        listener: None,
        server: Some(server),
    };
    // The admin process that was there before knows nobody else.
    for _ in 0..2 {
        let error = say(list()).expect_err("not obeyed").to_string();
        assert!(error.contains("ask again"), "{error}");
        admin.header.started.set(Moment::from_nanos(1));
    }
    ping(&mut held);
    admin.header.started.set(now());
    let listed = say(list()).expect("a reply").sessions.expect("a list");
    assert_eq!(listed.sessions.len(), 1);
    let drain = Command::ServerState {
        server: name.clone(),
        state: Wish::Drain,
        for_ms: None,
    };
    assert!(say(drain).is_err());
    ping(&mut held);
    let kill = Command::KillServerSessions { server: name };
    assert_eq!(say(kill).expect("a reply").killed, Some(1));
    expect_reset(&mut held);
    old.join().expect("an orderly end");
}

#[test]
fn a_server_that_the_next_one_takes_from_its_sessions_is_taken_from_the_old_ones() {
    let servers = [echo_server(), echo_server()];
    let make = || {
        let mut setup = Setup::new(&servers);
        setup.backend().balance = Balance::RoundRobin;
        setup
    };
    let sockets = Sockets::bind(&make());
    let old = sockets.start(make());
    let mut held = [served(&old), served(&old)];
    let at = |place: usize| old.board.servers[place].sessions.get();
    assert_eq!((at(0), at(1)), (1, 1));
    let new = sockets.start(make());
    eventually("the new one accepts", || {
        new.board.accepting[0].get().is_some()
    });
    old.control.request_retirement();
    old.control.follow(new.board);
    act(&new, remove(servers[0], Remaining::Cut));
    eventually("its session is gone", || at(0) == 0);
    assert_eq!(at(1), 1);
    assert_eq!(old.listener().killed.get(), 1);
    let ended = held.iter_mut().position(is_reset);
    let mut rest = held.into_iter().enumerate();
    let rest = rest.find(|(place, _)| Some(*place) != ended);
    ping(&mut rest.expect("one of two").1);
}

/// Whether nothing but a reset comes.
fn is_reset(client: &mut TcpStream) -> bool {
    let limit = Some(Duration::from_millis(200));
    client.set_read_timeout(limit).expect("a socket");
    let read = client.read(&mut [0]);
    client.set_read_timeout(None).expect("a socket");
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn the_place_of_a_server_is_kept_for_those_before_who_have_sessions_there() {
    let first = echo_server();
    let elder: &'static ProxyBoard = Box::leak(Box::default());
    elder.servers[1].sessions.set(1);
    let proxy = Setup::new(&[first]).start_after(|control| control.know_elder(elder));
    let (second, third) = (echo_server(), echo_server());
    act(&proxy, add(second));
    act(&proxy, wish(second, Wish::Maintenance, None));
    let refused = ask(&proxy, remove(second, Remaining::Refuse)).error;
    let refused = refused.expect("it has a session");
    assert!(
        refused.contains("1 sessions (1 of earlier proxies)"),
        "{refused}"
    );
    act(&proxy, remove(second, Remaining::Drain));
    // So long a place rests anyway.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(presence(&proxy, 1), Presence::Leaving);
    act(&proxy, add(third));
    assert_eq!(presence(&proxy, 2), Presence::Added);
    elder.servers[1].sessions.set(0);
    eventually("it has left", || {
        presence(&proxy, 1) == Presence::Configured
    });
}
