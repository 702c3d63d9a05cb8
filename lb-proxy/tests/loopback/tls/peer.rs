//! Clients of TLS, and listeners that end it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::board::TlsSlot;
use common::config::{CertificateFiles, ListenerTls, TlsVersion, TlsVersions};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::apiserver::Authority;
use crate::harness::*;

/// The name of the first certificate.
pub(crate) const NAME: &str = "a.example.org";
/// Both versions, each alone.
pub(crate) const EACH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

/// A setup whose listener ends TLS, and the authority of its certificates.
pub(crate) struct TlsSetup {
    pub(crate) setup: Setup,
    pub(crate) authority: Authority,
}

impl TlsSetup {
    /// With a certificate for [`NAME`].
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let mut this = Self {
            setup: Setup::new(servers),
            authority: Authority::new(),
        };
        this.setup.listener().tls = Some(ListenerTls {
            certificates: Vec::new(),
            strict_sni: false,
            clients: None,
            versions: TlsVersions {
                min: TlsVersion::V1_2,
                max: TlsVersion::V1_3,
            },
            alpn: Vec::new(),
            resumption: true,
            handshake_timeout: Duration::from_secs(5),
        });
        this.certificate(NAME);
        this
    }

    pub(crate) fn tls(&mut self) -> &mut ListenerTls {
        let tls = self.setup.listener().tls.as_mut();
        tls.expect("it ends TLS")
    }

    /// One more certificate, in two files.
    pub(crate) fn certificate(&mut self, name: &str) {
        let (certificate, key) = self.authority.issue(name);
        let number = self.tls().certificates.len();
        let files = CertificateFiles {
            cert_file: format!("/{number}.crt").into(),
            key_file: format!("/{number}.key").into(),
        };
        let contents = [(&files.cert_file, certificate), (&files.key_file, key)];
        let contents = contents.map(|(path, content)| (PathBuf::clone(path), content));
        self.setup.files.extend(contents);
        self.tls().certificates.push(files);
    }

    /// The proxy, and the settings of its clients.
    pub(crate) fn start(self) -> (RunningProxy, ClientConfig) {
        let clients = client_config(&self.authority, &[&TLS12, &TLS13]);
        (self.setup.start(), clients)
    }
}

/// A client that trusts the authority.
pub(crate) fn client_config(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let certificate = CertificateDer::from_pem_slice(&authority.pem()).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("an authority");
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// One end of a TLS connection over a blocking socket.
pub(crate) struct Client {
    pub(crate) tls: ClientConnection,
    pub(crate) socket: TcpStream,
}

impl Client {
    /// A client that has agreed with the proxy on TLS.
    pub(crate) fn connect(proxy: &RunningProxy, config: &ClientConfig, name: &str) -> Self {
        Self::try_connect(proxy, config, name).expect("a handshake")
    }

    pub(crate) fn try_connect(
        proxy: &RunningProxy,
        config: &ClientConfig,
        name: &str,
    ) -> io::Result<Self> {
        let mut this = Self::begin(proxy, config, name);
        while this.tls.is_handshaking() {
            this.tls.complete_io(&mut this.socket)?;
        }
        Ok(this)
    }

    /// A client that has said nothing yet.
    pub(crate) fn begin(proxy: &RunningProxy, config: &ClientConfig, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(Arc::new(config.clone()), name).expect("settings");
        let socket = proxy.connect();
        socket.set_nodelay(true).expect("nodelay");
        Self { tls, socket }
    }

    /// Says that nothing follows: close_notify, FIN.
    pub(crate) fn finish(&mut self) {
        self.tls.send_close_notify();
        self.flush().expect("close_notify");
        self.socket.shutdown(Shutdown::Write).expect("FIN");
    }

    /// Echo of a byte.
    pub(crate) fn ping(&mut self) {
        self.write_all(b"?").expect("write");
        let mut byte = [0];
        self.read_exact(&mut byte).expect("the echo of a ping");
        assert_eq!(&byte, b"?");
    }
}

impl Read for Client {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.tls, &mut self.socket).read(buf)
    }
}

impl Write for Client {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.tls, &mut self.socket).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        rustls::Stream::new(&mut self.tls, &mut self.socket).flush()
    }
}

/// What the listener has counted.
pub(crate) fn counted(proxy: &RunningProxy) -> &TlsSlot {
    &proxy.listener().tls
}
