//! For the tests of parsers: valid bytes and what may be done to them, and the segments in which bytes
//! may arrive.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Something that is done to bytes.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    /// To two bytes, of which many are a length.
    Add(Index, i16),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// So many bytes once more, at another place.
    Copy(Index, Index, usize),
    Cut(Index),
}

/// Up to five changes; often none.
pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = any::<Index>;
    let change = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), -300..300_i16).prop_map(|(at, more)| Change::Add(at, more)),
        (at(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), at(), 1..2_000_usize).prop_map(|(from, to, count)| Change::Copy(from, to, count)),
        at().prop_map(Change::Cut),
    ];
    vec(change, 0..6)
}

/// The bytes after all that was done to them.
pub(crate) fn mangle(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: &Index| at.index(bytes.len().max(1));
        match change {
            Change::Set(..) | Change::Flip(..) if bytes.is_empty() => {}
            Change::Set(at, byte) => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Change::Flip(at, bit) => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Change::Add(at, more) => {
                let at = place(at);
                if let Some([high, low]) = bytes.get_mut(at..at + 2) {
                    let number = u16::from_be_bytes([*high, *low]);
                    [*high, *low] = number.wrapping_add_signed(*more).to_be_bytes();
                }
            }
            Change::Insert(at, more) => {
                let at = place(at).min(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Remove(at, count) => {
                let at = place(at).min(bytes.len());
                bytes.drain(at..bytes.len().min(at + count));
            }
            Change::Copy(from, to, count) => {
                let (from, to) = (place(from).min(bytes.len()), place(to).min(bytes.len()));
                let copied = bytes[from..bytes.len().min(from + count)].to_vec();
                bytes.splice(to..to, copied);
            }
            Change::Cut(at) => {
                let at = place(at);
                bytes.truncate(at);
            }
        }
    }
    bytes
}

/// Sizes of segments; used again from the beginning when there are more bytes.
pub(crate) fn segments() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![3 => 1..4_usize, 2 => 1..90_usize, 1 => 1..4_000_usize];
    vec(size, 1..30)
}

/// What a reader makes of the bytes as they arrive: its verdict, if it came to one, and the bytes that
/// it had then.
pub(crate) fn arrive<V>(
    bytes: &[u8],
    segments: &[usize],
    verdict: impl Fn(&[u8]) -> Option<V>,
) -> (Option<V>, usize) {
    let mut length = 0;
    for segment in segments.iter().cycle() {
        length = bytes.len().min(length + segment);
        let found = verdict(&bytes[..length]);
        if found.is_some() || length == bytes.len() {
            return (found, length);
        }
    }
    unreachable!("there is a segment, and none is empty")
}
