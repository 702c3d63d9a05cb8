//! What probes find, and what follows from it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::board::{ProbeStatus, ServerSlot, ServerState};
use common::config::{ClientCertificate, Probe, ProbeKind, ProbeTls};

use crate::apiserver::{ApiServer, Authority, Mode};
use crate::harness::*;

const NOT_READY: &str = "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n";
const NOT_READY_REASON: &str = "L7OKC: [-]etcd failed: reason withheld";

pub(crate) fn quick(kind: ProbeKind) -> Probe {
    Probe {
        timeout: Duration::from_millis(400),
        rise: 2,
        fall: 3,
        ..probe_each(Duration::from_millis(40), kind)
    }
}

pub(crate) fn kube() -> ProbeKind {
    ProbeKind::KubeApiserver(unverified())
}

/// TLS that accepts any certificate and shows none.
pub(crate) fn unverified() -> ProbeTls {
    ProbeTls {
        server_name: None,
        ca_file: None,
        client: None,
        expiry_warning_days: 14,
    }
}

pub(crate) fn state(slot: &ServerSlot) -> ServerState {
    ServerState::from_board(slot.state.get())
}

pub(crate) fn status(slot: &ServerSlot) -> ProbeStatus {
    ProbeStatus::from_board(slot.probe_status.get())
}

#[track_caller]
pub(crate) fn expect_state(proxy: &RunningProxy, place: usize, wanted: (ServerState, &str)) {
    let slot = &proxy.board.servers[place];
    let start = Instant::now();
    loop {
        let (now, reason) = (state(slot), slot.reason.get());
        if now == wanted.0 && reason.starts_with(wanted.1) {
            return;
        }
        assert!(
            start.elapsed() < LIMIT,
            "{now:?} ({reason}) instead of {wanted:?}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The first verdict on an API server in this mode.
fn first_verdict(mode: Mode, wanted: (ServerState, &str)) {
    let api = ApiServer::new(&Authority::new(), mode);
    let mut setup = Setup::new(&[api.address]);
    setup.probe(quick(kube()));
    let proxy = setup.start();
    expect_state(&proxy, 0, wanted);
    let slot = &proxy.board.servers[0];
    eventually("counted", || slot.probes.get() > 0);
    let good = wanted.0 == ServerState::Up;
    eventually("failures counted", || {
        (slot.probe_failures.get() == 0) == good
    });
    assert!(slot.probed.get().is_some() && slot.since.get().is_some());
    assert!(slot.probe_time.get() > 0);
    let found = status(slot).word();
    assert_eq!(
        slot.reason.get().split_once(':').map(|(word, _)| word),
        Some(found)
    );
}

#[test]
fn ready_is_up() {
    first_verdict(
        Mode::Answers("200 OK", "ok"),
        (ServerState::Up, "L7OK: answers 200"),
    );
}

#[test]
fn unauthorized_without_credentials_is_up() {
    let wanted = (
        ServerState::Up,
        "L7OK: answers 401: alive, readiness not visible",
    );
    first_verdict(Mode::Answers("401 Unauthorized", "{}"), wanted);
}

#[test]
fn forbidden_without_credentials_is_up() {
    let wanted = (
        ServerState::Up,
        "L7OK: answers 403: alive, readiness not visible",
    );
    first_verdict(Mode::Answers("403 Forbidden", "{}"), wanted);
}

#[test]
fn not_ready_is_draining_with_its_lines_as_reason() {
    let wanted = (ServerState::Draining, NOT_READY_REASON);
    first_verdict(
        Mode::Answers("500 Internal Server Error", NOT_READY),
        wanted,
    );
    first_verdict(Mode::Answers("503 Service Unavailable", NOT_READY), wanted);
}

#[test]
fn a_body_without_end_is_cut() {
    first_verdict(Mode::Endless, (ServerState::Draining, NOT_READY_REASON));
}

#[test]
fn another_answer_is_down() {
    first_verdict(
        Mode::Answers("404 Not Found", ""),
        (ServerState::Down, "L7STS: answers 404"),
    );
}

#[test]
fn garbage_is_down() {
    first_verdict(Mode::Garbage, (ServerState::Down, "L7RSP: no HTTP answer"));
}

#[test]
fn silence_after_the_request_is_down() {
    first_verdict(
        Mode::Hangs,
        (ServerState::Down, "L7TOUT: no answer in time"),
    );
}

#[test]
fn an_answer_that_comes_too_slowly_is_down() {
    first_verdict(Mode::Slow, (ServerState::Down, "L7TOUT: no answer in time"));
}

#[test]
fn silence_in_the_handshake_is_down() {
    let wanted = (ServerState::Down, "L6TOUT: no TLS handshake in time");
    first_verdict(Mode::HangsInHandshake, wanted);
}

#[test]
fn what_is_not_tls_is_down() {
    first_verdict(Mode::SpeaksPlainly, (ServerState::Down, "L6RSP: "));
    first_verdict(Mode::Closes, (ServerState::Down, "L6RSP: "));
}

#[test]
fn a_tcp_probe_tells_connected_from_refused_and_silent() {
    let (refusing, _port) = refusing();
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[echo_server(), refusing, hole.address]);
    setup.probe(quick(ProbeKind::Tcp));
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Up, "L4OK: connected"));
    expect_state(&proxy, 1, (ServerState::Down, "L4CON: connection refused"));
    expect_state(
        &proxy,
        2,
        (ServerState::Down, "L4TOUT: no connection in time"),
    );
    for _ in 0..20 {
        ping(&mut proxy.connect());
    }
    assert_eq!(proxy.board.servers[0].connected.get(), 20);
}

#[test]
fn the_board_says_how_the_last_probe_ended_and_its_number() {
    let api = ApiServer::new(&Authority::new(), Mode::Answers("200 OK", "ok"));
    let mut setup = Setup::new(&[api.address]);
    setup.probe(quick(kube()));
    let proxy = setup.start();
    let slot = &proxy.board.servers[0];
    let number = |code: &str| code[..3].parse::<u64>().expect("a number");
    for (code, body, wanted) in [
        ("200 OK", "ok", ProbeStatus::L7Ok),
        ("500 Internal Server Error", NOT_READY, ProbeStatus::L7Okc),
        ("404 Not Found", "", ProbeStatus::L7Sts),
    ] {
        api.set(Mode::Answers(code, body));
        eventually(code, || {
            status(slot) == wanted && slot.probe_code.get() == number(code)
        });
    }
    api.set(Mode::Closes);
    eventually("no number without an answer", || {
        status(slot) == ProbeStatus::L6Rsp && slot.probe_code.get() == 0
    });
}

#[test]
fn a_server_without_probe_is_up() {
    let proxy = Setup::new(&[echo_server()]).start();
    expect_state(&proxy, 0, (ServerState::Up, "not probed"));
    assert_eq!(status(&proxy.board.servers[0]), ProbeStatus::Unk);
    assert_eq!(proxy.board.probed.get(), 1);
    eventually("the health of the VIP", || {
        proxy.board.vip_health[0].get() == 100
    });
}

#[test]
fn a_server_that_is_not_ready_keeps_its_sessions_and_gets_no_new_one() {
    let authority = Authority::new();
    let ready = Mode::Answers("200 OK", "ok");
    let servers = [(); 2].map(|()| ApiServer::new(&authority, ready.clone()));
    let mut setup = Setup::new(&[servers[0].address, servers[1].address]);
    let every = Duration::from_millis(100);
    setup.probe(Probe {
        interval: every,
        fast_interval: every,
        down_interval: every,
        ..quick(kube())
    });
    let proxy = setup.start();
    for place in 0..2 {
        expect_state(&proxy, place, (ServerState::Up, ""));
    }
    // The fakes take relayed sessions only in another mode; a probe in between finds no TLS, which
    // `fall` forgives.
    let hold = |server: &ApiServer| {
        server.set(Mode::Echoes);
        let mut client = proxy.connect();
        ping(&mut client);
        client
    };
    let mut held = [hold(&servers[0]), hold(&servers[1])];
    servers[0].set(Mode::Answers("500 Internal Server Error", NOT_READY));
    servers[1].set(ready.clone());
    expect_state(&proxy, 0, (ServerState::Draining, NOT_READY_REASON));
    expect_state(&proxy, 1, (ServerState::Up, "L7OK"));
    assert_eq!(proxy.board.servers[0].downs.get(), 1);
    eventually("the health of the VIP", || {
        proxy.board.vip_health[0].get() == 50
    });
    held.iter_mut().for_each(ping);
    let before = proxy.board.servers[0].connected.get();
    let more: Vec<_> = (0..10).map(|_| proxy.connect()).collect();
    eventually("they went to the other server", || {
        proxy.board.servers[1].sessions.get() >= 11
    });
    assert_eq!(proxy.board.servers[0].connected.get(), before);
    drop(more);
    servers[0].set(ready);
    expect_state(&proxy, 0, (ServerState::Up, "L7OK"));
    held.iter_mut().for_each(ping);
}

#[test]
fn a_server_falls_only_after_fall_probes_and_rises_after_rise() {
    let api = ApiServer::new(&Authority::new(), Mode::Answers("200 OK", "ok"));
    let mut setup = Setup::new(&[api.address]);
    setup.probe(quick(kube()));
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Up, ""));
    eventually("the health of the VIP", || {
        proxy.board.vip_health[0].get() == 100
    });
    api.set(Mode::Closes);
    expect_state(&proxy, 0, (ServerState::Up, "1 of 3 failed: L6RSP"));
    expect_state(&proxy, 0, (ServerState::Up, "2 of 3 failed: L6RSP"));
    expect_state(&proxy, 0, (ServerState::Down, "L6RSP"));
    eventually("a VIP without a usable server", || {
        proxy.board.vip_health[0].get() == 0
    });
    expect_refusal(&proxy);
    api.set(Mode::Answers("200 OK", "ok"));
    expect_state(&proxy, 0, (ServerState::Down, "1 of 2 good: L7OK"));
    expect_state(&proxy, 0, (ServerState::Up, "L7OK"));
    eventually("the VIP is healthy again", || {
        proxy.board.vip_health[0].get() == 100
    });
}

/// A first verdict with this authority's certificate as `ca_file`, and a client certificate or
/// none.
fn with_files(
    trusted: &Authority,
    api: &(Authority, Mode),
    certificate: Option<(Vec<u8>, Vec<u8>)>,
) -> (ServerState, String) {
    let server = ApiServer::new(&api.0, api.1.clone());
    let mut setup = Setup::new(&[server.address]);
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(PathBuf::from);
    setup.files.insert(ca.clone(), trusted.pem());
    let client = certificate.map(|(chain, secret)| {
        setup.files.insert(cert.clone(), chain);
        setup.files.insert(key.clone(), secret);
        ClientCertificate {
            cert_file: cert,
            key_file: key,
        }
    });
    setup.probe(quick(ProbeKind::KubeApiserver(ProbeTls {
        ca_file: Some(ca),
        client,
        ..unverified()
    })));
    let proxy = setup.start();
    let slot = &proxy.board.servers[0];
    eventually("a verdict", || state(slot) != ServerState::Unknown);
    (state(slot), slot.reason.get())
}

#[test]
fn a_certificate_is_checked_against_the_authority() {
    let api = (Authority::new(), Mode::Answers("200 OK", "ok"));
    assert_eq!(with_files(&api.0, &api, None).0, ServerState::Up);
    let (state, reason) = with_files(&Authority::new(), &api, None);
    assert_eq!(state, ServerState::Down);
    assert!(
        reason.starts_with("L6RSP: invalid peer certificate"),
        "{reason}"
    );
}

#[test]
fn a_client_certificate_is_shown() {
    let api = (Authority::new(), Mode::AsksForCertificate);
    let (state, reason) = with_files(&api.0, &api, Some(api.0.issue("prober")));
    assert_eq!(
        (state, reason.as_str()),
        (ServerState::Up, "L7OK: answers 200")
    );
    let (state, reason) = with_files(&api.0, &api, None);
    assert_eq!(state, ServerState::Up);
    assert!(reason.contains("answers 401: alive"), "{reason}");
}

#[test]
fn a_refusal_of_the_client_certificate_is_down() {
    let api = (Authority::new(), Mode::Answers("403 Forbidden", "{}"));
    let (state, reason) = with_files(&api.0, &api, Some(api.0.issue("prober")));
    assert_eq!(state, ServerState::Down);
    assert_eq!(reason, "L7STS: answers 403 to the client certificate");
}

#[test]
fn a_file_that_is_missing_or_broken_is_named() {
    for (contents, message) in [
        (
            None,
            "looking for the contents of ca.pem among the files that were handed over",
        ),
        (
            Some(b"nothing".to_vec()),
            "looking for a certificate in ca.pem",
        ),
    ] {
        let mut setup = Setup::new(&[echo_server()]);
        setup
            .files
            .extend(contents.map(|contents| ("ca.pem".into(), contents)));
        setup.probe(quick(ProbeKind::KubeApiserver(ProbeTls {
            ca_file: Some("ca.pem".into()),
            ..unverified()
        })));
        let error = setup.start().join().expect_err("no probe without its file");
        let cause = std::error::Error::source(&error)
            .expect("a cause")
            .to_string();
        assert_eq!(cause, message);
    }
}

#[test]
fn a_new_proxy_starts_from_the_verdicts_of_the_one_before() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address, echo_server(), hole.address]);
    setup.probe(Probe {
        timeout: Duration::from_secs(30),
        ..probe_each(Duration::from_secs(60), ProbeKind::Tcp)
    });
    let board = setup.board;
    board.header.pid.store(1, Ordering::Relaxed);
    let now = common::time::Moment::from_nanos(5);
    let verdicts = [ServerState::Down, ServerState::Up, ServerState::Draining];
    for (slot, verdict) in board.servers.iter().zip(verdicts) {
        slot.state.set(verdict.on_board());
        slot.reason.set("as found");
        slot.since.set(now);
        slot.probed.set(now);
        slot.sessions.set(99);
        slot.connected.set(7);
    }
    board.listeners[0].sessions.set(99);
    let proxy = setup.start();
    for _ in 0..6 {
        ping(&mut proxy.connect());
    }
    let slots = &board.servers;
    assert_eq!(
        [0, 1, 2].map(|place| slots[place].connected.get()),
        [7, 13, 7]
    );
    assert_eq!(
        [0, 2].map(|place| state(&slots[place])),
        [ServerState::Down, ServerState::Draining]
    );
    assert_eq!(slots[0].reason.get(), "as found");
    assert_eq!(slots[0].since.get(), Some(now));
    assert_eq!(board.probed.get(), 1);
    eventually("the health of the VIP", || board.vip_health[0].get() == 33);
    eventually("gauges of the one before are gone", || {
        slots.iter().all(|slot| slot.sessions.get() == 0) && proxy.listener().sessions.get() == 0
    });
}

#[test]
fn on_an_empty_board_servers_are_unknown_and_served_until_probed() {
    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address, echo_server()]);
    setup.backend().connect_timeout = Duration::from_millis(100);
    setup.probe(Probe {
        timeout: Duration::from_secs(30),
        ..probe_each(Duration::from_secs(60), ProbeKind::Tcp)
    });
    let proxy = setup.start();
    expect_state(&proxy, 1, (ServerState::Up, "L4OK"));
    expect_state(&proxy, 0, (ServerState::Unknown, "no probe has ended yet"));
    assert_eq!(status(&proxy.board.servers[0]), ProbeStatus::Ini);
    assert_eq!(proxy.board.probed.get(), 0);
    eventually("the health of the VIP", || {
        proxy.board.vip_health[0].get() == 100
    });
    ping(&mut proxy.connect());
}
