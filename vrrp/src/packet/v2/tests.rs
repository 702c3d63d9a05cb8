//! The vectors of version 2, recorded from Keepalived, and the rungs that version 3 has not.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::addr::{Family, Vrid};
use common::board::DropReason;
use common::config::Transport;
use proptest::prelude::*;

use crate::packet::hex::hex;
use crate::packet::{
    Addresses, Advert, EncodeError, Envelope, Expect, MAX_DATAGRAM, Packet, Received, V2, Version,
    Virtual, decode, encode, group,
};
use crate::signature::{Keys, Stamp};

const LB1: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 11));
const LB2: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 12));
const API: [u8; 4] = [192, 168, 0, 10];
const WEB: [u8; 4] = [192, 168, 0, 14];
const PASS: [u8; 8] = *b"fmclb-01";
const IP_HEADER: usize = 20;

const V1: &str = "21336e010001b017c0a8000a0000000000000000";
const V2_PASS: &str = "21336e01010152dfc0a8000a666d636c622d3031";
const V3: &str = "2134640101015cdac0a8000e666d636c622d3031";
const V4: &str = "213300010101c0dfc0a8000a666d636c622d3031";

fn vrid(id: u8) -> Vrid {
    Vrid::new(id).expect("not zero")
}

fn advert(id: u8, priority: u8, address: &'static [[u8; 4]]) -> Advert<'static> {
    Advert {
        vrid: vrid(id),
        priority,
        interval: Duration::from_secs(1),
        addresses: Addresses::V4(address),
    }
}

fn written(advert: &Advert<'_>, pass: Option<[u8; 8]>) -> Vec<u8> {
    let envelope = Envelope {
        source: LB1,
        destination: group(Family::V4),
        version: Version::V2(pass),
    };
    let mut out = [0xaa; MAX_DATAGRAM];
    let length = encode(advert, &envelope, None, &mut out).expect("it fits");
    out[..length].to_vec()
}

/// As VRID 51 with .10 or 52 with .14.
fn own(id: u8, pass: Option<[u8; 8]>) -> Virtual {
    let address = if id == 51 { API } else { WEB };
    Virtual {
        vrid: vrid(id),
        v2: Some(V2 {
            pass,
            seconds: 1,
            address: address.into(),
            owner: false,
        }),
    }
}

fn receive<'a>(datagram: &'a [u8], routers: &[Virtual]) -> Result<Received<'a>, DropReason> {
    let expect = Expect {
        own: LB2,
        transport: Transport::Multicast,
        sources: &[],
        routers,
        trailers: false,
    };
    decode(&Packet::read(datagram)?, &expect)
}

#[test]
fn cod_02_v1_to_v4_decode_and_encode_to_the_same_bytes_and_fields() {
    for (payload, pass, id, priority) in [
        (V1, None, 51, 110),
        (V2_PASS, Some(PASS), 51, 110),
        (V3, Some(PASS), 52, 100),
        (V4, Some(PASS), 51, 0),
    ] {
        let advert = advert(id, priority, if id == 51 { &[API] } else { &[WEB] });
        let wire = written(&advert, pass);
        assert_eq!(&wire[IP_HEADER..], hex(payload), "{payload}");
        let received = receive(&wire, &[own(51, pass), own(52, pass)]).expect(payload);
        assert_eq!((received.advert, received.source), (advert, LB1));
        assert_eq!((received.checksum, received.trailer), (None, None));
    }
}

#[test]
fn cod_03_no_single_flipped_bit_is_accepted() {
    let wire = written(&advert(51, 110, &[API]), Some(PASS));
    for bit in IP_HEADER * 8..wire.len() * 8 {
        let mut flipped = wire.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            receive(&flipped, &[own(51, Some(PASS))]).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn cod_07_authentication_has_to_agree() {
    let with = written(&advert(51, 110, &[API]), Some(PASS));
    let without = written(&advert(51, 110, &[API]), None);
    let other = written(&advert(51, 110, &[API]), Some(*b"fmclb-02"));
    let reason = |wire: &[u8], pass| receive(wire, &[own(51, pass)]).expect_err("they differ");
    assert_eq!(reason(&without, Some(PASS)), DropReason::AuthType);
    assert_eq!(reason(&with, None), DropReason::AuthType);
    assert_eq!(reason(&other, Some(PASS)), DropReason::AuthFail);
    // Type 2, an IP authentication header (RFC 2338).
    let mut header = with;
    header[IP_HEADER + 4] = 2;
    header[IP_HEADER + 7] -= 1;
    assert_eq!(reason(&header, Some(PASS)), DropReason::Checksum);
    header[IP_HEADER + 6] -= 1;
    header[IP_HEADER + 7] += 1;
    assert_eq!(reason(&header, Some(PASS)), DropReason::AuthType);
}

#[test]
fn cod_08_the_other_version_is_dropped_as_version() {
    let v2 = written(&advert(51, 110, &[API]), None);
    let v3 = Virtual {
        vrid: vrid(51),
        v2: None,
    };
    assert_eq!(receive(&v2, &[v3]), Err(DropReason::Version));
    let mut as_v3 = v2;
    as_v3[IP_HEADER] = 0x31;
    assert_eq!(receive(&as_v3, &[own(51, None)]), Err(DropReason::Version));
}

#[test]
fn cod_15_other_addresses_are_another_router_unless_their_owner_speaks() {
    for (addresses, priority, expected) in [
        (&[WEB][..], 110, Err(DropReason::AddrList)),
        (&[API, WEB], 110, Err(DropReason::AddrList)),
        (&[WEB], 0, Err(DropReason::AddrList)),
        (&[WEB], 255, Ok(255)),
        (&[API], 110, Ok(110)),
    ] {
        let foreign = Advert {
            addresses: Addresses::V4(addresses),
            ..advert(51, priority, &[API])
        };
        let wire = written(&foreign, None);
        let heard = receive(&wire, &[own(51, None)]).map(|received| received.advert.priority);
        assert_eq!(heard, expected, "{addresses:?}");
    }
}

#[test]
fn another_interval_and_an_owner_of_our_own_are_refused() {
    let slow = Advert {
        interval: Duration::from_secs(2),
        ..advert(51, 110, &[API])
    };
    let wire = written(&slow, None);
    assert_eq!(receive(&wire, &[own(51, None)]), Err(DropReason::Interval));
    let mut owner = own(51, None);
    if let Some(v2) = &mut owner.v2 {
        v2.owner = true;
    }
    let wire = written(&advert(51, 110, &[API]), None);
    assert_eq!(receive(&wire, &[owner]), Err(DropReason::Owner));
}

#[test]
fn only_whole_seconds_can_be_written() {
    let envelope = Envelope {
        source: LB1,
        destination: group(Family::V4),
        version: Version::V2(None),
    };
    for millis in [0, 100, 1_500, 256_000] {
        let interval = Duration::from_millis(millis);
        let advert = Advert {
            interval,
            ..advert(51, 110, &[API])
        };
        let result = encode(&advert, &envelope, None, &mut [0; MAX_DATAGRAM]);
        assert_eq!(result, Err(EncodeError::Seconds(interval)));
    }
}

#[test]
fn a_signature_stands_behind_the_password() {
    let keys = Keys::new(&[(1, [7; 32])]).expect("a key");
    let envelope = Envelope {
        source: LB1,
        destination: group(Family::V4),
        version: Version::V2(Some(PASS)),
    };
    let mut out = [0; MAX_DATAGRAM];
    let signature = Some((&keys, Stamp::at(Duration::from_secs(9))));
    let length = encode(&advert(51, 110, &[API]), &envelope, signature, &mut out);
    let wire = &out[..length.expect("it fits")];
    let routers = [own(51, Some(PASS))];
    assert_eq!(receive(wire, &routers), Err(DropReason::Length));
    let expect = Expect {
        own: LB2,
        transport: Transport::Multicast,
        sources: &[],
        routers: &routers,
        trailers: true,
    };
    let packet = Packet::read(wire).expect("it has a header");
    let received = decode(&packet, &expect).expect("valid");
    let trailer = received.trailer.expect("it is signed");
    let signed = (received.source, received.message);
    assert!(keys.verify(signed, trailer, |_| true).is_ok());
}

proptest! {
    #[test]
    fn nothing_panics_and_cut_datagrams_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let routers = [own(51, Some(PASS)), own(52, None)];
        let _whatever = receive(&bytes, &routers);
        let wire = written(&advert(51, 110, &[API]), Some(PASS));
        for cut in 0..wire.len() {
            prop_assert!(receive(&wire[..cut], &routers).is_err());
        }
    }
}
