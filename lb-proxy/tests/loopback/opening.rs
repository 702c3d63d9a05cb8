//! What clients say before a server is chosen, and what servers are told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::{AcceptProxy, BackendIndex, ProxyVersions, Route, SendProxy, SendTlvs};
use rustls::pki_types::ServerName;

use crate::harness::*;

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Two backends of one server each, which answer with their letter.
fn two_backends() -> Setup {
    let letter = |letter: &'static [u8]| {
        server(move |mut stream| {
            // Whoever hangs up first is of no interest here.
            let _sent = stream.write_all(letter);
            let _end = read_to_end(&mut stream);
        })
    };
    let mut setup = Setup::new(&[letter(b"A")]);
    let mut second = setup.config.backends[0].clone();
    second.name = "second".into();
    second.places = vec![1];
    second.servers[0].address = letter(b"B");
    setup.config.backends.push(second);
    setup
}

pub(crate) fn route(sni: &[&str], alpn: &[&str]) -> Route {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Route {
        backend: BackendIndex(1),
        sni: texts(sni),
        alpn: texts(alpn),
    }
}

/// A ClientHello as rustls makes it.
pub(crate) fn hello(name: &'static str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name).expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

fn answer(client: &mut TcpStream) -> u8 {
    let mut letter = [0];
    client.read_exact(&mut letter).expect("an answer");
    letter[0]
}

#[test]
fn clients_of_tls_are_routed_by_name_and_protocol() {
    let mut setup = two_backends();
    setup.listener().routes = vec![
        route(&["b.example.org", "*.b.example.org"], &[]),
        route(&[], &["acme-tls/1"]),
    ];
    let proxy = setup.start();
    for (name, alpn, expected) in [
        ("b.example.org", &[][..], b'B'),
        ("x.b.example.org", &[], b'B'),
        ("x.y.b.example.org", &[], b'A'),
        ("a.example.org", &[b"h2" as &[u8]], b'A'),
        ("a.example.org", &[b"h2" as &[u8], b"acme-tls/1"], b'B'),
    ] {
        let mut client = proxy.connect();
        client.write_all(&hello(name, alpn)).expect("write");
        assert_eq!(answer(&mut client), expected, "{name}");
    }
    assert_eq!(proxy.listener().not_tls.get(), 0);
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_routed_and_arrives_whole() {
    let (address, socket) = accepting_server();
    let mut setup = two_backends();
    setup.config.backends[1].servers[0].address = address;
    setup.listener().routes = vec![route(&["b.example.org"], &[])];
    let proxy = setup.start();
    let hello = hello("b.example.org", &[]);
    let mut client = proxy.connect();
    for byte in &hello {
        client.write_all(&[*byte]).expect("write");
    }
    client.write_all(b"and more").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut got = Vec::new();
    accept(&socket).read_to_end(&mut got).expect("all of it");
    assert_eq!(got, [&hello[..], b"and more"].concat());
}

#[test]
fn what_is_not_tls_gets_the_default_backend_and_is_counted() {
    let mut setup = two_backends();
    setup.listener().routes = vec![route(&["b.example.org"], &[])];
    let proxy = setup.start();
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
    assert_eq!(answer(&mut client), b'A');
    assert_eq!(proxy.listener().not_tls.get(), 1);
    // Its FIN before anything was said.
    let mut client = proxy.connect();
    client.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(answer(&mut client), b'A');
}

#[test]
fn who_says_nothing_gets_the_default_backend_in_time() {
    let mut setup = two_backends();
    setup.listener().routes = vec![route(&["b.example.org"], &[])];
    setup.listener().hello_timeout = Duration::from_millis(150);
    let proxy = setup.start();
    let start = Instant::now();
    assert_eq!(answer(&mut proxy.connect()), b'A');
    assert!(start.elapsed() >= Duration::from_millis(150));
    assert_eq!(proxy.listener().hello_timeouts.get(), 1);
}

fn trusting(version: ProxyVersions) -> Setup {
    let mut setup = two_backends();
    setup.listener().accept_proxy = Some(AcceptProxy {
        from: vec![net("127.0.0.1/32")],
        version,
        timeout: Duration::from_millis(300),
    });
    setup
}

#[test]
fn a_header_is_taken_off_and_what_it_says_is_passed_on() {
    let (address, socket) = accepting_server();
    let mut setup = trusting(ProxyVersions::Any);
    setup.backend().servers[0].address = address;
    setup.backend().send_proxy = Some(SendProxy::V1);
    let proxy = setup.start();
    let mut client = proxy.connect();
    client
        .write_all(b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\npayload")
        .expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut got = String::new();
    accept(&socket).read_to_string(&mut got).expect("text");
    assert_eq!(
        got,
        "PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\npayload"
    );
}

#[test]
fn what_is_heard_before_a_server_is_chosen_counts_as_relayed() {
    let (address, socket) = accepting_server();
    let mut setup = trusting(ProxyVersions::V1);
    setup.backend().servers[0].address = address;
    setup.backend().send_proxy = Some(SendProxy::V1);
    setup.listener().routes = vec![route(&["b.example.org"], &[])];
    let proxy = setup.start();
    let header = b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n";
    let hello = hello("a.example.org", &[]);
    let mut client = proxy.connect();
    client
        .write_all(&[&header[..], &hello].concat())
        .expect("write");
    let mut server = accept(&socket);
    let mut got = vec![0; header.len() + hello.len()];
    server.read_exact(&mut got).expect("header and hello");
    let bytes_of_sessions = || -> Vec<(u64, u64)> {
        let listed = crate::runtime::sessions(&proxy).into_iter();
        listed.map(|one| (one.bytes_in, one.bytes_out)).collect()
    };
    let heard = hello.len() as u64;
    // Neither the header that was received nor the one that was sent.
    eventually("the hello is counted", || {
        bytes_of_sessions() == [(heard, 0)] && proxy.listener().bytes_in.get() == heard
    });
    client.write_all(b"and more").expect("write");
    server.read_exact(&mut [0; 8]).expect("more");
    eventually("what is relayed is added", || {
        bytes_of_sessions() == [(heard + 8, 0)] && proxy.listener().bytes_in.get() == heard + 8
    });
}

#[test]
fn bad_late_and_cut_headers_end_the_connection() {
    let proxy = trusting(ProxyVersions::V2).start();
    let mut none = proxy.connect();
    none.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
    expect_reset(&mut none);
    let mut wrong = proxy.connect();
    wrong
        .write_all(b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n")
        .expect("write");
    expect_reset(&mut wrong);
    let mut late = proxy.connect();
    late.write_all(V2_SIGNATURE).expect("write");
    let start = Instant::now();
    expect_reset(&mut late);
    assert!(start.elapsed() >= Duration::from_millis(290));
    let mut cut = proxy.connect();
    cut.write_all(V2_SIGNATURE).expect("write");
    cut.shutdown(Shutdown::Write).expect("shutdown");
    expect_reset(&mut cut);
    eventually("all are counted", || {
        proxy.listener().bad_headers.get() == 4
    });
    assert_eq!(proxy.board.servers[0].connected.get(), 0);
}

#[test]
fn who_is_not_trusted_is_a_client_whatever_it_sends() {
    let (address, socket) = accepting_server();
    let mut setup = trusting(ProxyVersions::Any);
    setup.backend().servers[0].address = address;
    let proxy = setup.start();
    let claim = b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n";
    let mut liar = connect_from(std::net::Ipv4Addr::new(127, 0, 0, 66), proxy.address);
    liar.write_all(claim).expect("write");
    liar.shutdown(Shutdown::Write).expect("shutdown");
    let mut got = Vec::new();
    accept(&socket).read_to_end(&mut got).expect("its bytes");
    assert_eq!(got, claim);
}

/// The addresses in a header of version 2 for TCP over IPv4, and what follows them.
fn taken_apart(header: &[u8]) -> ([SocketAddr; 2], &[u8]) {
    assert_eq!(&header[..12], V2_SIGNATURE);
    assert_eq!(&header[12..14], [0x21, 0x11], "PROXY, TCP4");
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    let block = &header[16..16 + length];
    let ip = |at: usize| <[u8; 4]>::try_from(&block[at..at + 4]).expect("four");
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let ends = [(ip(0), port(8)), (ip(4), port(10))].map(SocketAddr::from);
    (ends, &header[16 + 12..])
}

#[test]
fn version_2_tells_addresses_name_protocol_and_identity() {
    let (address, socket) = accepting_server();
    let mut setup = two_backends();
    setup.listener().routes = vec![route(&["b.example.org"], &[])];
    let backend = &mut setup.config.backends[1];
    backend.servers[0].address = address;
    backend.send_proxy = Some(SendProxy::V2(SendTlvs {
        alpn: true,
        authority: true,
        crc32c: true,
        ssl: false,
        unique_id: true,
    }));
    let proxy = setup.start();
    let hello = hello("b.example.org", &[b"h2", b"http/1.1"]);
    let mut identities = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.connect();
        client.write_all(&hello).expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        let mut got = Vec::new();
        accept(&socket).read_to_end(&mut got).expect("all of it");
        let (ends, rest) = taken_apart(&got);
        assert_eq!(ends, [client.local_addr().expect("own"), proxy.address]);
        let (tlvs, payload) = rest.split_at(rest.len() - hello.len());
        assert_eq!(payload, hello);
        let mut entries = std::collections::BTreeMap::new();
        let mut left = tlvs;
        while let [kind, high, low, after @ ..] = left {
            let (value, next) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            entries.insert(*kind, value.to_vec());
            left = next;
        }
        assert_eq!(entries[&0x01], b"h2");
        assert_eq!(entries[&0x02], b"b.example.org");
        assert_eq!(entries[&0x03].len(), 4);
        identities.push(entries[&0x05].clone());
    }
    assert_ne!(identities[0], identities[1]);
}

#[test]
fn probes_introduce_themselves_where_a_header_is_expected() {
    for (send, expected) in [
        (SendProxy::V1, &b"PROXY TCP4 127.0.0.1 127.0.0.1 "[..]),
        (
            SendProxy::V2(SendTlvs::default()),
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        ),
    ] {
        let (address, socket) = accepting_server();
        let mut setup = Setup::new(&[address]);
        setup.backend().send_proxy = Some(send);
        let each = Duration::from_millis(50);
        setup.probe(probe_each(each, common::config::ProbeKind::Tcp));
        let proxy = setup.start();
        let mut got = vec![0; expected.len()];
        accept(&socket).read_exact(&mut got).expect("a header");
        assert_eq!(got, expected);
        drop(proxy);
    }
}

#[test]
fn a_hello_without_an_end_gets_the_default_backend_once_it_is_too_long() {
    let mut setup = two_backends();
    setup.listener().routes = vec![route(&["b.example.org"], &[])];
    setup.listener().hello_timeout = Duration::from_secs(60);
    let proxy = setup.start();
    let mut client = proxy.connect();
    // Records of 1 KiB, of a message that says of itself that it has 16 MiB.
    let record = |content: &[u8]| [&[22, 3, 1, 4, 0][..], content].concat();
    let mut first = vec![0; 1_024];
    first[..4].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    client.write_all(&record(&first)).expect("write");
    for _ in 0..40 {
        // The server may have hung up already.
        drop(client.write_all(&record(&[0; 1_024])));
    }
    assert_eq!(answer(&mut client), b'A');
}
