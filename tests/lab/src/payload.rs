//! The deterministic byte stream of large transfers: any byte can be computed from its position, so both ends check each
//! one, and a checksum for those who only count.

/// Bytes of one step of the generator.
const WORD: u64 = 8;

/// Fills a buffer with the stream's bytes from `offset` on.
pub fn fill(offset: u64, buffer: &mut [u8]) {
    let mut index = offset / WORD;
    let mut skip = usize::try_from(offset % WORD).expect("less than eight");
    let mut rest = buffer;
    while !rest.is_empty() {
        let word = mix(index).to_le_bytes();
        let length = rest.len().min(word.len() - skip);
        let (now, later) = rest.split_at_mut(length);
        now.copy_from_slice(&word[skip..skip + length]);
        rest = later;
        index += 1;
        skip = 0;
    }
}

/// SplitMix64's output function: every word differs from its neighbours, so a lost, doubled or moved block is seen.
fn mix(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Checks bytes against the stream and sums them up (FNV-1a, 64 bits).
#[derive(Debug, Clone)]
pub struct Check {
    length: u64,
    checksum: u64,
    first_wrong: Option<u64>,
    expected: Vec<u8>,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            length: 0,
            checksum: 0xcbf2_9ce4_8422_2325,
            first_wrong: None,
            expected: Vec::new(),
        }
    }
}

impl Check {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.expected.resize(bytes.len(), 0);
        fill(self.length, &mut self.expected);
        if self.first_wrong.is_none() && self.expected != bytes {
            let at = self.expected.iter().zip(bytes).position(|(a, b)| a != b);
            self.first_wrong = at.map(|at| self.length + at as u64);
        }
        for byte in bytes {
            self.checksum = (self.checksum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.length += bytes.len() as u64;
    }

    /// Bytes seen.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// FNV-1a of the bytes seen.
    pub fn checksum(&self) -> u64 {
        self.checksum
    }

    /// Position of the first byte that is not the stream's.
    pub fn first_wrong(&self) -> Option<u64> {
        self.first_wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_same_stream_as_the_whole() {
        let mut whole = vec![0; 1_000];
        fill(0, &mut whole);
        for cut in [1, 7, 8, 9, 500, 999] {
            let mut pieces = vec![0; 1_000];
            let (a, b) = pieces.split_at_mut(cut);
            fill(0, a);
            fill(cut as u64, b);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_wrong_byte_is_found_at_its_position() {
        let mut bytes = vec![0; 100];
        fill(0, &mut bytes);
        bytes[42] ^= 1;
        let mut check = Check::default();
        check.update(&bytes[..40]);
        check.update(&bytes[40..]);
        assert_eq!(check.first_wrong(), Some(42));
        assert_eq!(check.length(), 100);
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        let mut check = Check::default();
        check.update(b"a");
        assert_eq!(check.checksum(), 0xaf63_dc4c_8601_ec8c);
    }
}
