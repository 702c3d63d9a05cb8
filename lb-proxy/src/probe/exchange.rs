//! One question and its answer over a connection.

use std::io;

use common::board::ProbeStatus;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::{failed, words};
use crate::health::Verdict;
use crate::http_answer::Input;

/// What both a TCP connection and one with TLS are.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Sends the question and reads until `judge` knows what the answer means, at most `most` bytes. It
/// has to know when nothing more will come; that the time is up is known here.
pub(super) async fn exchange(
    stream: &mut impl Stream,
    (question, most): (&[u8], usize),
    deadline: Instant,
    judge: impl Fn(&[u8], Input) -> Option<Verdict>,
) -> Verdict {
    if let Err(verdict) = send(stream, question, deadline).await {
        return verdict;
    }
    let mut answer = Vec::with_capacity(most.min(4 * 1024));
    loop {
        let input = match timeout_at(deadline, read_more(stream, &mut answer, most)).await {
            Ok(Ok(input)) => input,
            Ok(Err(error)) => return failed(ProbeStatus::L7Rsp, words(&error)),
            Err(_) => Input::Late,
        };
        match (judge(&answer, input), input) {
            (Some(verdict), _) => return verdict,
            (None, Input::Open) => {}
            (None, Input::Late) => return failed(ProbeStatus::L7Tout, "no answer in time"),
            (None, Input::Ended) => return failed(ProbeStatus::L7Rsp, "answer is incomplete"),
        }
    }
}

/// Sends all of it.
pub(super) async fn send(
    stream: &mut impl Stream,
    bytes: &[u8],
    deadline: Instant,
) -> Result<(), Verdict> {
    let sending = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match timeout_at(deadline, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(ProbeStatus::L7Rsp, words(&error))),
        Err(_) => Err(failed(
            ProbeStatus::L7Tout,
            "what was sent was not taken in time",
        )),
    }
}

/// Reads what there is; at most `most` bytes over all reads.
pub(super) async fn read_more(
    stream: &mut impl Stream,
    read: &mut Vec<u8>,
    most: usize,
) -> io::Result<Input> {
    let room = most.saturating_sub(read.len());
    if room == 0 {
        return Ok(Input::Ended);
    }
    match stream.take(room as u64).read_buf(read).await {
        Ok(0) => Ok(Input::Ended),
        Ok(_) => Ok(Input::Open),
        // Closed without TLS's close_notify: the answer's own framing says whether it is whole.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Input::Ended),
        Err(error) => Err(error),
    }
}
