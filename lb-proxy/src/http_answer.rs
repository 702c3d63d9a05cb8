//! An HTTP/1 answer as a probe reads it: its number, and its body where that is wanted. Pure: bytes
//! in, answer out.
//!
//! The head is read by httparse; where the body ends, RFC 9112, section 6.3, says.

use httparse::{EMPTY_HEADER, Header, ParserConfig, Response, Status};

/// Longest head.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// Whether more of the answer may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Open,
    /// The server closed, or enough was read.
    Ended,
    /// The time is up.
    Late,
}

/// What is known from the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    NeedMore,
    Answer(Answer),
    /// This is no HTTP/1 answer.
    Malformed(&'static str),
}

/// An answer, as far as it came and is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// All of the body is there, or none is wanted.
    pub(crate) is_whole: bool,
}

/// Reads the answer from its first bytes on; `wants_body` tells by the number.
pub(crate) fn parse(mut bytes: &[u8], input: Input, wants_body: impl Fn(u16) -> bool) -> Progress {
    loop {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut response = Response::new(&mut headers);
        let mut reader = ParserConfig::default();
        reader.ignore_invalid_headers_in_responses(true);
        let head = match reader.parse_response(&mut response, bytes) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return unfinished(bytes, input),
            Err(httparse::Error::TooManyHeaders) => {
                return Progress::Malformed("more headers than are read");
            }
            Err(_) => return Progress::Malformed("no HTTP answer"),
        };
        let Some(status) = response.code.filter(|code| (100..=599).contains(code)) else {
            return Progress::Malformed("no HTTP answer");
        };
        bytes = &bytes[head..];
        // The answer proper follows (RFC 9110, section 15.2).
        if matches!(status, 100 | 102..=199) {
            continue;
        }
        if !wants_body(status) || matches!(status, 204 | 304) {
            return Progress::Answer(Answer {
                status,
                body: Vec::new(),
                is_whole: true,
            });
        }
        let (body, is_whole) = match framing(response.headers) {
            Framing::Length(length) if bytes.len() >= length => (bytes[..length].to_vec(), true),
            Framing::Length(_) => (bytes.to_vec(), false),
            Framing::UntilClose => (bytes.to_vec(), input == Input::Ended),
            Framing::Chunked => unchunk(bytes),
        };
        return Progress::Answer(Answer {
            status,
            body,
            is_whole,
        });
    }
}

fn unfinished(bytes: &[u8], input: Input) -> Progress {
    match input {
        _ if bytes.len() > MAX_HEAD => Progress::Malformed("header too long"),
        Input::Open | Input::Late => Progress::NeedMore,
        Input::Ended if bytes.is_empty() => Progress::Malformed("closed without an answer"),
        Input::Ended => Progress::Malformed("answer is incomplete"),
    }
}

/// Where the body ends.
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

fn framing(headers: &[Header<'_>]) -> Framing {
    let mut framing = Framing::UntilClose;
    for header in headers {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("transfer-encoding")
            && value.eq_ignore_ascii_case(b"chunked")
        {
            return Framing::Chunked;
        }
        if header.name.eq_ignore_ascii_case("content-length") {
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
    loop {
        let size = match httparse::parse_chunk_size(body) {
            Ok(Status::Complete((line, size))) => {
                body = &body[line..];
                usize::try_from(size).unwrap_or(usize::MAX)
            }
            Ok(Status::Partial) => return (data, false),
            Err(_) => return (data, true),
        };
        if size == 0 {
            return (data, true);
        }
        let taken = size.min(body.len());
        data.extend_from_slice(&body[..taken]);
        // The chunk ends with an empty line.
        body = body.get(taken + 2..).unwrap_or(&[]);
    }
}

#[cfg(test)]
#[path = "http_answer/tests.rs"]
mod tests;
