//! TLS that the proxy itself speaks.

use std::path::PathBuf;
use std::time::Duration;

use super::ClientCertificate;

/// TLS that a listener ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one. The first one is also for clients that ask for a name that none has.
    pub certificates: Vec<CertificateFiles>,
    /// Clients that ask for no name of a certificate are refused.
    pub strict_sni: bool,
    /// `None` = clients are not asked for a certificate.
    pub clients: Option<ClientCheck>,
    pub versions: TlsVersions,
    /// Protocols of ALPN, the best one first; empty = none is agreed on.
    pub alpn: Vec<String>,
    /// Whether sessions may be resumed, default true.
    pub resumption: bool,
    /// Limit of the whole handshake, default 5 s.
    pub handshake_timeout: Duration,
}

/// How certificates of clients are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCheck {
    /// Certificates that those of clients are checked against.
    pub ca_file: PathBuf,
    /// Lists of certificates that count no more.
    pub crl_file: Option<PathBuf>,
    /// Whether a client without a certificate is refused, default true.
    pub required: bool,
}

impl ClientCheck {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.ca_file).chain(&self.crl_file)
    }
}

/// TLS towards the servers of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTls {
    /// The name that the servers are asked for and that their certificates must have, in lower case;
    /// `None` = their addresses.
    pub server_name: Option<String>,
    /// Certificates that the servers' are checked against; `None` = they are not checked.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and its key (PEM).
    pub client: Option<ClientCertificate>,
    pub versions: TlsVersions,
    /// Protocols of ALPN that are offered, the best one first.
    pub alpn: Vec<String>,
    /// Whether sessions may be resumed, default true.
    pub resumption: bool,
}

impl BackendTls {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let client = self.client.iter();
        self.ca_file
            .iter()
            .chain(client.flat_map(|client| [&client.cert_file, &client.key_file]))
    }
}

/// Files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those that lead to its authority.
    pub cert_file: PathBuf,
    /// May be the same file.
    pub key_file: PathBuf,
}

/// Versions from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersions {
    pub min: TlsVersion,
    pub max: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl TlsVersion {
    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

impl TlsVersions {
    /// Whether a version is one of them.
    pub fn contains(self, version: TlsVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl ListenerTls {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let shown = self.certificates.iter().flat_map(CertificateFiles::each);
        shown.chain(self.clients.iter().flat_map(ClientCheck::files))
    }
}

impl From<&ClientCertificate> for CertificateFiles {
    fn from(client: &ClientCertificate) -> Self {
        Self {
            cert_file: client.cert_file.clone(),
            key_file: client.key_file.clone(),
        }
    }
}

impl CertificateFiles {
    /// One file or two.
    pub fn each(&self) -> impl Iterator<Item = &PathBuf> {
        let key = (self.key_file != self.cert_file).then_some(&self.key_file);
        std::iter::once(&self.cert_file).chain(key)
    }
}
