//! Another configuration for a data plane that runs.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use common::board::{Presence, ProxyBoard, ServerState};
use common::command::{Command, ServerName, Wish};
use common::config::{Config, NodeIndex, ProbeKind};
use lb_proxy::{Change, ChangeError, Control, Inputs, ListeningSocket, RunError};

use crate::harness::*;

/// A proxy, and what it is made of, as the supervisor keeps it.
struct Reloadable {
    config: Config,
    sockets: Vec<ListeningSocket>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    address: SocketAddr,
    board: &'static ProxyBoard,
    control: Arc<Control>,
    running: Option<JoinHandle<Result<(), RunError>>>,
}

fn copies(sockets: &[ListeningSocket]) -> Vec<ListeningSocket> {
    let copy = |one: &ListeningSocket| ListeningSocket {
        socket: one.socket.try_clone().expect("a descriptor"),
        ..*one
    };
    sockets.iter().map(copy).collect()
}

impl Reloadable {
    fn start(setup: Setup) -> Self {
        let (addresses, sockets) = listening_sockets(&setup.config, setup.threads);
        let inputs = Inputs {
            config: Arc::new(setup.config.clone()),
            node: NodeIndex(0),
            board: setup.board,
            admin: setup.admin,
            threads: setup.threads,
            sockets: copies(&sockets),
            files: setup.files.clone(),
            process_log: setup.process_log,
        };
        let control = Control::new();
        let handle = Arc::clone(&control);
        let reloadable = Self {
            config: setup.config,
            sockets,
            files: setup.files,
            address: addresses[0],
            board: setup.board,
            control,
            running: Some(std::thread::spawn(|| lb_proxy::run(inputs, handle))),
        };
        eventually("it serves", || {
            reloadable.board.accepting[0].get().is_some()
        });
        reloadable
    }

    fn prepare(&self, config: &Config) -> Result<(), ChangeError> {
        self.control.prepare(Change {
            config: Arc::new(config.clone()),
            sockets: copies(&self.sockets),
            files: self.files.clone(),
        })
    }

    fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.clone();
        change(&mut config);
        self.prepare(&config).expect("it can");
        self.control.switch().expect("it goes over");
        self.config = config;
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// The letters of so many new sessions.
    fn letters(&self, count: usize) -> Vec<u8> {
        let mut letters: Vec<u8> = (0..count).map(|_| letter(&mut self.connect())).collect();
        letters.sort_unstable();
        letters
    }
}

impl Drop for Reloadable {
    fn drop(&mut self) {
        self.control.request_stop();
        if let Some(running) = self.running.take()
            && let Ok(Err(error)) = running.join()
            && !std::thread::panicking()
        {
            panic!("the proxy ended with: {error}");
        }
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
