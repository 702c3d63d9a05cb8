//! Agents beside servers: what they say holds apart from probes and administrators.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::board::{AdminState, AgentSlot, AgentWord, ServerState};
use common::command::{Command, Remaining, ServerName, Wish};
use common::config::{Agent, BackendIndex, OnMarkedDown, ProbeKind, Track};

use crate::harness::*;
use crate::probe::quick;
use crate::runtime::act;
use crate::servers::{add, remove};

const SOON: Duration = Duration::from_millis(20);

/// An agent whose answer the test changes.
#[derive(Clone)]
struct Voice {
    says: Arc<Mutex<String>>,
    address: SocketAddr,
}

impl Voice {
    fn new(says: &str) -> Self {
        let says = Arc::new(Mutex::new(says.to_owned()));
        let answer = Arc::clone(&says);
        let address = server(move |mut stream| {
            let text = answer.lock().expect("nobody panics").clone();
            // The asker may be gone.
            drop(stream.write_all(text.as_bytes()));
        });
        Self { says, address }
    }

    fn say(&self, text: &str) {
        text.clone_into(&mut self.says.lock().expect("nobody panics"));
    }
}

fn agent(address: SocketAddr) -> Agent {
    Agent {
        port: address.port(),
        address: Some(address.ip()),
        interval: SOON,
        timeout: Duration::from_millis(400),
        send: None,
    }
}

fn slot(proxy: &RunningProxy, place: usize) -> &'static AgentSlot {
    &proxy.board.servers[place].agent
}

#[track_caller]
fn expect(proxy: &RunningProxy, place: usize, wanted: ServerState) {
    let state = || proxy.board.servers[place].effective_state(now());
    eventually(&format!("server {place} is {wanted:?}"), || {
        state() == wanted
    });
}

/// Two servers; one agent for both, if it is asked about the first only by its question.
fn setup(servers: &[SocketAddr], voice: &Voice) -> Setup {
    let mut setup = Setup::new(servers);
    setup.backend().agent = Some(agent(voice.address));
    setup.probe(quick(ProbeKind::Tcp));
    setup
}

#[test]
fn each_word_changes_what_it_is_about_and_silence_changes_nothing() {
    let voice = Voice::new("up\n");
    let proxy = setup(&[echo_server()], &voice).start();
    expect(&proxy, 0, ServerState::Up);
    voice.say("drain\n");
    expect(&proxy, 0, ServerState::Draining);
    expect_refusal(&proxy);
    // A word about something else leaves the drain, and so does an agent that says nothing.
    voice.say("up 50%\n");
    eventually("the weight is heard", || {
        slot(&proxy, 0).percent() == Some(50)
    });
    assert_eq!(
        proxy.board.servers[0].effective_state(now()),
        ServerState::Draining
    );
    voice.say("");
    eventually("it says nothing", || {
        !slot(&proxy, 0).problem.get().is_empty()
    });
    assert_eq!(slot(&proxy, 0).problem.get(), "it answers without a word");
    let failures = slot(&proxy, 0).failures.get();
    eventually("it is asked again", || {
        slot(&proxy, 0).failures.get() > failures + 3
    });
    assert_eq!(
        proxy.board.servers[0].effective_state(now()),
        ServerState::Draining
    );
    voice.say("ready, 100%");
    expect(&proxy, 0, ServerState::Up);
    ping(&mut proxy.connect());
    voice.say("maint # a disk is changed\r\nup");
    expect(&proxy, 0, ServerState::Maintenance);
    let probes = proxy.board.servers[0].probes.get();
    std::thread::sleep(SOON * 10);
    // One may have been under way.
    assert!(
        proxy.board.servers[0].probes.get() <= probes + 1,
        "it is probed"
    );
    assert_eq!(slot(&proxy, 0).said.get(), "maint # a disk is changed");
    voice.say("ready nonsense\n");
    expect(&proxy, 0, ServerState::Up);
    let told = "it says `nonsense`, which means nothing";
    eventually("it is told", || slot(&proxy, 0).problem.get() == told);
}

#[test]
fn down_is_down_whatever_the_probes_say_and_up_only_if_they_do() {
    let (refused, _socket) = refusing();
    let (good, bad) = (Voice::new("stopped\n"), Voice::new("up\n"));
    let mut setup = setup(&[echo_server()], &good);
    let mut second = setup.config.backends[0].clone();
    second.name = "second".into();
    second.places = vec![1];
    second.servers[0].address = refused;
    second.agent = Some(agent(bad.address));
    setup.config.backends.push(second);
    let proxy = setup.start();
    expect(&proxy, 0, ServerState::Down);
    let board = &proxy.board.servers[0];
    eventually("its probes say up", || {
        ServerState::from_board(board.state.get()) == ServerState::Up
    });
    assert_eq!(slot(&proxy, 0).word(), AgentWord::Stopped);
    assert_eq!(board.downs.get(), 1);
    expect_refusal(&proxy);
    eventually("the VIP has no server", || {
        proxy.board.vip_health[0].get() == 0
    });
    // Another word for the same is no other change.
    good.say("failed\n");
    eventually("it is heard", || {
        slot(&proxy, 0).word() == AgentWord::Failed
    });
    assert_eq!(board.downs.get(), 1);
    good.say("up\n");
    expect(&proxy, 0, ServerState::Up);
    ping(&mut proxy.connect());
    eventually("the VIP has one", || proxy.board.vip_health[0].get() == 100);
    expect(&proxy, 1, ServerState::Down);
    assert_eq!(slot(&proxy, 1).word(), AgentWord::Up);
}

#[test]
fn a_server_that_its_agent_marks_down_loses_its_sessions_where_that_is_wanted() {
    let voice = Voice::new("up\n");
    let mut setup = setup(&[echo_server()], &voice);
    setup.backend().on_marked_down = OnMarkedDown::Cut;
    let proxy = setup.start();
    expect(&proxy, 0, ServerState::Up);
    let mut client = proxy.connect();
    ping(&mut client);
    voice.say("down\n");
    expect_reset(&mut client);
    assert_eq!(proxy.board.servers[0].cut.get(), 1);
}

#[test]
fn an_administrator_and_an_agent_speak_apart() {
    let voice = Voice::new("ready\n");
    let address = echo_server();
    let proxy = setup(&[address], &voice).start();
    expect(&proxy, 0, ServerState::Up);
    let say = |state: Wish| {
        let server = ServerName {
            backend: "k3s-api".into(),
            address,
        };
        let command = Command::ServerState {
            server,
            state,
            for_ms: None,
        };
        let reply = proxy.control.command(command, LIMIT).expect("an answer");
        assert_eq!(reply.error, None);
    };
    say(Wish::Drain);
    expect(&proxy, 0, ServerState::Draining);
    let asked = slot(&proxy, 0).asked.get();
    eventually("the agent says ready", || {
        slot(&proxy, 0).asked.get() > asked + 2
    });
    assert_eq!(
        proxy.board.servers[0].effective_state(now()),
        ServerState::Draining
    );
    voice.say("drain\n");
    eventually("it is heard", || {
        slot(&proxy, 0).state() == AdminState::Drain
    });
    say(Wish::Ready);
    std::thread::sleep(SOON * 3);
    assert_eq!(
        proxy.board.servers[0].effective_state(now()),
        ServerState::Draining
    );
    voice.say("ready\n");
    expect(&proxy, 0, ServerState::Up);
}

#[test]
fn weights_are_shares_of_the_configured_ones_and_limits_hold() {
    // Each is asked about by its port.
    let answers = Arc::new(Mutex::new(std::collections::BTreeMap::new()));
    let (said, heard) = mpsc::channel();
    let known = Arc::clone(&answers);
    let central = server(move |mut stream: TcpStream| {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            asked.push(byte[0]);
        }
        let asked = String::from_utf8_lossy(&asked).trim().to_owned();
        let answer: Option<String> = known.lock().expect("nobody panics").get(&asked).cloned();
        // The test may have seen enough.
        let _test_is_over = said.send(asked);
        drop(stream.write_all(answer.unwrap_or_else(|| "up".into()).as_bytes()));
    });
    let (a, b) = (named(b'a'), named(b'b'));
    let mut setup = Setup::new(&[a, b]);
    let mut central = agent(central);
    central.send = Some("{backend}/{port}\n".into());
    setup.backend().agent = Some(central);
    let proxy = setup.start();
    heard.recv_timeout(LIMIT).expect("it is asked");
    let say = |address: SocketAddr, text: &str| {
        let name = format!("k3s-api/{}", address.port());
        answers
            .lock()
            .expect("nobody panics")
            .insert(name, text.to_owned());
    };
    let shares = |count: usize| {
        let letters: Vec<u8> = (0..count).map(|_| letter(&mut proxy.connect())).collect();
        letters.iter().filter(|one| **one == b'a').count()
    };
    say(a, "25%");
    eventually("it is heard", || slot(&proxy, 0).percent() == Some(25));
    // One to four, in any round of five.
    assert_eq!(shares(20), 4);
    say(a, "0%");
    eventually("it is heard", || slot(&proxy, 0).percent() == Some(0));
    assert_eq!(shares(8), 0);
    say(a, "100% maxconn:1");
    say(b, "0%");
    eventually("both are heard", || {
        slot(&proxy, 0).max_sessions() == Some(1) && slot(&proxy, 1).percent() == Some(0)
    });
    let mut first = proxy.connect();
    assert_eq!(letter(&mut first), b'a');
    let mut second = proxy.connect();
    eventually("the second waits", || {
        proxy.board.backends[0].queued.get() == 1
    });
    drop(first);
    assert_eq!(letter(&mut second), b'a');
    say(a, "maxconn:0");
    eventually("it is heard", || slot(&proxy, 0).max_sessions() == Some(0));
    assert_eq!(letter(&mut proxy.connect()), b'a');
}

#[test]
fn an_agent_that_cannot_be_asked_is_told_and_ignored() {
    let (refused, _socket) = refusing();
    let hole = BlackHole::new();
    let silent = server(|mut stream| drop(stream.read(&mut [0; 1])));
    let endless = server(|mut stream| while stream.write_all(&[b'x'; 512]).is_ok() {});
    for (address, problem) in [
        (refused, "connection refused"),
        (hole.address, "no answer in time"),
        (silent, "no answer in time"),
        (endless, "it says `xxx"),
    ] {
        let mut setup = Setup::new(&[echo_server()]);
        setup.probe(quick(ProbeKind::Tcp));
        setup.backend().agent = Some(agent(address));
        let proxy = setup.start();
        eventually(problem, || {
            slot(&proxy, 0).problem.get().starts_with(problem)
        });
        expect(&proxy, 0, ServerState::Up);
        ping(&mut proxy.connect());
    }
}

#[test]
fn who_follows_a_server_follows_its_agent_too() {
    let voice = Voice::new("up\n");
    let mut setup = setup(&[echo_server()], &voice);
    let mut second = setup.config.backends[0].clone();
    second.name = "second".into();
    second.places = vec![1];
    second.agent = None;
    second.probe = None;
    second.servers[0].address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    second.servers[0].track = Some(Track {
        backend: BackendIndex(0),
        server: 0,
    });
    setup.config.backends.push(second);
    let proxy = setup.start();
    expect(&proxy, 1, ServerState::Up);
    for (word, state) in [
        ("down", ServerState::Down),
        ("up drain", ServerState::Draining),
        ("ready", ServerState::Up),
    ] {
        voice.say(word);
        expect(&proxy, 0, state);
        expect(&proxy, 1, state);
    }
    assert_eq!(slot(&proxy, 1).asked.get(), 0);
}

#[test]
fn the_next_proxy_goes_on_from_what_was_said() {
    let voice = Voice::new("drain 25% maxconn:7\n");
    let address = echo_server();
    let proxy = setup(&[address], &voice).start();
    expect(&proxy, 0, ServerState::Draining);
    let board = proxy.board;
    drop(proxy);
    let (refused, _socket) = refusing();
    let mut setup = setup(&[address], &voice);
    setup.board = board;
    setup.backend().agent = Some(agent(refused));
    let proxy = setup.start();
    eventually("its agent is gone", || {
        slot(&proxy, 0).problem.get() == "connection refused"
    });
    assert_eq!(
        proxy.board.servers[0].effective_state(now()),
        ServerState::Draining
    );
    assert_eq!(slot(&proxy, 0).percent(), Some(25));
    expect_refusal(&proxy);
}

#[test]
fn a_server_that_comes_has_an_agent_and_takes_its_words_along() {
    let voice = Voice::new("drain\n");
    let (first, second) = (echo_server(), echo_server());
    let proxy = setup(&[first], &voice).start();
    expect(&proxy, 0, ServerState::Draining);
    act(&proxy, add(second));
    eventually("it is asked", || {
        slot(&proxy, 1).state() == AdminState::Drain
    });
    expect(&proxy, 1, ServerState::Draining);
    act(&proxy, remove(second, Remaining::Drain));
    let asked = slot(&proxy, 1).asked.get();
    std::thread::sleep(SOON * 10);
    // One question may have been under way.
    assert!(
        slot(&proxy, 1).asked.get() <= asked + 1,
        "it is still asked"
    );
    voice.say("50%\n");
    eventually("the first is heard", || {
        slot(&proxy, 0).percent() == Some(50)
    });
    // Nothing is left of what was said of the one that left.
    act(&proxy, add(second));
    eventually("it is asked again", || {
        slot(&proxy, 1).percent() == Some(50)
    });
    assert_eq!(slot(&proxy, 1).state(), AdminState::None);
    expect(&proxy, 1, ServerState::Up);
}
