//! A ClientHello as a browser sends it (RFC 8446, section 4.1.2), with a post-quantum key share: 1.5 KiB in one record.

/// An ML-KEM-768 encapsulation key and an X25519 public key.
const SHARE: usize = 1_184 + 32;
const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const X25519_MLKEM768: u16 = 0x11ec;

/// The record that asks for a server name.
pub(super) fn asking_for(name: &str) -> Vec<u8> {
    let host_name = [&[0], with_length(name.as_bytes()).as_slice()].concat();
    let share = [
        X25519_MLKEM768.to_be_bytes().as_slice(),
        &with_length(&[0xa5; SHARE]),
    ]
    .concat();
    let extensions = [
        extension(SERVER_NAME, &with_length(&host_name)),
        // One of two bytes: TLS 1.3.
        extension(SUPPORTED_VERSIONS, &[2, 3, 4]),
        extension(KEY_SHARE, &with_length(&share)),
    ]
    .concat();
    let body = [
        [3, 3].as_slice(),
        &[7; 32],
        // No session, one cipher suite, no compression.
        &[0],
        &with_length(&[0x13, 1]),
        &[1, 0],
        &with_length(&extensions),
    ]
    .concat();
    let message = [[1, 0].as_slice(), &with_length(&body)].concat();
    [[22, 3, 1].as_slice(), &with_length(&message)].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().as_slice(), &with_length(data)].concat()
}

/// The bytes behind their length in 16 bits.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a hello is shorter than 64 KiB");
    [length.to_be_bytes().as_slice(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_ends_where_the_hello_ends() {
        let hello = asking_for("a.example");
        let length = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
        assert_eq!(5 + length(3), hello.len(), "record");
        assert_eq!(9 + length(7), hello.len(), "message");
        // Version, random, session, one suite, compression.
        let extensions = 9 + 2 + 32 + 1 + 4 + 2;
        assert_eq!(extensions + 2 + length(extensions), hello.len());
        assert!(hello.windows(9).any(|part| part == b"a.example"));
    }
}
