//! A short name for an effective configuration, by which the nodes see that they run the same.

use super::Config;

/// Offset basis and prime of the 64-bit FNV-1a hash.
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Config {
    /// FNV-1a (64 bits) of the effective configuration as [`Config::to_toml`] writes it: the same
    /// for files that differ in comments, order of keys or defaults written out. It finds drift,
    /// not malice.
    pub fn effective_hash(&self) -> u64 {
        fnv1a(self.to_toml().as_bytes())
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        // Test vectors of the algorithm's authors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
