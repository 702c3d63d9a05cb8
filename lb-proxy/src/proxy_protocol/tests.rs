//! Both versions: what is accepted, cut and glued in every way, there and back.

mod mangled;

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const BOTH: [Accept; 3] = [Accept::V1, Accept::V2, Accept::Both];

fn endpoints() -> Option<Endpoints> {
    let source = "192.0.2.1:56324".parse().expect("an endpoint");
    let destination = "[2001:db8::1]:443".parse().expect("an endpoint");
    Some(Endpoints::new(source, destination))
}

fn samples() -> Vec<Vec<u8>> {
    let custom = [Tlv {
        kind: 0xe0,
        value: b"\r\nPROXY ",
    }];
    let tlvs = OutgoingTlvs {
        ssl: None,
        alpn: Some(b"h2"),
        authority: Some("api.example.org"),
        unique_id: Some(&[7; 128]),
        crc32c: true,
        custom: &custom,
    };
    let with_tlvs = encode_v2(endpoints(), &tlvs).expect("it fits");
    let plain = encode_v2(endpoints(), &OutgoingTlvs::default()).expect("it fits");
    vec![
        encode_v1(endpoints()),
        encode_v1(None),
        b"PROXY UNKNOWN what ever\r\n".to_vec(),
        with_tlvs,
        plain,
        encode_v2_local(),
    ]
}

#[test]
fn cut_at_every_byte_a_header_is_incomplete_and_glued_payload_is_intact() {
    for bytes in samples() {
        for length in 0..bytes.len() {
            let part = decode(&bytes[..length], Accept::Both);
            assert_eq!(part, Ok(Decoded::Incomplete), "{length} of {bytes:?}");
        }
        let Ok(Decoded::Header(alone)) = decode(&bytes, Accept::Both) else {
            panic!("no header: {bytes:?}");
        };
        assert_eq!(alone.length, bytes.len());
        // A second header is payload as well.
        for payload in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\r\n",
            b"\n",
            &[0; 9000],
            &bytes,
        ] {
            let glued = [&bytes, payload].concat();
            assert_eq!(decode(&glued, Accept::Both), Ok(Decoded::Header(alone)));
            assert_eq!(&glued[alone.length..], payload);
        }
    }
}

#[test]
fn only_the_version_that_is_accepted_is_accepted() {
    let v1 = encode_v1(endpoints());
    let v2 = encode_v2_local();
    for (bytes, version, accept) in [
        (&v1, Version::V1, Accept::V2),
        (&v2, Version::V2, Accept::V1),
    ] {
        let refused = Err(HeaderError::Refused(version));
        assert_eq!(decode(bytes, accept), refused);
        assert_eq!(decode(&bytes[..12], accept), refused);
        assert_eq!(decode(&bytes[..5], accept), Ok(Decoded::Incomplete));
    }
    let Ok(Decoded::Header(header)) = decode(&v1, Accept::V1) else {
        panic!("no header");
    };
    assert_eq!(header.version, Version::V1);
    for bytes in [
        &b"PRI * HTTP/2.0\r\n"[..],
        b"\r\n\r\nGET",
        b"\x16\x03\x01",
        b"x",
    ] {
        for accept in BOTH {
            assert_eq!(decode(bytes, accept), Err(HeaderError::NoHeader));
        }
    }
    for accept in BOTH {
        assert_eq!(decode(&[], accept), Ok(Decoded::Incomplete));
    }
}

#[test]
fn flow_labels_and_scopes_have_no_room_in_a_header() {
    let scoped = std::net::SocketAddrV6::new("fe80::1".parse().expect("an address"), 1, 2, 3);
    let both = Endpoints::new(scoped.into(), scoped.into());
    let plain = "[fe80::1]:1".parse().expect("an endpoint");
    assert_eq!(
        both,
        Endpoints {
            source: plain,
            destination: plain
        }
    );
    assert_eq!(encode_v1(Some(both)), b"PROXY TCP6 fe80::1 fe80::1 1 1\r\n");
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6),
        any::<Ipv4Addr>().prop_map(|ip| IpAddr::V6(ip.to_ipv6_mapped())),
        // Few bits set: runs of zeros, ::1, ::1.2.3.4.
        (any::<u128>(), any::<u128>(), any::<u128>())
            .prop_map(|(a, b, c)| IpAddr::V6((a & b & c & (a >> 64)).into())),
    ]
}

fn any_endpoints() -> impl Strategy<Value = Endpoints> {
    let endpoint = || (address(), any::<u16>()).prop_map(SocketAddr::from);
    (endpoint(), endpoint()).prop_map(|(source, destination)| Endpoints::new(source, destination))
}

proptest! {
    #[test]
    fn version_1_there_and_back(endpoints in proptest::option::of(any_endpoints())) {
        let bytes = encode_v1(endpoints);
        prop_assert_eq!(decode(&bytes, Accept::V1), Ok(Decoded::Header(Header {
            version: Version::V1,
            length: bytes.len(),
            endpoints,
            tlvs: Tlvs::default(),
        })));
    }

    #[test]
    fn version_2_there_and_back(
        endpoints in any_endpoints(),
        alpn in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30)),
        authority in proptest::option::of(".{0,40}"),
        unique_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..=128)),
        name in proptest::option::of(".{0,70}"),
        crc32c in any::<bool>(),
        custom in proptest::collection::vec(
            (0xe0..=0xef_u8, proptest::collection::vec(any::<u8>(), 0..50)), 0..5),
    ) {
        let custom: Vec<Tlv<'_>> =
            custom.iter().map(|(kind, value)| Tlv { kind: *kind, value }).collect();
        let ssl = name.as_deref().map(|name| {
            let certificate = ClientCertificate { earlier: crc32c, common_name: Some(name) };
            ClientTls { version: "TLSv1.3", cipher: "", certificate: Some(certificate) }.encode()
        });
        let tlvs = OutgoingTlvs {
            alpn: alpn.as_deref(),
            ssl: ssl.as_deref(),
            authority: authority.as_deref(),
            unique_id: unique_id.as_deref(),
            crc32c,
            custom: &custom,
        };
        let bytes = encode_v2(Some(endpoints), &tlvs).expect("it fits");
        let Ok(Decoded::Header(header)) = decode(&bytes, Accept::V2) else {
            panic!("no header: {bytes:?}");
        };
        prop_assert_eq!(header.endpoints, Some(endpoints));
        prop_assert_eq!(header.length, bytes.len());
        prop_assert_eq!(header.tlvs.alpn(), tlvs.alpn);
        prop_assert_eq!(header.tlvs.authority(), tlvs.authority);
        prop_assert_eq!(header.tlvs.ssl(), tlvs.ssl);
        let told = header.tlvs.ssl().and_then(common_name);
        prop_assert_eq!(told, name.as_deref().map(|name| &name[..name.floor_char_boundary(256)]));
        prop_assert_eq!(header.tlvs.unique_id(), tlvs.unique_id);
        prop_assert_eq!(header.tlvs.custom().collect::<Vec<_>>(), custom);
        prop_assert_eq!(header.tlvs.value(tlv::CRC32C).is_some(), crc32c);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        start in 0..6_usize,
        keep in 0..40_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let sample = samples().swap_remove(start);
        let bytes = [&sample[..keep.min(sample.len())], &bytes].concat();
        for accept in BOTH {
            if let Ok(Decoded::Header(header)) = decode(&bytes, accept) {
                prop_assert!(header.length <= bytes.len());
                let _ = (header.tlvs.authority(), header.tlvs.alpn(), header.tlvs.iter().count());
            }
        }
    }

    #[test]
    fn a_refusal_and_a_header_are_final(
        sample in 0..6_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        more in proptest::collection::vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = samples().swap_remove(sample);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.extend(more);
        let verdict = decode(&bytes, Accept::Both);
        for length in 0..bytes.len() {
            let early = decode(&bytes[..length], Accept::Both);
            if early != Ok(Decoded::Incomplete) {
                prop_assert_eq!(early, verdict);
            }
        }
    }

    #[test]
    fn a_changed_byte_is_seen_by_the_checksum(
        at in any::<prop::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let mut bytes = samples().swap_remove(3);
        // Signature, version, family and length have checks of their own.
        let at = 16 + at.index(bytes.len() - 16);
        bytes[at] ^= change;
        let verdict = decode(&bytes, Accept::V2);
        let hides_the_checksum = (52..55).contains(&at);
        prop_assert!(verdict.is_err() || hides_the_checksum, "{at}: {verdict:?}");
    }
}
