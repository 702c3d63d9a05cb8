//! ARP (RFC 826): what announces a VIP, what asks whether a machine lives, and who claims an address.

use std::net::Ipv4Addr;

use pnet_packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};

/// Bytes of an Ethernet frame with an ARP packet for IPv4.
pub const ARP_FRAME_LEN: usize = 42;

const ETHERNET_HEADER: usize = 14;
const BROADCAST: [u8; 6] = [0xff; 6];

/// A gratuitous ARP request: sender = target = `vip`, broadcast.
pub fn gratuitous_request(mac: [u8; 6], vip: Ipv4Addr) -> [u8; ARP_FRAME_LEN] {
    let target = ([0; 6], vip);
    frame(BROADCAST, ArpOperations::Request, (mac, vip), target)
}

/// A gratuitous ARP reply: as the request, and target hardware address = sender hardware address.
/// (Linux takes a reply for gratuitous only then; otherwise it is ignored for the locktime of a
/// second.)
pub fn gratuitous_reply(mac: [u8; 6], vip: Ipv4Addr) -> [u8; ARP_FRAME_LEN] {
    frame(BROADCAST, ArpOperations::Reply, (mac, vip), (mac, vip))
}

/// Asks who has the address `target`: the machine with the hardware address `to` only (as neighbours are probed,
/// RFC 1122, section 2.3.2.1), or everybody.
pub fn question(
    sender: ([u8; 6], Ipv4Addr),
    target: Ipv4Addr,
    to: Option<[u8; 6]>,
) -> [u8; ARP_FRAME_LEN] {
    let to = to.unwrap_or(BROADCAST);
    frame(to, ArpOperations::Request, sender, ([0; 6], target))
}

/// Asks whether anybody has the address `target`, without claiming one (RFC 5227, section 2.1.1).
pub fn probe(mac: [u8; 6], target: Ipv4Addr) -> [u8; ARP_FRAME_LEN] {
    question((mac, Ipv4Addr::UNSPECIFIED), target, None)
}

/// The hardware address in a reply of `sender`; `None` if the frame is anything else.
pub fn arp_answer(frame: &[u8], sender: Ipv4Addr) -> Option<[u8; 6]> {
    let arp = read(frame)?;
    let is_answer =
        arp.get_operation() == ArpOperations::Reply && arp.get_sender_proto_addr() == sender;
    is_answer.then(|| arp.get_sender_hw_addr().octets())
}

/// Who says of itself that it has which address: the sender's hardware and protocol address of a request or a reply.
pub fn arp_claim(frame: &[u8]) -> Option<([u8; 6], Ipv4Addr)> {
    let arp = read(frame)?;
    let is_claim = matches!(
        arp.get_operation(),
        ArpOperations::Request | ArpOperations::Reply
    );
    is_claim.then(|| {
        (
            arp.get_sender_hw_addr().octets(),
            arp.get_sender_proto_addr(),
        )
    })
}

/// An ARP packet for IPv4 over Ethernet.
fn read(frame: &[u8]) -> Option<ArpPacket<'_>> {
    let (header, packet) = frame.split_at_checked(ETHERNET_HEADER)?;
    let ethernet = EthernetPacket::new(header)?;
    let arp = ArpPacket::new(packet)?;
    let is_ours = ethernet.get_ethertype() == EtherTypes::Arp
        && arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4);
    is_ours.then_some(arp)
}

fn frame(
    to: [u8; 6],
    operation: ArpOperation,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
) -> [u8; ARP_FRAME_LEN] {
    let mut frame = [0; ARP_FRAME_LEN];
    let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);

    let mut ethernet = MutableEthernetPacket::new(header).expect("the slice is a header long");
    ethernet.set_destination(to.into());
    ethernet.set_source(sender.0.into());
    ethernet.set_ethertype(EtherTypes::Arp);

    let mut arp = MutableArpPacket::new(packet).expect("the slice is an ARP packet long");
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(operation);
    arp.set_sender_hw_addr(sender.0.into());
    arp.set_sender_proto_addr(sender.1);
    arp.set_target_hw_addr(target.0.into());
    arp.set_target_proto_addr(target.1);
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

    const PEER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 12);

    #[test]
    fn a_question_is_an_ordinary_request_to_one_machine_or_to_all() {
        let own = Ipv4Addr::new(192, 168, 0, 11);
        let to = [0x52, 0x54, 0, 0, 0, 0x12];
        let expected = "08060001080006040001525400000011c0a8000b000000000000c0a8000c";
        assert_eq!(
            question((MAC, own), PEER, Some(to)).as_slice(),
            hex(&format!("525400000012525400000011{expected}"))
        );
        assert_eq!(
            question((MAC, own), PEER, None).as_slice(),
            hex(&format!("ffffffffffff525400000011{expected}"))
        );
    }

    #[test]
    fn only_a_reply_of_the_one_who_was_asked_is_an_answer() {
        let good = hex(
            "52540000001152540000001208060001080006040002525400000012c0a8000c525400000011c0a8000b",
        );
        assert_eq!(arp_answer(&good, PEER), Some([0x52, 0x54, 0, 0, 0, 0x12]));
        assert_eq!(arp_answer(&good, VIP), None, "of another one");
        for length in 0..good.len() {
            assert_eq!(arp_answer(&good[..length], PEER), None, "cut to {length}");
        }
        for (place, value) in [(12, 0x86), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 1)] {
            let mut bad = good.clone();
            bad[place] = value;
            assert_eq!(arp_answer(&bad, PEER), None, "byte {place}");
        }
    }

    #[test]
    fn vector_ap_probe() {
        let expected = hex(
            "ffffffffffff5254000000110806000108000604000152540000001100000000000000000000c0a8000a",
        );
        assert_eq!(probe(MAC, VIP).as_slice(), expected);
    }

    #[test]
    fn a_claim_is_a_request_or_a_reply_with_the_address_as_its_sender() {
        for frame in [gratuitous_request(MAC, VIP), gratuitous_reply(MAC, VIP)] {
            assert_eq!(arp_claim(&frame), Some((MAC, VIP)));
        }
        let probe = probe(MAC, VIP);
        assert_eq!(arp_claim(&probe), Some((MAC, Ipv4Addr::UNSPECIFIED)));
        let mut reverse = gratuitous_request(MAC, VIP);
        reverse[21] = 3;
        assert_eq!(arp_claim(&reverse), None);
    }
}
