//! The TLS handshake of a probe, and what is learned from it.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use std::net::SocketAddr;
use std::sync::Arc;

use common::board::ProbeStatus;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::Certificate;
use super::tls::TlsClients;
use super::{failed, words};
use crate::finding::Finding;
use crate::health::Verdict;

/// TLS to one server.
pub(super) struct TlsClient {
    clients: TlsClients,
    name: ServerName<'static>,
    /// It has a client certificate.
    pub(super) shows_certificate: bool,
    pub(super) certificate: Arc<Certificate>,
}

impl TlsClient {
    pub(super) fn new(clients: &TlsClients, address: SocketAddr) -> Self {
        let certificate = Arc::new(Certificate::default());
        let of_address = || ServerName::IpAddress(address.ip().into());
        Self {
            name: clients.server_name().unwrap_or_else(of_address),
            shows_certificate: clients.show_certificate(),
            clients: clients.clone(),
            certificate,
        }
    }

    /// Speaks TLS over a connection that was just made.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<TlsStream<TcpStream>, Verdict> {
        let connector = TlsConnector::from(self.clients.that_note(&self.certificate));
        let handshake = connector.connect(self.name.clone(), stream);
        match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(failed(ProbeStatus::L6Rsp, words(&error))),
            Err(_) => Err(failed(ProbeStatus::L6Tout, "no TLS handshake in time")),
        }
    }

    /// A probe that wants nothing more than the handshake.
    pub(super) async fn ask(&self, stream: TcpStream, deadline: Instant) -> Verdict {
        let stream = match self.handshake(stream, deadline).await {
            Ok(stream) => stream,
            Err(verdict) => return verdict,
        };
        close(stream, deadline).await;
        Verdict::Good(Finding::new(ProbeStatus::L6Ok, "TLS handshake made"))
    }
}

/// Ends a connection in order, so that the server has nothing to log; whether it works out changes
/// nothing.
pub(super) async fn close(mut stream: TlsStream<TcpStream>, deadline: Instant) {
    use tokio::io::AsyncWriteExt;
    let closed = timeout_at(deadline, stream.shutdown()).await;
    tracing::trace!(?closed, "probe connection closed");
}

#[cfg(test)]
mod tests {
    use common::dns_name;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What the configuration takes for a host name, TLS takes for one.
        #[test]
        fn tls_knows_every_name_of_a_configuration(name in "(0x)?[a-zA-Z0-9_-]{0,4}(\\.[a-zA-Z0-9_x-]{1,4}){0,3}\\.?") {
            if let Ok(name) = dns_name::normalize(name.as_bytes()) {
                prop_assert!(ServerName::try_from(name.clone()).is_ok(), "{}", name);
            }
        }
    }
}
