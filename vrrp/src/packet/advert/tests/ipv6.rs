//! The vectors of IPv6, and the rungs that IPv4 has not.

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;

const LB1: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 0x11));
const LB2: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 0x12));
const GROUP: IpAddr = group(Family::V6);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x33);
const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x10);
const ADDRESSES: [[u8; 16]; 2] = [LINK_LOCAL.octets(), VIP.octets()];
const HEADER: usize = IPV6_HEADER;

const V14: &str =
    "31336e020064170dfe800000000000000000000000000033fd000000000000010000000000000010";
const V15: &str =
    "31336e020064c83afe800000000000000000000000000033fd000000000000010000000000000010";
/// The other address first.
const V16: &str =
    "31336e020064170dfd000000000000010000000000000010fe800000000000000000000000000033";
const V18: &str = "010100006a000000800000006f573f9c09c9aa40c15cdd7baa617285";

fn advert() -> Advert<'static> {
    Advert {
        vrid: Vrid::new(51).expect("not zero"),
        priority: 110,
        interval: Duration::from_secs(1),
        addresses: Addresses::V6(&ADDRESSES),
    }
}

fn to(destination: IpAddr) -> Envelope {
    envelope(LB1, destination, ChecksumForm::Pseudo)
}

fn datagram(destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (LB1, destination) else {
        panic!("they are IPv6");
    };
    let mut datagram = vec![0; HEADER];
    let length = u16::try_from(payload.len()).expect("short payloads");
    ip::write_v6((source, destination), length, &mut datagram);
    datagram.extend_from_slice(payload);
    datagram
}

/// As lb2.
fn receive(datagram: &[u8], trailers: bool) -> Result<Received<'_>, DropReason> {
    let packet = Packet::read(datagram)?;
    let unicast = packet.destination == LB2;
    decode(
        &packet,
        &Expect {
            own: LB2,
            transport: if unicast {
                Transport::Unicast
            } else {
                Transport::Multicast
            },
            sources: if unicast { &[LB1] } else { &[] },
            routers: &[v3(51)],
            trailers,
        },
    )
}

#[test]
fn cod_02_v14_and_v15_decode_and_encode_to_the_same_bytes_and_fields() {
    for (destination, payload) in [(GROUP, V14), (LB2, V15)] {
        let wire = datagram(destination, &hex(payload));
        let received = receive(&wire, false).expect(payload);
        assert_eq!((received.advert, received.source), (advert(), LB1));
        assert_eq!(received.checksum, Some(ChecksumForm::Pseudo));
        let mut out = [0xaa; MAX_DATAGRAM];
        let length = encode(&advert(), &to(destination), None, &mut out).expect("it fits");
        assert_eq!(&out[..length], wire, "{payload}");
    }
}

/// Version 6, class 0xc0, 40 bytes, next header 112, hop limit 255 (RFC 9568, section 5.1.2).
#[test]
fn the_header_is_as_the_rfc_wants_it() {
    let mut out = [0xaa; MAX_DATAGRAM];
    encode(&advert(), &to(GROUP), None, &mut out).expect("it fits");
    let header = "6c000000002870ff\
                  fe80000000000000505400fffe000011ff020000000000000000000000000012";
    assert_eq!(&out[..HEADER], hex(header));
}

/// The checksum has one form: `message` is IPv4's.
#[test]
fn the_pseudo_header_is_summed_whatever_the_form() {
    let (mut one, mut other) = ([0; MAX_DATAGRAM], [0; MAX_DATAGRAM]);
    let message = envelope(LB1, GROUP, ChecksumForm::Message);
    encode(&advert(), &to(GROUP), None, &mut one).expect("it fits");
    encode(&advert(), &message, None, &mut other).expect("it fits");
    assert_eq!(one, other);
}

#[test]
fn cod_03_no_single_flipped_bit_is_accepted_over_ipv6() {
    let wire = datagram(GROUP, &hex(V14));
    for bit in HEADER * 8..wire.len() * 8 {
        let mut flipped = wire.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(receive(&flipped, false).is_err(), "bit {bit}");
    }
}

#[test]
fn cod_04_v16_without_a_link_local_address_first_is_dropped_as_linklocal() {
    let wire = datagram(GROUP, &hex(V16));
    assert_eq!(receive(&wire, false), Err(DropReason::LinkLocal));
}

#[test]
fn cod_10_a_hop_limit_other_than_255_is_dropped_as_ttl() {
    for (destination, payload) in [(GROUP, V14), (LB2, V15)] {
        for limit in [254, 64, 1, 0] {
            let mut wire = datagram(destination, &hex(payload));
            wire[7] = limit;
            assert_eq!(receive(&wire, false), Err(DropReason::Ttl), "{limit}");
        }
    }
}

#[test]
fn cod_02_v18_is_read_with_its_signature() {
    let wire = datagram(GROUP, &hex(&format!("{V14}{V18}")));
    assert_eq!(receive(&wire, false), Err(DropReason::Length));
    let received = receive(&wire, true).expect("valid");
    assert_eq!(received.message, hex(V14));
    assert_eq!(received.trailer.expect("signed").as_slice(), hex(V18));
}

#[test]
fn cod_14_count_255_cut_at_every_length_is_never_read_past_the_end() {
    let mut addresses = [VIP.octets(); 255];
    addresses[0] = LINK_LOCAL.octets();
    let advert = Advert {
        addresses: Addresses::V6(&addresses),
        ..advert()
    };
    let mut out = [0; MAX_DATAGRAM];
    let length = encode(&advert, &to(GROUP), None, &mut out).expect("it fits");
    assert_eq!(length, MAX_DATAGRAM - TRAILER_LEN);
    assert_eq!(
        receive(&out[..length], false).expect("valid").advert,
        advert
    );
    for cut in 0..length {
        let reason = receive(&out[..cut], false).expect_err("it is cut");
        assert_eq!(reason, DropReason::IpHeader, "{cut}");
        let Some(payload) = out[..cut].get(HEADER..) else {
            continue;
        };
        let reason = receive(&datagram(GROUP, payload), false).map(|received| received.source);
        assert!(
            matches!(reason, Err(DropReason::Truncated | DropReason::Length)),
            "{cut}: {reason:?}"
        );
    }
}

#[test]
fn cod_16_ethernet_padding_is_not_payload_over_ipv6() {
    let mut wire = datagram(GROUP, &hex(V14));
    wire.extend([0x5a; 7]);
    assert_eq!(receive(&wire, false).expect("valid").advert, advert());
}

#[test]
fn a_bad_ipv6_header_is_the_first_reason() {
    let spoil = |at: usize, byte: u8| {
        let mut wire = datagram(GROUP, &hex(V14));
        wire[at] = byte;
        receive(&wire, false).map(|received| received.source)
    };
    assert_eq!(spoil(6, 0), Err(DropReason::IpHeader), "hop-by-hop options");
    assert_eq!(spoil(5, 41), Err(DropReason::IpHeader), "too long");
    assert_eq!(
        spoil(5, 39),
        Err(DropReason::Length),
        "shorter than it says"
    );
    assert_eq!(spoil(24, 0xfe), Err(DropReason::DstClass), "destination");
}

#[test]
fn families_do_not_mix() {
    let mut out = [0; MAX_DATAGRAM];
    let over_ipv4 = envelope(
        IpAddr::from([192, 168, 0, 11]),
        group(Family::V4),
        ChecksumForm::Pseudo,
    );
    let version_2 = Envelope {
        version: Version::V2(None),
        ..to(GROUP)
    };
    for wrong in [over_ipv4, version_2] {
        let result = encode(&advert(), &wrong, None, &mut out);
        assert!(
            matches!(result, Err(EncodeError::Family { .. })),
            "{result:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_over_ipv6(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        head in 0_usize..8,
    ) {
        let mut payload = payload;
        for (byte, good) in payload.iter_mut().zip(&hex(V14)[..head]) {
            *byte = *good;
        }
        let _ = receive(&datagram(GROUP, &payload), true);
    }
}
