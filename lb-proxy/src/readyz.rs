//! What a kube-apiserver's answer to `GET /readyz` means. Pure: bytes in, verdict out.
//!
//! Seen on a real one: ready is 200; not ready and shutting down are 500 (K3s says 503 while it
//! starts) with a line for each check, `[+]etcd ok`, `[-]shutdown failed: reason withheld`; without
//! credentials it is always 401 where anonymous requests are off.

use common::board::ProbeStatus;

use crate::finding::Finding;
use crate::health::Verdict;
use crate::http_answer::{Answer, Input, Progress, parse};

/// Most bytes of an answer that are read; the checks of a real server fill about 2 KiB.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;
/// A reason on the board has room for 128 bytes, with `L7OKC: ` in front.
const MAX_REASON: usize = 118;

/// Whether the probe shows a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    Shown,
    None,
}

/// What the bytes so far say of the server; `None` = more is needed.
pub(crate) fn verdict(bytes: &[u8], input: Input, credentials: Credentials) -> Option<Verdict> {
    match parse(bytes, input, tells_why) {
        Progress::NeedMore => None,
        // "Not ready" counts even if its reasons come too slowly.
        Progress::Answer(answer) => {
            (answer.is_whole || input != Input::Open).then(|| judge(&answer, credentials))
        }
        Progress::Malformed(words) => {
            Some(Verdict::Failed(Finding::new(ProbeStatus::L7Rsp, words)))
        }
    }
}

/// What an answer says of the server.
///
/// With a client certificate 401 and 403 are failures: that is what a server says whose
/// authorization is not in place yet while it starts. (So a certificate that has expired takes
/// every server out, which the reason says.)
fn judge(answer: &Answer, credentials: Credentials) -> Verdict {
    let status = answer.status;
    let found = |how, words: String| Finding::new(how, words).with_code(status);
    let (good, bad) = (ProbeStatus::L7Ok, ProbeStatus::L7Sts);
    let answers = format!("answers {status}");
    match (status, credentials) {
        (200, _) => Verdict::Good(found(good, answers)),
        (401 | 403, Credentials::None) => Verdict::Good(found(
            good,
            format!("{answers}: alive, readiness not visible"),
        )),
        (401 | 403, Credentials::Shown) => {
            Verdict::Failed(found(bad, format!("{answers} to the client certificate")))
        }
        _ if tells_why(status) => Verdict::NotReady(found(
            ProbeStatus::L7Okc,
            failed_checks(&answer.body).unwrap_or(answers),
        )),
        _ => Verdict::Failed(found(bad, answers)),
    }
}

/// "Not ready", with the checks that failed.
const fn tells_why(status: u16) -> bool {
    matches!(status, 500 | 503)
}

/// The `[-]` lines of the body, cut to what a reason has room for.
fn failed_checks(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let mut reason = String::new();
    for line in text.lines().filter(|line| line.starts_with("[-]")) {
        if !reason.is_empty() {
            reason.push_str("; ");
        }
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        reason.extend(line.trim_end().chars().map(printable));
        if reason.len() > MAX_REASON {
            let end = (0..=MAX_REASON)
                .rev()
                .find(|at| reason.is_char_boundary(*at));
            reason.truncate(end.unwrap_or(0));
            reason.push('…');
            break;
        }
    }
    (!reason.is_empty()).then_some(reason)
}

#[cfg(test)]
#[path = "readyz/tests.rs"]
mod tests;
