//! Servers that are added, moved to another address and removed at run time.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use common::board::{Presence, ServerState};
use common::command::{Command, Remaining, ServerName, Wish};
use common::config::{
    Backend, BackendIndex, Balance, InitialState, LogFormat, MAX_SERVERS, Probe, ProbeKind, Track,
};
use common::roster::Roster;

use crate::harness::*;
use crate::runtime::{act, ask, exchange, lettered, letters, name, sessions, wish};
use crate::session_log::Log;

pub(crate) fn add(address: SocketAddr) -> Command {
    add_for(name(address), None)
}

pub(crate) fn add_for(server: ServerName, for_ms: Option<u64>) -> Command {
    Command::ServerAdd {
        server,
        weight: None,
        backup: false,
        max_sessions: None,
        for_ms,
    }
}

pub(crate) fn move_to(from: SocketAddr, address: SocketAddr, for_ms: Option<u64>) -> Command {
    Command::ServerAddress {
        server: name(from),
        address,
        for_ms,
    }
}

pub(crate) fn remove(address: SocketAddr, sessions: Remaining) -> Command {
    Command::ServerRemove {
        server: name(address),
        sessions,
    }
}

#[track_caller]
fn refused(proxy: &RunningProxy, command: Command) -> String {
    let reply = ask(proxy, command);
    reply
        .error
        .unwrap_or_else(|| panic!("it was done: {:?}", reply.done))
}

pub(crate) fn presence(proxy: &RunningProxy, place: usize) -> Presence {
    proxy.board.roster[place].presence()
}

pub(crate) fn state(proxy: &RunningProxy, place: usize) -> ServerState {
    ServerState::from_board(proxy.board.servers[place].state.get())
}

/// Each 20 ms, from the state `initial`.
pub(crate) fn probed(setup: &mut Setup, initial: InitialState) {
    setup.probe(Probe {
        initial_state: initial,
        timeout: Duration::from_millis(500),
        ..probe_each(Duration::from_millis(20), ProbeKind::Tcp)
    });
}

/// A backend with a probe, and one that the listener uses, whose server follows the first one's.
pub(crate) fn followed(probed_at: SocketAddr, serves_at: SocketAddr) -> Setup {
    let mut setup = Setup::new(&[probed_at]);
    probed(&mut setup, InitialState::Up);
    let mut follower = Backend {
        name: "follower".to_owned(),
        places: vec![1],
        probe: None,
        track: Some(BackendIndex(0)),
        ..setup.config.backends[0].clone()
    };
    follower.servers[0].address = serves_at;
    follower.servers[0].track = Some(Track {
        backend: BackendIndex(0),
        server: 0,
    });
    setup.config.backends.push(follower);
    setup.listener().backend = BackendIndex(1);
    setup
}

/// A session to the only server.
fn relayed(proxy: &RunningProxy, socket: &TcpListener) -> (TcpStream, TcpStream) {
    let client = proxy.connect();
    (client, accept(socket))
}

#[test]
fn an_added_server_serves_as_the_backend_says_until_it_is_removed() {
    let (first, second) = (lettered(b'a'), lettered(b'b'));
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Random,
        Balance::ConsistentHash,
        Balance::Source,
        Balance::First,
    ] {
        let mut setup = Setup::new(&[first]);
        setup.backend().balance = balance;
        let proxy = setup.start();
        assert_eq!(letters(&proxy, 3), "aaa");
        let said = act(&proxy, add(second));
        assert_eq!(said, format!("server k3s-api/{second} was added"));
        assert_eq!(presence(&proxy, 1), Presence::Added);
        // By itself, so that a hash has no choice.
        act(&proxy, wish(first, Wish::Drain, None));
        assert_eq!(letters(&proxy, 4), "bbbb", "{balance:?}");
        act(&proxy, wish(first, Wish::Ready, None));
        if balance == Balance::RoundRobin {
            assert_eq!(letters(&proxy, 4), "aabb");
        }
        let error = refused(&proxy, add(second));
        assert!(
            error.contains("is a server of that backend already"),
            "{error}"
        );
        let error = refused(&proxy, remove(second, Remaining::Refuse));
        assert!(error.contains("is not in maintenance"), "{error}");
        act(&proxy, wish(second, Wish::Maintenance, None));
        eventually("its sessions have ended", || {
            proxy.board.servers[1].sessions.get() == 0
        });
        act(&proxy, remove(second, Remaining::Refuse));
        assert_eq!(letters(&proxy, 3), "aaa");
        let error = refused(&proxy, remove(second, Remaining::Refuse));
        assert!(error.contains("is removed already"), "{error}");
        eventually("its place is free", || {
            Roster::read(&Setup::new(&[first]).config, proxy.board)
                .at(1)
                .is_none()
        });
        let error = refused(&proxy, remove(second, Remaining::Refuse));
        assert!(error.contains("has no server"), "{error}");
    }
}

#[test]
fn an_added_server_is_probed_before_it_serves_where_the_backend_says_so() {
    let (dead, _port) = refusing();
    let alive = lettered(b'b');
    let mut setup = Setup::new(&[lettered(b'a')]);
    probed(&mut setup, InitialState::Down);
    let proxy = setup.start();
    eventually("the first is up", || state(&proxy, 0) == ServerState::Up);
    act(&proxy, add(dead));
    eventually("it is probed", || proxy.board.servers[1].probes.get() > 2);
    assert_eq!(letters(&proxy, 4), "aaaa");
    assert_eq!(proxy.board.vip_health[0].get(), 50);
    act(&proxy, remove(dead, Remaining::Drain));
    assert_eq!(proxy.board.vip_health[0].get(), 100);
    let probes = proxy.board.servers[1].probes.get();
    act(&proxy, add(alive));
    eventually("it is up", || state(&proxy, 2) == ServerState::Up);
    assert_eq!(letters(&proxy, 4), "aabb");
    assert_eq!(proxy.board.servers[1].probes.get(), probes, "still probed");
}

#[test]
fn an_added_server_starts_slowly() {
    let mut setup = Setup::new(&[lettered(b'a')]);
    setup.backend().slow_start = Some(Duration::from_secs(3_600));
    let proxy = setup.start();
    act(&proxy, add(lettered(b'b')));
    assert_eq!(letters(&proxy, 20), "a".repeat(20));
    assert_eq!(proxy.board.servers[1].ramp.get(), 1);
}

#[test]
fn what_is_said_of_an_added_server_counts() {
    let proxy = Setup::new(&[lettered(b'a')]).start();
    let add = |letter, weight, backup, max_sessions| {
        let address = lettered(letter);
        let command = Command::ServerAdd {
            server: name(address),
            weight,
            backup,
            max_sessions,
            for_ms: None,
        };
        act(&proxy, command);
    };
    add(b'b', Some(2), false, None);
    add(b'c', None, true, None);
    add(b'd', None, false, Some(1));
    let mut held: Vec<_> = (0..12).map(|_| proxy.connect()).collect();
    let mut letters: Vec<_> = held.iter_mut().map(letter).collect();
    letters.sort_unstable();
    // One to the last one, which takes no more; no backup; twice as many for the second.
    let count = |wanted: u8| letters.iter().filter(|one| **one == wanted).count();
    assert_eq!((count(b'c'), count(b'd')), (0, 1), "{letters:?}");
    assert!(count(b'b') >= 7, "{letters:?}");
}

#[test]
fn a_removal_names_the_sessions_that_run_and_drain_or_force_has_its_way() {
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let (mut client, mut server) = relayed(&proxy, &socket);
    exchange(&mut client, &mut server, 5);
    act(&proxy, wish(address, Wish::Maintenance, None));
    let error = refused(&proxy, remove(address, Remaining::Refuse));
    let one = sessions(&proxy).remove(0);
    let named = format!("still has 1 sessions ({} of {})", one.id, one.client);
    assert!(error.contains(&named), "{error}");
    exchange(&mut client, &mut server, 5);

    let said = act(&proxy, remove(address, Remaining::Drain));
    assert!(
        said.contains("leaves when its last session has ended"),
        "{said}"
    );
    assert_eq!(presence(&proxy, 0), Presence::Leaving);
    expect_refusal(&proxy);
    exchange(&mut server, &mut client, 5);
    assert_eq!(sessions(&proxy)[0].server, Some(address.to_string()));
    let error = refused(&proxy, remove(address, Remaining::Drain));
    assert!(error.contains("leaves when its last session"), "{error}");
    drop((client, server));
    eventually("it has left", || presence(&proxy, 0) == Presence::Removed);

    // It comes back as in the file, and with --force its sessions do not matter.
    let error = refused(&proxy, add_for(name(address), Some(9)));
    assert!(
        error.contains("is a server of the configuration"),
        "{error}"
    );
    let said = act(&proxy, add(address));
    assert!(said.contains("as in the configuration"), "{said}");
    let (mut client, mut server) = relayed(&proxy, &socket);
    exchange(&mut client, &mut server, 5);
    let said = act(&proxy, remove(address, Remaining::Cut));
    assert!(said.contains("its sessions were ended: 1"), "{said}");
    expect_reset(&mut client);
    expect_reset(&mut server);
    assert_eq!(proxy.listener().killed.get(), 1);
}

#[test]
fn sessions_go_on_at_the_old_address_and_are_told_with_it() {
    let (old, old_socket) = accepting_server();
    let (new, new_socket) = accepting_server();
    let mut setup = Setup::new(&[old]);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let (mut client, mut server) = relayed(&proxy, &old_socket);
    exchange(&mut client, &mut server, 3);
    let said = act(&proxy, move_to(old, new, None));
    assert!(
        said.contains(&format!("server k3s-api/{old} is at {new}")),
        "{said}"
    );
    let (mut second, mut second_server) = relayed(&proxy, &new_socket);
    exchange(&mut second, &mut second_server, 3);
    exchange(&mut server, &mut client, 3);
    let mut servers: Vec<_> = sessions(&proxy)
        .into_iter()
        .filter_map(|one| one.server)
        .collect();
    servers.sort();
    let mut wanted = vec![old.to_string(), new.to_string()];
    wanted.sort();
    assert_eq!(servers, wanted);
    drop((client, server));
    let line = log.json(1).remove(0);
    assert_eq!(line["server"], old.to_string());
    assert_eq!(line["sessions"]["backend"], 2);
    drop((second, second_server));
    assert_eq!(log.json(2)[1]["server"], new.to_string());
    eventually("the old one has left", || {
        presence(&proxy, 0) == Presence::Removed
    });
    let said = act(&proxy, move_to(new, old, None));
    assert!(said.contains("as in the configuration"), "{said}");
    let (mut client, mut server) = relayed(&proxy, &old_socket);
    exchange(&mut client, &mut server, 3);
    eventually("its place is free", || {
        presence(&proxy, 1) == Presence::Configured
    });
}

#[test]
fn a_changed_address_is_probed_before_it_serves() {
    let (old, other) = (lettered(b'a'), lettered(b'b'));
    let black_hole = BlackHole::new();
    let mut setup = Setup::new(&[old, other]);
    // Who is not probed yet would get sessions.
    probed(&mut setup, InitialState::Up);
    let proxy = setup.start();
    act(&proxy, move_to(old, black_hole.address, None));
    assert_eq!(letters(&proxy, 4), "bbbb");
    assert_eq!(state(&proxy, 2), ServerState::Down);
    assert_eq!(proxy.board.vip_health[0].get(), 50);
    assert_eq!(proxy.board.servers[2].connected.get(), 0);
    assert_eq!(proxy.board.servers[2].connect_errors.get(), 0);
    let alive = lettered(b'c');
    act(&proxy, move_to(black_hole.address, alive, None));
    eventually("it is up", || state(&proxy, 3) == ServerState::Up);
    assert_eq!(letters(&proxy, 4), "bbcc");
    let error = refused(&proxy, move_to(alive, other, None));
    assert!(
        error.contains("is a server of that backend already"),
        "{error}"
    );
    let error = refused(&proxy, move_to(alive, lettered(b'd'), Some(1_000)));
    assert!(error.contains("leave --for out"), "{error}");
}

#[test]
fn what_was_said_for_a_time_ends_by_itself() {
    let (old, new, added) = (lettered(b'a'), lettered(b'b'), lettered(b'c'));
    let proxy = Setup::new(&[old]).start();
    act(&proxy, move_to(old, new, Some(400)));
    let said = act(&proxy, add_for(name(added), Some(400)));
    assert!(said.contains("was added for 0.4 s"), "{said}");
    assert_eq!(letters(&proxy, 4), "bbcc");
    eventually("it is over", || presence(&proxy, 0) == Presence::Configured);
    eventually("both leave", || {
        presence(&proxy, 1) == Presence::Configured && presence(&proxy, 2) == Presence::Configured
    });
    assert_eq!(letters(&proxy, 3), "aaa");
}

#[test]
fn what_came_and_went_outlives_the_process() {
    let servers = [lettered(b'a'), lettered(b'b')];
    let added = lettered(b'c');
    let board = {
        let mut setup = Setup::new(&servers);
        probed(&mut setup, InitialState::Up);
        let proxy = setup.start();
        act(&proxy, add(added));
        act(&proxy, remove(servers[0], Remaining::Drain));
        for place in [1, 2] {
            let slot = &proxy.board.servers[place];
            eventually("it is up", || slot.probed.get().is_some());
        }
        proxy.board
    };
    let mut setup = Setup::new(&servers);
    setup.board = board;
    probed(&mut setup, InitialState::Down);
    let proxy = setup.start();
    // At once: what was found of it was found.
    assert_eq!(letters(&proxy, 4), "bbcc");
    eventually("it has left", || presence(&proxy, 0) == Presence::Removed);
    let probes = board.servers[2].probes.get();
    eventually("it is probed", || board.servers[2].probes.get() > probes);
}

#[test]
fn followers_follow_who_comes_for_a_server() {
    let (probed_at, serves_at) = (lettered(b'p'), lettered(b'a'));
    let setup = followed(probed_at, serves_at);
    let proxy = setup.start();
    eventually("it follows", || state(&proxy, 1) == ServerState::Up);
    let (dead, _port) = refusing();
    act(&proxy, move_to(probed_at, dead, None));
    eventually("the follower is down", || {
        state(&proxy, 1) == ServerState::Down
    });
    expect_refusal(&proxy);
    let error = refused(&proxy, remove(dead, Remaining::Drain));
    assert!(
        error.contains(&format!("followed by follower/{serves_at}")),
        "{error}"
    );
    act(&proxy, move_to(dead, lettered(b'q'), None));
    eventually("the follower is up", || state(&proxy, 1) == ServerState::Up);
    // One that is added follows its counterpart, if there is one.
    let of_follower = |address| ServerName {
        backend: "follower".to_owned(),
        address,
    };
    let second = lettered(b'b');
    act(&proxy, add_for(of_follower(second), None));
    assert_eq!(letters(&proxy, 4), "aabb");
    let nowhere = "127.0.0.77:1".parse().expect("an address");
    let error = refused(&proxy, add_for(of_follower(nowhere), None));
    assert!(
        error.contains("has not one server at 127.0.0.77"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_a_server_is_refused() {
    let proxy = Setup::new(&[lettered(b'a')]).start();
    let says = |address: &str, words: &str| {
        let error = refused(&proxy, add(address.parse().expect("an address")));
        assert!(error.contains(words), "{error}");
    };
    says("127.0.0.1:0", "port 0 is no address");
    says("192.0.2.10:443", "it is VIP `api`");
    says("[::ffff:192.0.2.10]:443", "it is VIP `api`");
    for nobody in [
        "[::]:443",
        "0.0.0.0:443",
        "224.0.0.1:443",
        "255.255.255.255:443",
    ] {
        says(nobody, "not the address of one machine");
    }
    let nobody = ServerName {
        backend: "web".to_owned(),
        address: lettered(b'b'),
    };
    let error = refused(&proxy, add_for(nobody, None));
    assert!(error.contains("there is no backend `web`"), "{error}");
    // Every place that there is.
    for port in 1..MAX_SERVERS {
        let port = u16::try_from(port).expect("few");
        act(&proxy, add(SocketAddr::from(([127, 0, 0, 5], port))));
    }
    says("127.0.0.6:1", "all 256 places for servers are taken");
}
