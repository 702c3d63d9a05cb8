//! Frames, byte by byte: what a client may send, and what comes back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const FRAGMENT_HEADER: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// An option that whoever does not know it passes over (RFC 4727). Long padding is dropped by Linux.
const EXPERIMENT: u8 = 0x1e;
const ETHERNET: usize = 14;

/// A TCP segment, without options unless it is a SYN.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.source.port().to_be_bytes());
        bytes.extend(self.destination.port().to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        // A SYN says how large a segment may be: 1,400 bytes.
        let options: &[u8] = if self.flags & SYN == 0 {
            &[]
        } else {
            &[2, 4, 5, 0x78]
        };
        bytes.extend([if options.is_empty() { 5 } else { 6 } << 4, self.flags]);
        bytes.extend(60_000_u16.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(&self.payload);
        let pseudo = pseudo_header(self.addresses(), TCP, bytes.len());
        let sum = checksum(&[&pseudo, &bytes]);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The whole IP packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let bytes = self.bytes();
        [ip_header(self.addresses(), TCP, bytes.len()), bytes].concat()
    }

    /// The IP packet in two fragments; the first one has `first` bytes of TCP, a multiple of eight.
    pub(crate) fn fragments(&self, id: u16, first: usize) -> [Vec<u8>; 2] {
        let bytes = self.bytes();
        let (head, tail) = bytes.split_at(first);
        let offset = u16::try_from(first / 8).expect("a small offset");
        [
            fragment(self.addresses(), id, (0, true), head),
            fragment(self.addresses(), id, (offset, false), tail),
        ]
    }

    /// The IPv6 packet with destination options before the segment: a header for each of these, which is so many times eight
    /// bytes longer than the shortest one.
    pub(crate) fn behind_options(&self, longer_by: &[u8]) -> Vec<u8> {
        let mut behind = self.bytes();
        let mut next = TCP;
        for units in longer_by.iter().rev() {
            let length = 8 * (units + 1) - 4;
            let mut header = vec![next, *units, EXPERIMENT, length];
            header.extend(vec![0; usize::from(length)]);
            behind = [header, behind].concat();
            next = DESTINATION_OPTIONS;
        }
        [ip_header(self.addresses(), next, behind.len()), behind].concat()
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.source.ip(), self.destination.ip())
    }

    /// Of a frame, if it has one without IP options or extension headers.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let (source, destination, tcp): (IpAddr, IpAddr, usize) = match frame.get(12..14)? {
            [0x08, 0x00] if frame.get(23) == Some(&TCP) => {
                let at = |at: usize| {
                    Some(Ipv4Addr::from(
                        <[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?,
                    ))
                };
                (at(26)?.into(), at(30)?.into(), ETHERNET + 20)
            }
            [0x86, 0xdd] if frame.get(20) == Some(&TCP) => {
                let at = |at: usize| {
                    Some(Ipv6Addr::from(
                        <[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?,
                    ))
                };
                (at(22)?.into(), at(38)?.into(), ETHERNET + 40)
            }
            _ => return None,
        };
        let port = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
        let number = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            source: (source, port(tcp)?).into(),
            destination: (destination, port(tcp + 2)?).into(),
            flags: *frame.get(tcp + 13)?,
            seq: number(tcp + 4)?,
            ack: number(tcp + 8)?,
            payload: Vec::new(),
        })
    }
}

/// "Too big for a link of this MTU", about a packet that `about.source` has sent.
pub(crate) fn too_big(from: IpAddr, about: &Segment, mtu: u16) -> Vec<u8> {
    let addresses = (from, about.source.ip());
    let quoted = about.packet();
    let (protocol, mut message) = match from {
        IpAddr::V4(_) => (ICMP, vec![3, 4, 0, 0, 0, 0]),
        IpAddr::V6(_) => (ICMPV6, vec![2, 0, 0, 0, 0, 0]),
    };
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    let pseudo = match from {
        IpAddr::V4(_) => Vec::new(),
        IpAddr::V6(_) => pseudo_header(addresses, protocol, message.len()),
    };
    let sum = checksum(&[&pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    [ip_header(addresses, protocol, message.len()), message].concat()
}

/// A frame with an IP packet.
pub(crate) fn frame(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    [&to[..], &from, &kind, packet].concat()
}

/// The same frame with an 802.1Q tag.
pub(crate) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    [
        &frame[..12],
        &[0x81, 0x00],
        &vlan.to_be_bytes(),
        &frame[12..],
    ]
    .concat()
}

fn fragment(
    addresses: (IpAddr, IpAddr),
    id: u16,
    (offset, more): (u16, bool),
    part: &[u8],
) -> Vec<u8> {
    match addresses.0 {
        IpAddr::V4(_) => {
            let mut header = ip_header(addresses, TCP, part.len());
            let flags = offset | if more { 0x2000 } else { 0 };
            header[4..6].copy_from_slice(&id.to_be_bytes());
            header[6..8].copy_from_slice(&flags.to_be_bytes());
            seal(&mut header);
            [header, part.to_vec()].concat()
        }
        IpAddr::V6(_) => {
            let header = ip_header(addresses, FRAGMENT_HEADER, part.len() + 8);
            let flags = offset << 3 | u16::from(more);
            let extension = [
                &[TCP, 0],
                &flags.to_be_bytes()[..],
                &[0, 0],
                &id.to_be_bytes(),
            ]
            .concat();
            [header, extension, part.to_vec()].concat()
        }
    }
}

fn ip_header(addresses: (IpAddr, IpAddr), protocol: u8, payload: usize) -> Vec<u8> {
    let length = |length: usize| u16::try_from(length).expect("a short packet").to_be_bytes();
    match addresses {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0];
            header.extend(length(20 + payload));
            header.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            seal(&mut header);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length(payload));
            header.extend([protocol, 64]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            panic!("a packet is of one family")
        }
    }
}

fn seal(header: &mut [u8]) {
    header[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum(&[header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn pseudo_header((source, destination): (IpAddr, IpAddr), protocol: u8, length: usize) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u32::try_from(length).expect("a short packet").to_be_bytes();
    [
        octets(source),
        octets(destination),
        length.to_vec(),
        vec![0, 0, 0, protocol],
    ]
    .concat()
}

/// RFC 1071; each part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| {
            u32::from(u16::from_be_bytes([
                word[0],
                word.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it was folded")
}
