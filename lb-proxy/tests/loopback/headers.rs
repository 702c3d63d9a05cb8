//! PROXY headers over real sockets, in all the pieces in which they may come.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use common::config::{AcceptProxy, ProxyVersions, SendProxy, SendTlvs};

use crate::harness::*;

const V1: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n";
/// The same, with an empty TLV of no meaning (PP2_TYPE_NOOP).
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc6\x33\x64\x07\xcb\x00\x71\x09\x12\x67\x01\xbb\x04\0\0";
const PAYLOAD: &[u8] = b"\r\nPROXY payload";

fn proxy() -> (RunningProxy, TcpListener) {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().accept_proxy = Some(AcceptProxy {
        from: vec![net("127.0.0.0/8")],
        version: ProxyVersions::Any,
        timeout: Duration::from_secs(3),
    });
    setup.backend().send_proxy = Some(SendProxy::V1);
    (setup.start(), socket)
}

#[test]
fn a_header_cut_at_every_byte_is_understood_and_the_payload_arrives_whole() {
    let (proxy, socket) = proxy();
    for header in [V1, V2] {
        let all = [header, PAYLOAD].concat();
        for cut in 1..=all.len() {
            let mut client = proxy.connect();
            client.set_nodelay(true).expect("each write a segment");
            for part in [&all[..cut], &all[cut..]] {
                client.write_all(part).expect("write");
            }
            client.shutdown(Shutdown::Write).expect("FIN");
            let mut got = Vec::new();
            accept(&socket).read_to_end(&mut got).expect("all of it");
            assert_eq!(got, [V1, PAYLOAD].concat(), "cut at {cut} of {header:?}");
        }
    }
    assert_eq!(proxy.listener().bad_headers.get(), 0);
}

#[test]
fn a_sender_that_stops_in_its_header_is_given_up_after_the_limit_and_not_before() {
    let (proxy, _socket) = proxy();
    for header in [V1, V2] {
        let mut client = proxy.connect();
        client.write_all(&header[..20]).expect("write");
        let began = std::time::Instant::now();
        expect_reset(&mut client);
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(2_900), "{waited:?}");
        assert!(waited < LIMIT, "{waited:?}");
    }
    eventually("both were counted", || {
        proxy.listener().bad_headers.get() == 2
    });
}

#[test]
fn the_identity_that_a_header_gave_a_session_is_passed_on() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().accept_proxy = Some(AcceptProxy {
        from: vec![net("127.0.0.0/8")],
        version: ProxyVersions::Any,
        timeout: Duration::from_secs(3),
    });
    setup.backend().send_proxy = Some(SendProxy::V2(SendTlvs {
        unique_id: true,
        ..SendTlvs::default()
    }));
    let proxy = setup.start();
    // PP2_TYPE_UNIQUE_ID.
    let identity = b"\x05\0\x04edge";
    let mut header = V2[..V2.len() - 3].to_vec();
    header[15] = 12 + 7;
    header.extend(identity);
    let mut client = proxy.connect();
    client.write_all(&header).expect("write");
    client.shutdown(Shutdown::Write).expect("FIN");
    let mut got = Vec::new();
    accept(&socket).read_to_end(&mut got).expect("all of it");
    assert!(got.ends_with(identity), "{got:?}");
}
