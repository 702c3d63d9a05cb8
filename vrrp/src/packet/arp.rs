//! ARP: what announces a VIP, and what asks for a gateway.

use std::net::Ipv4Addr;

use pnet_packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};

/// Bytes of an Ethernet frame with an ARP packet for IPv4.
pub const ARP_FRAME_LEN: usize = 42;

const ETHERNET_HEADER: usize = 14;
const BROADCAST: [u8; 6] = [0xff; 6];

/// A gratuitous ARP request: sender = target = `vip`, broadcast.
pub fn gratuitous_request(mac: [u8; 6], vip: Ipv4Addr) -> [u8; ARP_FRAME_LEN] {
    frame(ArpOperations::Request, mac, [0; 6], vip)
}

/// A gratuitous ARP reply: as the request, and target hardware address = sender hardware address.
/// (Linux takes a reply for gratuitous only then; otherwise it is ignored for the locktime of a
/// second.)
pub fn gratuitous_reply(mac: [u8; 6], vip: Ipv4Addr) -> [u8; ARP_FRAME_LEN] {
    frame(ArpOperations::Reply, mac, mac, vip)
}

/// A broadcast question of who has `target`, from a node with this hardware address and address.
pub fn arp_question((mac, own): ([u8; 6], Ipv4Addr), target: Ipv4Addr) -> [u8; ARP_FRAME_LEN] {
    let request = ArpOperations::Request;
    exchange(request, (mac, own), ([0; 6], target))
}

fn frame(
    operation: ArpOperation,
    mac: [u8; 6],
    target: [u8; 6],
    vip: Ipv4Addr,
) -> [u8; ARP_FRAME_LEN] {
    exchange(operation, (mac, vip), (target, vip))
}

fn exchange(
    operation: ArpOperation,
    (mac, sender): ([u8; 6], Ipv4Addr),
    (target_mac, target): ([u8; 6], Ipv4Addr),
) -> [u8; ARP_FRAME_LEN] {
    let mut frame = [0; ARP_FRAME_LEN];
    let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);

    let mut ethernet = MutableEthernetPacket::new(header).expect("the slice is a header long");
    ethernet.set_destination(BROADCAST.into());
    ethernet.set_source(mac.into());
    ethernet.set_ethertype(EtherTypes::Arp);

    let mut arp = MutableArpPacket::new(packet).expect("the slice is an ARP packet long");
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(operation);
    arp.set_sender_hw_addr(mac.into());
    arp.set_sender_proto_addr(sender);
    arp.set_target_hw_addr(target_mac.into());
    arp.set_target_proto_addr(target);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::hex::hex;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x11];
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 10);

    #[test]
    fn vector_gq_gratuitous_request() {
        let expected = hex(
            "ffffffffffff52540000001108060001080006040001525400000011c0a8000a000000000000c0a8000a",
        );
        assert_eq!(gratuitous_request(MAC, VIP).as_slice(), expected);
    }

    #[test]
    fn vector_gr_gratuitous_reply() {
        let expected = hex(
            "ffffffffffff52540000001108060001080006040002525400000011c0a8000a525400000011c0a8000a",
        );
        assert_eq!(gratuitous_reply(MAC, VIP).as_slice(), expected);
    }

    #[test]
    fn a_question_names_who_asks_and_who_is_wanted() {
        let own = Ipv4Addr::new(192, 168, 0, 11);
        let expected = hex(
            "ffffffffffff52540000001108060001080006040001525400000011c0a8000b000000000000c0a80001",
        );
        let asked = arp_question((MAC, own), Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(asked.as_slice(), expected);
    }
}
