//! What other machines send to the election.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use common::addr::{Family, Vrid};
use common::board::PairDrop;
use common::config::Transport;
use ring::{hkdf, hmac};
use vrrp::packet::{self, Envelope, Expect, MAX_DATAGRAM, Packet, V2, Version, Virtual};
use vrrp::pair::Channel;
use vrrp::signature::Keys;

const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 12);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 11);
/// The same two over IPv6.
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 0x12);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 0x11);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 10);
const PASSWORD: [u8; 8] = *b"fmclb-01";
/// Key id 1 of the recorded vectors.
const KEY: (u8, [u8; 32]) = (1, {
    let mut key = [0; 32];
    let mut at = 0;
    while at < key.len() {
        key[at] = at as u8;
        at += 1;
    }
    key
});

/// The routers that are listened to: 51 speaks version 3, 52 version 2, 53 version 2 with a password.
fn routers() -> [Virtual; 3] {
    let virtual_router = |vrid, v2| Virtual {
        vrid: Vrid::new(vrid).expect("not zero"),
        v2,
    };
    let v2 = |pass| V2 {
        pass,
        seconds: 1,
        address: VIP,
        owner: false,
    };
    [
        virtual_router(51, None),
        virtual_router(52, Some(v2(None))),
        virtual_router(53, Some(v2(Some(PASSWORD)))),
    ]
}

/// Adverts of versions 2 and 3, over IPv4 and IPv6, signed or not. The first byte chooses how they come.
pub(crate) fn advert(data: &[u8]) {
    let Some((how, datagram)) = data.split_first() else {
        return;
    };
    let routers = routers();
    let (own, peer) = match how & 8 {
        0 => (IpAddr::from(OWN), IpAddr::from(PEER)),
        _ => (OWN_V6.into(), PEER_V6.into()),
    };
    // Version 2 is for IPv4.
    let routers = if own.is_ipv4() {
        &routers[..]
    } else {
        &routers[..1]
    };
    let expect = Expect {
        own,
        transport: if how & 1 == 0 {
            Transport::Multicast
        } else {
            Transport::Unicast
        },
        sources: if how & 2 == 0 { &[] } else { &[peer] },
        routers,
        trailers: how & 4 != 0,
    };
    let read = Packet::read(datagram);
    let Ok(received) = read.and_then(|packet| packet::decode(&packet, &expect)) else {
        return;
    };
    let advert = received.advert;
    let router = routers.iter().find(|router| router.vrid == advert.vrid);
    let router = router.expect("an advert that is heard has a router");
    assert!(advert.interval >= Duration::from_millis(10), "{advert:?}");
    assert!(advert.interval <= Duration::from_secs(255), "{advert:?}");
    assert!(advert.addresses.count() > 0, "{advert:?}");
    assert!(received.source != own, "our own");
    if let Some(trailer) = received.trailer {
        let keys = Keys::new(&[KEY]).expect("there is a key");
        // Whether it is signed well decides only over its belief.
        let _ = keys.verify((received.source, received.message), trailer, |_| true);
    }
    // What was read can be written, and says the same.
    let envelope = Envelope {
        source: received.source,
        destination: if how & 1 == 0 {
            packet::group(Family::of(own))
        } else {
            own
        },
        version: match (router.v2, received.checksum) {
            (Some(v2), _) => Version::V2(v2.pass),
            (None, form) => Version::V3(form.unwrap_or(common::config::ChecksumForm::Message)),
        },
    };
    let mut bytes = [0; MAX_DATAGRAM];
    let length =
        packet::encode(&advert, &envelope, None, &mut bytes).expect("what was read can be written");
    let packet = Packet::read(&bytes[..length]).expect("our own header is good");
    let again = packet::decode(&packet, &expect).expect("our own bytes are good");
    assert_eq!(again.advert, advert);
}

/// Answers to questions, and claims of addresses.
pub(crate) fn arp(data: &[u8]) {
    if packet::arp_answer(data, PEER).is_some() {
        assert!(data.len() >= packet::ARP_FRAME_LEN);
        assert_eq!(packet::arp_claim(data).map(|claim| claim.1), Some(PEER));
    }
}

/// The same of neighbour discovery: frames as they are, and with a good sum, which a search would hardly find.
pub(crate) fn ndisc(data: &[u8]) {
    neighbour(data);
    if let Some(summed) = summed(data) {
        neighbour(&summed);
    }
}

fn neighbour(frame: &[u8]) {
    if let Some((_, address)) = packet::neighbour_claim(frame) {
        assert!(!address.is_unspecified() && !address.is_multicast());
        // Of this link: no router has passed it on.
        assert_eq!((frame[20], frame[21]), (58, 255));
    }
    if let Some(mac) = packet::neighbour_answer(frame, PEER_V6) {
        assert_eq!(packet::neighbour_claim(frame), Some((mac, PEER_V6)));
    }
}

/// With the checksum of ICMPv6 that the frame should have (RFC 4443, section 2.3), if it has room for one.
fn summed(frame: &[u8]) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    let length = u16::from_be_bytes([*frame.get(18)?, *frame.get(19)?]);
    let (headers, rest) = frame.split_at_mut_checked(54)?;
    let message = rest.get_mut(..usize::from(length))?;
    message.get_mut(2..4)?.fill(0);
    // Both addresses, the length, the next header.
    let mut sum = u64::from(length) + 58;
    for bytes in [&headers[22..], &*message] {
        for pair in bytes.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    Some(frame)
}

/// Datagrams of the pair channel: as they are, and with a good signature, which a search would never find.
pub(crate) fn pair(data: &[u8]) {
    let channel = || Channel::new(&[KEY], 0x1122_3344_5566_7788).expect("there is a key");
    assert!(channel().open(data).is_err(), "nobody signed this");
    let mut signed = data.to_vec();
    signed.extend(hmac::sign(&pair_key(), data).as_ref());
    match channel().open(&signed) {
        // Nobody can echo what we have not sent yet.
        Ok(summary) => panic!("{summary:?} was not fresh"),
        Err(reason) => assert_ne!(reason, PairDrop::Authentication),
    }
    // The second byte of a datagram that a search makes is an echo of what we have sent, when it wants one.
    let mut channel = channel();
    let mut out = [0; vrrp::pair::MAX_DATAGRAM];
    let sent = channel.seal(&vrrp::pair::Summary::new(0, 0), &mut out);
    let mut echoed = data.to_vec();
    if let (Some(echo), true) = (echoed.get_mut(32..48), sent > 32) {
        echo.copy_from_slice(&out[16..32]);
    }
    let tag = hmac::sign(&pair_key(), &echoed);
    echoed.extend(tag.as_ref());
    if let Ok(summary) = channel.open(&echoed) {
        for vip in summary.vips() {
            assert!(vip.interval >= Duration::from_millis(10), "{vip:?}");
            assert!(vip.interval <= Duration::from_millis(40_950), "{vip:?}");
        }
        assert_eq!(channel.open(&echoed), Err(PairDrop::Replay), "twice");
    }
}

/// As both nodes derive it from [`KEY`] (RFC 5869).
fn pair_key() -> hmac::Key {
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(&KEY.1)
        .expand(&[b"fmc-lb pair channel v1"], hmac::HMAC_SHA256)
        .expect("one hash is not too long")
        .into()
}
