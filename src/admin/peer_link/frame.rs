//! Frames on a connection between admins.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | kind, [`Kind`]; an unknown one is passed over |
//! | 1 | zero |
//! | 2-3 | length of the body, in network order |
//! | then | the body |

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes before the body.
const HEAD: usize = 4;
/// Longest body that is written; any that fits into the length is read.
pub(super) const LONGEST_BODY: usize = 32 * 1024;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first one in each direction: who speaks.
    Hello = 1,
    /// Changes of sessions.
    Sessions = 2,
    /// Every session that there is has been told.
    Listed = 3,
    /// How the node is: at least each second.
    Summary = 4,
    /// Something that the other node is to do.
    Task = 5,
    /// What became of it, in the other direction.
    Reply = 6,
}

impl Kind {
    fn from_wire(number: u8) -> Option<Self> {
        let all = [
            Self::Hello,
            Self::Sessions,
            Self::Listed,
            Self::Summary,
            Self::Task,
            Self::Reply,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A frame, to be written at once.
///
/// # Panics
/// If the body is longer than a length can say.
pub(super) fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("bodies are at most LONGEST_BODY bytes");
    let mut frame = Vec::with_capacity(HEAD + body.len());
    frame.extend_from_slice(&[kind as u8, 0]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Reads the next frame of a kind that is known; its body is in `body` then.
///
/// # Errors
/// The connection has ended or failed.
pub(super) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    body: &mut Vec<u8>,
) -> io::Result<Kind> {
    loop {
        let mut head = [0; HEAD];
        from.read_exact(&mut head).await?;
        let [kind, _, high, low] = head;
        body.clear();
        body.resize(u16::from_be_bytes([high, low]).into(), 0);
        from.read_exact(body).await?;
        if let Some(kind) = Kind::from_wire(kind) {
            return Ok(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_and_unknown_ones_are_passed_over() {
        let mut wire = frame(Kind::Hello, b"who");
        wire.extend_from_slice(&[99, 7, 0, 2, 1, 2]);
        wire.extend(frame(Kind::Summary, b""));
        wire.extend(frame(Kind::Sessions, &[5; LONGEST_BODY]));
        wire.extend_from_slice(&[Kind::Listed as u8, 0, 0, 1]);
        let (mut from, mut body) = (wire.as_slice(), Vec::new());
        assert_eq!(
            read(&mut from, &mut body).await.expect("whole"),
            Kind::Hello
        );
        assert_eq!(body, b"who");
        assert_eq!(
            read(&mut from, &mut body).await.expect("whole"),
            Kind::Summary
        );
        assert!(body.is_empty());
        assert_eq!(
            read(&mut from, &mut body).await.expect("whole"),
            Kind::Sessions
        );
        assert_eq!(body.len(), LONGEST_BODY);
        let cut = read(&mut from, &mut body).await.expect_err("cut");
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
