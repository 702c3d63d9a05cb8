//! What clients and the listener agree on, or not.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use common::board::{TlsFailure, TlsHandshake};
use common::config::{BackendIndex, Route, SendProxy, SendTlvs, TlsVersion};
use rustls::client::Resumption;
use rustls::version::TLS12;

use super::peer::*;
use crate::harness::*;

/// The alternative name of the certificate that the client got.
fn shown(client: &Client) -> Vec<u8> {
    let certificates = client.tls.peer_certificates().expect("a certificate");
    certificates[0].to_vec()
}

fn is_for(certificate: &[u8], name: &str) -> bool {
    certificate
        .windows(name.len())
        .any(|part| part == name.as_bytes())
}

#[test]
fn clients_of_both_versions_are_relayed_in_plain() {
    let setup = TlsSetup::new(&[echo_server()]);
    let clients = EACH.map(|versions| client_config(&setup.authority, versions));
    let (proxy, _) = setup.start();
    for config in clients {
        let mut client = Client::connect(&proxy, &config, NAME);
        client.ping();
        client.ping();
    }
    let handshakes = |how| counted(&proxy).handshake(how).get();
    assert_eq!(handshakes(TlsHandshake::Full12), 1);
    assert_eq!(handshakes(TlsHandshake::Full13), 1);
    eventually("both have ended", || proxy.listener().sessions.get() == 0);
    eventually("the bytes inside are counted", || {
        proxy.listener().bytes_in.get() == 4 && proxy.listener().bytes_out.get() == 4
    });
}

#[test]
fn the_name_that_is_asked_for_decides_on_the_certificate() {
    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.certificate("b.example.org");
    setup.certificate("*.example.org");
    let (proxy, config) = setup.start();
    for (asked, got) in [
        (NAME, NAME),
        ("b.example.org", "b.example.org"),
        ("c.example.org", "*.example.org"),
    ] {
        let mut client = Client::connect(&proxy, &config, asked);
        assert!(is_for(&shown(&client), got), "{asked}");
        client.ping();
    }
    // The first one, for want of a better one: the client does not take it.
    let refused = Client::try_connect(&proxy, &config, "example.net");
    assert!(refused.is_err());
    let why = || counted(&proxy).failure(TlsFailure::Refused).get();
    eventually("the client's alert is counted", || why() == 1);
    let names: Vec<String> = proxy.board.certificates[..4]
        .iter()
        .map(|slot| slot.names.get())
        .collect();
    assert_eq!(names, [NAME, "b.example.org", "*.example.org", ""]);
}

#[test]
fn a_strict_listener_refuses_other_names() {
    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.tls().strict_sni = true;
    let (proxy, config) = setup.start();
    Client::connect(&proxy, &config, NAME).ping();
    for asked in ["b.example.org", "127.0.0.1"] {
        let error = Client::try_connect(&proxy, &config, asked).err();
        let error = error.expect("refused").to_string();
        assert!(error.contains("AccessDenied"), "{asked}: {error}");
    }
    let refused = counted(&proxy).failure(TlsFailure::Name);
    eventually("both are counted", || refused.get() == 2);
}

#[test]
fn versions_that_are_not_allowed_are_refused() {
    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.tls().versions.min = TlsVersion::V1_3;
    let old = client_config(&setup.authority, &[&TLS12]);
    let (proxy, config) = setup.start();
    Client::connect(&proxy, &config, NAME).ping();
    let error = Client::try_connect(&proxy, &old, NAME).err();
    let error = error.expect("refused").to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    let refused = counted(&proxy).failure(TlsFailure::Incompatible);
    eventually("it is counted", || refused.get() == 1);

    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.tls().versions.max = TlsVersion::V1_2;
    let (proxy, config) = setup.start();
    let client = Client::connect(&proxy, &config, NAME);
    assert_eq!(
        client.tls.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_2)
    );
}

#[test]
fn the_listeners_first_protocol_that_the_client_offers_is_agreed_on() {
    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.tls().alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
    let (proxy, config) = setup.start();
    let offering = |protocols: &[&str]| {
        let mut config = config.clone();
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        Client::try_connect(&proxy, &config, NAME)
    };
    let agreed = |protocols: &[&str]| {
        let client = offering(protocols).expect("a handshake");
        client.tls.alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(agreed(&["http/1.1", "h2"]), Some(b"h2".to_vec()));
    assert_eq!(agreed(&["http/1.1"]), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(&[]), None);
    assert!(offering(&["imap"]).is_err());
    let refused = counted(&proxy).failure(TlsFailure::Protocol);
    eventually("it is counted", || refused.get() == 1);
}

/// Two connections of a client, one after the other: how the second one was made.
fn second_handshake(resumption: bool, version: usize) -> rustls::HandshakeKind {
    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.tls().resumption = resumption;
    let mut config = client_config(&setup.authority, EACH[version]);
    config.resumption = Resumption::in_memory_sessions(8);
    let (proxy, _) = setup.start();
    // Tickets of TLS 1.3 come behind the handshake.
    Client::connect(&proxy, &config, NAME).ping();
    let mut client = Client::connect(&proxy, &config, NAME);
    client.ping();
    let resumed = [TlsHandshake::Resumed12, TlsHandshake::Resumed13][version];
    let counted = counted(&proxy).handshake(resumed).get();
    assert_eq!(counted, u64::from(resumption));
    client.tls.handshake_kind().expect("it is complete")
}

#[test]
fn sessions_are_resumed_unless_the_listener_says_no() {
    for version in 0..EACH.len() {
        let kind = second_handshake(true, version);
        assert_eq!(kind, rustls::HandshakeKind::Resumed);
        let kind = second_handshake(false, version);
        assert_ne!(kind, rustls::HandshakeKind::Resumed);
    }
}

#[test]
fn a_client_that_is_silent_is_reset_in_time() {
    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.tls().handshake_timeout = Duration::from_millis(300);
    let (proxy, config) = setup.start();
    let start = Instant::now();
    let mut silent = proxy.connect();
    // Half a hello is as good as none.
    let mut half = Client::begin(&proxy, &config, NAME);
    let mut hello = Vec::new();
    half.tls.write_tls(&mut hello).expect("a hello");
    half.socket.write_all(&hello[..100]).expect("write");
    expect_reset(&mut silent);
    expect_reset(&mut half.socket);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(280), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let late = counted(&proxy).failure(TlsFailure::Timeout);
    eventually("both are counted", || late.get() == 2);
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn what_is_not_tls_gets_an_alert_and_no_server() {
    let (address, socket) = accepting_server();
    let (proxy, _) = TlsSetup::new(&[address]).start();
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("an alert and FIN");
    // A fatal alert (RFC 8446, section 6).
    assert_eq!(answer.first(), Some(&21));
    let not_tls = counted(&proxy).failure(TlsFailure::NotTls);
    eventually("it is counted", || not_tls.get() == 1);

    let client = proxy.connect();
    client.shutdown(Shutdown::Write).expect("FIN");
    let gone = counted(&proxy).failure(TlsFailure::Gone);
    eventually("it is counted", || gone.get() == 1);
    socket.set_nonblocking(true).expect("nonblocking");
    assert!(socket.accept().is_err(), "a server was connected to");
}

#[test]
fn routes_are_taken_before_tls_ends() {
    let letter = |letter: &'static [u8]| {
        server(move |mut stream| {
            let _client_is_gone = stream.write_all(letter);
            let _end = read_to_end(&mut stream);
        })
    };
    let mut setup = TlsSetup::new(&[letter(b"A")]);
    setup.certificate("b.example.org");
    let config = &mut setup.setup.config;
    let mut second = config.backends[0].clone();
    second.name = "second".into();
    second.places = vec![1];
    second.servers[0].address = letter(b"B");
    config.backends.push(second);
    setup.setup.listener().routes = vec![Route {
        backend: BackendIndex(1),
        sni: vec!["b.example.org".to_owned()],
        alpn: Vec::new(),
    }];
    setup.setup.listener().hello_timeout = Duration::from_millis(300);
    let (proxy, config) = setup.start();
    for (name, expected) in [(NAME, b"A"), ("b.example.org", b"B")] {
        let mut client = Client::connect(&proxy, &config, name);
        let mut got = [0];
        client.read_exact(&mut got).expect("a letter");
        assert_eq!(&got, expected, "{name}");
    }
    // A hello that does not come is no reason for the default backend.
    expect_reset(&mut proxy.connect());
    let late = counted(&proxy).failure(TlsFailure::Timeout);
    eventually("it is counted", || late.get() == 1);
    assert_eq!(proxy.listener().hello_timeouts.get(), 0);
}

#[test]
fn servers_are_told_name_and_protocol_of_the_handshake() {
    let (address, socket) = accepting_server();
    let mut setup = TlsSetup::new(&[address]);
    setup.tls().alpn = vec!["http/1.1".to_owned()];
    setup.setup.backend().send_proxy = Some(SendProxy::V2(SendTlvs {
        alpn: true,
        authority: true,
        ..SendTlvs::default()
    }));
    let (proxy, mut config) = setup.start();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    // Signature, version and command, family, length; addresses; TLVs.
    let mut fixed = [0; 16 + 12];
    server.read_exact(&mut fixed).expect("a header");
    let peer = client.socket.local_addr().expect("bound");
    assert_eq!(fixed[24..26], peer.port().to_be_bytes());
    let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]])) - 12;
    let mut tlvs = vec![0; rest];
    server.read_exact(&mut tlvs).expect("TLVs");
    let alpn = [&[1, 0, 8], b"http/1.1".as_slice()].concat();
    let authority = [&[2, 0, 13], NAME.as_bytes()].concat();
    assert_eq!(tlvs, [alpn, authority].concat());
    client.write_all(b"after it").expect("write");
    let mut got = [0; 8];
    server.read_exact(&mut got).expect("what is inside");
    assert_eq!(&got, b"after it");
}
