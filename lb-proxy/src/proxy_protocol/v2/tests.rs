use super::super::{Accept, EncodeError, TlvError, decode as decode_any};
use super::*;

const TCP4_BLOCK: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];

fn raw(version_command: u8, family_transport: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a block of 16 bits");
    let head = [
        &[version_command, family_transport],
        &length.to_be_bytes()[..],
    ]
    .concat();
    [&SIGNATURE[..], &head, block].concat()
}

fn entry(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a value of 16 bits");
    [&[kind], &length.to_be_bytes()[..], value].concat()
}

fn with_entries(entries: &[Vec<u8>]) -> Vec<u8> {
    raw(PROXY, TCP4, &[TCP4_BLOCK, &entries.concat()].concat())
}

fn decoded(bytes: &[u8]) -> Result<Decoded<'_>, HeaderError> {
    decode_any(bytes, Accept::V2)
}

fn header(bytes: &[u8]) -> Header<'_> {
    match decoded(bytes) {
        Ok(Decoded::Header(header)) => header,
        other => panic!("no header: {other:?}"),
    }
}

fn tlv_error(entries: &[Vec<u8>]) -> TlvError {
    match decoded(&with_entries(entries)) {
        Err(HeaderError::Tlv(reason)) => reason,
        other => panic!("accepted: {other:?}"),
    }
}

fn between(source: &str, destination: &str) -> Option<Endpoints> {
    Some(Endpoints {
        source: source.parse().expect("an endpoint"),
        destination: destination.parse().expect("an endpoint"),
    })
}

#[test]
fn tcp_and_udp_name_the_endpoints() {
    let v6 = |last: u8| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let tcp6_block = [&v6(1)[..], &v6(2), &[0, 1, 0xff, 0xff]].concat();
    for (family_transport, block, endpoints) in [
        (
            0x11,
            TCP4_BLOCK,
            between("192.0.2.1:56324", "192.0.2.2:443"),
        ),
        (
            0x12,
            TCP4_BLOCK,
            between("192.0.2.1:56324", "192.0.2.2:443"),
        ),
        (
            0x21,
            &tcp6_block,
            between("[2001:db8::1]:1", "[2001:db8::2]:65535"),
        ),
        (
            0x22,
            &tcp6_block,
            between("[2001:db8::1]:1", "[2001:db8::2]:65535"),
        ),
    ] {
        let bytes = raw(PROXY, family_transport, block);
        let found = header(&bytes);
        assert_eq!(found.version, Version::V2);
        assert_eq!(found.endpoints, endpoints);
        assert_eq!(found.length, bytes.len());
        assert_eq!(found.tlvs.iter().count(), 0);
    }
}

#[test]
fn local_is_skipped_by_its_length_whatever_it_holds() {
    let garbage = [0xff; 50];
    for family_transport in [0x00, 0x11, 0x21, 0x31, 0x49, 0xff] {
        for block in [&[][..], TCP4_BLOCK, &garbage, &[0; 4]] {
            let bytes = [raw(LOCAL, family_transport, block), b"payload".to_vec()].concat();
            let found = header(&bytes);
            assert_eq!(found.endpoints, None);
            assert_eq!(found.tlvs, Tlvs::default());
            assert_eq!(&bytes[found.length..], b"payload");
        }
    }
}

#[test]
fn unspec_is_skipped_by_its_length() {
    for family_transport in [0x00, 0x01, 0x02, 0x10, 0x20, 0x30] {
        for block in [&[][..], TCP4_BLOCK, &[0xff; 50]] {
            let bytes = raw(PROXY, family_transport, block);
            let found = header(&bytes);
            assert_eq!(found.endpoints, None);
            assert_eq!(found.length, bytes.len());
            assert_eq!(found.tlvs, Tlvs::default());
        }
    }
}

#[test]
fn unix_sockets_have_no_endpoints_but_entries() {
    for family_transport in [0x31, 0x32] {
        let block = [&[b'/'; 216][..], &entry(tlv::UNIQUE_ID, b"id")].concat();
        let bytes = raw(PROXY, family_transport, &block);
        assert_eq!(header(&bytes).endpoints, None);
        assert_eq!(header(&bytes).tlvs.unique_id(), Some(&b"id"[..]));
        let cut = raw(PROXY, family_transport, &[b'/'; 215]);
        assert_eq!(decoded(&cut), Err(HeaderError::AddressesCut));
    }
}

#[test]
fn unknown_values_are_refused_at_once() {
    for version in [0, 1, 3, 15] {
        for command in [0, 1] {
            let bytes = raw(version << 4 | command, TCP4, TCP4_BLOCK);
            let unknown = Err(HeaderError::UnknownVersion(version));
            assert_eq!(decoded(&bytes), unknown);
            assert_eq!(decoded(&bytes[..13]), unknown);
        }
    }
    for command in 2..=15 {
        let bytes = raw(0x20 | command, TCP4, TCP4_BLOCK);
        let unknown = Err(HeaderError::UnknownCommand(command));
        assert_eq!(decoded(&bytes), unknown);
        assert_eq!(decoded(&bytes[..13]), unknown);
    }
    for family in 4..=15 {
        let bytes = raw(PROXY, family << 4 | 1, TCP4_BLOCK);
        let unknown = Err(HeaderError::UnknownFamily(family));
        assert_eq!(decoded(&bytes), unknown);
        assert_eq!(decoded(&bytes[..14]), unknown);
    }
    for transport in 3..=15 {
        let bytes = raw(PROXY, 0x10 | transport, TCP4_BLOCK);
        let unknown = Err(HeaderError::UnknownTransport(transport));
        assert_eq!(decoded(&bytes), unknown);
        assert_eq!(decoded(&bytes[..14]), unknown);
    }
    for at in 0..SIGNATURE.len() {
        let mut bytes = raw(PROXY, TCP4, TCP4_BLOCK);
        bytes[at] ^= 0x40;
        assert_eq!(decoded(&bytes[..=at]), Err(HeaderError::NoHeader), "{at}");
    }
}

#[test]
fn the_length_covers_the_addresses_and_is_bounded() {
    let cut = raw(PROXY, TCP4, &TCP4_BLOCK[..11]);
    assert_eq!(decoded(&cut), Err(HeaderError::AddressesCut));
    let cut = raw(PROXY, TCP6, &[0; 35]);
    assert_eq!(decoded(&cut[..16]), Err(HeaderError::AddressesCut));
    // 16 + 12 + 3 bytes are no padding.
    let padded = |total: usize| with_entries(&[entry(tlv::NOOP, &vec![0; total - 31])]);
    assert_eq!(header(&padded(4096)).length, 4096);
    for long in [padded(4097), padded(65_551), raw(LOCAL, 0, &[0; 5000])] {
        let refused = Err(HeaderError::TooLong(long.len()));
        assert_eq!(decoded(&long), refused);
        assert_eq!(decoded(&long[..16]), refused);
    }
}

#[test]
fn entries_are_found() {
    let bytes = with_entries(&[
        entry(tlv::ALPN, b"h2"),
        entry(tlv::NOOP, &[]),
        entry(tlv::AUTHORITY, "bücher.example".as_bytes()),
        entry(0xe5, b"ours"),
        entry(tlv::NOOP, &[0; 9]),
        entry(0x30, b"blue"),
        entry(0xd4, &[]),
        entry(tlv::UNIQUE_ID, &[1; 128]),
        entry(tlv::ALPN, b"second"),
    ]);
    let tlvs = header(&bytes).tlvs;
    assert_eq!(tlvs.alpn(), Some(&b"h2"[..]));
    assert_eq!(tlvs.authority(), Some("bücher.example"));
    assert_eq!(tlvs.value(0x30), Some(&b"blue"[..]));
    assert_eq!(tlvs.unique_id(), Some(&[1; 128][..]));
    assert_eq!(tlvs.value(0xd4), Some(&[][..]));
    assert_eq!(tlvs.value(0x20), None);
    let custom: Vec<Tlv<'_>> = tlvs.custom().collect();
    let (kind, value) = (0xe5, &b"ours"[..]);
    assert_eq!(custom, [Tlv { kind, value }]);
    let kinds: Vec<u8> = tlvs.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [1, 2, 0xe5, 0x30, 0xd4, 5, 1], "no padding");
    let only_padding = with_entries(&[entry(tlv::NOOP, &[7; 5])]);
    assert_eq!(header(&only_padding).tlvs.iter().count(), 0);
}

#[test]
fn an_entry_that_exceeds_the_header_is_refused() {
    for bytes in [
        &[1][..],
        &[1, 0],
        &[1, 0, 1],
        &[1, 0xff, 0xff, 0],
        &[1, 0, 3, 0, 0],
    ] {
        assert_eq!(tlv_error(&[bytes.to_vec()]), TlvError::Overrun(1));
        let after_others = [entry(tlv::NOOP, &[0; 3]), bytes.to_vec()];
        assert_eq!(tlv_error(&after_others), TlvError::Overrun(1));
    }
    assert_eq!(tlv_error(&[vec![tlv::NOOP, 0, 1]]), TlvError::Overrun(4));
    // What follows the header is not part of it.
    let glued = [with_entries(&[vec![1, 0, 1]]), b"payload".to_vec()].concat();
    assert_eq!(decoded(&glued), Err(HeaderError::Tlv(TlvError::Overrun(1))));
}

#[test]
fn values_are_checked() {
    assert_eq!(
        tlv_error(&[entry(tlv::UNIQUE_ID, &[1; 129])]),
        TlvError::UniqueId
    );
    assert_eq!(
        tlv_error(&[entry(tlv::AUTHORITY, &[0xff])]),
        TlvError::Authority
    );
    for length in [0, 3, 5] {
        let checksum = entry(tlv::CRC32C, &vec![0; length]);
        assert_eq!(tlv_error(&[checksum]), TlvError::ChecksumForm);
    }
}

#[test]
fn the_ssl_entry_holds_entries() {
    let inner = [entry(0x21, b"TLSv1.3"), entry(0x22, b"client.example")].concat();
    let value = [&[7, 0, 0, 0, 2][..], &inner].concat();
    let bytes = with_entries(&[entry(tlv::SSL, &value)]);
    assert_eq!(header(&bytes).tlvs.value(0x20), Some(&value[..]));
    let without = with_entries(&[entry(tlv::SSL, &[0; 5])]);
    assert!(header(&without).tlvs.value(0x20).is_some());
    for length in 0..5 {
        let short = entry(tlv::SSL, &vec![0; length]);
        assert_eq!(tlv_error(&[short]), TlvError::Ssl);
    }
    // The inner entry exceeds its container, though not the header.
    let value = [&[1, 0, 0, 0, 0][..], &[0x21, 0, 9, b'T']].concat();
    let entries = [entry(tlv::SSL, &value), entry(tlv::NOOP, &[0; 20])];
    assert_eq!(tlv_error(&entries), TlvError::Overrun(0x21));
}

#[test]
fn the_checksum_is_verified_wherever_it_is() {
    for (before, after) in [(0, 0), (1, 0), (0, 1), (2, 3)] {
        let others = |count: usize| vec![entry(tlv::ALPN, b"h2"); count].concat();
        let place = FIXED + TCP4_BLOCK.len() + before * 5 + 3;
        let checksum = entry(tlv::CRC32C, &[0; 4]);
        let mut bytes = with_entries(&[others(before), checksum, others(after)]);
        let sum = crc32c::checksum(&[&bytes]).to_be_bytes();
        bytes[place..place + 4].copy_from_slice(&sum);
        assert_eq!(header(&bytes).tlvs.value(tlv::CRC32C), Some(&sum[..]));
        // The payload is not part of it.
        assert_eq!(header(&[&bytes, &b"more"[..]].concat()).length, bytes.len());
        for at in [16, 27, place, place + 3] {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            let mismatch = TlvError::ChecksumMismatch;
            assert_eq!(decoded(&wrong), Err(HeaderError::Tlv(mismatch)), "{at}");
        }
    }
    let zero = entry(tlv::CRC32C, &[0; 4]);
    assert_eq!(tlv_error(&[zero.clone(), zero]), TlvError::ChecksumForm);
}

#[test]
fn headers_are_written_as_the_specification_has_them() {
    let plain = OutgoingTlvs::default();
    let both = between("192.0.2.1:56324", "192.0.2.2:443");
    assert_eq!(encode(both, &plain), Ok(raw(0x21, 0x11, TCP4_BLOCK)));
    assert_eq!(encode(None, &plain), Ok(raw(0x21, 0x00, &[])));
    assert_eq!(local(), raw(0x20, 0x00, &[]));
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    let v6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(
        encode(between("192.0.2.1:1", "[::1]:2"), &plain),
        Ok(raw(0x21, 0x21, &[&mapped[..], &v6, &[0, 1, 0, 2]].concat()))
    );
    let tlvs = OutgoingTlvs {
        alpn: Some(b"h2"),
        authority: Some("a.org"),
        unique_id: Some(b"id"),
        ..plain
    };
    let expected = with_entries(&[entry(1, b"h2"), entry(2, b"a.org"), entry(5, b"id")]);
    assert_eq!(encode(both, &tlvs), Ok(expected));
}

#[test]
fn what_no_receiver_would_take_is_not_written() {
    let both = between("192.0.2.1:1", "192.0.2.2:2");
    let refused = |tlvs: OutgoingTlvs<'_>| encode(both, &tlvs).expect_err("refused");
    let plain = OutgoingTlvs::default();
    let id = [0; 129];
    assert_eq!(
        refused(OutgoingTlvs {
            unique_id: Some(&id),
            ..plain
        }),
        EncodeError::UniqueId(129)
    );
    for kind in [0, tlv::CRC32C, 0xdf, 0xf0] {
        let custom = [Tlv { kind, value: b"x" }];
        assert_eq!(
            refused(OutgoingTlvs {
                custom: &custom,
                ..plain
            }),
            EncodeError::NotCustom(kind)
        );
    }
    // 16 + 12 + 3 bytes are no authority.
    for length in [4066, 70_000] {
        let authority = "a".repeat(length);
        let authority = Some(authority.as_str());
        assert_eq!(
            refused(OutgoingTlvs { authority, ..plain }),
            EncodeError::TooLong(length + 31)
        );
    }
    let authority = "a".repeat(4065);
    let authority = Some(authority.as_str());
    let largest = encode(both, &OutgoingTlvs { authority, ..plain }).expect("it fits");
    assert_eq!(header(&largest).length, MAX_HEADER);
    assert_eq!(header(&largest).tlvs.authority(), authority);
}
