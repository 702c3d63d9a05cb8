//! A server that answers `GET /readyz` over real TLS, well or badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::server;

/// What the server does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Mode {
    /// Answers with this status line and body.
    Answers(&'static str, &'static str),
    /// 200 to a client certificate, 401 without.
    AsksForCertificate,
    /// "Not ready" whose body never ends.
    Endless,
    /// Bytes that are not HTTP.
    Garbage,
    /// One byte of a good answer each 50 ms.
    Slow,
    /// Takes the request and is silent.
    Hangs,
    /// Takes the connection and is silent.
    HangsInHandshake,
    /// Speaks, but not TLS.
    SpeaksPlainly,
    /// Closes at once.
    Closes,
    /// Not a probe's business: echoes without TLS, as a server for relayed sessions.
    Echoes,
}

/// A fake API server; its mode may be changed at any time.
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
}

impl ApiServer {
    pub(crate) fn new(authority: &Authority, mode: Mode) -> Self {
        let tls = Arc::new(authority.server_config());
        let mode = Arc::new(Mutex::new(mode));
        let shared = Arc::clone(&mode);
        let address = server(move |stream| {
            let mode = shared.lock().expect("mode").clone();
            answer(stream, &tls, &mode);
        });
        Self { address, mode }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().expect("mode") = mode;
    }
}

fn answer(mut stream: TcpStream, tls: &Arc<ServerConfig>, mode: &Mode) {
    match mode {
        Mode::HangsInHandshake => return wait_for_end(&mut stream),
        Mode::SpeaksPlainly => {
            let _probe_is_gone = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            return wait_for_end(&mut stream);
        }
        Mode::Closes => return,
        Mode::Echoes => {
            let mut buffer = [0; 1_024];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
            return;
        }
        Mode::Answers(..)
        | Mode::AsksForCertificate
        | Mode::Endless
        | Mode::Garbage
        | Mode::Slow
        | Mode::Hangs => {}
    }
    let connection = ServerConnection::new(Arc::clone(tls)).expect("server settings");
    let mut stream = StreamOwned::new(connection, stream);
    if let Some(request) = read_request(&mut stream) {
        assert!(
            request.starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
        // The probe may be gone by now, which is its right.
        let _probe_is_gone = speak(&mut stream, mode);
    }
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

fn read_request(stream: &mut Tls) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    String::from_utf8(request).ok()
}

fn speak(stream: &mut Tls, mode: &Mode) -> std::io::Result<()> {
    match mode {
        Mode::Answers(status, body) => send(stream, status, body),
        Mode::AsksForCertificate if stream.conn.peer_certificates().is_some() => {
            send(stream, "200 OK", "ok")
        }
        Mode::AsksForCertificate => send(stream, "401 Unauthorized", "{}"),
        Mode::Endless => {
            stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")?;
            loop {
                stream.write_all(b"[-]etcd failed: reason withheld\n")?;
            }
        }
        Mode::Garbage => stream.write_all(&[0xff; 3_000]),
        Mode::Slow => b"HTTP/1.1 200 OK\r\n\r\nok".iter().try_for_each(|byte| {
            stream.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_millis(50));
            Ok(())
        }),
        Mode::Hangs => {
            wait_for_end(stream);
            Ok(())
        }
        Mode::HangsInHandshake | Mode::SpeaksPlainly | Mode::Closes | Mode::Echoes => Ok(()),
    }
}

fn send(stream: &mut Tls, status: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn wait_for_end(stream: &mut impl Read) {
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// A certificate authority for a test.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::called("test authority")
    }

    pub(crate) fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("self-signed");
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.certificate.pem().into_bytes()
    }

    /// Certificate and key for `name`, as PEM.
    pub(crate) fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let (certificate, key) = self.sign(name);
        (
            certificate.pem().into_bytes(),
            key.serialize_pem().into_bytes(),
        )
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign_as(params)
    }

    pub(crate) fn sign_as(&self, params: CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate, key)
    }

    /// Who signs.
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// The roots that trust it.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate.der().clone())
            .expect("authority");
        roots
    }

    fn server_config(&self) -> ServerConfig {
        let (certificate, key) = self.sign("127.0.0.1");
        let roots = Arc::new(self.roots());
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .expect("verifier");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("certificate and key")
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}
