//! The segments of a rescue: the poke, and the RST that follows its answer. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const TCP: u8 = 6;
const TCP_LEN: usize = 20;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Flags in the 14th byte of a TCP header.
const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
/// Don't fragment.
const DF: u16 = 0x4000;
const HOPS: u8 = 64;
const WINDOW: u16 = 1_024;

/// What a poke looks like. Neither carries data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    SynAck,
    Ack,
}

/// A poke with this number, IP header included. The kernel fills the checksum of an IPv4 header in. `None` = the
/// addresses are of different families.
pub(super) fn poke(
    (from, to): (SocketAddr, SocketAddr),
    sequence: u32,
    form: Form,
) -> Option<Vec<u8>> {
    let mut packet = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4(source, destination),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6(source, destination),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    let mut segment = [0; TCP_LEN];
    segment[0..2].copy_from_slice(&from.port().to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    // Nobody looks at it, since the segment's number is judged first.
    segment[8..12].copy_from_slice(&(!sequence).to_be_bytes());
    segment[12] = ((TCP_LEN / 4) as u8) << 4;
    segment[13] = match form {
        Form::SynAck => SYN | ACK,
        Form::Ack => ACK,
    };
    segment[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    let sum = checksum(from.ip(), to.ip(), &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&segment);
    Some(packet)
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::with_capacity(IPV4_LEN + TCP_LEN);
    packet.extend_from_slice(&[0x45, 0]);
    packet.extend_from_slice(&((IPV4_LEN + TCP_LEN) as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&DF.to_be_bytes());
    packet.extend_from_slice(&[HOPS, TCP, 0, 0]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = Vec::with_capacity(IPV6_LEN + TCP_LEN);
    packet.extend_from_slice(&[0x60, 0, 0, 0]);
    packet.extend_from_slice(&(TCP_LEN as u16).to_be_bytes());
    packet.extend_from_slice(&[TCP, HOPS]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet
}

/// Over the pseudo header (RFC 9293, section 3.1) and the segment.
fn checksum(source: IpAddr, destination: IpAddr, segment: &[u8]) -> u16 {
    let mut sum = u32::from(TCP) + segment.len() as u32;
    for address in [source, destination] {
        sum += match address {
            IpAddr::V4(ip) => words(&ip.octets()),
            IpAddr::V6(ip) => words(&ip.octets()),
        };
    }
    sum += words(segment);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn words(bytes: &[u8]) -> u32 {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum()
}

/// The two ends of an RST: whose it is, and for whom; `None` = the packet is none. IP header included; extension headers
/// are not looked behind.
pub(super) fn reset(packet: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination, segment): (IpAddr, IpAddr, _) = match packet.first()? >> 4 {
        4 if *packet.get(9)? == TCP => (
            Ipv4Addr::from(at::<4>(packet, 12)?).into(),
            Ipv4Addr::from(at::<4>(packet, 16)?).into(),
            packet.get(usize::from(packet[0] & 0xf) * 4..)?,
        ),
        6 if *packet.get(6)? == TCP => (
            Ipv6Addr::from(at::<16>(packet, 8)?).into(),
            Ipv6Addr::from(at::<16>(packet, 24)?).into(),
            packet.get(IPV6_LEN..)?,
        ),
        _ => return None,
    };
    if segment.get(13)? & RST == 0 {
        return None;
    }
    let port = |offset| Some(u16::from_be_bytes(at::<2>(segment, offset)?));
    Some((
        SocketAddr::new(source, port(0)?),
        SocketAddr::new(destination, port(2)?),
    ))
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(&str, &str); 2] = [
        ("192.168.0.14:443", "192.168.0.100:40000"),
        ("[fd00:0:0:1::14]:443", "[fd00:0:0:1::100]:40000"),
    ];

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_poke_has_its_flags_and_the_right_checksum() {
        for (from, to) in PAIRS.map(|(from, to)| (address(from), address(to))) {
            let packet = poke((from, to), 0xdead_beef, Form::Ack).expect("one family");
            let head = if from.is_ipv4() { IPV4_LEN } else { IPV6_LEN };
            let segment = &packet[head..];
            assert_eq!(packet.len(), head + TCP_LEN);
            assert_eq!(segment[4..8], 0xdead_beef_u32.to_be_bytes());
            assert_eq!(segment[13], ACK);
            // With the right sum in it, the sum over everything is zero.
            assert_eq!(checksum(from.ip(), to.ip(), segment), 0);
            let packet = poke((from, to), 7, Form::SynAck).expect("one family");
            assert_eq!(packet[head + 13], SYN | ACK);
            assert_eq!(checksum(from.ip(), to.ip(), &packet[head..]), 0);
        }
        let (v4, v6) = (address(PAIRS[0].0), address(PAIRS[1].0));
        assert_eq!(poke((v4, v6), 1, Form::Ack), None);
    }

    #[test]
    fn an_rst_is_told_from_the_rest() {
        for (from, to) in PAIRS.map(|(from, to)| (address(from), address(to))) {
            let mut packet = poke((from, to), 7, Form::Ack).expect("one family");
            assert_eq!(reset(&packet), None);
            let flags = packet.len() - TCP_LEN + 13;
            packet[flags] |= RST;
            assert_eq!(reset(&packet), Some((from, to)));
            for end in 0..flags {
                assert_eq!(reset(&packet[..end]), None);
            }
            let protocol = if from.is_ipv4() { 9 } else { 6 };
            packet[protocol] = 17;
            assert_eq!(reset(&packet), None);
        }
        assert_eq!(reset(&[0x4f; 30]), None);
    }
}
