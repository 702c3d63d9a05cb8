//! Probes of kind `tls`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;

use common::board::{ProbeStatus, ServerState};
use common::config::{ClientCertificate, ProbeKind, ProbeTls};
use rcgen::{CertificateParams, date_time_ymd};

use crate::apiserver::Authority;
use crate::harness::*;
use crate::probe::{expect_state, quick, status, unverified};
use crate::secured::{Clients, Tls, named, settings, tls_server};

const MADE: (ServerState, &str) = (ServerState::Up, "L6OK: TLS handshake made");

/// Checked against this authority.
fn verified() -> ProbeTls {
    ProbeTls {
        ca_file: Some(PathBuf::from("ca.pem")),
        ..unverified()
    }
}

fn probing(address: SocketAddr, authority: &Authority, tls: ProbeTls) -> Setup {
    let mut setup = Setup::new(&[address]);
    setup.files.insert("ca.pem".into(), authority.pem());
    setup.probe(quick(ProbeKind::Tls(tls)));
    setup
}

/// Waits until the client has ended the connection.
fn idle(stream: &mut Tls) {
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

fn anybody(authority: &Authority, params: CertificateParams) -> SocketAddr {
    tls_server(settings(authority, params, &Clients::Anybody), idle)
}

/// The state of a server with this certificate, whose authority and name are checked.
#[track_caller]
fn expect_of(
    authority: &Authority,
    params: CertificateParams,
    tls: ProbeTls,
    wanted: (ServerState, &str),
) {
    let end = params.not_after.unix_timestamp();
    let address = anybody(authority, params);
    let proxy = probing(address, authority, tls).start();
    expect_state(&proxy, 0, wanted);
    let slot = &proxy.board.servers[0];
    let seen = slot.certificate_not_after.get();
    assert_eq!(i64::try_from(seen), Ok(end), "the certificate is seen");
    assert_eq!(slot.probe_code.get(), 0);
}

#[test]
fn a_handshake_is_enough_and_comes_together_byte_by_byte() {
    let authority = Authority::new();
    expect_of(&authority, named("127.0.0.1"), verified(), MADE);
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new();
    let asks = |name: &str| ProbeTls {
        server_name: Some(name.to_owned()),
        ..verified()
    };
    let a = || named("a.example.org");
    expect_of(&authority, a(), asks("a.example.org"), MADE);
    let wrong = (
        ServerState::Down,
        "L6RSP: invalid peer certificate: certificate not valid for name",
    );
    expect_of(&authority, a(), asks("b.example.org"), wrong);
    expect_of(&authority, a(), verified(), wrong);
}

#[test]
fn an_expired_certificate_is_refused_and_its_end_is_shown() {
    let authority = Authority::new();
    let expired = || {
        let mut params = named("127.0.0.1");
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(2024, 2, 29);
        params
    };
    let refused = (
        ServerState::Down,
        "L6RSP: invalid peer certificate: certificate expired",
    );
    expect_of(&authority, expired(), verified(), refused);
    expect_of(&authority, expired(), unverified(), MADE);
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (ours, other) = (Authority::new(), Authority::new());
    let address = anybody(&other, named("127.0.0.1"));
    let proxy = probing(address, &ours, verified()).start();
    // Both are called the same: it is the signature that does not fit.
    let wanted = (
        ServerState::Down,
        "L6RSP: invalid peer certificate: BadSignature",
    );
    expect_state(&proxy, 0, wanted);
    drop(proxy);
    let proxy = probing(address, &ours, unverified()).start();
    expect_state(&proxy, 0, MADE);
}

#[test]
fn the_server_hears_the_name_and_sees_the_client_certificate() {
    let authority = Authority::new();
    let (said, heard) = mpsc::channel();
    let settings = settings(&authority, named("a.example.org"), &Clients::Of(&authority));
    let address = tls_server(settings, move |stream| {
        let name = stream.conn.server_name().map(str::to_owned);
        let shown = stream.conn.peer_certificates().is_some();
        // The test may have seen enough.
        let _test_is_over = said.send((name, shown));
        idle(stream);
    });
    let name = Some("a.example.org".to_owned());
    let tls = ProbeTls {
        server_name: name.clone(),
        ..verified()
    };
    let proxy = probing(address, &authority, tls.clone()).start();
    expect_state(&proxy, 0, (ServerState::Down, "L6RSP: "));
    drop(proxy);
    let client = ClientCertificate {
        cert_file: "client.pem".into(),
        key_file: "client.key".into(),
    };
    let (certificate, key) = authority.issue("prober");
    let client_tls = ProbeTls {
        client: Some(client),
        ..tls
    };
    let mut setup = probing(address, &authority, client_tls);
    setup.files.insert("client.pem".into(), certificate);
    setup.files.insert("client.key".into(), key);
    let proxy = setup.start();
    expect_state(&proxy, 0, MADE);
    assert_eq!(heard.recv_timeout(LIMIT), Ok((name, true)));
}

#[test]
fn what_is_no_handshake_is_told_apart() {
    let authority = Authority::new();
    let expect = |handler: fn(std::net::TcpStream), wanted: (ServerState, &str), found| {
        let proxy = probing(server(handler), &authority, verified()).start();
        expect_state(&proxy, 0, wanted);
        assert_eq!(status(&proxy.board.servers[0]), found, "{wanted:?}");
    };
    let silent = |mut stream: std::net::TcpStream| {
        let mut buffer = [0; 1_024];
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    };
    let timeout = (ServerState::Down, "L6TOUT: no TLS handshake in time");
    expect(silent, timeout, ProbeStatus::L6Tout);
    // The beginning of a record of 16 KiB, and nothing more.
    expect(
        |mut stream| {
            stream.write_all(&[22, 3, 3, 0x40, 0, 2]).expect("written");
            let mut buffer = [0; 1_024];
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        },
        timeout,
        ProbeStatus::L6Tout,
    );
    let no_tls = (ServerState::Down, "L6RSP: ");
    expect(drop, no_tls, ProbeStatus::L6Rsp);
    expect(
        |mut stream| while stream.write_all(&[b'A'; 4_096]).is_ok() {},
        no_tls,
        ProbeStatus::L6Rsp,
    );
}

#[test]
fn a_server_that_cannot_be_connected_to_is_a_matter_of_layer_4() {
    let authority = Authority::new();
    let (refused, _port) = refusing();
    let proxy = probing(refused, &authority, verified()).start();
    expect_state(&proxy, 0, (ServerState::Down, "L4CON: connection refused"));
    let hole = BlackHole::new();
    let proxy = probing(hole.address, &authority, verified()).start();
    expect_state(&proxy, 0, (ServerState::Down, "L4TOUT: "));
}
