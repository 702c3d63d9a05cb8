//! Checks of servers.

use std::path::PathBuf;
use std::time::Duration;

/// A periodic check of each server of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub kind: ProbeKind,
    /// Time between the starts of two probes of a server, default 2 s.
    pub interval: Duration,
    /// Limit of one probe, at most the interval; default the smaller of the interval and 2 s.
    pub timeout: Duration,
    /// Good probes in a row that bring a server up, default 2.
    pub rise: u32,
    /// Bad probes in a row that take a server down, default 3.
    pub fall: u32,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// A TCP connection can be made.
    Tcp,
    /// TLS and `GET /readyz`, judged as a kube-apiserver answers.
    KubeApiserver {
        /// Certificates that the server's is checked against; `None` = it is not checked.
        ca_file: Option<PathBuf>,
        /// Client certificate and its key (PEM).
        client: Option<ClientCertificate>,
    },
}

/// Files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}
