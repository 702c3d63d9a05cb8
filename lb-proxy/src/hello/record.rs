//! TLS records (RFC 8446, section 5.1) and the first handshake message that they carry.

use std::borrow::Cow;

use super::{Malformed, Refusal};

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// SSL 3.0 to TLS 1.3 have 3 here; what the minor version says is to be ignored.
const VERSION_MAJOR: u8 = 3;
const HEADER: usize = 5;
const MAX_FRAGMENT: u16 = 1 << 14;
/// Type and length of a handshake message.
const MESSAGE_HEAD: usize = 4;

/// What is wrong with a record of the hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("not a handshake record")]
    ContentType,
    #[error("not a TLS version")]
    Version,
    /// None or more than 2^14. (Empty handshake records are forbidden, and would be a way to send
    /// without an end.)
    #[error("an illegal record length")]
    Length,
}

/// The body of the first handshake message, which must be a ClientHello; `None` while it is
/// incomplete. Every byte was in `bytes`, which is at most `limit` long.
pub(super) fn first_message(bytes: &[u8], limit: usize) -> Result<Option<Cow<'_, [u8]>>, Refusal> {
    let mut head = [0; MESSAGE_HEAD];
    let mut arrived = 0;
    for (index, fragment) in (Fragments { rest: bytes }).enumerate() {
        let fragment = fragment.map_err(|fault| match index {
            0 => Refusal::NotTls(fault),
            _ => Refusal::Malformed(Malformed::Record(fault)),
        })?;
        if arrived < MESSAGE_HEAD {
            let part = fragment.len().min(MESSAGE_HEAD - arrived);
            head[arrived..arrived + part].copy_from_slice(&fragment[..part]);
        }
        arrived += fragment.len();
        let Some(end) = message_end(&head[..arrived.min(MESSAGE_HEAD)])? else {
            continue;
        };
        if end > limit.saturating_sub(HEADER) {
            return Err(Refusal::TooLong);
        }
        if arrived >= end {
            return Ok(Some(match index {
                0 => Cow::Borrowed(&fragment[MESSAGE_HEAD..end]),
                _ => Cow::Owned(joined(bytes, end)),
            }));
        }
    }
    Ok(None)
}

/// Where the message ends, counted from its first byte, once its head is complete.
fn message_end(head: &[u8]) -> Result<Option<usize>, Refusal> {
    if let Some(kind) = head.first()
        && *kind != CLIENT_HELLO
    {
        return Err(Refusal::Malformed(Malformed::NotClientHello(*kind)));
    }
    let [_, high, middle, low] = head else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, *high, *middle, *low]);
    Ok(usize::try_from(length)
        .ok()
        .map(|length| MESSAGE_HEAD + length))
}

/// The body of a message that is complete and lies in several records.
fn joined(bytes: &[u8], end: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(end);
    for fragment in (Fragments { rest: bytes }).map_while(Result::ok) {
        let missing = end - message.len();
        message.extend_from_slice(&fragment[..fragment.len().min(missing)]);
        if message.len() == end {
            break;
        }
    }
    message.drain(..MESSAGE_HEAD);
    message
}

/// The fragments of the records; of the last one what has arrived of it.
struct Fragments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<&'a [u8], RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(split_record(self.rest).map(|(fragment, rest)| {
            self.rest = rest;
            fragment
        }))
    }
}

/// Splits the first record off: what has arrived of its fragment, and what follows it.
fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8]), RecordFault> {
    let is_wrong = |at: usize, right: fn(u8) -> bool| bytes.get(at).is_some_and(|b| !right(*b));
    if is_wrong(0, |kind| kind == HANDSHAKE) {
        return Err(RecordFault::ContentType);
    }
    if is_wrong(1, |major| major == VERSION_MAJOR) {
        return Err(RecordFault::Version);
    }
    if is_wrong(3, |high| high <= MAX_FRAGMENT.to_be_bytes()[0]) {
        return Err(RecordFault::Length);
    }
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return Ok((&[], &[]));
    };
    match u16::from_be_bytes([header[3], header[4]]) {
        length @ 1..=MAX_FRAGMENT => Ok(body.split_at(body.len().min(usize::from(length)))),
        _ => Err(RecordFault::Length),
    }
}
