//! A dialogue of sending and expecting, with TLS or without.
#![expect(clippy::disallowed_types, reason = "talks to a server")]

use common::board::ProbeStatus;
use common::config::{Step, StepAction};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::exchange::{Stream, read_more, send};
use super::handshake::{TlsClient, close};
use super::words;
use crate::finding::Finding;
use crate::health::Verdict;
use crate::http_answer::Input;
use crate::send_expect::{MAX_ANSWER, Place, judge};

/// The dialogue that one server is to hold.
pub(super) struct Dialogue {
    pub(super) tls: Option<TlsClient>,
    pub(super) steps: Vec<Step>,
}

impl Dialogue {
    /// Holds it over a connection that was just made.
    pub(super) async fn hold(&self, mut stream: TcpStream, deadline: Instant) -> Verdict {
        let Some(tls) = &self.tls else {
            return self.walk(&mut stream, deadline).await;
        };
        let mut stream = match tls.handshake(stream, deadline).await {
            Ok(stream) => stream,
            Err(verdict) => return verdict,
        };
        let verdict = self.walk(&mut stream, deadline).await;
        close(stream, deadline).await;
        verdict
    }

    async fn walk(&self, stream: &mut impl Stream, deadline: Instant) -> Verdict {
        let mut said = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let place = Place { index, step };
            let done = match &step.action {
                StepAction::Send(bytes) => {
                    said.clear();
                    send(stream, bytes, deadline)
                        .await
                        .map_err(|verdict| place.of_sending(verdict))
                }
                StepAction::Expect { .. } => expect(stream, &mut said, place, deadline).await,
            };
            if let Err(verdict) = done {
                return verdict;
            }
        }
        let words = format!("all {} steps done", self.steps.len());
        Verdict::Good(Finding::new(ProbeStatus::L7Ok, words))
    }
}

/// Reads until the step is done or has failed; what the steps before have read counts too.
async fn expect(
    stream: &mut impl Stream,
    said: &mut Vec<u8>,
    place: Place<'_>,
    deadline: Instant,
) -> Result<(), Verdict> {
    let mut input = Input::Open;
    loop {
        if let Some(verdict) = judge(place, said, input) {
            return verdict;
        }
        input = match timeout_at(deadline, read_more(stream, said, MAX_ANSWER)).await {
            Ok(Ok(input)) => input,
            Ok(Err(error)) => {
                return Err(place.failed(ProbeStatus::L7Rsp, &words(&error), said));
            }
            Err(_) => Input::Late,
        };
    }
}
