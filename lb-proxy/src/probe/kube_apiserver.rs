//! `GET /readyz` over TLS, as a kube-apiserver is asked for its readiness.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use common::board::ProbeStatus;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{failed, words};
use crate::health::Verdict;
use crate::readyz::{Credentials, Input, MAX_ANSWER, Progress, judge, parse};

/// How one API server is asked.
pub(super) struct Readyz {
    connector: TlsConnector,
    name: ServerName<'static>,
    request: String,
    credentials: Credentials,
}

impl Readyz {
    /// `certificate_shown`: the TLS settings have a client certificate.
    pub(super) fn new(
        tls: Arc<ClientConfig>,
        certificate_shown: bool,
        address: SocketAddr,
    ) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            connector: TlsConnector::from(tls),
            name: ServerName::IpAddress(address.ip().into()),
            request: format!(
                "GET /readyz HTTP/1.1\r\nHost: {address}\r\nUser-Agent: fmc-lb/{version}\r\n\
                 Accept: text/plain, */*\r\nConnection: close\r\n\r\n"
            ),
            credentials: if certificate_shown {
                Credentials::Shown
            } else {
                Credentials::None
            },
        }
    }

    /// Asks over a connection that was just made.
    pub(super) async fn ask(&self, stream: TcpStream, deadline: Instant) -> Verdict {
        let handshake = self.connector.connect(self.name.clone(), stream);
        let mut stream = match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failed(ProbeStatus::L6Rsp, words(&error)),
            Err(_) => return failed(ProbeStatus::L6Tout, "no TLS handshake in time"),
        };
        let verdict = self.exchange(&mut stream, deadline).await;
        // In order, so that the server has nothing to log; whether it works out changes nothing.
        let closed = timeout_at(deadline, stream.shutdown()).await;
        tracing::trace!(?closed, "probe connection closed");
        verdict
    }

    async fn exchange(&self, stream: &mut TlsStream<TcpStream>, deadline: Instant) -> Verdict {
        match timeout_at(deadline, stream.write_all(self.request.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return failed(ProbeStatus::L7Rsp, words(&error)),
            Err(_) => return failed(ProbeStatus::L7Tout, "the request was not taken in time"),
        }
        let mut answer = Vec::with_capacity(4 * 1024);
        loop {
            let input = match timeout_at(deadline, read_more(stream, &mut answer)).await {
                Ok(Ok(input)) => input,
                Ok(Err(error)) => return failed(ProbeStatus::L7Rsp, words(&error)),
                // "Not ready" counts even if its reasons come too slowly.
                Err(_) => match parse(&answer, Input::Ended) {
                    Progress::Answer(answer) => return judge(&answer, self.credentials),
                    Progress::NeedMore | Progress::Malformed(_) => {
                        return failed(ProbeStatus::L7Tout, "no answer in time");
                    }
                },
            };
            match parse(&answer, input) {
                Progress::NeedMore => {}
                Progress::Answer(answer) => return judge(&answer, self.credentials),
                Progress::Malformed(words) => return failed(ProbeStatus::L7Rsp, words),
            }
        }
    }
}

/// Reads what there is; at most [`MAX_ANSWER`] bytes over all reads.
async fn read_more(stream: &mut TlsStream<TcpStream>, answer: &mut Vec<u8>) -> io::Result<Input> {
    let room = MAX_ANSWER.saturating_sub(answer.len());
    if room == 0 {
        return Ok(Input::Ended);
    }
    match stream.take(room as u64).read_buf(answer).await {
        Ok(0) => Ok(Input::Ended),
        Ok(_) => Ok(Input::Open),
        // Closed without TLS's close_notify: the answer's own framing says whether it is whole.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Input::Ended),
        Err(error) => Err(error),
    }
}
