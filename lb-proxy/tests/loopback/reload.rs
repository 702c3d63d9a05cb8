//! Another configuration for a data plane that runs.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::board::{Presence, ServerState};
use common::command::{Command, ServerName, Wish};
use common::config::{Config, Listener, LogFormat, ProbeKind, SessionLog};
use lb_proxy::{Change, ChangeError, ListeningSocket};
use rustls::HandshakeKind;

use crate::harness::*;
use crate::session_log::Log;
use crate::tls::peer::{Client, EACH, NAME, TlsSetup, client_config};

/// A proxy, and what it is made of, as the supervisor keeps it.
pub(crate) struct Reloadable {
    proxy: RunningProxy,
    config: Config,
    sockets: Vec<ListeningSocket>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Deref for Reloadable {
    type Target = RunningProxy;

    fn deref(&self) -> &RunningProxy {
        &self.proxy
    }
}

pub(crate) fn copies(sockets: &[ListeningSocket]) -> Vec<ListeningSocket> {
    let copy = |one: &ListeningSocket| ListeningSocket {
        socket: one.socket.try_clone().expect("a descriptor"),
        ..*one
    };
    sockets.iter().map(copy).collect()
}

impl Reloadable {
    pub(crate) fn start(setup: Setup) -> Self {
        let (addresses, sockets) = listening_sockets(&setup.config, setup.threads);
        let (config, files) = (setup.config.clone(), setup.files.clone());
        let proxy = setup.start_on((addresses, copies(&sockets)), |_| {});
        eventually("it serves", || proxy.board.accepting[0].get().is_some());
        Self {
            proxy,
            config,
            sockets,
            files,
        }
    }

    fn prepare(&self, config: &Config) -> Result<(), ChangeError> {
        self.control.prepare(Change {
            config: Arc::new(config.clone()),
            sockets: copies(&self.sockets),
            files: self.files.clone(),
        })
    }

    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.clone();
        change(&mut config);
        self.prepare(&config).expect("it can");
        self.control.switch().expect("it goes over");
        self.config = config;
    }

    /// The letters of so many new sessions.
    fn letters(&self, count: usize) -> Vec<u8> {
        let mut letters: Vec<u8> = (0..count).map(|_| letter(&mut self.connect())).collect();
        letters.sort_unstable();
        letters
    }
}

#[test]
fn sessions_keep_their_server_and_new_ones_go_to_those_of_the_new_file() {
    let mut proxy = Reloadable::start(Setup::new(&[named(b'a'), named(b'b')]));
    let mut old = [proxy.connect(), proxy.connect()];
    let mut at_b = match (letter(&mut old[0]), letter(&mut old[1])) {
        (b'b', _) => old[0].try_clone(),
        (_, b'b') => old[1].try_clone(),
        other => panic!("round-robin: {other:?}"),
    }
    .expect("a descriptor");
    let c = named(b'c');
    proxy.reload(|config| {
        let backend = &mut config.backends[0];
        backend.servers.remove(1);
        backend.places.remove(1);
        let mut third = backend.servers[0];
        third.address = c;
        backend.servers.push(third);
        backend.places.push(7);
    });
    assert_eq!(proxy.letters(4), *b"aacc");
    let leaving = &proxy.board.roster[1];
    assert_eq!(leaving.presence(), Presence::Leaving);
    ping(&mut at_b);
    assert_eq!(proxy.board.servers[1].sessions.get(), 1);
    // Its place is free when its last session has ended.
    drop((at_b, old));
    eventually("it has left", || leaving.presence() == Presence::Configured);
    assert_eq!(proxy.letters(2), *b"ac");
}

#[test]
fn what_cannot_be_used_or_is_abandoned_changes_nothing() {
    let proxy = Reloadable::start(Setup::new(&[named(b'a'), named(b'b')]));
    let mut other = proxy.config.clone();
    other.backends[0].servers.truncate(1);
    other.backends[0].places.truncate(1);
    let mut bad = other.clone();
    bad.listeners[0].files.deny = Some("/lists/none".into());
    let refused = proxy.prepare(&bad);
    assert!(matches!(refused, Err(ChangeError::Lists(_))), "{refused:?}");
    let mut elsewhere = other.clone();
    elsewhere.listeners[0].binds.clear();
    let refused = proxy.prepare(&elsewhere);
    assert!(
        matches!(refused, Err(ChangeError::UnknownSocket)),
        "{refused:?}"
    );
    proxy.prepare(&other).expect("it can");
    proxy.control.abandon();
    let nothing = proxy.control.switch();
    assert!(
        matches!(nothing, Err(ChangeError::NothingPrepared)),
        "{nothing:?}"
    );
    assert_eq!(proxy.letters(4), *b"aabb");
}

#[test]
fn a_place_that_is_kept_for_a_new_server_is_given_to_nobody_else() {
    let proxy = Reloadable::start(Setup::new(&[named(b'a')]));
    let add = |address: SocketAddr| {
        let server = ServerName {
            backend: "k3s-api".to_owned(),
            address,
        };
        let command = Command::ServerAdd {
            server,
            weight: None,
            backup: false,
            max_sessions: None,
            for_ms: None,
        };
        proxy.control.command(command, LIMIT).expect("an answer")
    };
    let mut next = proxy.config.clone();
    let mut second = next.backends[0].servers[0];
    second.address = named(b'b');
    next.backends[0].servers.push(second);
    next.backends[0].places.push(1);
    proxy.prepare(&next).expect("it can");
    assert_eq!(add(named(b'c')).error, None);
    assert_eq!(proxy.board.roster[2].presence(), Presence::Added);
    proxy.control.switch().expect("it goes over");
    assert_eq!(proxy.letters(6), *b"aabbcc");
    // What has come at run time is in the way of another reload that has its place for somebody.
    let mut third = second;
    third.address = named(b'd');
    next.backends[0].servers.push(third);
    next.backends[0].places.push(2);
    let taken = proxy.prepare(&next);
    assert!(matches!(taken, Err(ChangeError::Taken(_))), "{taken:?}");
}

#[test]
fn who_waits_is_served_as_soon_as_a_reload_makes_room() {
    let mut setup = Setup::new(&[named(b'a')]);
    setup.backend().servers[0].max_sessions = Some(1);
    setup.listener().max_sessions = Some(2);
    let mut proxy = Reloadable::start(setup);
    let mut first = proxy.connect();
    letter(&mut first);
    let mut queued = proxy.connect();
    eventually("it waits for a server", || {
        proxy.board.backends[0].queued.get() == 1
    });
    let mut held = proxy.connect();
    eventually("the listener is full", || {
        proxy.board.listeners[0].holds.get() > 0
    });
    proxy.reload(|config| config.backends[0].servers[0].max_sessions = Some(3));
    letter(&mut queued);
    proxy.reload(|config| config.listeners[0].max_sessions = Some(3));
    letter(&mut held);
    ping(&mut first);
}

#[test]
fn what_a_client_has_of_its_limit_is_known_on() {
    let mut setup = Setup::new(&[named(b'a')]);
    setup.listener().source_limit.sessions = Some(1);
    let mut proxy = Reloadable::start(setup);
    let from = |last| Ipv4Addr::new(127, 0, 0, last);
    let mut one = connect_from(from(5), proxy.address);
    letter(&mut one);
    let is_refused = |proxy: &Reloadable| {
        let mut client = connect_from(from(5), proxy.address);
        client.read(&mut [0]).is_err()
    };
    proxy.reload(|config| config.listeners[0].tunnel_timeout = Some(Duration::from_secs(60)));
    assert!(is_refused(&proxy));
    assert_eq!(proxy.board.listeners[0].clients_at_limit.get(), 1);
    proxy.reload(|config| config.listeners[0].source_limit.sessions = Some(2));
    assert_eq!(proxy.board.listeners[0].clients_at_limit.get(), 0);
    letter(&mut connect_from(from(5), proxy.address));
    ping(&mut one);
}

#[test]
fn words_and_verdicts_of_servers_that_stay_hold_on() {
    let (refused, _socket) = refusing();
    let mut setup = Setup::new(&[named(b'a'), named(b'b'), refused]);
    setup.probe(probe_each(Duration::from_millis(50), ProbeKind::Tcp));
    let mut proxy = Reloadable::start(setup);
    let state = |place: usize| {
        let slot = &proxy.board.servers[place];
        ServerState::from_board(slot.state.get())
    };
    eventually("all are probed", || proxy.board.probed.get() == 1);
    assert_eq!(state(2), ServerState::Down);
    let server = ServerName {
        backend: "k3s-api".to_owned(),
        address: proxy.config.backends[0].servers[1].address,
    };
    let drain = Command::ServerState {
        server,
        state: Wish::Drain,
        for_ms: None,
    };
    let reply = proxy.control.command(drain, LIMIT).expect("an answer");
    assert_eq!(reply.error, None);
    // Nobody is probed any more so soon that a verdict could come from it.
    let slow = probe_each(Duration::from_secs(600), ProbeKind::Tcp);
    proxy.reload(|config| {
        config.backends[0].probe = Some(slow);
        config.backends[0].servers[0].weight = 5;
    });
    for _ in 0..2 {
        assert_eq!(proxy.letters(3), *b"aaa");
        let downs = proxy.board.servers[2].downs.get();
        proxy.reload(|config| config.listeners[0].max_lifetime = Some(Duration::from_secs(900)));
        assert_eq!(proxy.board.servers[2].downs.get(), downs);
    }
    // Without a probe all count as up, and the administrator's word stands.
    proxy.reload(|config| config.backends[0].probe = None);
    let slot = &proxy.board.servers[2];
    assert_eq!(ServerState::from_board(slot.state.get()), ServerState::Up);
    assert_eq!(proxy.letters(3), *b"aaa");
}

#[test]
fn a_listener_comes_beside_those_that_are_there() {
    let mut proxy = Reloadable::start(Setup::new(&[named(b'a')]));
    let mut old = proxy.connect();
    letter(&mut old);
    let (_, extra) = listening_sockets(&proxy.config, 1);
    let local = socket2::SockRef::from(&extra[0].socket).local_addr();
    let address = local.expect("bound").as_socket().expect("an IP address");
    proxy.sockets.extend(
        extra
            .into_iter()
            .map(|one| ListeningSocket { listener: 1, ..one }),
    );
    proxy.reload(|config| {
        let extra = Listener {
            name: "extra".to_owned(),
            ..config.listeners[0].clone()
        };
        config.listeners.push(extra);
    });
    assert_eq!(letter(&mut connect(address)), b'a');
    assert_eq!(proxy.board.listeners[1].accepted.get(), 1);
    letter(&mut proxy.connect());
    assert_eq!(proxy.board.listeners[0].accepted.get(), 2);
    ping(&mut old);
}

#[test]
fn tls_that_stays_resumes_its_sessions_and_that_of_another_kind_begins_anew() {
    let setup = TlsSetup::new(&[echo_server()]);
    let config = client_config(&setup.authority, EACH[1]);
    let mut proxy = Reloadable::start(setup.setup);
    let kind = |proxy: &Reloadable| {
        let mut client = Client::connect(proxy, &config, NAME);
        // Tickets come behind the handshake.
        client.ping();
        client.tls.handshake_kind()
    };
    assert_eq!(kind(&proxy), Some(HandshakeKind::Full));
    assert_eq!(kind(&proxy), Some(HandshakeKind::Resumed));
    proxy.reload(|config| config.listeners[0].max_sessions = Some(9));
    assert_eq!(kind(&proxy), Some(HandshakeKind::Resumed));
    let slot = &proxy.board.certificates[0];
    assert!(slot.not_after.get() > 0);
    let mut old = Client::connect(&proxy, &config, NAME);
    old.ping();
    proxy.reload(|config| {
        let tls = config.listeners[0].tls.as_mut().expect("it ends TLS");
        tls.handshake_timeout = Duration::from_secs(3);
    });
    assert_eq!(kind(&proxy), Some(HandshakeKind::Full));
    old.ping();
}

#[test]
fn session_logs_begin_end_and_move_with_a_reload_and_lose_no_line() {
    let mut setup = Setup::new(&[echo_server()]);
    let first = Log::of(&mut setup, LogFormat::Json);
    let log = setup.listener().session_log.take();
    let mut proxy = Reloadable::start(setup);
    let session = |proxy: &Reloadable| ping(&mut proxy.connect());
    session(&proxy);
    proxy.reload(|config| config.listeners[0].session_log = log);
    let mut long = proxy.connect();
    ping(&mut long);
    session(&proxy);
    assert_eq!(first.json(1)[0]["listener"], "api");
    let second = first.path.with_extension("second");
    proxy.reload(|config| {
        config.listeners[0].session_log = Some(SessionLog {
            format: LogFormat::Json,
            file: Some(second.clone()),
        });
    });
    session(&proxy);
    let lines = || std::fs::read_to_string(&second).map_or(0, |text| text.lines().count());
    eventually("the other file has it", || lines() == 1);
    // One that began before is told where the log is now.
    drop(long);
    eventually("the long one, too", || lines() == 2);
    proxy.reload(|config| config.listeners[0].session_log = None);
    session(&proxy);
    assert_eq!(first.lines(1).len(), 1);
    assert_eq!((lines(), proxy.board.session_log.lost.get()), (2, 0));
}
