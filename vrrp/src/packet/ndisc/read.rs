//! Neighbour messages of others: checked as RFC 4861, sections 7.1.1 and 7.1.2, wants it, and then what they say of who
//! has which address. Total: no input panics, nothing is allocated.

use std::net::Ipv6Addr;

use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols::Icmpv6;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::util;

use super::{
    BARE_LEN, CHECKSUM_WORD, ETHERNET_HEADER, HOP_LIMIT, IPV6_HEADER, NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION, OPTION_UNIT, SOURCE_ADDRESS, TARGET_ADDRESS,
};

const SOLICITED: u8 = 0x40;

/// A message that passed every check.
struct Message {
    kind: Kind,
    source: Ipv6Addr,
    target: Ipv6Addr,
    /// Its sender's, as the message says, or else as the frame does.
    mac: [u8; 6],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Solicitation,
    Advertisement,
}

/// The hardware address in an advertisement of `target`; `None` if the frame is anything else.
pub fn neighbour_answer(frame: &[u8], target: Ipv6Addr) -> Option<[u8; 6]> {
    let message = read(frame)?;
    let is_answer = message.kind == Kind::Advertisement && message.target == target;
    is_answer.then_some(message.mac)
}

/// Who says of itself that it has which address: it advertises it, or asks from it. Who asks from no address (duplicate
/// address detection, RFC 4862, section 5.4) has it not yet.
pub fn neighbour_claim(frame: &[u8]) -> Option<([u8; 6], Ipv6Addr)> {
    let message = read(frame)?;
    let claimed = match message.kind {
        Kind::Advertisement => message.target,
        Kind::Solicitation => message.source,
    };
    (!claimed.is_unspecified()).then_some((message.mac, claimed))
}

fn read(frame: &[u8]) -> Option<Message> {
    let (header, packet) = frame.split_at_checked(ETHERNET_HEADER)?;
    let ethernet = EthernetPacket::new(header)?;
    let (header, payload) = packet.split_at_checked(IPV6_HEADER)?;
    let ip = Ipv6Packet::new(header)?;
    // What follows is Ethernet's padding.
    let message = payload.get(..usize::from(ip.get_payload_length()))?;
    let is_ours = ethernet.get_ethertype() == EtherTypes::Ipv6
        && ip.get_version() == 6
        && ip.get_next_header() == Icmpv6
        && ip.get_hop_limit() == HOP_LIMIT;
    if !is_ours || message.len() < BARE_LEN {
        return None;
    }
    let (source, destination) = (ip.get_source(), ip.get_destination());
    let sum = util::ipv6_checksum(message, CHECKSUM_WORD, &[], &source, &destination, Icmpv6);
    if message[1] != 0 || message[2..4] != sum.to_be_bytes() {
        return None;
    }
    let kind = match message[0] {
        NEIGHBOUR_SOLICITATION => Kind::Solicitation,
        // Who answers a question does not tell everybody.
        NEIGHBOUR_ADVERTISEMENT if destination.is_multicast() && message[4] & SOLICITED != 0 => {
            return None;
        }
        NEIGHBOUR_ADVERTISEMENT => Kind::Advertisement,
        _ => return None,
    };
    let (target, options) = message[8..].split_first_chunk::<16>()?;
    let target = Ipv6Addr::from(*target);
    if target.is_multicast() || source.is_multicast() {
        return None;
    }
    let wanted = match kind {
        Kind::Solicitation => SOURCE_ADDRESS,
        Kind::Advertisement => TARGET_ADDRESS,
    };
    let told = link_layer_address(options, wanted)?;
    Some(Message {
        kind,
        source,
        target,
        mac: told.unwrap_or(ethernet.get_source().octets()),
    })
}

/// The hardware address in the first option of this type, if there is one; `None` if the options are malformed.
fn link_layer_address(mut options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * OPTION_UNIT;
        // No option is empty, and none is longer than what is there.
        let (option, rest) = options.split_at_checked(length).filter(|_| length > 0)?;
        if kind == wanted && found.is_none() {
            // Of Ethernet, all of the option.
            found = Some(<[u8; 6]>::try_from(&option[2..]).ok()?);
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::hex::hex;
    use crate::packet::ndisc::{solicitation, unsolicited_advertisement};

    const OWN: ([u8; 6], Ipv6Addr) = (
        [0x52, 0x54, 0, 0, 0, 0x11],
        Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x11),
    );
    const PEER_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x12];
    const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0x56, 0x7812);
    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x10);
    const HEADERS: &str = "52540000001152540000001286dd60000000";
    const ENDS: &str = "fd000000000000010000000000567812fd000000000000010000000000000011";

    /// What Linux answers a unicast question with: no option, since the frame says it.
    fn bare_answer() -> Vec<u8> {
        hex(&format!(
            "{HEADERS}00183aff{ENDS}88002fc560000000fd000000000000010000000000567812"
        ))
    }

    /// What it answers everybody's question with.
    fn answer_with_option() -> Vec<u8> {
        hex(&format!(
            "{HEADERS}00203aff{ENDS}8800db5560000000fd0000000000000100000000005678120201525400000012"
        ))
    }

    /// The frame with another byte, and the sum that goes with it.
    fn with(frame: &[u8], place: usize, value: u8) -> Vec<u8> {
        let mut frame = frame.to_vec();
        frame[place] = value;
        let ends = |from: usize| {
            let octets: [u8; 16] = frame[from..from + 16].try_into().expect("16 bytes");
            Ipv6Addr::from(octets)
        };
        let (source, destination) = (ends(22), ends(38));
        let sum = util::ipv6_checksum(
            &frame[54..],
            CHECKSUM_WORD,
            &[],
            &source,
            &destination,
            Icmpv6,
        );
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn an_answer_is_an_advertisement_of_the_one_who_was_asked() {
        for good in [bare_answer(), answer_with_option()] {
            assert_eq!(neighbour_answer(&good, PEER), Some(PEER_MAC));
            assert_eq!(neighbour_answer(&good, VIP), None, "of another one");
            for length in 0..good.len() {
                assert_eq!(
                    neighbour_answer(&good[..length], PEER),
                    None,
                    "cut to {length}"
                );
            }
            let padded = [&good[..], &[0; 6]].concat();
            assert_eq!(neighbour_answer(&padded, PEER), Some(PEER_MAC));
            // Type of the frame, version, next header, hop limit, type and code of the message, its sum.
            for (place, value) in [(12, 0x08), (14, 0x40), (20, 17), (21, 254)] {
                let mut bad = good.clone();
                bad[place] = value;
                assert_eq!(neighbour_answer(&bad, PEER), None, "byte {place}");
            }
            for (place, value) in [(54, 135), (54, 137), (55, 1), (62, 0xff), (22, 0xff)] {
                let bad = with(&good, place, value);
                assert_eq!(neighbour_answer(&bad, PEER), None, "byte {place}");
            }
            let mut bad = good.clone();
            bad[57] ^= 1;
            assert_eq!(neighbour_answer(&bad, PEER), None, "sum");
            // Solicited, and to a group.
            assert_eq!(neighbour_answer(&with(&good, 38, 0xff), PEER), None);
        }
    }

    #[test]
    fn an_option_that_is_none_spoils_the_message() {
        let good = answer_with_option();
        for (place, value) in [(79, 0), (79, 2)] {
            assert_eq!(neighbour_answer(&with(&good, place, value), PEER), None);
        }
        // One of another type is skipped, and the frame says who it is.
        let mut other = with(&good, 78, 14);
        other[6] = 0x56;
        let mac = [0x56, 0x54, 0, 0, 0, 0x12];
        assert_eq!(neighbour_answer(&other, PEER), Some(mac));
        // What the option says is what neighbours learn.
        let proxied = with(&good, 85, 0x99);
        let mac = [0x52, 0x54, 0, 0, 0, 0x99];
        assert_eq!(neighbour_answer(&proxied, PEER), Some(mac));
    }

    #[test]
    fn who_advertises_an_address_or_asks_from_it_claims_it() {
        for router in [false, true] {
            let frame = unsolicited_advertisement(OWN.0, VIP, router);
            assert_eq!(neighbour_claim(&frame), Some((OWN.0, VIP)));
        }
        assert_eq!(neighbour_claim(&bare_answer()), Some((PEER_MAC, PEER)));
        for to in [None, Some(PEER_MAC)] {
            assert_eq!(neighbour_claim(&solicitation(OWN, PEER, to)), Some(OWN));
            assert_eq!(neighbour_answer(&solicitation(OWN, PEER, to), PEER), None);
        }
        // Duplicate address detection asks from nowhere.
        let probe = solicitation((OWN.0, Ipv6Addr::UNSPECIFIED), VIP, None);
        assert_eq!(neighbour_claim(&probe), None);
    }
}
