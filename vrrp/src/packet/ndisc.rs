//! Unsolicited neighbour advertisements: what gratuitous ARP is to IPv6.

use std::net::Ipv6Addr;

use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols::Icmpv6;
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::util;

/// Bytes of an Ethernet frame with a neighbour advertisement that carries a link-layer address.
pub const NA_FRAME_LEN: usize = ETHERNET_HEADER + IPV6_HEADER + MESSAGE_LEN;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
/// RFC 4861, section 4.4, with one option of 8 bytes (section 4.6.1).
const MESSAGE_LEN: usize = 32;
/// All nodes of the link (RFC 4291, section 2.7.1), and its Ethernet address (RFC 2464, section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// RFC 4861, section 7.1.2: anything else is not of this link.
const HOP_LIMIT: u8 = 255;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ROUTER: u8 = 0x80;
/// What neighbours know already is to be replaced.
const OVERRIDE: u8 = 0x20;
/// Option "target link-layer address", one unit of 8 bytes long.
const TARGET_ADDRESS: [u8; 2] = [2, 1];
/// Index of the checksum among the 16-bit words.
const CHECKSUM_WORD: usize = 1;

/// An unsolicited neighbour advertisement of `vip` to all nodes of the link, which makes them replace
/// what they know (RFC 4861, section 7.2.6). `router` must say what the kernel says in its own ones:
/// whether it forwards. A host that hears of a router that is none any more forgets its routes
/// through it.
pub fn unsolicited_advertisement(mac: [u8; 6], vip: Ipv6Addr, router: bool) -> [u8; NA_FRAME_LEN] {
    let mut frame = [0; NA_FRAME_LEN];
    let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);
    let mut ethernet = MutableEthernetPacket::new(header).expect("the slice is a header long");
    ethernet.set_destination(ALL_NODES_MAC.into());
    ethernet.set_source(mac.into());
    ethernet.set_ethertype(EtherTypes::Ipv6);

    let (header, message) = packet.split_at_mut(IPV6_HEADER);
    let mut ip = MutableIpv6Packet::new(header).expect("the slice is a header long");
    ip.set_version(6);
    ip.set_payload_length(MESSAGE_LEN as u16);
    ip.set_next_header(Icmpv6);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_source(vip);
    ip.set_destination(ALL_NODES);

    message[0] = NEIGHBOUR_ADVERTISEMENT;
    message[4] = OVERRIDE | if router { ROUTER } else { 0 };
    message[8..24].copy_from_slice(&vip.octets());
    message[24..26].copy_from_slice(&TARGET_ADDRESS);
    message[26..].copy_from_slice(&mac);
    let checksum = util::ipv6_checksum(message, CHECKSUM_WORD, &[], &vip, &ALL_NODES, Icmpv6);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::hex::hex;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x11];
    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x10);
    /// To all nodes from the VIP, 32 bytes of ICMPv6, hop limit 255.
    const HEADERS: &str = "33330000000152540000001186dd6000000000203aff\
                           fd000000000000010000000000000010ff020000000000000000000000000001";
    const NA: &str = "88000a1720000000fd0000000000000100000000000000100201525400000011";
    const NR: &str = "88008a16a0000000fd0000000000000100000000000000100201525400000011";

    #[test]
    fn vector_na_of_a_host_that_does_not_forward() {
        let expected = hex(&format!("{HEADERS}{NA}"));
        assert_eq!(
            unsolicited_advertisement(MAC, VIP, false).as_slice(),
            expected
        );
    }

    #[test]
    fn vector_nr_of_one_that_does() {
        let expected = hex(&format!("{HEADERS}{NR}"));
        assert_eq!(
            unsolicited_advertisement(MAC, VIP, true).as_slice(),
            expected
        );
    }
}
