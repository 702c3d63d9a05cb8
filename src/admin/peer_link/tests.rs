//! Two admins on loopback, each with tables in memory.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests are two nodes, and wait for what they tell each other"
)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use common::board::VipSession;
use common::config::VipIndex;

use super::*;
use crate::admin::drain::Stop;
use crate::admin::remaining::Own;
use crate::memory;

const LIMIT: Duration = Duration::from_secs(10);

/// One node's side; ends when dropped.
struct Side {
    own: &'static SessionTable,
    peers: &'static SessionTable,
    slot: &'static LinkSlot,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What lasts longer than a process.
struct Place {
    config: Config,
    node: NodeIndex,
    own: &'static SessionTable,
    peers: &'static SessionTable,
    slot: &'static LinkSlot,
    left: &'static Exchange,
}

fn table() -> &'static SessionTable {
    let memory = memory::create::<SessionTable>("test").expect("memfd");
    memory::map_writable(&memory).expect("mapped")
}

/// Two places of one configuration, whose addresses are free.
fn places() -> [Place; 2] {
    // Whoever has it on the first address rarely shares it on the other.
    let port = listen("127.0.0.41", 0).local_addr().expect("bound").port();
    let text = format!(
        r#"
        [nodes.lb1]
        address = "192.168.0.11"
        priority = 250
        [nodes.lb2]
        address = "192.168.0.12"
        priority = 240
        [pair]
        interface = "eth0"
        key_file = "/etc/fmc-lb/pair.key"
        port = {port}
        [vips.api]
        address = "192.168.0.10/24"
        vrid = 51
        [vips.web]
        address = "192.168.0.14/24"
        vrid = 52
        [listeners.all]
        bind = ["vips.api:6443", "vips.web:80"]
        backend = "all"
        [backends.all]
        servers = ["10.17.4.21:6443"]
        "#
    );
    [0, 1].map(|node| {
        let mut config = Config::from_running(&text).expect("it is valid");
        config.nodes[0].address = IpAddr::from([127, 0, 0, 41]);
        config.nodes[1].address = IpAddr::from([127, 0, 0, 42]);
        Place {
            config,
            node: NodeIndex(node),
            own: table(),
            peers: table(),
            slot: Box::leak(Box::default()),
            left: Box::leak(Box::default()),
        }
    })
}

fn listen(address: &str, port: u16) -> TcpListener {
    let address: IpAddr = address.parse().expect("an address");
    TcpListener::bind((address, port)).expect("a loopback socket")
}

impl Place {
    fn start(&self, key: u8) -> Side {
        let address = self.config.nodes[self.node.0].address;
        let socket = listen(&address.to_string(), self.config.pair.port);
        let inputs = Inputs {
            socket: socket.into(),
            key: format!("1 {}\n", format!("{key:02x}").repeat(32)),
            own: self.own,
            peers: self.peers,
            supervisor: None,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (config, node) = (self.config.clone(), self.node);
        let (slot, left) = (self.slot, self.left);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let link = PeerLink::start(inputs, (&config, node), (slot, left));
                let (both, _asks) = link.expect("it starts");
                if stopped.await.is_ok() {
                    both.say_farewell().await;
                }
            });
        });
        Side {
            own: self.own,
            peers: self.peers,
            slot: self.slot,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Side {
    /// With its last word.
    fn end(&mut self) {
        let stop = self.stop.take().expect("it runs");
        stop.send(()).expect("it waits for this");
        let thread = self.thread.take().expect("joined once");
        thread.join().expect("it does not panic");
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}

fn session(client: u16) -> VipSession {
    VipSession {
        vip: VipIndex(usize::from(client % 2)),
        port: 80,
        client: ([10, 0, 0, 1], client).into(),
    }
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn known(side: &Side) -> Vec<u16> {
    let mut known: Vec<_> = side.peers.sessions().map(|one| one.client.port()).collect();
    known.sort_unstable();
    known
}

#[test]
fn each_node_knows_the_sessions_of_the_other() {
    let [one, two] = places();
    one.own.begin(2);
    two.own.begin(1);
    one.own.part(0).enter(0, &session(1), 1);
    one.own.part(1).enter(7, &session(2), 2);
    let (one, two) = (one.start(1), two.start(1));
    wait("what was there is told", || known(&two) == [1, 2]);
    let told = two.peers.sessions().find(|it| it.client.port() == 2);
    assert_eq!(told, Some(session(2)));
    // Another one in the same place, one that ends, and one that begins.
    one.own.part(1).enter(7, &session(3), 3);
    one.own.part(0).leave(0);
    one.own.part(0).enter(1, &session(4), 4);
    two.own.part(0).enter(0, &session(9), 1);
    wait("what changes is told", || known(&two) == [3, 4]);
    wait("and so in the other direction", || known(&one) == [9]);
    wait("it is counted", || one.slot.told.get() == 2);
    assert_eq!((two.slot.heard.get(), one.slot.heard.get()), (2, 1));
    // Another proxy begins, with another number of threads.
    one.own.begin(1);
    one.own.part(0).enter(0, &session(5), 1);
    wait("all is told anew", || known(&two) == [5]);
}

#[test]
fn the_sessions_of_a_proxy_that_has_retired_are_told_until_they_end() {
    let [one, two] = places();
    let lane = |number| one.own.lane(number).expect("a table has some");
    lane(0).begin(1);
    lane(0).part(0).enter(0, &session(1), 1);
    lane(0).part(0).enter(1, &session(2), 2);
    let (_first, second) = (one.start(1), two.start(1));
    wait("it is told", || known(&second) == [1, 2]);
    // Another proxy begins beside it; nothing is told anew.
    lane(1).begin(1);
    lane(1).part(0).enter(0, &session(3), 1);
    wait("so are the other one's", || known(&second) == [1, 2, 3]);
    lane(0).part(0).leave(0);
    wait("each end is told", || known(&second) == [2, 3]);
    // The one that has retired dies with what it had.
    one.own.clear_lanes_but(&[1]);
    wait("what it had is gone", || known(&second) == [3]);
    assert_eq!(one.slot.connects.get(), 1);
}

#[test]
fn what_was_told_last_is_kept_until_it_is_told_anew() {
    let [one, two] = places();
    one.own.begin(1);
    for place in 0..3 {
        one.own.part(0).enter(place, &session(place as u16), 1);
    }
    let (first, second) = (one.start(1), two.start(1));
    wait("it is told", || known(&second) == [0, 1, 2]);
    drop(first);
    wait("the end is noticed", || second.slot.hearing.get().is_none());
    assert_eq!(known(&second), [0, 1, 2]);
    // The hearing side begins anew, too.
    drop(second);
    let second = two.start(1);
    assert_eq!(known(&second), [0, 1, 2]);
    one.own.part(0).leave(1);
    let _first = one.start(1);
    wait("what has ended meanwhile is gone", || {
        known(&second) == [0, 2]
    });
    assert_eq!(second.slot.heard.get(), 2);
}

/// A stop that was asked for five seconds ago, and has a minute left.
fn stop(now: Moment) -> Stop {
    Stop {
        since: Some(now - Duration::from_secs(5)),
        until: now + Duration::from_secs(60),
        closed: 3,
        reset: 0,
    }
}

#[test]
fn how_a_stop_goes_on_is_told() {
    let [one, two] = places();
    one.own.begin(1);
    let (_first, second) = (one.start(1), two.start(1));
    let stop = stop(crate::admin::clock::now());
    one.left.own().stop = Some(stop);
    wait("it is told", || {
        second.slot.peer_drain_until.get().is_some()
    });
    let told = [&second.slot.peer_drain_until, &second.slot.peer_stops];
    let said = [Some(stop.until), stop.since];
    for (told, said) in told.into_iter().zip(said) {
        let (told, said) = (told.get().expect("told"), said.expect("said"));
        let apart = told.since(said).max(said.since(told));
        assert!(apart < Duration::from_secs(1), "{apart:?}");
    }
    assert_eq!(second.slot.peer_drain_closed.get(), 3);
    assert_eq!(second.slot.peer_stopped.get(), None);
    one.left.own().stop = None;
    wait("its end, too", || {
        second.slot.peer_drain_until.get().is_none() && second.slot.peer_stops.get().is_none()
    });
}

#[test]
fn the_last_word_is_heard_and_kept_until_the_node_speaks_again() {
    let [one, two] = places();
    one.own.begin(1);
    one.own.part(0).enter(0, &session(1), 1);
    let (mut first, second) = (one.start(1), two.start(1));
    one.left.own().stop = Some(stop(crate::admin::clock::now()));
    wait("the drain is told", || {
        second.slot.peer_drain_until.get().is_some() && known(&second) == [1]
    });
    // Both of this only now, and the process ends at once.
    one.own.part(0).leave(0);
    {
        let mut own = one.left.own();
        own.has_stopped = true;
        own.stop.as_mut().expect("it stops").reset = 20;
    }
    first.end();
    wait("the end is noticed", || second.slot.hearing.get().is_none());
    assert!(second.slot.peer_stopped.get().is_some());
    assert_eq!(second.slot.peer_drain_until.get(), None);
    assert_eq!(second.slot.peer_drain_reset.get(), 20);
    assert_eq!(second.slot.peer_drain_closed.get(), 3);
    assert_eq!(known(&second), [0_u16; 0]);
    *one.left.own() = Own::default();
    let _first = one.start(1);
    wait("it is back", || second.slot.hearing.get().is_some());
    wait("that is over", || second.slot.peer_stopped.get().is_none());
    assert_eq!(second.slot.peer_drain_reset.get(), 0);
}

#[test]
fn nobody_else_is_heard() {
    let [one, two] = places();
    one.own.begin(1);
    one.own.part(0).enter(0, &session(1), 1);
    let to = SocketAddr::new(two.config.nodes[1].address, two.config.pair.port);
    let second = two.start(1);
    // From another address: closed at once.
    let stranger = TcpStream::connect(to).expect("it listens");
    wait("it is refused", || second.slot.refused.get() == 1);
    drop(stranger);
    // From the right one, with another key.
    let first = one.start(2);
    wait("it is refused, too", || second.slot.refused.get() > 1);
    wait("and says why", || {
        first.slot.problem.get().contains("shake hands")
    });
    assert_eq!(known(&second), [0_u16; 0]);
    assert!(first.slot.telling.get().is_none() && second.slot.hearing.get().is_none());
}

#[test]
fn a_vip_that_is_none_here_is_counted_and_left_out() {
    let [one, mut two] = places();
    one.own.begin(1);
    one.own.part(0).enter(0, &session(1), 1);
    one.own.part(0).enter(1, &session(2), 1);
    // Only lb1 has `web` there.
    two.config.vips[1].address = IpAddr::from([192, 168, 0, 15]);
    let (_first, second) = (one.start(1), two.start(1));
    wait("the other one is told", || known(&second) == [2]);
    assert_eq!(second.slot.strangers.get(), 1);
}

#[test]
fn a_full_table_is_told_whole() {
    let [one, two] = places();
    one.own.begin(1);
    // More than a frame has room for.
    for place in 0..20_000_u32 {
        let session = VipSession {
            client: (std::net::Ipv4Addr::from_bits(place), 4_000).into(),
            ..session(0)
        };
        one.own.part(0).enter(place, &session, 1);
    }
    let (first, second) = (one.start(1), two.start(1));
    wait("all of it is told", || second.slot.heard.get() == 20_000);
    wait("it is counted", || first.slot.told.get() == 20_000);
    assert_eq!(second.peers.sessions().count(), 20_000);
}
