//! Adverts and announcements as they stand on the wire. Pure and total: no input panics, nothing is
//! allocated.
//!
//! - `ip`: the IP header around an advert, read and written.
//! - `advert`: the advert, and the validation ladder.
//! - `v2`: what is version 2's own in an advert.
//! - `arp`, `ndisc`: announcements of a VIP, questions and claims of addresses, IPv4 and IPv6.

mod advert;
mod arp;
#[cfg(test)]
pub(crate) mod hex;
mod ip;
mod ndisc;
mod v2;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use common::addr::{Family, Vrid};
use common::config::{ChecksumForm, Transport};

use crate::signature::TRAILER_LEN;

pub use self::advert::{EncodeError, decode, encode, is_summed_for_group};
pub use self::arp::{
    ARP_FRAME_LEN, arp_answer, arp_claim, gratuitous_reply, gratuitous_request, probe, question,
};
pub use self::ip::Packet;
pub use self::ndisc::{
    ND_FRAME_LEN, neighbour_answer, neighbour_claim, solicitation, unsolicited_advertisement,
};

/// Group that adverts over IPv4 are sent to (RFC 9568, section 5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Group that adverts over IPv6 are sent to: ff02::12 (RFC 9568, section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// IP protocol number of VRRP, and its next header (RFC 9568, sections 5.1.1.4 and 5.1.2.4).
pub const PROTOCOL: u8 = 112;
/// Bytes of the longest datagram that [`encode`] writes: IPv6 header, fixed part, 255 addresses,
/// signature. (Version 2, with its shorter addresses and its password, is shorter.)
pub const MAX_DATAGRAM: usize = 40 + 8 + 16 * 255 + TRAILER_LEN;

/// The group that adverts of a family are sent to.
pub const fn group(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(GROUP),
        Family::V6 => IpAddr::V6(GROUP_V6),
    }
}

/// The hardware address in an answer of `sender` to who asked where it is; `None` if the frame is anything else.
pub fn answer(frame: &[u8], sender: IpAddr) -> Option<[u8; 6]> {
    match sender {
        IpAddr::V4(sender) => arp_answer(frame, sender),
        IpAddr::V6(sender) => neighbour_answer(frame, sender),
    }
}

/// Who says of itself that it has which address, by ARP or by neighbour discovery.
pub fn claim(frame: &[u8]) -> Option<([u8; 6], IpAddr)> {
    let by_arp = arp_claim(frame).map(|(mac, address)| (mac, address.into()));
    by_arp.or_else(|| neighbour_claim(frame).map(|(mac, address)| (mac, address.into())))
}

/// One advert (RFC 9568 or 3768, section 5.2 and 5.3). The addresses stay where they were read
/// from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advert<'a> {
    pub vrid: Vrid,
    /// 0 = the sender resigns.
    pub priority: u8,
    /// 10 ms to 40.95 s in steps of 10 ms; in version 2 whole seconds, 1 to 255.
    pub interval: Duration,
    pub addresses: Addresses<'a>,
}

/// The virtual addresses of an advert in network order, 1 to 255 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses<'a> {
    V4(&'a [[u8; 4]]),
    /// The first one is link-local (RFC 9568, section 5.2.9, with erratum 8300).
    V6(&'a [[u8; 16]]),
}

impl<'a> Addresses<'a> {
    /// How many there are.
    pub const fn count(&self) -> usize {
        match self {
            Self::V4(addresses) => addresses.len(),
            Self::V6(addresses) => addresses.len(),
        }
    }

    /// Whether they are this VIP alone, behind the link-local address that IPv6 adverts begin with.
    pub fn are_only(&self, vip: IpAddr) -> bool {
        match (self, vip) {
            (Self::V4(addresses), IpAddr::V4(vip)) => **addresses == [vip.octets()],
            (Self::V6(addresses), IpAddr::V6(vip)) => addresses[1..] == [vip.octets()],
            (Self::V4(_), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Their family.
    pub const fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::V4(addresses) => addresses.as_flattened(),
            Self::V6(addresses) => addresses.as_flattened(),
        }
    }
}

/// What an advert must fit to be heard.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// This node's address on the interface: never a sender, and the destination of unicast
    /// adverts.
    pub own: IpAddr,
    pub transport: Transport,
    /// Senders that are heard. Unicast: only these. Multicast: only these, and everybody if the
    /// list is empty.
    pub sources: &'a [IpAddr],
    /// Virtual routers of this node on the interface, of the family of `own`.
    pub routers: &'a [Virtual],
    /// Adverts may be signed; otherwise a signature is a wrong length.
    pub trailers: bool,
}

/// A virtual router of this node, and what its adverts have to agree with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Virtual {
    pub vrid: Vrid,
    /// `None` = version 3, which only warns of differences.
    pub v2: Option<V2>,
}

/// What an advert of version 2 has to agree with (RFC 3768, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V2 {
    /// `None` = no authentication.
    pub pass: Option<[u8; 8]>,
    pub seconds: u8,
    pub address: Ipv4Addr,
    /// We have priority 255, and nobody else may advertise.
    pub owner: bool,
}

/// An advert that passed every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    pub advert: Advert<'a>,
    pub source: IpAddr,
    /// Form of its checksum; `None` = both forms give the same one (the pseudo-header's sum is
    /// zero), or version 2.
    pub checksum: Option<ChecksumForm>,
    /// The advert without the IP header, which a signature is over.
    pub message: &'a [u8],
    /// The signature, not verified yet: see [`crate::signature`].
    pub trailer: Option<&'a [u8; TRAILER_LEN]>,
}

/// From where to where an advert goes, and how it is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Over IPv6 a link-local address (RFC 9568, section 5.1.2.1).
    pub source: IpAddr,
    /// The [`group`] or the other node.
    pub destination: IpAddr,
    pub version: Version,
}

/// What differs between the versions in an advert that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The form is IPv4's; over IPv6 the pseudo-header is always summed (RFC 9568, section 5.2.8).
    V3(ChecksumForm),
    /// With its password, if there is one. IPv4 only.
    V2(Option<[u8; 8]>),
}

impl Version {
    const fn number(self) -> u8 {
        match self {
            Self::V3(_) => 3,
            Self::V2(_) => 2,
        }
    }
}
