//! Every VRRPv3 IPv4 vector, and the ladder rung by rung.

mod ipv6;

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::packet::hex::hex;
use crate::packet::{MAX_DATAGRAM, PROTOCOL, Virtual};

const IP_HEADER: usize = IPV4_HEADER;
const GROUP: IpAddr = group(Family::V4);
const LB1: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 11));
const LB2: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 12));
const BALANCED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 94, 196));
const API: [u8; 4] = [192, 168, 0, 10];
const WEB: [u8; 4] = [192, 168, 0, 14];
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 99));

const V1: &str = "21336e010001b017c0a8000a0000000000000000";
const V2: &str = "21336e01010152dfc0a8000a666d636c622d3031";
const V3: &str = "2134640101015cdac0a8000e666d636c622d3031";
const V4: &str = "213300010101c0dfc0a8000a666d636c622d3031";
const V5: &str = "31336e020064defcc0a8000ac0a8000e";
const V6: &str = "31336e0200643db6c0a8000ac0a8000e";
const V7: &str = "31336e0200645d14c0a8000ac0a8000e";
const V8: &str = "313300020064abb6c0a8000ac0a8000e";
const V9: &str = "31336402000a480fc0a8000ac0a8000e";
const V10: &str = "3101ff010fffff4ac0a8000a";
const V11: &str = "31336e02f064eefbc0a8000ac0a8000e";
const V12: &str = "31304d0200640000c0a8000ac0a8000e";
const X1: &str = "31336e020000df60c0a8000ac0a8000e";
const X2: &str = "31336e0000646068";
const X3: &str = "31336e020064defcc0a8000ac0a8000e0000000000000000";
const IP4: &str = "45c0002400000000ff7019e4c0a8000be0000012";

/// What a vector says.
struct Vector {
    payload: &'static str,
    vrid: u8,
    priority: u8,
    centiseconds: u64,
    addresses: Addresses<'static>,
    envelope: Envelope,
}

impl Vector {
    fn advert(&self) -> Advert<'static> {
        Advert {
            vrid: Vrid::new(self.vrid).expect("not zero"),
            priority: self.priority,
            interval: Duration::from_millis(self.centiseconds * 10),
            addresses: self.addresses,
        }
    }
}

const fn vector(payload: &'static str, envelope: Envelope, fields: (u8, u8, u64)) -> Vector {
    Vector {
        payload,
        vrid: fields.0,
        priority: fields.1,
        centiseconds: fields.2,
        addresses: Addresses::V4(&[API, WEB]),
        envelope,
    }
}

const fn envelope(source: IpAddr, destination: IpAddr, checksum: ChecksumForm) -> Envelope {
    Envelope {
        source,
        destination,
        version: Version::V3(checksum),
    }
}

fn v3(id: u8) -> Virtual {
    Virtual {
        vrid: Vrid::new(id).expect("not zero"),
        v2: None,
    }
}

/// V5 to V13 in order, without V11 (its reserved bits are never sent).
fn vectors() -> Vec<Vector> {
    use ChecksumForm::{Message, Pseudo};
    vec![
        vector(V5, envelope(LB1, GROUP, Message), (51, 110, 100)),
        vector(V6, envelope(LB1, GROUP, Pseudo), (51, 110, 100)),
        vector(V7, envelope(LB1, LB2, Pseudo), (51, 110, 100)),
        vector(V8, envelope(LB1, GROUP, Pseudo), (51, 0, 100)),
        vector(V9, envelope(LB2, GROUP, Pseudo), (51, 100, 10)),
        Vector {
            addresses: Addresses::V4(&[API]),
            ..vector(V10, envelope(LB1, GROUP, Message), (1, 255, 4095))
        },
        vector(V12, envelope(LB1, GROUP, Message), (48, 77, 100)),
        vector(V5, envelope(BALANCED, GROUP, Message), (51, 110, 100)),
        vector(V5, envelope(BALANCED, GROUP, Pseudo), (51, 110, 100)),
    ]
}

/// An IPv4 datagram with this payload.
fn datagram(source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
        panic!("IPv6 has a file of its own");
    };
    let mut datagram = vec![0; IP_HEADER];
    let length = u16::try_from(payload.len()).expect("short payloads");
    ip::write_v4((source, destination), length, &mut datagram);
    datagram.extend_from_slice(payload);
    datagram
}

fn multicast(payload: &str) -> Vec<u8> {
    datagram(LB1, GROUP, &hex(payload))
}

/// Decodes as a node would that has the VRIDs of all vectors.
fn receive(datagram: &[u8]) -> Result<Received<'_>, DropReason> {
    let packet = Packet::read(datagram)?;
    let unicast = packet.destination == LB2;
    decode(
        &packet,
        &Expect {
            own: if unicast { LB2 } else { OWN },
            transport: if unicast {
                Transport::Unicast
            } else {
                Transport::Multicast
            },
            sources: if unicast { &[LB1] } else { &[] },
            routers: &[1, 48, 51, 52].map(v3),
            trailers: false,
        },
    )
}

#[test]
fn cod_01_a_payload_of_less_than_8_bytes_is_truncated() {
    for length in 0..8 {
        let payload = &hex(V6)[..length];
        assert_eq!(
            receive(&datagram(LB1, GROUP, payload)),
            Err(DropReason::Truncated),
            "{length} bytes"
        );
    }
}

#[test]
fn cod_02_v5_to_v13_decode_and_encode_to_the_same_bytes_and_fields() {
    for vector in vectors() {
        let wire = datagram(
            vector.envelope.source,
            vector.envelope.destination,
            &hex(vector.payload),
        );
        let received = receive(&wire).expect(vector.payload);
        assert_eq!(received.advert, vector.advert(), "{}", vector.payload);
        assert_eq!(received.source, vector.envelope.source);
        let mut out = [0xaa; MAX_DATAGRAM];
        let length = encode(&vector.advert(), &vector.envelope, None, &mut out).expect("it fits");
        assert_eq!(&out[..length], wire, "{}", vector.payload);
    }
}

/// Debian's Keepalived 2.2.7 cannot be told to sum as RFC 9568 does (`v3_checksum_as_v2` came with 2.2.8), so what such a
/// router sends and expects stands here as recorded bytes.
#[test]
fn ka_48_a_router_that_sums_the_message_alone_is_understood_and_answered_likewise() {
    let alone = Version::V3(ChecksumForm::Message);
    let recorded: Vec<_> = vectors()
        .into_iter()
        .filter(|one| [V5, V10].contains(&one.payload) && one.envelope.source == LB1)
        .collect();
    assert_eq!(recorded.len(), 2);
    for vector in recorded {
        let wire = multicast(vector.payload);
        let received = receive(&wire).expect(vector.payload);
        assert_eq!(received.checksum, Some(ChecksumForm::Message));
        assert_eq!(received.advert, vector.advert());
        assert_eq!(vector.envelope.version, alone);
        let mut out = [0; MAX_DATAGRAM];
        let length = encode(&vector.advert(), &vector.envelope, None, &mut out).expect("it fits");
        assert_eq!(&out[IP_HEADER..length], hex(vector.payload));
    }
}

#[test]
fn vector_ip4_the_header_of_v6() {
    let v6 = &vectors()[1];
    let mut out = [0xaa; MAX_DATAGRAM];
    let length = encode(&v6.advert(), &v6.envelope, None, &mut out).expect("it fits");
    assert_eq!(&out[..IP_HEADER], hex(IP4));
    assert_eq!(&out[IP_HEADER..length], hex(V6));
}

#[test]
fn vector_v13_fits_both_checksum_forms() {
    let wire = datagram(BALANCED, GROUP, &hex(V5));
    assert_eq!(receive(&wire).expect("valid").checksum, None);
}

#[test]
fn cod_03_no_single_flipped_bit_is_accepted_with_changed_fields() {
    let all = vectors();
    let mut cases: Vec<_> = all
        .iter()
        .map(|vector| (vector.envelope, vector.payload))
        .collect();
    cases.push((envelope(LB1, GROUP, ChecksumForm::Message), V11));
    for (envelope, payload) in cases {
        let wire = datagram(envelope.source, envelope.destination, &hex(payload));
        let whole = receive(&wire).expect("a valid vector").advert;
        for bit in 0..(wire.len() - IP_HEADER) * 8 {
            if (32..36).contains(&bit) {
                continue;
            }
            let mut flipped = wire.clone();
            flipped[IP_HEADER + bit / 8] ^= 0x80 >> (bit % 8);
            if let Ok(received) = receive(&flipped) {
                assert_eq!(received.advert, whole, "{payload}, bit {bit}");
            }
        }
    }
}

#[test]
fn cod_04_x1_x2_x3_have_their_reasons() {
    for (payload, reason) in [
        (X1, DropReason::IntervalZero),
        (X2, DropReason::CountZero),
        (X3, DropReason::Length),
    ] {
        assert_eq!(receive(&multicast(payload)), Err(reason), "{payload}");
    }
}

#[test]
fn cod_05_both_checksum_forms_are_accepted_and_told_apart() {
    let (v5, v6) = (multicast(V5), multicast(V6));
    let (v5, v6) = (receive(&v5).expect("valid"), receive(&v6).expect("valid"));
    assert_eq!(v5.advert, v6.advert);
    assert_eq!(v5.checksum, Some(ChecksumForm::Message));
    assert_eq!(v6.checksum, Some(ChecksumForm::Pseudo));
}

#[test]
fn cod_06_reserved_bits_are_ignored_and_never_sent() {
    let wire = multicast(V11);
    let received = receive(&wire).expect("valid");
    assert_eq!(received.advert.interval, Duration::from_secs(1));
    let mut out = [0; MAX_DATAGRAM];
    let envelope = envelope(LB1, GROUP, ChecksumForm::Message);
    let length = encode(&received.advert, &envelope, None, &mut out).expect("it fits");
    assert_eq!(&out[IP_HEADER..length], hex(V5));
}

#[test]
fn cod_08_a_version_2_advert_is_dropped_as_version() {
    for payload in [V1, V2, V3, V4] {
        let wire = multicast(payload);
        assert_eq!(receive(&wire), Err(DropReason::Version), "{payload}");
    }
}

#[test]
fn cod_09_another_type_is_dropped_as_type() {
    let mut wire = multicast(V6);
    wire[IP_HEADER] = 0x32;
    assert_eq!(receive(&wire), Err(DropReason::Type));
}

#[test]
fn cod_10_a_ttl_other_than_255_is_dropped_as_ttl() {
    for ttl in [254, 1, 0] {
        let mut wire = multicast(V6);
        wire[8] = ttl;
        assert_eq!(receive(&wire), Err(DropReason::Ttl), "{ttl}");
        let mut wire = datagram(LB1, LB2, &hex(V7));
        wire[8] = ttl;
        assert_eq!(receive(&wire), Err(DropReason::Ttl), "unicast {ttl}");
    }
}

#[test]
fn cod_14_cut_at_every_length_it_is_never_read_past_the_end() {
    let addresses = [API; 255];
    let advert = Advert {
        addresses: Addresses::V4(&addresses),
        ..vectors()[1].advert()
    };
    let mut out = [0; MAX_DATAGRAM];
    let envelope = envelope(LB1, GROUP, ChecksumForm::Pseudo);
    let length = encode(&advert, &envelope, None, &mut out).expect("it fits");
    assert_eq!(length, IP_HEADER + 8 + 4 * 255);
    assert_eq!(receive(&out[..length]).expect("valid").advert, advert);
    for cut in 0..length {
        assert_eq!(receive(&out[..cut]), Err(DropReason::IpHeader), "{cut}");
        let Some(payload) = out[..cut].get(IP_HEADER..) else {
            continue;
        };
        let reason = receive(&datagram(LB1, GROUP, payload)).expect_err("it is cut");
        assert!(
            matches!(reason, DropReason::Truncated | DropReason::Length),
            "{cut}: {reason:?}"
        );
    }
}

#[test]
fn cod_16_ethernet_padding_is_not_payload() {
    let mut wire = multicast(V6);
    wire.resize(60 - 14, 0x5a);
    let received = receive(&wire).expect("valid");
    assert_eq!(received.advert, vectors()[1].advert());
}

#[test]
fn header_options_are_skipped() {
    let mut wire = multicast(V6);
    wire.splice(IP_HEADER..IP_HEADER, [1, 1, 1, 0]);
    wire[0] = 0x46;
    wire[3] += 4;
    assert_eq!(receive(&wire).expect("valid").advert, vectors()[1].advert());
}

#[test]
fn a_bad_ip_header_is_the_first_reason() {
    let spoil = |at: usize, byte: u8| {
        let mut wire = multicast(V1);
        wire[at] = byte;
        receive(&wire).map(|received| received.source)
    };
    assert_eq!(spoil(0, 0x65), Err(DropReason::IpHeader), "version 6");
    assert_eq!(spoil(0, 0x44), Err(DropReason::IpHeader), "IHL 4");
    assert_eq!(spoil(0, 0x4f), Err(DropReason::IpHeader), "IHL 15");
    assert_eq!(spoil(3, 19), Err(DropReason::IpHeader), "total length");
    assert_eq!(spoil(3, 200), Err(DropReason::IpHeader), "total length");
    assert_eq!(spoil(9, 6), Err(DropReason::IpHeader), "protocol");
    assert_eq!(spoil(9, PROTOCOL), Err(DropReason::Version), "intact");
}

#[test]
fn destination_source_and_vrid_have_their_rungs() {
    let routers = [v3(51)];
    let expect = Expect {
        own: LB2,
        transport: Transport::Unicast,
        sources: &[LB1],
        routers: &routers,
        trailers: false,
    };
    let stranger = IpAddr::from([192, 168, 0, 77]);
    let reason = |source, destination, payload: &str| {
        let wire = datagram(source, destination, &hex(payload));
        decode(&Packet::read(&wire)?, &expect).map(|received| received.source)
    };
    assert_eq!(reason(LB1, LB2, V7), Ok(LB1));
    assert_eq!(reason(LB1, GROUP, V6), Err(DropReason::DstClass));
    assert_eq!(reason(LB2, LB2, V7), Err(DropReason::OwnSource));
    assert_eq!(reason(LB1, LB2, "3100"), Err(DropReason::Truncated));
    assert_eq!(reason(stranger, LB2, V12), Err(DropReason::Vrid));
    assert_eq!(reason(stranger, LB2, V1), Err(DropReason::Source));
    assert_eq!(reason(LB1, LB2, V6), Err(DropReason::Checksum));
    let multicast = Expect {
        transport: Transport::Multicast,
        ..expect
    };
    let reason = |source, destination, payload: &str| {
        let wire = datagram(source, destination, &hex(payload));
        decode(&Packet::read(&wire)?, &multicast).map(|received| received.source)
    };
    assert_eq!(reason(stranger, GROUP, V5), Err(DropReason::Source));
    assert_eq!(reason(LB1, LB2, V7), Err(DropReason::DstClass));
}

#[test]
fn what_cannot_stand_on_the_wire_is_not_written() {
    let fine = vectors()[1].advert();
    let envelope = vectors()[1].envelope;
    let mut out = [0; MAX_DATAGRAM];
    let mut try_with = |advert: Advert<'_>| encode(&advert, &envelope, None, &mut out);
    let many = [API; 256];
    for some in [&many[..0], &many[..]] {
        let addresses = Addresses::V4(some);
        assert_eq!(
            try_with(Advert { addresses, ..fine }),
            Err(EncodeError::Addresses(some.len()))
        );
    }
    for nanos in [0, 9_999_999, 10_000_001, 40_960_000_000] {
        let interval = Duration::from_nanos(nanos);
        assert_eq!(
            try_with(Advert { interval, ..fine }),
            Err(EncodeError::Interval(interval))
        );
    }
    assert_eq!(
        encode(&fine, &envelope, None, &mut [0; 35]),
        Err(EncodeError::Buffer {
            needed: 36,
            got: 35
        })
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        let _ = receive(&bytes);
    }

    #[test]
    fn no_payload_makes_it_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        head in 0_usize..8,
    ) {
        // The first bytes of a good advert, so that the later rungs are reached.
        let mut payload = payload;
        for (byte, good) in payload.iter_mut().zip(&hex(V5)[..head]) {
            *byte = *good;
        }
        let _ = receive(&datagram(LB1, GROUP, &payload));
    }

    #[test]
    fn what_is_encoded_is_decoded(
        (priority, centiseconds, last) in (any::<u8>(), 1_u64..4096, any::<u8>()),
        pseudo in any::<bool>(),
    ) {
        let advert = Advert {
            vrid: Vrid::new(52).expect("not zero"),
            priority,
            interval: Duration::from_millis(centiseconds * 10),
            addresses: Addresses::V4(&[[192, 168, 0, last]]),
        };
        let form = if pseudo { ChecksumForm::Pseudo } else { ChecksumForm::Message };
        let mut out = [0; MAX_DATAGRAM];
        let length = encode(&advert, &envelope(LB1, GROUP, form), None, &mut out).expect("it fits");
        let received = receive(&out[..length]).expect("valid");
        prop_assert_eq!(received.advert, advert);
        prop_assert!(received.checksum.is_none_or(|got| got == form));
    }
}
