//! When servers are probed, where, and what they count as before.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::board::{ProbeStatus, ServerState};
use common::config::{HttpProbe, InitialState, Probe, ProbeKind, ProbeProxy, SendProxy};

use crate::harness::*;
use crate::probe::{expect_state, quick, state, status};

const HOUR: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_millis(20);

/// Probed once an hour, but for what the test says.
fn rarely() -> Probe {
    Probe {
        timeout: Duration::from_secs(5),
        ..probe_each(HOUR, ProbeKind::Tcp)
    }
}

#[test]
fn a_server_that_is_down_is_probed_at_its_own_interval() {
    let (refused, _port) = refusing();
    let mut setup = Setup::new(&[refused, echo_server()]);
    setup.probe(Probe {
        down_interval: SOON,
        ..rarely()
    });
    let proxy = setup.start();
    let [down, up] = [0, 1].map(|place| &proxy.board.servers[place]);
    eventually("often", || down.probes.get() >= 20);
    assert_eq!((state(up), up.probes.get()), (ServerState::Up, 1));
    drop(proxy);

    let mut setup = Setup::new(&[refused, echo_server()]);
    setup.probe(Probe {
        interval: SOON,
        ..rarely()
    });
    let proxy = setup.start();
    let [down, up] = [0, 1].map(|place| &proxy.board.servers[place]);
    eventually("often", || up.probes.get() >= 20);
    assert_eq!((state(down), down.probes.get()), (ServerState::Down, 1));
}

#[test]
fn a_change_that_has_begun_is_made_sure_of_sooner() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    let steady = Duration::from_millis(400);
    setup.probe(Probe {
        interval: steady,
        fast_interval: SOON,
        down_interval: steady,
        timeout: steady,
        rise: 11,
        fall: 11,
        ..quick(ProbeKind::Tcp)
    });
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Up, "L4OK"));
    drop(socket);
    // Ten more probes at the steady interval would take four seconds.
    let took = |begun: (ServerState, &str), done: (ServerState, &str)| {
        expect_state(&proxy, 0, begun);
        let begun = Instant::now();
        expect_state(&proxy, 0, done);
        begun.elapsed()
    };
    let fell = took(
        (ServerState::Up, "1 of 11 failed"),
        (ServerState::Down, "L4CON"),
    );
    let _again = TcpListener::bind(address).expect("the port is free");
    let rose = took(
        (ServerState::Down, "1 of 11 good"),
        (ServerState::Up, "L4OK"),
    );
    assert!(fell < 5 * steady && rose < 5 * steady, "{fell:?} {rose:?}");
}

/// One server of which nothing is known yet: its probe hangs.
fn before_the_first_probe(initial_state: InitialState) -> (BlackHole, RunningProxy) {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address]);
    setup.backend().connect_timeout = Duration::from_millis(100);
    setup.backend().retries = 0;
    setup.probe(Probe {
        initial_state,
        ..rarely()
    });
    let proxy = setup.start();
    eventually("it has begun", || {
        proxy.board.header.heartbeat.get().is_some()
    });
    (hole, proxy)
}

#[test]
fn before_its_first_probe_a_server_is_what_the_file_says() {
    for (initial, wanted, attempts) in [
        (InitialState::Up, ServerState::Unknown, 1),
        (InitialState::FullyUp, ServerState::Up, 1),
        (InitialState::Down, ServerState::Down, 0),
        (InitialState::FullyDown, ServerState::Down, 0),
    ] {
        let (_hole, proxy) = before_the_first_probe(initial);
        expect_state(&proxy, 0, (wanted, "no probe has ended yet"));
        let slot = &proxy.board.servers[0];
        assert_eq!(status(slot), ProbeStatus::Ini, "{initial:?}");
        assert_eq!(proxy.board.probed.get(), 0, "{initial:?}");
        expect_refusal(&proxy);
        assert_eq!(slot.connect_errors.get(), attempts, "{initial:?}");
    }
}

#[test]
fn how_many_first_probes_decide_is_what_the_file_says() {
    let (refused, _port) = refusing();
    let start = |initial_state, rarely| {
        let mut setup = Setup::new(&[refused, echo_server()]);
        setup.probe(Probe {
            initial_state,
            rise: 2,
            fall: 2,
            ..rarely
        });
        setup.start()
    };
    let once = |initial, wanted: [(ServerState, &str); 2]| {
        let proxy = start(initial, rarely());
        expect_state(&proxy, 0, wanted[0]);
        expect_state(&proxy, 1, wanted[1]);
        assert_eq!(proxy.board.servers[0].probes.get(), 1, "{initial:?}");
        assert_eq!(proxy.board.servers[1].probes.get(), 1, "{initial:?}");
    };
    use ServerState::{Down, Up};
    once(InitialState::Up, [(Down, "L4CON"), (Up, "L4OK")]);
    once(InitialState::FullyUp, [(Up, "1 of 2 failed"), (Up, "L4OK")]);
    once(InitialState::Down, [(Down, "L4CON"), (Up, "L4OK")]);
    once(
        InitialState::FullyDown,
        [(Down, "L4CON"), (Down, "1 of 2 good")],
    );
    // The others come soon.
    let soon = Probe {
        fast_interval: SOON,
        ..rarely()
    };
    let proxy = start(InitialState::FullyUp, soon.clone());
    expect_state(&proxy, 0, (Down, "L4CON"));
    let proxy = start(InitialState::FullyDown, soon);
    expect_state(&proxy, 1, (Up, "L4OK"));
}

/// A proxy that died before the first probe had ended has left no verdict.
#[test]
fn a_new_proxy_takes_no_initial_state_for_a_verdict() {
    let board = {
        let (_hole, proxy) = before_the_first_probe(InitialState::Down);
        proxy.board
    };
    let mut setup = Setup::new(&[echo_server()]);
    setup.board = board;
    setup.probe(Probe {
        initial_state: InitialState::Down,
        rise: 2,
        ..rarely()
    });
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Up, "L4OK"));
}

#[test]
fn probes_go_where_they_are_sent() {
    let (refused, _port) = refusing();
    let echo = echo_server();
    let mut setup = Setup::new(&[echo, echo_server()]);
    setup.backend().servers[1].probe_address = Some(echo);
    setup.probe(Probe {
        port: Some(refused.port()),
        ..quick(ProbeKind::Tcp)
    });
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Down, "L4CON"));
    expect_state(&proxy, 1, (ServerState::Up, "L4OK"));
    ping(&mut proxy.connect());
    assert_eq!(proxy.board.servers[1].connected.get(), 1);
}

#[test]
fn another_port_than_the_one_of_the_sessions_gets_no_proxy_header() {
    let (own, socket) = accepting_server();
    let (other, probed) = accepting_server();
    let mut setup = Setup::new(&[own, own]);
    setup.backend().servers[1].probe_address = Some(other);
    setup.backend().send_proxy = Some(SendProxy::V1);
    setup.probe(quick(ProbeKind::Tcp));
    let _proxy = setup.start();
    let said = |socket: &TcpListener| {
        let mut said = Vec::new();
        accept(socket).read_to_end(&mut said).expect("until FIN");
        said
    };
    assert!(said(&socket).starts_with(b"PROXY TCP4 "));
    assert_eq!(said(&probed), b"");
}

#[test]
fn a_probe_says_the_header_that_it_is_told_to_say() {
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (sessions, told, said) in [
        (
            None,
            ProbeProxy::V1,
            &b"PROXY TCP4 127.0.0.1 127.0.0.1 "[..],
        ),
        (None, ProbeProxy::V2, LOCAL),
        (Some(SendProxy::V1), ProbeProxy::V2, LOCAL),
        (Some(SendProxy::V1), ProbeProxy::Off, b""),
    ] {
        // Both where the sessions go and elsewhere.
        let (own, socket) = accepting_server();
        let (other, probed) = accepting_server();
        let mut setup = Setup::new(&[own, own]);
        setup.backend().servers[1].probe_address = Some(other);
        setup.backend().send_proxy = sessions;
        setup.probe(Probe {
            send_proxy: Some(told),
            ..quick(ProbeKind::Tcp)
        });
        let _proxy = setup.start();
        for socket in [socket, probed] {
            let mut heard = Vec::new();
            let mut probe = accept(&socket);
            probe.read_to_end(&mut heard).expect("until FIN");
            assert!(heard.starts_with(said), "{heard:?}");
            assert_eq!(heard.is_empty(), said.is_empty(), "{heard:?}");
        }
    }
}

#[test]
fn a_header_comes_before_the_question() {
    let address = server(|mut stream| {
        let mut begun = Vec::new();
        while !begun.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            begun.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&begun);
        let both = text.starts_with("PROXY TCP4 ") && text.contains("\r\nGET /readyz HTTP/1.1\r\n");
        let answer = if both { "200 OK" } else { "400 Bad Request" };
        // Whoever does not want the answer is gone.
        drop(write!(stream, "HTTP/1.1 {answer}\r\n\r\n"));
    });
    let mut setup = Setup::new(&[address]);
    let asks = HttpProbe {
        path: "/readyz".into(),
        ..crate::probe_http::asks()
    };
    setup.probe(Probe {
        send_proxy: Some(ProbeProxy::V1),
        ..quick(ProbeKind::Http(asks))
    });
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Up, "L7OK: answers 200"));
}
