//! Certificates of clients: who is let in, and what others are told of them.

use std::io::{Read, Write};
use std::path::PathBuf;

use common::board::{TlsFailure, TlsHandshake};
use common::config::{AcceptProxy, ClientCheck, LogFormat, ProxyVersions, SendProxy, SendTlvs};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, KeyIdMethod, RevocationReason,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

use super::peer::*;
use crate::apiserver::Authority;
use crate::harness::*;
use crate::session_log::Log;

const CA: &str = "/clients-ca";
const CRL: &str = "/clients-crl";

/// A listener that asks clients for a certificate of an authority of their own.
struct Asking {
    tls: TlsSetup,
    clients: Authority,
}

impl Asking {
    fn new(servers: &[std::net::SocketAddr], required: bool) -> Self {
        let mut tls = TlsSetup::new(servers);
        let clients = Authority::new();
        tls.setup.files.insert(CA.into(), clients.pem());
        tls.tls().clients = Some(ClientCheck {
            ca_file: CA.into(),
            crl_file: None,
            required,
        });
        Self { tls, clients }
    }

    fn with_crl(mut self, revoked: &[u64]) -> Self {
        let list = crl(&self.clients, revoked);
        self.tls.setup.files.insert(CRL.into(), list);
        let check = self.tls.tls().clients.as_mut();
        check.expect("it asks").crl_file = Some(CRL.into());
        self
    }

    /// Clients of one version that show this certificate.
    fn showing(
        &self,
        version: &[&'static SupportedProtocolVersion],
        shown: &(Vec<u8>, Vec<u8>),
    ) -> ClientConfig {
        let mut config = client_config(&self.tls.authority, version);
        let certificate = CertificateDer::from_pem_slice(&shown.0).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(&shown.1).expect("PEM");
        let provider = config.crypto_provider();
        let key = provider.key_provider.load_private_key(key).expect("a key");
        let own = rustls::sign::CertifiedKey::new(vec![certificate], key);
        config.client_auth_cert_resolver =
            std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(own));
        config.resumption = Resumption::disabled();
        config
    }
}

/// A client certificate with this number.
fn certificate(authority: &Authority, name: &str, serial: u64) -> (Vec<u8>, Vec<u8>) {
    let params = params(name, serial);
    let (certificate, key) = authority.sign_as(params);
    (certificate.pem().into(), key.serialize_pem().into())
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

/// The authority's list of revoked certificates.
fn crl(authority: &Authority, revoked: &[u64]) -> Vec<u8> {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        // Long ago: that is not asked.
        next_update: date_time_ymd(2024, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(authority.issuer()).expect("it signs");
    list.pem().expect("PEM").into_bytes()
}

/// Whether a client is served: in TLS 1.3 it hears of a refusal only behind its handshake.
fn is_served(proxy: &RunningProxy, config: &ClientConfig) -> bool {
    let talk = || {
        let mut client = Client::try_connect(proxy, config, NAME)?;
        client.write_all(b"?")?;
        client.read_exact(&mut [0])
    };
    talk().is_ok()
}

#[track_caller]
fn expect_refused(proxy: &RunningProxy, config: &ClientConfig, why: TlsFailure) {
    let before = counted(proxy).failure(why).get();
    assert!(!is_served(proxy, config), "{}", why.word());
    eventually(why.word(), || {
        counted(proxy).failure(why).get() == before + 1
    });
}

#[test]
fn only_clients_with_a_good_certificate_are_served() {
    for version in EACH {
        let asking = Asking::new(&[echo_server()], true).with_crl(&[7]);
        let good = asking.showing(version, &certificate(&asking.clients, "good", 1));
        let revoked = asking.showing(version, &certificate(&asking.clients, "bad", 7));
        let foreign = asking.showing(
            version,
            &certificate(&Authority::called("another"), "good", 1),
        );
        let none = client_config(&asking.tls.authority, version);
        let mut old = params("old", 2);
        old.not_before = date_time_ymd(2020, 1, 1);
        old.not_after = date_time_ymd(2021, 1, 1);
        let (old, key) = asking.clients.sign_as(old);
        let old = (old.pem().into(), key.serialize_pem().into());
        let old = asking.showing(version, &old);
        let proxy = asking.tls.setup.start();
        assert!(is_served(&proxy, &good));
        expect_refused(&proxy, &none, TlsFailure::NoCertificate);
        expect_refused(&proxy, &foreign, TlsFailure::UnknownAuthority);
        expect_refused(&proxy, &old, TlsFailure::ExpiredCertificate);
        expect_refused(&proxy, &revoked, TlsFailure::RevokedCertificate);
        assert_eq!(proxy.board.servers[0].connected.get(), 1);
    }
}

#[test]
fn where_a_certificate_is_optional_a_bad_one_is_refused() {
    let asking = Asking::new(&[echo_server()], false);
    let good = asking.showing(EACH[1], &certificate(&asking.clients, "good", 1));
    let foreign = asking.showing(
        EACH[1],
        &certificate(&Authority::called("another"), "good", 1),
    );
    let none = client_config(&asking.tls.authority, EACH[1]);
    let proxy = asking.tls.setup.start();
    assert!(is_served(&proxy, &good));
    assert!(is_served(&proxy, &none));
    expect_refused(&proxy, &foreign, TlsFailure::UnknownAuthority);
}

#[test]
fn whoever_is_revoked_while_the_proxy_runs_is_kept_out_also_with_a_ticket() {
    for version in EACH {
        let asking = Asking::new(&[echo_server()], true).with_crl(&[]);
        let mut client = asking.showing(version, &certificate(&asking.clients, "worker", 7));
        client.resumption = Resumption::in_memory_sessions(8);
        let (empty, list) = (crl(&asking.clients, &[]), crl(&asking.clients, &[7]));
        let proxy = asking.tls.setup.start();
        let give = |list: &[u8]| {
            let files = [(PathBuf::from(CRL), list.to_vec())];
            proxy.control.replace_files(files.into());
        };
        let mut kept = Client::connect(&proxy, &client, NAME);
        kept.ping();
        let mut resumed = Client::connect(&proxy, &client, NAME);
        resumed.ping();
        assert_eq!(resumed.tls.handshake_kind(), Some(HandshakeKind::Resumed));
        give(&list);
        expect_refused(&proxy, &client, TlsFailure::RevokedCertificate);
        kept.ping();
        // What is no list changes nothing.
        give(b"no list");
        expect_refused(&proxy, &client, TlsFailure::RevokedCertificate);
        give(&empty);
        assert!(is_served(&proxy, &client));
    }
}

#[test]
fn a_renewed_server_certificate_leaves_tickets_of_clients_with_one() {
    let asking = Asking::new(&[echo_server()], true);
    let mut client = asking.showing(EACH[1], &certificate(&asking.clients, "worker", 7));
    client.resumption = Resumption::in_memory_sessions(8);
    let (cert, key) = asking.tls.authority.issue(NAME);
    let proxy = asking.tls.setup.start();
    assert!(is_served(&proxy, &client));
    let pair = [("/0.crt".into(), cert), ("/0.key".into(), key)];
    proxy.control.replace_files(pair.into());
    assert!(is_served(&proxy, &client));
    assert_eq!(counted(&proxy).handshake(TlsHandshake::Resumed13).get(), 1);
}

fn ssl() -> SendProxy {
    SendProxy::V2(SendTlvs {
        ssl: true,
        ..SendTlvs::default()
    })
}

/// A server that says back the value of the SSL entry in hexadecimal, or "none".
fn teller() -> std::net::SocketAddr {
    server(|mut stream| {
        let mut fixed = [0; 28];
        stream.read_exact(&mut fixed).expect("a header");
        let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]])) - 12;
        let mut tlvs = vec![0; rest];
        stream.read_exact(&mut tlvs).expect("TLVs");
        let value = tlvs.strip_prefix(&[0x20]).map(|tlv| tlv[2..].to_vec());
        let said = value.unwrap_or_else(|| b"none".to_vec());
        let _client_is_gone = stream.write_all(&said);
    })
}

fn text(kind: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("short");
    [&[kind, 0, length], text.as_bytes()].concat()
}

#[test]
fn servers_and_the_log_are_told_of_the_clients_tls() {
    let mut asking = Asking::new(&[teller()], false);
    asking.tls.setup.backend().send_proxy = Some(ssl());
    let log = Log::of(&mut asking.tls.setup, LogFormat::Json);
    let mut known = asking.showing(EACH[1], &certificate(&asking.clients, "worker 1", 1));
    known.resumption = Resumption::in_memory_sessions(8);
    let old = asking.showing(EACH[0], &certificate(&asking.clients, "worker 2", 2));
    let none = client_config(&asking.tls.authority, EACH[1]);
    let proxy = asking.tls.setup.start();
    let told = |config: &ClientConfig| {
        let mut client = Client::connect(&proxy, config, NAME);
        let mut said = Vec::new();
        client
            .read_to_end(&mut said)
            .expect("what the server was told");
        client.finish();
        said
    };
    let tls13 = text(0x21, "TLSv1.3");
    let cipher = text(0x23, "TLS_AES_256_GCM_SHA384");
    let name = text(0x22, "worker 1");
    // Flags: TLS, a certificate on this connection (2), in its session (4); 0 = it was verified.
    let full = [&[7, 0, 0, 0, 0], &tls13[..], &name, &cipher].concat();
    assert_eq!(told(&known), full);
    let resumed = [&[5, 0, 0, 0, 0], &tls13[..], &name, &cipher].concat();
    assert_eq!(told(&known), resumed);
    let anonymous = [&[1, 0, 0, 0, 1], &tls13[..], &cipher].concat();
    assert_eq!(told(&none), anonymous);
    let old_version = [
        &[7, 0, 0, 0, 0],
        &text(0x21, "TLSv1.2")[..],
        &text(0x22, "worker 2"),
        &text(0x23, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ]
    .concat();
    assert_eq!(told(&old), old_version);
    let lines = log.json(4);
    let names: Vec<_> = lines.iter().map(|line| &line["client_cn"]).collect();
    assert_eq!(
        names,
        ["worker 1", "worker 1", "", "worker 2"]
            .map(|name| match name {
                "" => serde_json::Value::Null,
                name => name.into(),
            })
            .iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_a_header_tells_of_the_clients_tls_is_passed_on() {
    let mut setup = Setup::new(&[teller()]);
    setup.backend().send_proxy = Some(ssl());
    setup.listener().accept_proxy = Some(AcceptProxy {
        from: vec![net("127.0.0.0/8")],
        version: ProxyVersions::Any,
        timeout: std::time::Duration::from_secs(3),
    });
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let value = [&[7, 0, 0, 0, 0], &text(0x22, "worker 1")[..]].concat();
    let length = u8::try_from(value.len()).expect("short");
    let tlv = [&[0x20, 0, length], &value[..]].concat();
    let addresses = [10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2];
    let rest = u8::try_from(addresses.len() + tlv.len()).expect("short");
    let header = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".as_slice(),
        &[rest],
        &addresses,
        &tlv,
    ]
    .concat();
    let mut client = proxy.connect();
    client.write_all(&header).expect("write");
    let mut said = Vec::new();
    client
        .read_to_end(&mut said)
        .expect("what the server was told");
    assert_eq!(said, value);
    drop(client);
    assert_eq!(log.json(1)[0]["client_cn"], "worker 1");
    // Without it nothing is made up.
    let bare = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &addresses].concat();
    let mut client = proxy.connect();
    client.write_all(&bare).expect("write");
    said.clear();
    client
        .read_to_end(&mut said)
        .expect("what the server was told");
    assert_eq!(said, b"none");
}
