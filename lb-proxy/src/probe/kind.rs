//! The kinds of probes: what a probe does with a connection.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use std::net::SocketAddr;
use std::sync::Arc;

use common::board::ProbeStatus;
use common::config::{HttpProbe, ProbeKind, SendExpect};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::handshake::TlsClient;
use super::http::Http;
use super::kube_apiserver::Readyz;
use super::send_expect::Dialogue;
use super::tls::TlsClients;
use crate::finding::Finding;
use crate::health::Verdict;
use crate::http_check::HttpCheck;
use crate::tls::client::Clients;

/// How one server is asked.
pub(super) enum Kind {
    Tcp,
    Tls(TlsClient),
    Http(Http),
    Readyz(Readyz),
    Dialogue(Dialogue),
}

/// How the servers of a backend are asked.
pub(super) enum Recipe {
    Tcp,
    Tls(TlsClients),
    Http(Box<HttpProbe>, Option<TlsClients>),
    Readyz(TlsClients),
    Dialogue(Box<SendExpect>, Option<TlsClients>),
    /// Not over a connection of ours.
    External,
}

impl Recipe {
    /// `clients` speak the TLS of a probe that wants it.
    pub(super) fn new(kind: &ProbeKind, clients: Option<&Arc<Clients>>) -> Self {
        let clients = |tls| {
            let clients = clients.expect("each probe that speaks TLS has its own");
            TlsClients::new(tls, Arc::clone(clients))
        };
        match kind {
            ProbeKind::Tcp => Self::Tcp,
            ProbeKind::Tls(tls) => Self::Tls(clients(tls)),
            ProbeKind::Http(probe) => {
                Self::Http(Box::new(probe.clone()), probe.tls.as_ref().map(clients))
            }
            ProbeKind::KubeApiserver(tls) => Self::Readyz(clients(tls)),
            ProbeKind::External(_) => Self::External,
            ProbeKind::SendExpect(dialogue) => Self::Dialogue(
                Box::new(dialogue.clone()),
                dialogue.tls.as_ref().map(clients),
            ),
        }
    }

    /// For the server whose probes go to this address; `None` = we do not ask it ourselves.
    pub(super) fn kind_for(&self, address: SocketAddr) -> Option<Kind> {
        Some(match self {
            Self::External => return None,
            Self::Tcp => Kind::Tcp,
            Self::Tls(clients) => Kind::Tls(TlsClient::new(clients, address)),
            Self::Http(probe, clients) => Kind::Http(Http {
                tls: clients
                    .as_ref()
                    .map(|clients| TlsClient::new(clients, address)),
                check: HttpCheck::new(probe, address),
            }),
            Self::Readyz(clients) => {
                Kind::Readyz(Readyz::new(TlsClient::new(clients, address), address))
            }
            Self::Dialogue(dialogue, clients) => Kind::Dialogue(Dialogue {
                tls: clients
                    .as_ref()
                    .map(|clients| TlsClient::new(clients, address)),
                steps: dialogue.steps.clone(),
            }),
        })
    }
}

impl Kind {
    /// Asks over a connection that was just made.
    pub(super) async fn ask(&self, stream: TcpStream, deadline: Instant) -> Verdict {
        match self {
            Self::Tcp => Verdict::Good(Finding::new(ProbeStatus::L4Ok, "connected")),
            Self::Tls(client) => client.ask(stream, deadline).await,
            Self::Http(http) => http.ask(stream, deadline).await,
            Self::Readyz(readyz) => readyz.ask(stream, deadline).await,
            Self::Dialogue(dialogue) => dialogue.hold(stream, deadline).await,
        }
    }

    /// When the certificate expires that the server has shown last, in seconds since 1970.
    pub(super) fn certificate_not_after(&self) -> Option<u64> {
        let client = match self {
            Self::Tcp => None,
            Self::Tls(client) => Some(client),
            Self::Http(http) => http.tls.as_ref(),
            Self::Readyz(readyz) => Some(&readyz.tls),
            Self::Dialogue(dialogue) => dialogue.tls.as_ref(),
        };
        client?.certificate.not_after()
    }
}
