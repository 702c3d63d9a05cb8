//! A question over HTTP/1, with TLS or without.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::exchange::{Stream, exchange};
use super::handshake::{TlsClient, close};
use crate::health::Verdict;
use crate::http_check::HttpCheck;

/// How one server is asked.
pub(super) struct Http {
    pub(super) tls: Option<TlsClient>,
    pub(super) check: HttpCheck,
}

impl Http {
    /// Asks over a connection that was just made.
    pub(super) async fn ask(&self, mut stream: TcpStream, deadline: Instant) -> Verdict {
        let Some(tls) = &self.tls else {
            return self.exchange(&mut stream, deadline).await;
        };
        let mut stream = match tls.handshake(stream, deadline).await {
            Ok(stream) => stream,
            Err(verdict) => return verdict,
        };
        let verdict = self.exchange(&mut stream, deadline).await;
        close(stream, deadline).await;
        verdict
    }

    async fn exchange(&self, stream: &mut impl Stream, deadline: Instant) -> Verdict {
        let question = (self.check.request.as_slice(), self.check.most);
        exchange(stream, question, deadline, |bytes, input| {
            self.check.verdict(bytes, input)
        })
        .await
    }
}
