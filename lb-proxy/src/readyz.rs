//! What a kube-apiserver's answer to `GET /readyz` means. Pure: bytes in, verdict out.
//!
//! Seen on a real one: ready is 200; not ready and shutting down are 500 (K3s says 503 while it
//! starts) with a line for each check, `[+]etcd ok`, `[-]shutdown failed: reason withheld`; without
//! credentials it is always 401 where anonymous requests are off.

use common::board::ProbeStatus;

use crate::finding::Finding;
use crate::health::Verdict;

/// Most bytes of an answer that are read; the checks of a real server fill about 2 KiB.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;
const MAX_HEAD: usize = 16 * 1024;
/// A reason on the board has room for 128 bytes, with `L7OKC: ` in front.
const MAX_REASON: usize = 118;

/// Whether the probe shows a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    Shown,
    None,
}

/// Whether more of the answer may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Open,
    /// The server closed, the time is up or enough was read.
    Ended,
}

/// What is known from the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    NeedMore,
    Answer(Answer),
    /// This is no HTTP/1 answer.
    Malformed(&'static str),
}

/// An answer, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    status: u16,
    /// Of a "not ready" only.
    body: Vec<u8>,
}

/// Reads the answer from its first bytes on.
pub(crate) fn parse(bytes: &[u8], input: Input) -> Progress {
    let Some(head_len) = find(bytes, b"\r\n\r\n") else {
        return match input {
            _ if !may_become_answer(bytes) => Progress::Malformed("no HTTP answer"),
            _ if bytes.len() > MAX_HEAD => Progress::Malformed("header too long"),
            Input::Open => Progress::NeedMore,
            Input::Ended if bytes.is_empty() => Progress::Malformed("closed without an answer"),
            Input::Ended => Progress::Malformed("answer is incomplete"),
        };
    };
    let (head, body) = (&bytes[..head_len], &bytes[head_len + 4..]);
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let Some(status) = lines.next().and_then(parse_status_line) else {
        return Progress::Malformed("no HTTP answer");
    };
    if !tells_why(status) {
        let body = Vec::new();
        return Progress::Answer(Answer { status, body });
    }
    let (body, complete) = match framing(lines) {
        Framing::Length(length) if body.len() >= length => (body[..length].to_vec(), true),
        Framing::Length(_) | Framing::UntilClose => (body.to_vec(), false),
        Framing::Chunked => unchunk(body),
    };
    match input {
        Input::Open if !complete => Progress::NeedMore,
        Input::Open | Input::Ended => Progress::Answer(Answer { status, body }),
    }
}

/// What an answer says of the server.
///
/// With a client certificate 401 and 403 are failures: that is what a server says whose
/// authorization is not in place yet while it starts. (So a certificate that has expired takes
/// every server out, which the reason says.)
pub(crate) fn judge(answer: &Answer, credentials: Credentials) -> Verdict {
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

const VERSION: &[u8] = b"HTTP/1.";

fn may_become_answer(bytes: &[u8]) -> bool {
    let common = bytes.len().min(VERSION.len());
    bytes[..common] == VERSION[..common]
}

/// `HTTP/1.1 200 OK`; the words after the number may be missing.
fn parse_status_line(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(VERSION)?;
    let (minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?;
    let (digits, after) = digits.split_at_checked(3)?;
    let complete = after.is_empty() || after[0] == b' ';
    if !minor.is_ascii_digit() || !complete || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    (100..=599).contains(&number).then_some(number)
}

/// Where the body ends.
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

fn framing<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Framing {
    let mut framing = Framing::UntilClose;
    for header in headers {
        let Some(colon) = header.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&header[..colon], header[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked")
        {
            return Framing::Chunked;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            framing = length.map_or(Framing::UntilClose, Framing::Length);
        }
    }
    framing
}

/// The data of a chunked body as far as it came, and whether its last chunk was seen. A body that
/// breaks the rules ends where it does.
fn unchunk(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(line_len) = find(body, b"\r\n") {
        let size = body[..line_len].split(|byte| *byte == b';').next();
        let size = size
            .and_then(|size| std::str::from_utf8(size.trim_ascii()).ok())
            .and_then(|size| usize::from_str_radix(size, 16).ok());
        body = &body[line_len + 2..];
        match size {
            Some(0) | None => return (data, true),
            Some(size) => {
                let taken = size.min(body.len());
                data.extend_from_slice(&body[..taken]);
                // The chunk ends with an empty line.
                body = body.get(taken + 2..).unwrap_or(&[]);
            }
        }
    }
    (data, false)
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}

#[cfg(test)]
#[path = "readyz/tests.rs"]
mod tests;
