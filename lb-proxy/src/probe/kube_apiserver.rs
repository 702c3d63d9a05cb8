//! `GET /readyz` over TLS, as a kube-apiserver is asked for its readiness.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use std::io;
use std::net::SocketAddr;

use common::board::ProbeStatus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use super::handshake::{TlsClient, close};
use super::{failed, words};
use crate::health::Verdict;
use crate::readyz::{Credentials, Input, MAX_ANSWER, Progress, judge, parse};

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
        let verdict = self.exchange(&mut stream, deadline).await;
        close(stream, deadline).await;
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
