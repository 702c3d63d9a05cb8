//! TLS towards the servers: from a plain listener, and from one that ends TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::board::{TlsFailure, TlsHandshake, TlsSlot};
use common::config::{BackendTls, ClientCertificate, SendProxy, TlsVersion, TlsVersions};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, StreamOwned};

use super::peer::*;
use crate::apiserver::Authority;
use crate::harness::*;
use crate::opening::{hello, route};
use crate::secured::{Clients, named, settings};

type Served = StreamOwned<ServerConnection, TcpStream>;

const CA: &str = "/servers-ca";

fn tls() -> BackendTls {
    BackendTls {
        server_name: None,
        ca_file: Some(CA.into()),
        client: None,
        versions: TlsVersions {
            min: TlsVersion::V1_2,
            max: TlsVersion::V1_3,
        },
        alpn: Vec::new(),
        resumption: true,
    }
}

/// TLS that takes any server.
pub(super) fn unchecked() -> BackendTls {
    BackendTls {
        ca_file: None,
        ..tls()
    }
}

/// A server that speaks TLS, and gives each connection that has agreed on it to `talk`.
fn serving(config: ServerConfig, talk: impl Fn(Served) + Send + Sync + 'static) -> SocketAddr {
    let config = Arc::new(config);
    server(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("settings");
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        talk(stream);
    })
}

/// Echoes until close_notify, and answers that with its own.
fn echo(mut stream: Served) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            stream.conn.send_close_notify();
            let _client_is_gone = stream.flush();
            return;
        }
        if stream
            .write_all(&buffer[..n])
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

fn echo_of(authority: &Authority, params: CertificateParams) -> SocketAddr {
    serving(settings(authority, params, &Clients::Anybody), echo)
}

/// A plain listener before servers that speak TLS.
fn plain(authority: &Authority, servers: &[SocketAddr], tls: BackendTls) -> Setup {
    let mut setup = Setup::new(servers);
    setup.files.insert(CA.into(), authority.pem());
    setup.backend().tls = Some(tls);
    setup.backend().retries = 0;
    setup
}

fn towards(proxy: &RunningProxy) -> &TlsSlot {
    &proxy.board.server_tls[0]
}

#[test]
fn a_plain_client_reaches_a_server_that_speaks_tls() {
    let authority = Authority::new();
    let address = echo_of(&authority, named("127.0.0.1"));
    let proxy = plain(&authority, &[address], tls()).start();
    // One that speaks first, and one that waits to be spoken to.
    let mut client = proxy.connect();
    ping(&mut client);
    client.write_all(&[7; 300_000]).expect("write");
    client.shutdown(Shutdown::Write).expect("FIN");
    assert_eq!(read_to_end(&mut client).expect("FIN"), 300_000);
    assert_eq!(towards(&proxy).handshake(TlsHandshake::Full13).get(), 1);
    eventually("it has ended", || proxy.listener().sessions.get() == 0);
    eventually("what is inside is counted", || {
        proxy.listener().bytes_in.get() == 300_001 && proxy.listener().bytes_out.get() == 300_001
    });
    assert_eq!(proxy.listener().aborted.get(), 0);
    assert_eq!(proxy.board.servers[0].connected.get(), 1);
}

#[test]
fn a_route_to_servers_without_tls_passes_it_through() {
    let authority = Authority::new();
    let secured = echo_of(&authority, named("127.0.0.1"));
    let mut setup = plain(&authority, &[secured], tls());
    let config = &mut setup.config;
    let mut second = config.backends[0].clone();
    second.name = "second".into();
    second.places = vec![1];
    second.servers[0].address = echo_server();
    second.tls = None;
    config.backends.push(second);
    setup.listener().routes = vec![route(&["b.example.org"], &[])];
    let proxy = setup.start();
    // To the default backend in TLS: what is no ClientHello, and one for another name.
    let other = hello("a.example.org", &[]);
    let routed = hello("b.example.org", &[]);
    for first in [b"\x01no ClientHello".to_vec(), other, routed] {
        let mut client = proxy.connect();
        let sent = [first, vec![9; 1_000_000]].concat();
        let mut writer = client.try_clone().expect("a second handle");
        let bytes = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&bytes).expect("write");
            writer.shutdown(Shutdown::Write).expect("FIN");
        });
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("the echo, and FIN");
        writing.join().expect("it was written");
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    }
    assert_eq!(proxy.board.servers[0].connected.get(), 2);
    assert_eq!(proxy.board.servers[1].connected.get(), 1);
    let handshakes = |how: &TlsHandshake| towards(&proxy).handshake(*how).get();
    assert_eq!(TlsHandshake::ALL.iter().map(handshakes).sum::<u64>(), 2);
    eventually("all have ended", || proxy.listener().sessions.get() == 0);
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn a_session_is_encrypted_on_both_sides() {
    let mut setup = TlsSetup::new(&[]);
    let address = echo_of(&setup.authority, named("app.example.org"));
    setup.setup.config.backends[0].servers =
        Setup::new(&[address]).config.backends[0].servers.clone();
    setup.setup.config.backends[0].places = vec![0];
    setup.setup.files.insert(CA.into(), setup.authority.pem());
    setup.setup.backend().tls = Some(BackendTls {
        server_name: Some("app.example.org".to_owned()),
        ..tls()
    });
    let (proxy, config) = setup.start();
    let mut client = Client::connect(&proxy, &config, NAME);
    client.ping();
    let mut old = Client::connect(&proxy, &config, NAME);
    old.ping();
    client.finish();
    let mut rest = Vec::new();
    // Without close_notify this is an error.
    client.read_to_end(&mut rest).expect("close_notify");
    assert!(rest.is_empty());
    let slot = towards(&proxy);
    assert_eq!(slot.handshake(TlsHandshake::Full13).get(), 1);
    assert_eq!(slot.handshake(TlsHandshake::Resumed13).get(), 1);
    old.ping();
}

/// A client of a backend whose handshake fails: it is reset, and this is why.
#[track_caller]
fn expect_failure(setup: Setup, why: TlsFailure) {
    let proxy = setup.start();
    expect_refusal(&proxy);
    eventually("it is counted", || proxy.listener().failed.get() == 1);
    let failures = |why: &TlsFailure| (why.word(), towards(&proxy).failure(*why).get());
    let counted: Vec<_> = TlsFailure::ALL.iter().map(failures).collect();
    let expected = |one: &TlsFailure| (one.word(), u64::from(*one == why));
    let expected: Vec<_> = TlsFailure::ALL.iter().map(expected).collect();
    assert_eq!(counted, expected);
    assert_eq!(proxy.board.servers[0].connect_errors.get(), 1);
    assert_eq!(proxy.board.servers[0].connected.get(), 0);
}

#[test]
fn chain_name_and_date_of_a_server_are_checked() {
    let (authority, other) = (Authority::new(), Authority::called("another"));
    let of = |params| plain(&authority, &[echo_of(&authority, params)], tls());
    expect_failure(of(named("app.example.org")), TlsFailure::WrongName);
    let mut expired = named("127.0.0.1");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    expect_failure(of(expired), TlsFailure::ExpiredCertificate);
    let foreign = echo_of(&other, named("127.0.0.1"));
    let foreign = plain(&authority, &[foreign], tls());
    expect_failure(foreign, TlsFailure::UnknownAuthority);
    expect_failure(
        plain(&authority, &[echo_server()], tls()),
        TlsFailure::Misbehaved,
    );
    let greets = server(|mut stream| {
        let _client_is_gone = stream.write_all(b"220 mail.example.org ESMTP\r\n");
        let _end = read_to_end(&mut stream);
    });
    expect_failure(plain(&authority, &[greets], tls()), TlsFailure::NotTls);
    expect_failure(plain(&authority, &[server(drop)], tls()), TlsFailure::Gone);
}

#[test]
fn without_verification_any_certificate_will_do() {
    let (authority, other) = (Authority::new(), Authority::called("another"));
    let address = echo_of(&other, named("app.example.org"));
    let proxy = plain(&authority, &[address], unchecked()).start();
    ping(&mut proxy.connect());
}

#[test]
fn a_server_whose_handshake_fails_is_left_for_another_one() {
    let authority = Authority::new();
    let bad = echo_of(&authority, named("app.example.org"));
    let good = echo_of(&authority, named("127.0.0.1"));
    let mut setup = plain(&authority, &[bad, good], tls());
    setup.backend().retries = 1;
    let proxy = setup.start();
    for _ in 0..4 {
        ping(&mut proxy.connect());
    }
    assert_eq!(proxy.board.servers[0].connect_errors.get(), 2);
    assert_eq!(proxy.board.servers[1].connected.get(), 4);
    assert_eq!(proxy.listener().failed.get(), 0);
}

#[test]
fn a_silent_server_has_the_time_to_connect_and_no_more() {
    let authority = Authority::new();
    let silent = server(|mut stream| {
        let _end = read_to_end(&mut stream);
    });
    let mut setup = plain(&authority, &[silent], tls());
    setup.backend().connect_timeout = Duration::from_millis(300);
    expect_failure(setup, TlsFailure::Timeout);
}

#[test]
fn versions_and_protocols_are_agreed_on() {
    let authority = Authority::new();
    let agreed = |version: TlsVersion, offered: &[&str]| {
        let mut config = settings(&authority, named("127.0.0.1"), &Clients::Anybody);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let address = serving(config, |mut stream| {
            let version = match stream.conn.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => b'2',
                _ => b'3',
            };
            let protocol = stream.conn.alpn_protocol().unwrap_or(b"none").to_vec();
            let said = [&[version], protocol.as_slice()].concat();
            let _client_is_gone = stream.write_all(&said);
            stream.conn.send_close_notify();
            let _client_is_gone = stream.flush();
        });
        let versions = TlsVersions {
            min: version,
            max: version,
        };
        let alpn = offered.iter().map(|name| (*name).to_owned()).collect();
        let proxy = plain(
            &authority,
            &[address],
            BackendTls {
                versions,
                alpn,
                ..tls()
            },
        )
        .start();
        let mut said = String::new();
        let mut client = proxy.connect();
        client.read_to_string(&mut said).expect("text, and FIN");
        said
    };
    assert_eq!(agreed(TlsVersion::V1_2, &[]), "2none");
    assert_eq!(agreed(TlsVersion::V1_3, &["http/1.1"]), "3http/1.1");
}

#[test]
fn a_server_is_offered_what_the_client_has_agreed_on() {
    let mut setup = TlsSetup::new(&[]);
    let mut config = settings(&setup.authority, named("127.0.0.1"), &Clients::Anybody);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let address = serving(config, |mut stream| {
        let protocol = stream.conn.alpn_protocol().unwrap_or(b"none").to_vec();
        let _client_is_gone = stream.write_all(&protocol);
        stream.conn.send_close_notify();
        let _client_is_gone = stream.flush();
    });
    setup.setup.config.backends[0].servers =
        Setup::new(&[address]).config.backends[0].servers.clone();
    setup.setup.config.backends[0].places = vec![0];
    setup.setup.files.insert(CA.into(), setup.authority.pem());
    let both = vec!["h2".to_owned(), "http/1.1".to_owned()];
    setup.setup.backend().tls = Some(BackendTls {
        alpn: both.clone(),
        ..tls()
    });
    setup.tls().alpn = both;
    let (proxy, config) = setup.start();
    for (offered, expected) in [
        (&[b"http/1.1".to_vec()][..], "http/1.1"),
        (&[b"h2".to_vec()], "h2"),
        (&[], "none"),
    ] {
        let mut config = config.clone();
        config.alpn_protocols = offered.to_vec();
        let mut said = String::new();
        let mut client = Client::connect(&proxy, &config, NAME);
        client.read_to_string(&mut said).expect("text");
        assert_eq!(said, expected);
    }
}

#[test]
fn a_client_certificate_is_shown_to_servers_that_ask() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let of_clients = Clients::Of(&clients);
    let serve = || serving(settings(&authority, named("127.0.0.1"), &of_clients), echo);
    let mut setup = plain(
        &authority,
        &[serve()],
        BackendTls {
            client: Some(ClientCertificate {
                cert_file: "/client.crt".into(),
                key_file: "/client.key".into(),
            }),
            ..tls()
        },
    );
    let (certificate, key) = clients.issue("fmc-lb");
    setup.files.insert("/client.crt".into(), certificate);
    setup.files.insert("/client.key".into(), key);
    ping(&mut setup.start().connect());
    // Before TLS 1.3 its lack is told within the handshake.
    let without = plain(&authority, &[serve()], tls());
    expect_failure(without, TlsFailure::Refused);
}

#[test]
fn a_stream_that_a_server_cuts_is_reset() {
    let authority = Authority::new();
    let cut = |how: fn(TcpStream)| {
        let config = settings(&authority, named("127.0.0.1"), &Clients::Anybody);
        let address = serving(config, move |mut stream| {
            stream.write_all(b"half of it").expect("write");
            stream.flush().expect("flush");
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the client has it");
            let (_, socket) = stream.into_parts();
            how(socket);
        });
        let proxy = plain(&authority, &[address], tls()).start();
        let mut client = proxy.connect();
        let mut got = [0; 10];
        client.read_exact(&mut got).expect("what came before");
        client.write_all(b"!").expect("write");
        expect_reset(&mut client);
        eventually("it has ended", || proxy.listener().sessions.get() == 0);
        let slot = proxy.listener();
        (slot.tls.truncated.get(), slot.aborted.get())
    };
    // FIN without close_notify; RST.
    assert_eq!(cut(drop), (1, 0));
    assert_eq!(cut(reset), (0, 1));
}

#[test]
fn a_proxy_header_goes_before_tls() {
    let authority = Authority::new();
    let config = Arc::new(settings(&authority, named("127.0.0.1"), &Clients::Anybody));
    let address = server(move |mut stream| {
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a header");
            header.push(byte[0]);
        }
        let connection = ServerConnection::new(Arc::clone(&config)).expect("settings");
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(&header).expect("write");
        stream.conn.send_close_notify();
        stream.flush().expect("flush");
    });
    let mut setup = plain(&authority, &[address], tls());
    setup.backend().send_proxy = Some(SendProxy::V1);
    let proxy = setup.start();
    let mut client = proxy.connect();
    let own = client.local_addr().expect("bound").port();
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the header");
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {own} {}\r\n",
        proxy.address.port()
    );
    assert_eq!(said, expected);
}

#[test]
fn changed_authorities_hold_for_new_sessions_and_nothing_older_is_resumed() {
    let (old, new) = (Authority::new(), Authority::called("another"));
    let address = echo_of(&new, named("127.0.0.1"));
    let proxy = plain(&old, &[address], tls()).start();
    expect_refusal(&proxy);
    let give = |authority: &Authority| {
        let files = [(CA.into(), authority.pem())];
        proxy.control.replace_files(files.into());
    };
    give(&new);
    let mut kept = proxy.connect();
    ping(&mut kept);
    ping(&mut proxy.connect());
    assert_eq!(towards(&proxy).handshake(TlsHandshake::Resumed13).get(), 1);
    give(&old);
    expect_refusal(&proxy);
    ping(&mut kept);
    let failed = towards(&proxy).failure(TlsFailure::UnknownAuthority);
    assert_eq!(failed.get(), 2);
}

#[test]
fn resumption_can_be_switched_off() {
    let authority = Authority::new();
    let address = echo_of(&authority, named("127.0.0.1"));
    let off = BackendTls {
        resumption: false,
        ..tls()
    };
    let proxy = plain(&authority, &[address], off).start();
    for _ in 0..3 {
        ping(&mut proxy.connect());
    }
    assert_eq!(towards(&proxy).handshake(TlsHandshake::Full13).get(), 3);
}

#[test]
fn clients_that_are_gone_leave_no_server_behind() {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    let authority = Authority::new();
    let silent = server(|mut stream| {
        OPEN.fetch_add(1, Ordering::Relaxed);
        let end = read_to_end(&mut stream).map_err(|error| error.kind());
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
        OPEN.fetch_sub(1, Ordering::Relaxed);
    });
    let proxy = plain(&authority, &[silent], tls()).start();
    let client = proxy.connect();
    eventually("a server has it", || OPEN.load(Ordering::Relaxed) == 1);
    reset(client);
    eventually("it is reset", || OPEN.load(Ordering::Relaxed) == 0);
    eventually("it has ended", || proxy.listener().sessions.get() == 0);
    assert_eq!(proxy.board.servers[0].connect_errors.get(), 0);
}
