//! The two letters of HAProxy's logs for every way in which a session ends.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use common::board::Hold;
use common::command::Command;
use common::config::{
    AcceptProxy, LogFormat, OnMarkedDown, ProxyVersions, SendProxy, SendTlvs, SourceLimit,
};
use serde_json::Value;

use crate::harness::*;
use crate::runtime::{act, marked_down, sessions};
use crate::session_log::Log;

/// A proxy in front of `servers` that logs, and its log.
fn logging(mut setup: Setup) -> (RunningProxy, Log) {
    let log = Log::of(&mut setup, LogFormat::Json);
    (setup.start(), log)
}

/// The only line of the log; it must say these letters, and why in these words.
#[track_caller]
fn assert_ended(log: &Log, letters: &str, why: &str) -> Value {
    let line = log.json(1).remove(0);
    assert_eq!(line["termination"], letters, "{line}");
    let reason = line["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(why), "{line}");
    line
}

/// A session that is relayed: client's and server's end.
fn relayed(change: impl FnOnce(&mut Setup)) -> (RunningProxy, Log, TcpStream, TcpStream) {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    change(&mut setup);
    let (proxy, log) = logging(setup);
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    client.write_all(b"?").expect("write");
    std::io::Read::read_exact(&mut server, &mut [0]).expect("it is relayed");
    (proxy, log, client, server)
}

fn kill_the_only_one(proxy: &RunningProxy) {
    eventually("it is listed", || sessions(proxy).len() == 1);
    let id = sessions(proxy).remove(0).id;
    act(proxy, Command::KillSession { id });
}

/// Writes until nobody takes anything for a while.
fn fill(stream: &mut TcpStream) {
    let limit = Some(Duration::from_millis(200));
    stream.set_write_timeout(limit).expect("write timeout");
    while stream.write(&[5; 65_536]).is_ok() {}
}

#[test]
fn a_client_or_a_server_that_aborts() {
    let (_proxy, log, client, _server) = relayed(|_| {});
    reset(client);
    assert_ended(&log, "CD", "the connection to the client broke");
    let (_proxy, log, _client, server) = relayed(|_| {});
    reset(server);
    assert_ended(&log, "SD", "the connection to the server broke");
    // While the other side takes nothing.
    let (_proxy, log, mut client, server) = relayed(|_| {});
    fill(&mut client);
    reset(server);
    assert_ended(&log, "SD", "the connection to the server broke");
    let (_proxy, log, client, mut server) = relayed(|_| {});
    fill(&mut server);
    reset(client);
    assert_ended(&log, "CD", "the connection to the client broke");
    // After the other side's FIN.
    let (_proxy, log, client, server) = relayed(|_| {});
    client.shutdown(Shutdown::Write).expect("FIN");
    reset(server);
    assert_ended(&log, "SD", "the connection to the server broke");
}

#[test]
fn silence_is_of_the_side_whose_limit_it_is() {
    let short = Some(Duration::from_millis(150));
    let long = Some(Duration::from_secs(60));
    let (_proxy, log, _client, _server) = relayed(|setup| {
        setup.listener().client_timeout = short;
        setup.backend().server_timeout = long;
    });
    assert_ended(&log, "cD", "nothing was said for the idle timeout");
    let (_proxy, log, _client, _server) = relayed(|setup| {
        setup.listener().client_timeout = long;
        setup.backend().server_timeout = short;
    });
    assert_ended(&log, "sD", "nothing was said for the idle timeout");
    let (_proxy, log, _client, _server) = relayed(|setup| setup.backend().server_timeout = short);
    assert_ended(&log, "sD", "nothing was said for the idle timeout");
    let (_proxy, log, _client, _server) = relayed(|setup| {
        setup.listener().tunnel_timeout = short;
        setup.backend().server_timeout = short;
    });
    assert_ended(&log, "cD", "nothing was said for the idle timeout");
}

#[test]
fn a_side_that_takes_nothing_is_the_one_that_was_too_slow() {
    let tunnel = |setup: &mut Setup| {
        setup.listener().tunnel_timeout = Some(Duration::from_millis(500));
    };
    let (_proxy, log, mut client, _server) = relayed(tunnel);
    fill(&mut client);
    assert_ended(&log, "sD", "the server took nothing");
    let (_proxy, log, _client, mut server) = relayed(tunnel);
    fill(&mut server);
    assert_ended(&log, "cD", "the client took nothing");
}

#[test]
fn a_session_that_the_proxy_ends() {
    let (_proxy, log, _client, _server) = relayed(|setup| {
        setup.listener().max_lifetime = Some(Duration::from_secs(1));
    });
    assert_ended(&log, "PD", "it had lasted as long as it may");
    let (proxy, log, _client, _server) = relayed(|_| {});
    kill_the_only_one(&proxy);
    assert_ended(&log, "KD", "an administrator ended it");
    let (mut proxy, log, _client, _server) = relayed(|setup| {
        setup.config.proxy.drain = Duration::from_millis(100);
    });
    proxy.control.request_stop(None);
    proxy.join().expect("an orderly end");
    assert_ended(&log, "KD", "the proxy stopped");
}

#[test]
fn a_server_that_is_marked_down() {
    let mut log = None;
    let keep = |setup: &mut Setup| log = Some(Log::of(setup, LogFormat::Json));
    let (_proxy, mut client, _server) = marked_down(OnMarkedDown::Cut, keep);
    expect_reset(&mut client);
    let log = log.expect("it was made");
    assert_ended(&log, "DD", "its server went down");
}

#[test]
fn a_server_that_cannot_be_reached() {
    let ((first, _one), (second, _two)) = (refusing(), refusing());
    let mut setup = Setup::new(&[first, second]);
    setup.backend().retries = 1;
    let (proxy, log) = logging(setup);
    expect_refusal(&proxy);
    let line = assert_ended(&log, "SC", "as the last attempt of 2");
    assert_eq!(
        (&line["retries"], &line["redispatched"]),
        (&1.into(), &true.into())
    );
    assert!(
        line["connect_ms"].is_null() && line["source"].is_null(),
        "{line}"
    );
    assert_eq!(line["queue_ms"], 0);
    let last = line["server"].as_str().expect("the last one");
    assert!(
        [first, second]
            .map(|one| one.to_string())
            .contains(&last.to_owned())
    );

    let hole = BlackHole::new();
    let mut setup = Setup::new(&[hole.address]);
    setup.backend().retries = 0;
    setup.backend().connect_timeout = Duration::from_millis(100);
    let (proxy, log) = logging(setup);
    expect_refusal(&proxy);
    let line = assert_ended(&log, "sC", "timed out");
    assert!(line["total_ms"].as_u64() >= Some(100), "{line}");

    let mut setup = Setup::new(&[echo_server()]);
    setup.backend().servers[0].weight = 0;
    let (proxy, log) = logging(setup);
    expect_refusal(&proxy);
    let line = assert_ended(&log, "SC", "no server is usable");
    assert!(
        line["server"].is_null() && line["queue_ms"].is_null(),
        "{line}"
    );
    assert_eq!(line["backend"], "k3s-api");
}

#[test]
fn a_machine_that_lacks_something() {
    let mut setup = Setup::new(&[echo_server()]);
    // As when no port is left: see `connect`.
    setup.config.vips[0].address = Ipv4Addr::LOCALHOST.into();
    setup.config.nodes[0].address = Ipv4Addr::new(192, 0, 2, 77).into();
    let (proxy, log) = logging(setup);
    expect_refusal(&proxy);
    assert_ended(&log, "RC", "this machine lacks something");
}

#[test]
fn a_client_that_leaves_while_a_server_is_connected_to() {
    let hole = BlackHole::new();
    let (proxy, log) = logging(Setup::new(&[hole.address]));
    let client = proxy.connect();
    let server = &proxy.board.servers[0];
    eventually("it tries", || server.sessions.get() == 1);
    reset(client);
    assert_ended(&log, "CC", "the client has gone");
    let (proxy, log) = logging(Setup::new(&[hole.address]));
    let _client = proxy.connect();
    let server = &proxy.board.servers[0];
    eventually("it tries", || server.sessions.get() == 1);
    kill_the_only_one(&proxy);
    assert_ended(&log, "KC", "ended from outside");
}

/// A server with one slot, which is taken.
fn full(change: impl FnOnce(&mut Setup)) -> (RunningProxy, Log, TcpStream) {
    let mut setup = Setup::new(&[echo_server()]);
    setup.backend().servers[0].max_sessions = Some(1);
    change(&mut setup);
    let (proxy, log) = logging(setup);
    let mut held = proxy.connect();
    ping(&mut held);
    (proxy, log, held)
}

fn waiting(proxy: &RunningProxy) -> TcpStream {
    let client = proxy.connect();
    eventually("it waits", || proxy.board.backends[0].queued.get() == 1);
    client
}

#[test]
fn the_ends_of_those_who_wait_in_the_queue() {
    let limit = Duration::from_millis(150);
    let (proxy, log, _held) = full(|setup| setup.backend().queue_timeout = limit);
    let mut client = waiting(&proxy);
    expect_reset(&mut client);
    let line = assert_ended(&log, "sQ", "no server had a free slot in time");
    assert!(line["queue_ms"].as_u64() >= Some(150), "{line}");
    assert!(line["server"].is_null(), "{line}");

    let (proxy, log, _held) = full(|setup| setup.backend().queue = 0);
    expect_refusal(&proxy);
    let line = assert_ended(&log, "SQ", "as many clients wait");
    assert!(line["queue_ms"].is_null(), "{line}");

    let (proxy, log, _held) = full(|_| {});
    let client = waiting(&proxy);
    std::thread::sleep(Duration::from_millis(50));
    reset(client);
    let line = assert_ended(&log, "CQ", "the client has gone");
    assert!(line["queue_ms"].as_u64() >= Some(50), "{line}");

    let (mut proxy, log, held) = full(|setup| {
        setup.config.proxy.drain = Duration::from_millis(100);
    });
    let _client = waiting(&proxy);
    proxy.control.request_stop(None);
    proxy.join().expect("an orderly end");
    let lines = log.json(2);
    let mut letters: Vec<_> = lines.iter().map(|line| &line["termination"]).collect();
    letters.sort_by_key(|letters| letters.to_string());
    assert_eq!(letters, ["KD", "KQ"]);
    drop(held);
}

fn expecting_a_header() -> Setup {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().accept_proxy = Some(AcceptProxy {
        from: vec![net("127.0.0.0/8")],
        version: ProxyVersions::V2,
        timeout: Duration::from_millis(200),
    });
    setup
}

#[test]
fn those_who_never_say_what_they_want() {
    let (proxy, log) = logging(expecting_a_header());
    let mut bad = proxy.connect();
    bad.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
    expect_reset(&mut bad);
    let line = assert_ended(&log, "PR", "reading the PROXY protocol header");
    assert!(
        line["backend"].is_null() && line["server"].is_null(),
        "{line}"
    );

    let (proxy, log) = logging(expecting_a_header());
    let mut late = proxy.connect();
    expect_reset(&mut late);
    assert_ended(&log, "cR", "not complete in time");

    let (proxy, log) = logging(expecting_a_header());
    let mut cut = proxy.connect();
    cut.shutdown(Shutdown::Write).expect("FIN");
    expect_reset(&mut cut);
    assert_ended(&log, "CR", "has ended its stream");

    let mut setup = expecting_a_header();
    let accept = setup.listener().accept_proxy.as_mut();
    accept.expect("just set").timeout = Duration::from_secs(60);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let gone = proxy.connect();
    eventually("it is listed", || sessions(&proxy).len() == 1);
    reset(gone);
    assert_ended(&log, "CR", "reading what the client says first");
    let _silent = proxy.connect();
    kill_the_only_one(&proxy);
    assert_eq!(log.json(2)[1]["termination"], "KR");
}

#[test]
fn what_does_not_fit_into_a_header_for_the_server() {
    let mut setup = expecting_a_header();
    setup.backend().send_proxy = Some(SendProxy::V2(SendTlvs {
        unique_id: true,
        ..SendTlvs::default()
    }));
    let (proxy, log) = logging(setup);
    // As long as a header may be: one entry for applications.
    let (block, entry) = (4_096_u16 - 16, 4_096_u16 - 16 - 12 - 3);
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(block.to_be_bytes());
    header.extend([198, 51, 100, 7, 203, 0, 113, 9, 0, 1, 0, 2]);
    header.push(0xe0);
    header.extend(entry.to_be_bytes());
    header.extend(vec![7; usize::from(entry)]);
    let mut client = proxy.connect();
    client.write_all(&header).expect("write");
    expect_reset(&mut client);
    let line = assert_ended(&log, "PC", "making the PROXY protocol header");
    assert_eq!(line["client"], "198.51.100.7:1");
}

#[test]
fn those_who_are_refused_at_once() {
    let limits = [
        (Some(1), None, "as many sessions as it may have"),
        (None, Some(1), "faster than it may"),
    ];
    for (most, rate, why) in limits {
        let mut setup = Setup::new(&[echo_server()]);
        setup.listener().source_limit = SourceLimit {
            sessions: most,
            rate,
            exempt: Vec::new(),
            exempt_file: None,
        };
        let (proxy, log) = logging(setup);
        let mut held = proxy.connect();
        ping(&mut held);
        expect_refusal(&proxy);
        let line = assert_ended(&log, "PR", why);
        assert!(line["id"].is_null(), "{line}");
        assert_eq!(line["sessions"]["listener"], 1, "the one that is held");
        assert_eq!(line["bind"], proxy.address.to_string());
    }
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().deny = vec![net("127.0.0.5/32")];
    setup.listener().drop = vec![net("127.0.0.6/32")];
    let (proxy, log) = logging(setup);
    expect_refusal_from(Ipv4Addr::new(127, 0, 0, 5), &proxy);
    expect_refusal_from(Ipv4Addr::new(127, 0, 0, 6), &proxy);
    let lines = log.json(2);
    let of = |index: usize, key: &str| lines[index][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (of(0, "termination"), of(1, "termination")),
        ("PR".into(), "PR".into())
    );
    assert!(of(0, "reason").contains("not allowed"), "{lines:?}");
    assert!(of(1, "reason").contains("dropped"), "{lines:?}");
    assert!(of(0, "client").starts_with("127.0.0.5:"), "{lines:?}");
}

#[test]
fn a_client_that_a_limit_held_back_until_the_proxy_stopped() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().max_sessions = Some(1);
    let (mut proxy, log) = logging(setup);
    let mut served = proxy.connect();
    ping(&mut served);
    let mut held = proxy.connect();
    eventually("it is held back", || proxy.board.hold(0) == Hold::Sessions);
    proxy.control.request_stop(None);
    proxy.join().expect("an orderly end");
    expect_reset(&mut held);
    let mut lines = log.json(2);
    lines.retain(|line| line["termination"] == "KR");
    let own = held.local_addr().expect("own").to_string();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["client"], own);
    assert_eq!(lines[0]["reason"], "the proxy stopped");
}
