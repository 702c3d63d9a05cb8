//! What the session log says of connections whose TLS ends here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::config::LogFormat;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use super::peer::*;
use crate::harness::*;
use crate::session_log::Log;

fn logging(mut setup: TlsSetup, format: LogFormat) -> (RunningProxy, ClientConfig, Log) {
    let log = Log::of(&mut setup.setup, format);
    let (proxy, config) = setup.start();
    (proxy, config, log)
}

/// A session that is relayed: both ends.
fn relayed() -> (RunningProxy, Log, Client, TcpStream) {
    let (address, socket) = accepting_server();
    let (proxy, config, log) = logging(TlsSetup::new(&[address]), LogFormat::Json);
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    client.write_all(b"?").expect("write");
    server.read_exact(&mut [0]).expect("it is relayed");
    (proxy, log, client, server)
}

#[track_caller]
fn assert_ended(log: &Log, letters: &str, why: &str) -> Value {
    let line = log.json(1).remove(0);
    assert_eq!(line["termination"], letters, "{line}");
    let reason = line["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(why), "{line}");
    line
}

#[test]
fn a_session_has_the_name_that_was_agreed_on_and_the_bytes_within() {
    let (_proxy, log, mut client, server) = relayed();
    client.finish();
    drop(server);
    let line = assert_ended(&log, "--", "");
    assert_eq!(line["sni"], NAME);
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&1.into(), &0.into())
    );
    assert!(
        line["connect_ms"].is_u64() && line["source"].is_string(),
        "{line}"
    );
}

#[test]
fn a_listener_that_ends_tls_has_haproxys_mark_in_tcplog() {
    let (proxy, config, log) = logging(TlsSetup::new(&[echo_server()]), LogFormat::Tcplog);
    let mut client = Client::connect(&proxy, &config, NAME);
    client.ping();
    client.finish();
    client.read_to_end(&mut Vec::new()).expect("a whole stream");
    let line = log.lines(1).remove(0);
    assert!(line.contains("] api~ k3s-api/127.0.0.1:"), "{line}");
}

#[test]
fn the_side_that_cuts_a_stream_is_told() {
    let (_proxy, log, client, _server) = relayed();
    // FIN without close_notify.
    drop(client.socket);
    assert_ended(&log, "CD", "the connection to the client broke");
    let (_proxy, log, client, _server) = relayed();
    reset(client.socket);
    assert_ended(&log, "CD", "the connection to the client broke");
    let (_proxy, log, _client, server) = relayed();
    reset(server);
    assert_ended(&log, "SD", "the connection to the server broke");
}

#[test]
fn a_handshake_that_comes_to_nothing_is_a_line() {
    let (proxy, _, log) = logging(TlsSetup::new(&[echo_server()]), LogFormat::Json);
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
    let line = assert_ended(&log, "PR", "agreeing on TLS with the client");
    assert!(
        line["backend"].is_null() && line["server"].is_null(),
        "{line}"
    );

    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.tls().handshake_timeout = Duration::from_millis(100);
    let (proxy, _, log) = logging(setup, LogFormat::Json);
    let _silent = proxy.connect();
    assert_ended(&log, "cR", "timed out");

    let (proxy, _, log) = logging(TlsSetup::new(&[echo_server()]), LogFormat::Json);
    drop(proxy.connect());
    assert_ended(&log, "CR", "agreeing on TLS with the client");

    // One that does not trust our certificate says so.
    let stranger = TlsSetup::new(&[]);
    let config = client_config(&stranger.authority, &[&TLS12, &TLS13]);
    let (proxy, _, log) = logging(TlsSetup::new(&[echo_server()]), LogFormat::Json);
    assert!(Client::try_connect(&proxy, &config, NAME).is_err());
    assert_ended(&log, "CR", "agreeing on TLS with the client");
}

#[test]
fn a_server_whose_handshake_fails_is_a_failed_connection() {
    let mut setup = TlsSetup::new(&[server(drop)]);
    setup.setup.backend().retries = 0;
    setup.setup.backend().tls = Some(super::servers::unchecked());
    let (proxy, config, log) = logging(setup, LogFormat::Json);
    let mut client = Client::connect(&proxy, &config, NAME);
    let end = client.read(&mut [0]).map_err(|error| error.kind());
    assert!(end.is_err(), "{end:?}");
    let line = assert_ended(&log, "SC", "connecting to 127.0.0.1");
    assert_eq!(line["sni"], NAME);
}
