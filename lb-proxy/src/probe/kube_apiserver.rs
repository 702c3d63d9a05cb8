//! `GET /readyz` over TLS, as a kube-apiserver is asked for its readiness.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::exchange::exchange;
use super::handshake::{TlsClient, close};
use crate::health::Verdict;
use crate::readyz::{self, Credentials, MAX_ANSWER};

/// How one API server is asked.
pub(super) struct Readyz {
    pub(super) tls: TlsClient,
    request: String,
    credentials: Credentials,
}

impl Readyz {
    pub(super) fn new(tls: TlsClient, address: SocketAddr) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            request: format!(
                "GET /readyz HTTP/1.1\r\nHost: {address}\r\nUser-Agent: fmc-lb/{version}\r\n\
                 Accept: text/plain, */*\r\nConnection: close\r\n\r\n"
            ),
            credentials: if tls.shows_certificate {
                Credentials::Shown
            } else {
                Credentials::None
            },
            tls,
        }
    }

    /// Asks over a connection that was just made.
    pub(super) async fn ask(&self, stream: TcpStream, deadline: Instant) -> Verdict {
        let mut stream = match self.tls.handshake(stream, deadline).await {
            Ok(stream) => stream,
            Err(verdict) => return verdict,
        };
        let question = (self.request.as_bytes(), MAX_ANSWER);
        let verdict = exchange(&mut stream, question, deadline, |bytes, input| {
            readyz::verdict(bytes, input, self.credentials)
        })
        .await;
        close(stream, deadline).await;
        verdict
    }
}
