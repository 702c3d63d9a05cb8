//! The kinds of probes: what a probe does with a connection.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use std::net::SocketAddr;

use common::board::ProbeStatus;
use common::config::ProbeKind;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::handshake::TlsClient;
use super::kube_apiserver::Readyz;
use super::tls::{Files, TlsClients};
use crate::finding::Finding;
use crate::health::Verdict;
use crate::tls::files::TlsError;

/// The protocol of ALPN that is spoken.
const HTTP: &[&str] = &["http/1.1"];

/// How one server is asked.
pub(super) enum Kind {
    Tcp,
    Tls(TlsClient),
    Readyz(Readyz),
}

/// How the servers of a backend are asked.
pub(super) enum Recipe {
    Tcp,
    Tls(TlsClients),
    Readyz(TlsClients),
}

impl Recipe {
    /// # Errors
    ///
    /// The files of the probe are no certificates or keys.
    pub(super) fn new(kind: &ProbeKind, files: &Files) -> Result<Self, TlsError> {
        Ok(match kind {
            ProbeKind::Tcp => Self::Tcp,
            ProbeKind::Tls(tls) => Self::Tls(TlsClients::new(tls, &[], files)?),
            ProbeKind::KubeApiserver(tls) => Self::Readyz(TlsClients::new(tls, HTTP, files)?),
        })
    }

    /// For the server whose probes go to this address.
    pub(super) fn kind_for(&self, address: SocketAddr) -> Kind {
        match self {
            Self::Tcp => Kind::Tcp,
            Self::Tls(clients) => Kind::Tls(TlsClient::new(clients, address)),
            Self::Readyz(clients) => {
                Kind::Readyz(Readyz::new(TlsClient::new(clients, address), address))
            }
        }
    }
}

impl Kind {
    /// Asks over a connection that was just made.
    pub(super) async fn ask(&self, stream: TcpStream, deadline: Instant) -> Verdict {
        match self {
            Self::Tcp => Verdict::Good(Finding::new(ProbeStatus::L4Ok, "connected")),
            Self::Tls(client) => client.ask(stream, deadline).await,
            Self::Readyz(readyz) => readyz.ask(stream, deadline).await,
        }
    }

    /// When the certificate expires that the server has shown last, in seconds since 1970.
    pub(super) fn certificate_not_after(&self) -> Option<u64> {
        match self {
            Self::Tcp => None,
            Self::Tls(client) => client.certificate.not_after(),
            Self::Readyz(readyz) => readyz.tls.certificate.not_after(),
        }
    }
}
