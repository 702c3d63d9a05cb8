//! Certificates and keys that are replaced while the proxy runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::board::ServerState;
use common::config::{ProbeKind, ProbeTls};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::HandshakeKind;
use rustls::client::Resumption;

use super::peer::*;
use crate::apiserver::Authority;
use crate::harness::*;
use crate::probe::{expect_state, quick, unverified};
use crate::secured::{Clients, named, settings, tls_server};

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files<const N: usize>(files: [(&str, Vec<u8>); N]) -> Files {
    let files = files.into_iter();
    files.map(|(path, text)| (path.into(), text)).collect()
}

/// Another certificate for [`NAME`], until the end of a year, with its own key.
fn renewed(authority: &Authority, last_year: i32) -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    params.not_after = date_time_ymd(last_year, 12, 31);
    let (certificate, key) = authority.sign_as(params);
    (certificate.pem().into(), key.serialize_pem().into())
}

/// The certificate that a client got.
fn shown(client: &Client) -> Vec<u8> {
    let certificates = client.tls.peer_certificates().expect("a certificate");
    certificates[0].to_vec()
}

#[test]
fn a_renewed_certificate_is_for_new_connections_and_leaves_old_ones_alone() {
    let setup = TlsSetup::new(&[echo_server()]);
    let (certificate, key) = renewed(&setup.authority, 2087);
    let (proxy, mut config) = setup.start();
    config.resumption = Resumption::disabled();
    let mut old = Client::connect(&proxy, &config, NAME);
    old.ping();
    // Agreed on before the change, and its first byte comes after it.
    let mut quiet = Client::connect(&proxy, &config, NAME);
    let before = shown(&old);

    let pair = files([("/0.crt", certificate), ("/0.key", key)]);
    proxy.control.replace_files(pair);
    let mut new = Client::connect(&proxy, &config, NAME);
    new.ping();
    assert_ne!(shown(&new), before);
    // 2087-12-31.
    let not_after = &proxy.board.certificates[0].not_after;
    assert_eq!(not_after.get(), 3_723_667_200);
    old.ping();
    quiet.ping();
    old.finish();
    eventually("the old session has ended in order", || {
        proxy.listener().sessions.get() == 2
    });
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn a_pair_that_does_not_fit_changes_nothing() {
    let mut setup = TlsSetup::new(&[echo_server()]);
    setup.certificate("b.example.org");
    let (certificate, key) = renewed(&setup.authority, 2087);
    let (other, _) = setup.authority.issue("b.example.org");
    let (proxy, mut config) = setup.start();
    config.resumption = Resumption::disabled();
    let before = ["a", "b"].map(|name| {
        let name = format!("{name}.example.org");
        shown(&Client::connect(&proxy, &config, &name))
    });
    let end = proxy.board.certificates[0].not_after.get();
    for bad in [
        files([("/0.crt", certificate.clone())]),
        files([
            ("/0.crt", certificate.clone()),
            ("/0.key", b"no key".into()),
        ]),
        // What is good beside it waits: files that are given together are used together.
        files([
            ("/0.crt", certificate.clone()),
            ("/0.key", key.clone()),
            ("/1.crt", other),
        ]),
    ] {
        proxy.control.replace_files(bad);
        for (name, before) in ["a", "b"].iter().zip(&before) {
            let name = format!("{name}.example.org");
            let mut client = Client::connect(&proxy, &config, &name);
            client.ping();
            assert_eq!(&shown(&client), before, "{name}");
        }
        assert_eq!(proxy.board.certificates[0].not_after.get(), end);
    }
    let good = files([("/0.crt", certificate), ("/0.key", key)]);
    proxy.control.replace_files(good);
    let client = Client::connect(&proxy, &config, NAME);
    assert_ne!(shown(&client), before[0]);
}

#[test]
fn sessions_of_an_earlier_certificate_are_resumed() {
    for versions in EACH {
        let setup = TlsSetup::new(&[echo_server()]);
        let (certificate, key) = renewed(&setup.authority, 2087);
        let mut config = client_config(&setup.authority, versions);
        config.resumption = Resumption::in_memory_sessions(8);
        let (proxy, _) = setup.start();
        Client::connect(&proxy, &config, NAME).ping();
        let pair = files([("/0.crt", certificate), ("/0.key", key)]);
        proxy.control.replace_files(pair);
        let mut client = Client::connect(&proxy, &config, NAME);
        client.ping();
        assert_eq!(client.tls.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_change_before_the_start_is_used() {
    let setup = TlsSetup::new(&[echo_server()]);
    let (certificate, key) = renewed(&setup.authority, 2087);
    let pair = files([("/0.crt", certificate), ("/0.key", key)]);
    let config = client_config(&setup.authority, EACH[1]);
    let proxy = setup
        .setup
        .start_after(|control| control.replace_files(pair));
    Client::connect(&proxy, &config, NAME).ping();
    let not_after = &proxy.board.certificates[0].not_after;
    assert_eq!(not_after.get(), 3_723_667_200);
}

#[test]
fn probes_check_against_the_authorities_of_the_moment() {
    let (old, new) = (Authority::new(), Authority::new());
    let settings = settings(&new, named("127.0.0.1"), &Clients::Anybody);
    let address = tls_server(settings, |_| {});
    let mut setup = Setup::new(&[address]);
    setup.files = files([("/ca", old.pem())]);
    setup.probe(quick(ProbeKind::Tls(ProbeTls {
        ca_file: Some("/ca".into()),
        ..unverified()
    })));
    let proxy = setup.start();
    let unknown = "L6RSP: invalid peer certificate";
    expect_state(&proxy, 0, (ServerState::Down, unknown));
    proxy.control.replace_files(files([("/ca", new.pem())]));
    let made = (ServerState::Up, "L6OK: TLS handshake made");
    expect_state(&proxy, 0, made);
    proxy.control.replace_files(files([("/ca", old.pem())]));
    expect_state(&proxy, 0, (ServerState::Down, unknown));
}
