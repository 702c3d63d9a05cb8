//! ClientHellos by hand.

pub(super) const SERVER_NAME: u16 = 0;
pub(super) const ALPN: u16 = 16;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const X25519_MLKEM768: u16 = 0x11ec;
/// An ML-KEM-768 encapsulation key and an X25519 public key.
const X25519_MLKEM768_SHARE: usize = 1184 + 32;

pub(super) fn vector_u8(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("a short vector");
    [&[length], bytes].concat()
}

pub(super) fn vector_u16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a vector of 16 bits");
    [&length.to_be_bytes(), bytes].concat()
}

pub(super) fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vector_u16(data)].concat()
}

/// The server_name extension with a list of names of a type.
pub(super) fn sni(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| [vec![*kind], vector_u16(name)].concat())
        .collect();
    extension(SERVER_NAME, &vector_u16(&list))
}

pub(super) fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| vector_u8(name)).collect();
    extension(ALPN, &vector_u16(&list))
}

pub(super) fn supported_versions(versions: &[u16]) -> Vec<u8> {
    let list: Vec<u8> = versions.iter().flat_map(|v| v.to_be_bytes()).collect();
    extension(SUPPORTED_VERSIONS, &vector_u8(&list))
}

/// GREASE, an ML-KEM hybrid and a classical share, as browsers send them.
pub(super) fn post_quantum_key_shares() -> Vec<u8> {
    let share = |group: u16, length: usize| {
        [
            group.to_be_bytes().to_vec(),
            vector_u16(&vec![0xa5; length]),
        ]
        .concat()
    };
    let shares = [
        share(0x2a2a, 1),
        share(X25519_MLKEM768, X25519_MLKEM768_SHARE),
        share(0x001d, 32),
    ];
    extension(KEY_SHARE, &vector_u16(&shares.concat()))
}

/// A hello before its extensions.
pub(super) fn fixed_part() -> Vec<u8> {
    [
        vec![3, 3],
        vec![7; 32],
        vector_u8(&[9; 32]),
        vector_u16(&[0x0a, 0x0a, 0x13, 1, 0x13, 2]),
        vector_u8(&[0]),
    ]
    .concat()
}

/// A handshake message with this body.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a message of 24 bits");
    [&[kind], &length.to_be_bytes()[1..], body].concat()
}

pub(super) fn hello_message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [fixed_part(), vector_u16(&extensions.concat())].concat();
    message(1, &body)
}

pub(super) fn record(minor: u8, fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, minor], vector_u16(fragment).as_slice()].concat()
}

/// The message in records of `size` bytes each.
pub(super) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size)
        .flat_map(|fragment| record(1, fragment))
        .collect()
}

/// A whole hello in one record.
pub(super) fn hello_of(extensions: &[Vec<u8>]) -> Vec<u8> {
    record(1, &hello_message(extensions))
}

/// What a browser sends: GREASE first and last, post-quantum shares, padding.
pub(super) fn browser_extensions() -> Vec<Vec<u8>> {
    vec![
        extension(0x4a4a, &[]),
        sni(&[(0, b"Web.Example.ORG")]),
        alpn(&[b"h2", b"http/1.1"]),
        supported_versions(&[0x3a3a, 0x0304, 0x0303]),
        post_quantum_key_shares(),
        extension(0xfe0d, &[0; 186]),
        extension(0x1a1a, &[0]),
    ]
}
