//! What the admin processes get of the pair's key: keys derived from it, with which nothing else can be signed or read.
//!
//! The supervisor derives them (RFC 5869), so that admin never has the key itself. They stand in the key file's own form:
//! a line for each, `ID HEX`; with the first one a node shows who it is, the other node may use any of them.

use common::config::key::{KEY_BYTES, KeyFileError, parse_key_file};
use ring::hkdf;

/// What the derived keys are for (RFC 5869, `info`).
const PURPOSE: &[u8] = b"fmc-lb admins v1";

/// The keys of the admins, from the contents of the pair's key file.
///
/// # Errors
/// It is no key file.
pub(crate) fn of_pair_key(text: &str) -> Result<String, KeyFileError> {
    let mut lines = String::new();
    for (id, key) in parse_key_file(text)? {
        lines.push_str(&format!("{id} "));
        for byte in derive(&key, &[PURPOSE]) {
            lines.push_str(&format!("{byte:02x}"));
        }
        lines.push('\n');
    }
    Ok(lines)
}

/// A key that is derived from another one for a purpose.
pub(crate) fn derive(key: &[u8; KEY_BYTES], purpose: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut derived = [0; KEY_BYTES];
    // RFC 5869, section 3.1: without a salt; the keys of the file are uniformly random.
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(key)
        .expand(purpose, hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut derived))
        .expect("the length of one hash is what was asked for");
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_is_a_key_file_and_another_key() {
        let file = format!("7 {}\n1 {}\n", "00".repeat(32), "ff".repeat(32));
        let derived = of_pair_key(&file).expect("a key file");
        let (before, after) = (
            parse_key_file(&file).expect("keys"),
            parse_key_file(&derived).expect("keys"),
        );
        assert_eq!(after.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [7, 1]);
        let all: Vec<_> = before.iter().chain(&after).map(|(_, key)| key).collect();
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one));
        }
        assert_eq!(of_pair_key(&file), Ok(derived));
        assert!(of_pair_key("7 00").is_err());
    }
}
