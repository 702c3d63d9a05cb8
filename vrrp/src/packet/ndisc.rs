//! Neighbour discovery (RFC 4861): what ARP is to IPv6. Here is what we send; `read` reads what others do.

mod read;

use std::net::Ipv6Addr;

use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols::Icmpv6;
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::util;

pub use self::read::{neighbour_answer, neighbour_claim};

/// Bytes of an Ethernet frame with a solicitation or an advertisement that carries a link-layer address.
pub const ND_FRAME_LEN: usize = ETHERNET_HEADER + IPV6_HEADER + MESSAGE_LEN;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
/// RFC 4861, sections 4.3 and 4.4, with one option of 8 bytes (section 4.6.1).
const MESSAGE_LEN: usize = BARE_LEN + OPTION_UNIT;
/// Without options.
const BARE_LEN: usize = 24;
/// Options are so many bytes long, or a multiple.
const OPTION_UNIT: usize = 8;
/// All nodes of the link (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// RFC 4861, section 7.1: anything else is not of this link.
const HOP_LIMIT: u8 = 255;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ROUTER: u8 = 0x80;
/// What neighbours know already is to be replaced.
const OVERRIDE: u8 = 0x20;
/// Options "source link-layer address" and "target link-layer address".
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
/// Index of the checksum among the 16-bit words.
const CHECKSUM_WORD: usize = 1;

/// A hardware address and an IPv6 address.
type End = ([u8; 6], Ipv6Addr);

/// An unsolicited neighbour advertisement of `vip` to all nodes of the link, which makes them replace
/// what they know (RFC 4861, section 7.2.6). `router` must say what the kernel says in its own ones:
/// whether it forwards. A host that hears of a router that is none any more forgets its routes
/// through it.
pub fn unsolicited_advertisement(mac: [u8; 6], vip: Ipv6Addr, router: bool) -> [u8; ND_FRAME_LEN] {
    let to = (multicast_mac(ALL_NODES), ALL_NODES);
    let flags = OVERRIDE | if router { ROUTER } else { 0 };
    let message = (NEIGHBOUR_ADVERTISEMENT, flags, TARGET_ADDRESS);
    frame((mac, vip), to, vip, message)
}

/// Asks who has the address `target`: the machine with the hardware address `to` only (as neighbours are probed,
/// RFC 4861, section 7.3.3), or whoever may have it (section 7.2.2). The answer goes to `sender`.
pub fn solicitation(sender: End, target: Ipv6Addr, to: Option<[u8; 6]>) -> [u8; ND_FRAME_LEN] {
    let to = match to {
        Some(mac) => (mac, target),
        None => {
            let group = solicited_node(target);
            (multicast_mac(group), group)
        }
    };
    frame(
        sender,
        to,
        target,
        (NEIGHBOUR_SOLICITATION, 0, SOURCE_ADDRESS),
    )
}

/// The group of those whose addresses end like this one (RFC 4291, section 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let tail = address.to_bits() & 0xff_ffff;
    Ipv6Addr::from_bits(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits() | tail)
}

/// RFC 2464, section 7.
fn multicast_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// A message with its type, its flags, and the sender's hardware address as an option of a type.
fn frame(
    from: End,
    to: End,
    target: Ipv6Addr,
    (kind, flags, option): (u8, u8, u8),
) -> [u8; ND_FRAME_LEN] {
    let mut frame = [0; ND_FRAME_LEN];
    let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);
    let mut ethernet = MutableEthernetPacket::new(header).expect("the slice is a header long");
    ethernet.set_destination(to.0.into());
    ethernet.set_source(from.0.into());
    ethernet.set_ethertype(EtherTypes::Ipv6);

    let (header, message) = packet.split_at_mut(IPV6_HEADER);
    let mut ip = MutableIpv6Packet::new(header).expect("the slice is a header long");
    ip.set_version(6);
    ip.set_payload_length(MESSAGE_LEN as u16);
    ip.set_next_header(Icmpv6);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_source(from.1);
    ip.set_destination(to.1);

    message[0] = kind;
    message[4] = flags;
    message[8..24].copy_from_slice(&target.octets());
    message[24..26].copy_from_slice(&[option, 1]);
    message[26..].copy_from_slice(&from.0);
    let checksum = util::ipv6_checksum(message, CHECKSUM_WORD, &[], &from.1, &to.1, Icmpv6);
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

    const OWN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x11);
    const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0x56, 0x7812);

    /// RFC 4861, sections 4.3 and 7.2.2; the sums were computed by hand.
    #[test]
    fn a_question_goes_to_one_machine_or_to_all_that_may_have_the_address() {
        let of = |ethernet: &str, destination: &str, sum: &str| {
            hex(&format!(
                "{ethernet}52540000001186dd6000000000203aff\
                 fd000000000000010000000000000011{destination}\
                 8700{sum}00000000fd0000000000000100000000005678120101525400000011"
            ))
        };
        let one = solicitation((MAC, OWN), PEER, Some([0x52, 0x54, 0, 0, 0, 0x12]));
        assert_eq!(
            one.as_slice(),
            of("525400000012", "fd000000000000010000000000567812", "3d57")
        );
        let all = solicitation((MAC, OWN), PEER, None);
        assert_eq!(
            all.as_slice(),
            of("3333ff567812", "ff0200000000000000000001ff567812", "3c54")
        );
    }
}
