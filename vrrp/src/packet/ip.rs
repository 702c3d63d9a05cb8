//! The IP header of an advert, of either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::board::DropReason;
use pnet_packet::ip::IpNextHeaderProtocols::Vrrp;
use pnet_packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::PROTOCOL;

/// Without options.
pub(super) const IPV4_HEADER: usize = 20;
pub(super) const IPV6_HEADER: usize = 40;
/// RFC 9568, sections 5.1.1.3 and 5.1.2.3: a router between the sender and us would have lowered it.
pub(super) const TTL: u8 = 255;
/// Class selector 6 in the upper six bits of the type of service: internetwork control.
const DSCP: u8 = 0x30;
/// The same as a traffic class.
const TRAFFIC_CLASS: u8 = DSCP << 2;

/// A packet of protocol 112 without its IP header, and what stood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// Without what Ethernet padded.
    pub message: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a whole datagram: a raw socket of IPv4 gives it so, and a packet socket of either
    /// family.
    ///
    /// # Errors
    /// [`DropReason::IpHeader`] if there is no sound header, or none of protocol 112.
    pub fn read(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let packet = match datagram.first().map(|byte| byte >> 4) {
            Some(4) => read_v4(datagram),
            Some(6) => read_v6(datagram),
            Some(_) | None => None,
        };
        packet.ok_or(DropReason::IpHeader)
    }
}

fn read_v4(datagram: &[u8]) -> Option<Packet<'_>> {
    let header = Ipv4Packet::new(datagram)?;
    let header_length = usize::from(header.get_header_length()) * 4;
    let total_length = usize::from(header.get_total_length());
    let sound = header_length >= IPV4_HEADER && header.get_next_level_protocol().0 == PROTOCOL;
    let message = datagram.get(header_length..total_length)?;
    sound.then(|| Packet {
        source: header.get_source().into(),
        destination: header.get_destination().into(),
        ttl: header.get_ttl(),
        message,
    })
}

/// Extension headers, which no advert has, are no advert.
fn read_v6(datagram: &[u8]) -> Option<Packet<'_>> {
    let header = Ipv6Packet::new(datagram)?;
    let end = IPV6_HEADER + usize::from(header.get_payload_length());
    let message = datagram.get(IPV6_HEADER..end)?;
    (header.get_next_header().0 == PROTOCOL).then(|| Packet {
        source: header.get_source().into(),
        destination: header.get_destination().into(),
        ttl: header.get_hop_limit(),
        message,
    })
}

/// Writes the header of an advert that is `message` bytes long; `out` is as long as the header.
pub(super) fn write_v4((source, destination): (Ipv4Addr, Ipv4Addr), message: u16, out: &mut [u8]) {
    out.fill(0);
    let mut header =
        MutableIpv4Packet::new(out).expect("the slice is as long as a header without options");
    header.set_version(4);
    header.set_header_length((IPV4_HEADER / 4) as u8);
    header.set_dscp(DSCP);
    header.set_total_length(IPV4_HEADER as u16 + message);
    header.set_ttl(TTL);
    header.set_next_level_protocol(Vrrp);
    header.set_source(source);
    header.set_destination(destination);
    let checksum = ipv4::checksum(&header.to_immutable());
    header.set_checksum(checksum);
}

/// The same for IPv6 (RFC 8200, section 3).
pub(super) fn write_v6((source, destination): (Ipv6Addr, Ipv6Addr), message: u16, out: &mut [u8]) {
    out.fill(0);
    let mut header = MutableIpv6Packet::new(out).expect("the slice is as long as a header");
    header.set_version(6);
    header.set_traffic_class(TRAFFIC_CLASS);
    header.set_payload_length(message);
    header.set_next_header(Vrrp);
    header.set_hop_limit(TTL);
    header.set_source(source);
    header.set_destination(destination);
}
