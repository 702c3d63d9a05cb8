//! Hellos that rustls makes.

use std::sync::Arc;

use rustls::pki_types::ServerName as Target;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

fn config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has these versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

pub(super) fn hello_bytes(config: ClientConfig, target: &str) -> Vec<u8> {
    let target = Target::try_from(target.to_owned()).expect("a server name");
    let mut client = ClientConnection::new(Arc::new(config), target).expect("a client");
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("a Vec takes all");
    }
    bytes
}

pub(super) fn with_everything() -> Vec<u8> {
    let mut config = config(&BOTH);
    config.alpn_protocols = vec![b"h2".to_vec(), b"acme-tls/1".to_vec()];
    hello_bytes(config, "k3s.Example.org")
}

#[test]
fn name_and_protocols_are_read() {
    let bytes = with_everything();
    let hello = hello(&bytes);
    assert_eq!(hello.server_name, name("k3s.example.org"));
    assert_eq!(hello.server_name.as_dns(), Some("k3s.example.org"));
    assert_eq!(protocols(&hello), [&b"h2"[..], b"acme-tls/1"]);
    assert!(hello.alpn.offers(b"acme-tls/1"));
    assert!(!hello.alpn.offers(b"acme-tls"));
}

#[test]
fn without_name_and_protocols_there_are_none() {
    let mut silent = config(&BOTH);
    silent.enable_sni = false;
    for bytes in [
        hello_bytes(silent, "k3s.example.org"),
        hello_bytes(config(&BOTH), "192.0.2.1"),
        hello_bytes(config(&BOTH), "2001:db8::1"),
    ] {
        let hello = hello(&bytes);
        assert_eq!(hello.server_name, ServerName::Absent);
        assert_eq!(hello.server_name.as_dns(), None);
        assert_eq!(hello.alpn.iter().count(), 0);
        assert_eq!(protocols(&hello).len(), 0);
    }
}

#[test]
fn hellos_find_their_routes() -> Result<(), PatternError> {
    let routes = ServerNames::new([("*.example.org", "any"), ("k3s.example.org", "k3s")])?;
    for (target, route) in [
        ("K3S.example.org", Some(&"k3s")),
        ("web.example.org", Some(&"any")),
        ("a.web.example.org", None),
        ("192.0.2.1", None),
    ] {
        let hello = hello(&hello_bytes(config(&BOTH), target));
        let name = hello.server_name.as_dns();
        assert_eq!(name.and_then(|name| routes.route(name)), route, "{target}");
    }
    Ok(())
}

#[test]
fn a_client_of_tls_1_2_is_read_too() {
    let bytes = hello_bytes(config(&[&rustls::version::TLS12]), "a.example.org");
    assert_eq!(hello(&bytes).server_name, name("a.example.org"));
}

#[test]
fn rustls_in_small_records_is_read() {
    for size in [32, 33, 64, 100, 150] {
        let mut config = config(&BOTH);
        config.max_fragment_size = Some(size);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let bytes = hello_bytes(config, "small.example.org");
        let first = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        assert!(first < size && bytes.len() > first + 5, "one record only");
        let hello = hello(&bytes);
        assert_eq!(hello.server_name, name("small.example.org"));
        assert!(hello.alpn.offers(b"h2"));
    }
}
