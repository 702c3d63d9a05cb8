//! A server that speaks real TLS with a certificate of the test's choice.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::CertificateParams;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::apiserver::Authority;
use crate::harness::server;

/// TLS over a connection whose bytes leave one by one.
pub(crate) type Tls = StreamOwned<ServerConnection, Trickle>;

/// Writes a byte at a time.
pub(crate) struct Trickle(TcpStream);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Trickle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes.get(..1).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether clients have to show a certificate.
pub(crate) enum Clients<'a> {
    Anybody,
    Of(&'a Authority),
}

/// Settings with a certificate of `authority`.
pub(crate) fn settings(
    authority: &Authority,
    params: CertificateParams,
    clients: &Clients<'_>,
) -> ServerConfig {
    let (certificate, key) = authority.sign_as(params);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    // Who shows no certificate is told so within the handshake only before TLS 1.3.
    let builder = match clients {
        Clients::Anybody => builder
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth(),
        Clients::Of(authority) => {
            let roots = Arc::new(authority.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder
                .with_protocol_versions(&[&rustls::version::TLS12])
                .expect("versions")
                .with_client_cert_verifier(verifier.build().expect("verifier"))
        }
    };
    let chain = vec![certificate.der().clone()];
    builder.with_single_cert(chain, key).expect("a pair")
}

/// A certificate for `name`.
pub(crate) fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a name")
}

/// A server that gives each connection, after its handshake, to `talk`.
pub(crate) fn tls_server(
    settings: ServerConfig,
    talk: impl Fn(&mut Tls) + Send + Sync + 'static,
) -> SocketAddr {
    let settings = Arc::new(settings);
    server(move |stream| {
        stream.set_nodelay(true).expect("nodelay");
        let connection = ServerConnection::new(Arc::clone(&settings)).expect("settings");
        let mut stream = StreamOwned::new(connection, Trickle(stream));
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        talk(&mut stream);
    })
}
