//! What is said and asked at run time: sessions, overrides, pauses; and servers that are marked
//! down.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::board::ServerState;
use common::command::{Command, Reply, ServerName, SessionStatus, Wish};
use common::config::{Balance, OnMarkedDown, Probe, ProbeKind};

use crate::harness::*;

/// As the admin process waits.
const WAIT: Duration = Duration::from_secs(5);

pub(crate) fn ask(proxy: &RunningProxy, command: Command) -> Reply {
    proxy.control.command(command, WAIT).expect("a reply")
}

#[track_caller]
pub(crate) fn act(proxy: &RunningProxy, command: Command) -> String {
    let reply = ask(proxy, command);
    reply.done.unwrap_or_else(|| panic!("{:?}", reply.error))
}

/// The sessions as `fmc-lb sessions` lists them.
pub(crate) fn sessions(proxy: &RunningProxy) -> Vec<SessionStatus> {
    let asked = Command::Sessions {
        listener: None,
        server: None,
    };
    ask(proxy, asked).sessions.expect("a list").sessions
}

pub(crate) fn name(address: SocketAddr) -> ServerName {
    ServerName {
        backend: "k3s-api".to_owned(),
        address,
    }
}

pub(crate) fn wish(address: SocketAddr, state: Wish, time: Option<Duration>) -> Command {
    Command::ServerState {
        server: name(address),
        state,
        for_ms: time.map(|time| u64::try_from(time.as_millis()).expect("short")),
    }
}

/// Clients, servers' ends, and the proxy between them, which waits for nothing.
fn relayed(setup: Setup, socket: &TcpListener) -> (RunningProxy, TcpStream, TcpStream) {
    let proxy = setup.start();
    let client = proxy.connect();
    let server = accept(socket);
    (proxy, client, server)
}

pub(crate) fn exchange(from: &mut TcpStream, to: &mut TcpStream, count: usize) {
    from.write_all(&vec![7; count]).expect("write");
    to.read_exact(&mut vec![0; count]).expect("read");
}

#[test]
fn a_session_is_listed_with_both_ends_its_age_and_its_bytes() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.threads = 2;
    let (proxy, mut client, mut server) = relayed(setup, &socket);
    exchange(&mut client, &mut server, 1_000);
    exchange(&mut server, &mut client, 200_000);
    let mut listed = sessions(&proxy);
    assert_eq!(listed.len(), 1);
    let one = listed.remove(0);
    let peer = client.local_addr().expect("address").to_string();
    assert_eq!((one.client, one.via), (peer, None));
    assert_eq!(one.listener, "api");
    assert_eq!(one.backend.as_deref(), Some("k3s-api"));
    assert_eq!(one.server, Some(address.to_string()));
    assert_eq!((one.bytes_in, one.bytes_out), (1_000, 200_000));
    assert!(one.age_ms < 10_000, "{}", one.age_ms);
    let of_another = Command::Sessions {
        listener: Some("web".to_owned()),
        server: None,
    };
    let error = ask(&proxy, of_another).error.expect("refused");
    assert!(error.contains("no listener `web`, only api"), "{error}");
    drop((client, server));
    eventually("it is gone", || sessions(&proxy).is_empty());
}

#[test]
fn a_silent_client_is_listed_without_a_server_and_can_be_killed() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().accept_proxy = Some(common::config::AcceptProxy {
        from: vec![net("127.0.0.0/8")],
        version: common::config::ProxyVersions::Any,
        timeout: Duration::from_secs(60),
    });
    let proxy = setup.start();
    let mut client = proxy.connect();
    eventually("it is listed", || sessions(&proxy).len() == 1);
    let one = sessions(&proxy).remove(0);
    assert_eq!((one.server, one.bytes_in), (None, 0));
    act(&proxy, Command::KillSession { id: one.id.clone() });
    expect_reset(&mut client);
    let error = ask(&proxy, Command::KillSession { id: one.id }).error;
    assert!(error.is_some_and(|error| error.contains("no session")));
    assert_eq!(proxy.listener().killed.get(), 1);
    // One that says who the client is.
    let mut client = proxy.connect();
    client
        .write_all(b"PROXY TCP4 192.0.2.77 192.0.2.1 4711 80\r\n?")
        .expect("write");
    client.read_exact(&mut [0]).expect("the echo");
    let one = sessions(&proxy).remove(0);
    assert_eq!(one.client, "192.0.2.77:4711");
    assert_eq!(one.via, client.local_addr().ok().map(|at| at.to_string()));
}

#[test]
fn a_killed_session_resets_both_sides_and_no_other() {
    let (address, socket) = accepting_server();
    let (proxy, mut first, mut first_server) = relayed(Setup::new(&[address]), &socket);
    let mut second = proxy.connect();
    let mut second_server = accept(&socket);
    exchange(&mut second, &mut second_server, 1);
    let peer = first.local_addr().expect("address").to_string();
    let mut listed = sessions(&proxy).into_iter();
    let one = listed.find(|one| one.client == peer).expect("listed");
    act(&proxy, Command::KillSession { id: one.id });
    expect_reset(&mut first);
    expect_reset(&mut first_server);
    exchange(&mut second_server, &mut second, 1);
    assert_eq!(proxy.listener().killed.get(), 1);
}

#[test]
fn all_sessions_of_a_server_or_of_a_listener_can_be_killed() {
    let (a, socket_a) = accepting_server();
    let (b, socket_b) = accepting_server();
    let mut setup = Setup::new(&[a, b]);
    setup.threads = 2;
    let proxy = setup.start();
    let mut clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    let mut of_a = [accept(&socket_a), accept(&socket_a)];
    let mut of_b = [accept(&socket_b), accept(&socket_b)];
    eventually("all have their servers", || {
        sessions(&proxy).iter().all(|one| one.server.is_some()) && sessions(&proxy).len() == 4
    });
    let said = act(&proxy, Command::KillServerSessions { server: name(a) });
    assert_eq!(said, "2 sessions were killed");
    of_a.iter_mut().for_each(expect_reset);
    eventually("two are left", || sessions(&proxy).len() == 2);
    for one in sessions(&proxy) {
        assert_eq!(one.server, Some(b.to_string()));
    }
    let listener = "api".to_owned();
    act(&proxy, Command::KillListenerSessions { listener });
    of_b.iter_mut().for_each(expect_reset);
    clients.iter_mut().for_each(expect_reset);
    assert_eq!(proxy.listener().killed.get(), 4);
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn a_session_that_moves_bytes_all_the_time_can_be_killed() {
    let (address, socket) = accepting_server();
    let (proxy, mut client, mut server) = relayed(Setup::new(&[address]), &socket);
    let sending = std::thread::spawn(move || while client.write_all(&[1; 65_536]).is_ok() {});
    let reading = std::thread::spawn(move || read_to_end(&mut server));
    eventually("much is moved", || {
        sessions(&proxy)
            .first()
            .is_some_and(|one| one.bytes_in > 50_000_000)
    });
    let listener = "api".to_owned();
    act(&proxy, Command::KillListenerSessions { listener });
    sending.join().expect("it fails to write");
    assert!(reading.join().expect("it ends").is_err());
}

/// A server that can be probed and takes connections; what it has taken is kept.
fn probed(servers: &[SocketAddr], on_marked_down: OnMarkedDown) -> Setup {
    let mut setup = Setup::new(servers);
    setup.backend().on_marked_down = on_marked_down;
    setup.backend().balance = Balance::RoundRobin;
    setup.probe(Probe {
        timeout: Duration::from_millis(500),
        fall: 2,
        ..probe_each(Duration::from_millis(20), ProbeKind::Tcp)
    });
    setup
}

fn verdict(proxy: &RunningProxy, place: usize) -> ServerState {
    ServerState::from_board(proxy.board.servers[place].state.get())
}

/// A session whose server has gone down since.
pub(crate) fn marked_down(
    what: OnMarkedDown,
    change: impl FnOnce(&mut Setup),
) -> (RunningProxy, TcpStream, TcpStream) {
    let (address, socket) = accepting_server();
    let mut setup = probed(&[address], what);
    change(&mut setup);
    let proxy = setup.start();
    eventually("it is up", || verdict(&proxy, 0) == ServerState::Up);
    let mut client = proxy.connect();
    client.write_all(b"!").expect("write");
    // Probes connect too: the session is the one that says something.
    let server = loop {
        let mut server = accept(&socket);
        if matches!(server.read(&mut [0]), Ok(1)) {
            break server;
        }
    };
    drop(socket);
    eventually("it is down", || verdict(&proxy, 0) == ServerState::Down);
    (proxy, client, server)
}

#[test]
fn the_sessions_of_a_server_that_is_marked_down_go_on_by_default() {
    assert_eq!(Setup::new(&[]).backend().on_marked_down, OnMarkedDown::Keep);
    let (proxy, mut client, mut server) = marked_down(OnMarkedDown::Keep, |_| {});
    exchange(&mut client, &mut server, 10);
    exchange(&mut server, &mut client, 10);
    assert_eq!(proxy.board.servers[0].cut.get(), 0);
}

#[test]
fn the_sessions_of_a_server_that_is_marked_down_are_cut_if_told() {
    let (proxy, mut client, mut server) = marked_down(OnMarkedDown::Cut, |_| {});
    expect_reset(&mut client);
    expect_reset(&mut server);
    let slot = &proxy.board.servers[0];
    eventually("it is counted", || slot.cut.get() == 1);
    assert_eq!(slot.sessions.get(), 0);
    assert_eq!(proxy.listener().killed.get(), 0);
}

/// A server that says its letter first.
pub(crate) fn lettered(letter: u8) -> SocketAddr {
    server(move |mut stream| {
        if stream.write_all(&[letter]).is_ok() {
            let _until_the_end = read_to_end(&mut stream);
        }
    })
}

pub(crate) fn letters(proxy: &RunningProxy, count: usize) -> String {
    let letter = |_| {
        let mut letter = [0];
        proxy.connect().read_exact(&mut letter).expect("a letter");
        char::from(letter[0])
    };
    let mut letters: Vec<_> = (0..count).map(letter).collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

#[test]
fn a_drained_server_keeps_its_sessions_and_gets_no_new_one_until_it_is_ready() {
    let servers = [lettered(b'a'), lettered(b'b')];
    let proxy = Setup::new(&servers).start();
    let mut old: Vec<_> = (0..2).map(|_| proxy.connect()).collect();
    for client in &mut old {
        client.read_exact(&mut [0]).expect("a letter");
    }
    act(&proxy, wish(servers[0], Wish::Drain, None));
    assert_eq!(letters(&proxy, 4), "bbbb");
    assert_eq!(proxy.board.servers[0].sessions.get(), 1);
    assert_eq!(proxy.board.vip_health[0].get(), 50);
    let ends = |client: &mut TcpStream| {
        client.set_nonblocking(true).expect("nonblocking");
        client.read(&mut [0]).map_err(|error| error.kind())
    };
    for client in &mut old {
        assert_eq!(ends(client), Err(std::io::ErrorKind::WouldBlock));
    }
    act(&proxy, wish(servers[0], Wish::Ready, None));
    assert_eq!(letters(&proxy, 4), "aabb");
    let nobody = wish("127.0.0.1:1".parse().expect("address"), Wish::Drain, None);
    let error = ask(&proxy, nobody).error.expect("refused");
    assert!(error.contains("has no server 127.0.0.1:1, only"), "{error}");
}

#[test]
fn maintenance_stays_whatever_probes_would_say_and_ends_by_itself() {
    let server = echo_server();
    let proxy = probed(&[server], OnMarkedDown::Keep).start();
    let slot = &proxy.board.servers[0];
    eventually("it is up", || verdict(&proxy, 0) == ServerState::Up);
    let began = Instant::now();
    let time = Duration::from_millis(600);
    act(&proxy, wish(server, Wish::Maintenance, Some(time)));
    // The one that was under way may end.
    std::thread::sleep(Duration::from_millis(100));
    let probes = slot.probes.get();
    expect_refusal(&proxy);
    assert_eq!(slot.effective_state(now()), ServerState::Maintenance);
    assert_eq!(proxy.board.vip_health[0].get(), 0);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(slot.probes.get(), probes, "it is probed");
    eventually("it is over", || slot.admin_state(now()).is_none());
    assert!(began.elapsed() >= time, "{:?}", began.elapsed());
    eventually("it is served", || proxy.board.vip_health[0].get() == 100);
    ping(&mut proxy.connect());
    eventually("it is probed", || slot.probes.get() > probes);
}

#[test]
fn what_was_said_outlives_the_process() {
    let servers = [lettered(b'a'), lettered(b'b')];
    let setup = Setup::new(&servers);
    let board = setup.board;
    let proxy = setup.start();
    act(&proxy, wish(servers[0], Wish::Maintenance, None));
    let weight = Command::ServerWeight {
        server: name(servers[1]),
        weight: Some(9),
        for_ms: None,
    };
    act(&proxy, weight);
    drop(proxy);
    let mut setup = Setup::new(&servers);
    setup.board = board;
    let proxy = setup.start();
    assert_eq!(letters(&proxy, 4), "bbbb");
    let weight = board.servers[1].admin_weight(now());
    assert_eq!(weight.map(|said| said.value), Some(9));
}

#[test]
fn a_weight_that_is_said_counts_with_every_way_to_choose() {
    let servers = [lettered(b'a'), lettered(b'b')];
    for balance in [Balance::RoundRobin, Balance::ConsistentHash] {
        let mut setup = Setup::new(&servers);
        setup.backend().balance = balance;
        let proxy = setup.start();
        let say = |weight: Option<u16>, place: usize| {
            let command = Command::ServerWeight {
                server: name(servers[place]),
                weight,
                for_ms: None,
            };
            ask(&proxy, command)
        };
        assert_eq!(say(Some(0), 0).error, None);
        assert_eq!(letters(&proxy, 4), "bbbb", "{balance:?}");
        assert_eq!(say(None, 0).error, None);
        assert_eq!(say(Some(0), 1).error, None);
        assert_eq!(letters(&proxy, 4), "aaaa", "{balance:?}");
        assert!(say(Some(257), 0).error.is_some());
    }
}

#[test]
fn a_backend_whose_servers_have_no_weight_left_gives_its_vip_up() {
    let servers = [echo_server(), echo_server()];
    let proxy = Setup::new(&servers).start();
    let health = &proxy.board.vip_health[0];
    eventually("all are up", || health.get() == 100);
    let say = |weight: Option<u16>, place: usize| {
        let command = Command::ServerWeight {
            server: name(servers[place]),
            weight,
            for_ms: None,
        };
        act(&proxy, command);
    };
    say(Some(0), 0);
    eventually("one is withheld", || health.get() == 50);
    say(Some(0), 1);
    eventually("both are", || health.get() == 0);
    assert_eq!(proxy.board.vip_hope[0].get(), 0);
    say(None, 0);
    eventually("one is back", || health.get() == 50);
}

#[test]
fn a_server_of_weight_zero_that_is_given_some_counts() {
    let servers = [lettered(b'a'), lettered(b'b')];
    let mut setup = Setup::new(&servers);
    setup.backend().servers[1].weight = 0;
    let proxy = setup.start();
    let weight = Command::ServerWeight {
        server: name(servers[1]),
        weight: Some(5),
        for_ms: None,
    };
    act(&proxy, weight);
    act(&proxy, wish(servers[0], Wish::Maintenance, None));
    assert_eq!(letters(&proxy, 4), "bbbb");
    eventually("the VIP has a server", || {
        proxy.board.vip_health[0].get() == 50 && proxy.board.vip_hope[0].get() == 50
    });
}

#[test]
fn a_paused_listener_lets_clients_wait_and_serves_them_then() {
    let proxy = Setup::new(&[echo_server()]).start();
    let mut old = proxy.connect();
    ping(&mut old);
    let listener = || "api".to_owned();
    let pause = |for_ms| Command::ListenerPause {
        listener: listener(),
        for_ms,
    };
    act(&proxy, pause(None));
    let mut waiting: Vec<_> = (0..3).map(|_| proxy.connect()).collect();
    ping(&mut old);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(proxy.listener().sessions.get(), 1);
    let resume = Command::ListenerResume {
        listener: listener(),
    };
    act(&proxy, resume);
    waiting.iter_mut().for_each(ping);
    let began = Instant::now();
    act(&proxy, pause(Some(300)));
    ping(&mut proxy.connect());
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_stopped_proxy_answers_no_command() {
    let mut proxy = Setup::new(&[echo_server()]).start();
    proxy.control.request_stop(None);
    proxy.join().expect("an orderly end");
    let asked = proxy.control.command(
        Command::KillSession { id: "0".to_owned() },
        Duration::from_millis(50),
    );
    assert_eq!(asked, Err(lb_proxy::Unanswered::Stopped));
}
