//! The first line that a program writes, for the reason of its server. Pure.

/// Most characters of it that are kept.
const MOST: usize = 80;

/// The first line that is not empty, as it comes.
#[derive(Debug, Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Words {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if self.is_whole => return,
                b'\n' | b'\r' => self.is_whole = !self.bytes.trim_ascii().is_empty(),
                // A character has four bytes at most.
                _ if self.bytes.len() < MOST * 4 => self.bytes.push(*byte),
                _ => self.is_whole = true,
            }
        }
    }

    /// The line without what is no text.
    pub(super) fn into_text(self) -> String {
        let text = String::from_utf8_lossy(self.bytes.trim_ascii()).into_owned();
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        plain.take(MOST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pieces: &[&[u8]]) -> String {
        let mut words = Words::default();
        for piece in pieces {
            words.take(piece);
        }
        words.into_text()
    }

    #[test]
    fn the_first_line_with_something_in_it_counts() {
        assert_eq!(words(&[b"\n  \r\n disk", b" full \nmore"]), "disk full");
        assert_eq!(words(&[]), "");
        assert_eq!(words(&[b"\n\n"]), "");
    }

    #[test]
    fn what_is_no_text_or_too_long_is_cut() {
        assert_eq!(words(&[b"a\x1b[31mb\xff\tc"]), "a [31mb\u{fffd} c");
        assert_eq!(words(&[&[b'x'; 5_000]]), "x".repeat(MOST));
        assert_eq!(words(&["ü".repeat(500).as_bytes()]), "ü".repeat(MOST));
    }
}
