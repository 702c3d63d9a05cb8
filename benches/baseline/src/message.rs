//! What client and server say to each other: 64 bytes that order something, answers of the same size, and the stream of
//! bulk data.

use lab::payload;

/// Bytes of a message.
pub(crate) const SIZE: usize = 64;
/// The bulk stream repeats after so many bytes. No power of two: a block that a buffer's size shifts is noticed.
const PERIOD: usize = 65_521;

/// A message.
pub(crate) type Message = [u8; SIZE];

/// What the first message of a connection asks the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send back this message and all that follow.
    Echo,
    /// Send so many bytes of the stream, then close.
    Send(u64),
    /// Take so many bytes of the stream, then answer with [`verdict`].
    Take(u64),
}

impl Order {
    /// The message that says so.
    pub(crate) fn message(self) -> Message {
        let (letter, length) = match self {
            Self::Echo => (b'E', 0),
            Self::Send(length) => (b'S', length),
            Self::Take(length) => (b'T', length),
        };
        let mut message = numbered(length);
        message[0] = letter;
        message
    }

    /// What a message asks for; `None` = it is none of ours.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let number = number(message);
        match message[0] {
            b'E' => Some(Self::Echo),
            b'S' => Some(Self::Send(number)),
            b'T' => Some(Self::Take(number)),
            _ => None,
        }
    }
}

/// The echo's message of this number: each differs from the others in most bytes.
pub(crate) fn echo(sequence: u64) -> Message {
    let mut message = numbered(sequence);
    message[0] = b'E';
    message
}

/// What the server says of a stream that it took.
pub(crate) fn verdict(taken: u64, correct: bool) -> Message {
    let mut message = numbered(taken);
    message[0] = if correct { b'C' } else { b'W' };
    message
}

fn numbered(number: u64) -> Message {
    let mut message = [0; SIZE];
    payload::fill(number.wrapping_mul(SIZE as u64), &mut message);
    message[8..16].copy_from_slice(&number.to_be_bytes());
    message
}

fn number(message: &Message) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&message[8..16]);
    u64::from_be_bytes(bytes)
}

/// The bulk stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    pub(crate) fn new() -> Self {
        let mut bytes = vec![0; PERIOD];
        payload::fill(0, &mut bytes);
        Self { bytes }
    }

    /// Some bytes from this position on, at most `most`.
    pub(crate) fn at(&self, position: u64, most: u64) -> &[u8] {
        let offset = usize::try_from(position % PERIOD as u64).expect("less than the period");
        let rest = &self.bytes[offset..];
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        &rest[..rest.len().min(most)]
    }

    /// Whether these bytes are the stream's from this position on.
    pub(crate) fn matches(&self, position: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut position = position;
        while !rest.is_empty() {
            let expected = self.at(position, rest.len() as u64);
            let (now, later) = rest.split_at(expected.len());
            if now != expected {
                return false;
            }
            position += now.len() as u64;
            rest = later;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_given() {
        for order in [Order::Echo, Order::Send(0), Order::Take(u64::MAX)] {
            assert_eq!(Order::of(&order.message()), Some(order));
        }
        assert_eq!(Order::of(&[0; SIZE]), None);
        assert_eq!(Order::of(&verdict(1, true)), None);
    }

    #[test]
    fn messages_of_different_numbers_differ() {
        assert_ne!(echo(1), echo(2));
        assert_ne!(echo(1)[16..], echo(2)[16..]);
        assert_ne!(verdict(7, true), verdict(7, false));
    }

    #[test]
    fn the_stream_is_checked_over_its_period() {
        let stream = Stream::new();
        let start = PERIOD as u64 * 3 - 5;
        let mut bytes = stream.at(start, 100).to_vec();
        assert_eq!(bytes.len(), 5);
        bytes.extend(stream.at(start + 5, 10));
        assert!(stream.matches(start, &bytes));
        assert!(!stream.matches(start + 1, &bytes));
        bytes[9] ^= 1;
        assert!(!stream.matches(start, &bytes));
    }
}
