//! A short text on a board that one process writes and others read.

use std::sync::atomic::{AtomicU64, Ordering};

const WORDS: usize = 16;
/// Longest text, in bytes; longer ones are cut at a character.
pub(super) const TEXT_BYTES: usize = WORDS * 8;

/// A text of at most 128 bytes behind a sequence lock: one writer, readers never block and never see half a text.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Text {
    /// Odd while the text is being written.
    sequence: AtomicU64,
    length: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Text {
    /// Replaces the text. Only the board's writer may call it.
    pub fn set(&self, text: &str) {
        let mut end = text.len().min(TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0_u8; TEXT_BYTES];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        // A writer that died in between left an odd number: start from the even one below.
        let sequence = self.sequence.load(Ordering::Relaxed) & !1;
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        std::sync::atomic::fence(Ordering::Release);
        self.length.store(end as u64, Ordering::Relaxed);
        for (word, chunk) in self.words.iter().zip(bytes.chunks_exact(8)) {
            word.store(
                chunk
                    .iter()
                    .fold(0, |word, byte| word << 8 | u64::from(*byte)),
                Ordering::Relaxed,
            );
        }
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The text; empty if it could not be read whole in a few tries (its writer died while writing).
    pub fn get(&self) -> String {
        for _ in 0..64 {
            let before = self.sequence.load(Ordering::Acquire);
            let length = usize::try_from(self.length.load(Ordering::Relaxed))
                .unwrap_or(0)
                .min(TEXT_BYTES);
            let mut bytes = Vec::with_capacity(TEXT_BYTES);
            for word in &self.words {
                bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_be_bytes());
            }
            std::sync::atomic::fence(Ordering::Acquire);
            if before & 1 == 0 && self.sequence.load(Ordering::Relaxed) == before {
                return String::from_utf8_lossy(&bytes[..length]).into_owned();
            }
            std::hint::spin_loop();
        }
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was_set() {
        let text = Text::default();
        assert_eq!(text.get(), "");
        text.set("[-]etcd failed: reason withheld");
        assert_eq!(text.get(), "[-]etcd failed: reason withheld");
        text.set("short");
        assert_eq!(text.get(), "short");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = Text::default();
        text.set(&"ü".repeat(65));
        assert_eq!(text.get(), "ü".repeat(64));
        text.set(&format!("a{}", "ü".repeat(65)));
        assert_eq!(text.get(), format!("a{}", "ü".repeat(63)));
    }

    #[test]
    fn readers_never_see_half_a_text() {
        let text = Text::default();
        let (a, b) = ("a".repeat(100), "b".repeat(60));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    text.set(&a);
                    text.set(&b);
                }
            });
            for _ in 0..20_000 {
                let seen = text.get();
                assert!(seen.is_empty() || seen == a || seen == b, "{seen}");
            }
        });
    }
}
