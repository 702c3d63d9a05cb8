//! What a session whose TLS ends here keeps in memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::peer::*;
use crate::harness::*;
use crate::process::Part;

const SERVER: &str = "FMC_LB_TEST_TLS_SERVER";

#[test]
#[ignore = "a part of the test below, which starts it"]
fn proxy_part() {
    let server = std::env::var(SERVER).expect("started by another test only");
    let setup = TlsSetup::new(&[server.parse().expect("an address")]);
    let authority: Vec<String> = setup.authority.der().iter().map(u8::to_string).collect();
    let (proxy, _) = setup.start();
    println!("authority {}", authority.join(","));
    println!("listens at {}", proxy.address);
    // Until the test that started us is gone.
    let mut end = Vec::new();
    std::io::stdin().read_to_end(&mut end).expect("stdin");
}

/// Where the part listens, and what its clients trust.
fn said_by(part: &mut Part) -> (SocketAddr, CertificateDer<'static>) {
    let mut lines = BufReader::new(part.child.stdout.take().expect("piped")).lines();
    let mut after = |what: &str| {
        let mut lines = lines.by_ref().map_while(Result::ok);
        let found = lines.find_map(|line| Some(line.split_once(what)?.1.to_owned()));
        found.expect("the part says it")
    };
    let authority = after("authority ");
    let bytes = authority
        .split(',')
        .map(|byte| byte.parse().expect("a byte"));
    let authority = CertificateDer::from(bytes.collect::<Vec<u8>>());
    (after("listens at ").parse().expect("an address"), authority)
}

#[test]
fn a_session_whose_tls_ends_here_is_bounded_in_memory() {
    const SESSIONS: u64 = 300;
    let (address, socket) = accepting_server();
    let mut part = Part::start("tls::memory::proxy_part", (SERVER, &address.to_string()));
    let (proxy, authority) = said_by(&mut part);
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let session = || {
        let name = ServerName::try_from(NAME).expect("a name");
        let tls = ClientConnection::new(Arc::clone(&config), name).expect("settings");
        let mut client = rustls::StreamOwned::new(tls, connect(proxy));
        client.write_all(&[1; 4_096]).expect("write");
        let mut server = accept(&socket);
        server.read_exact(&mut [0; 4_096]).expect("read");
        server.write_all(&[2; 4_096]).expect("write");
        client.read_exact(&mut [0; 4_096]).expect("read");
        (client, server)
    };
    let mut sessions = vec![session()];
    let before = part.resident_bytes();
    sessions.extend((0..SESSIONS).map(|_| session()));
    let each = part.resident_bytes().saturating_sub(before) / SESSIONS;
    println!("{each} bytes of user memory for each idle session whose TLS ends here");
    assert!(each < 16_000, "{each} bytes");
}
