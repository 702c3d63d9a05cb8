//! Adverts and ARP as they stand on the wire. Pure and total: no input panics, nothing
//! is allocated.

mod advert;
mod arp;
#[cfg(test)]
pub(crate) mod hex;
mod v2;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::addr::Vrid;
use common::config::{ChecksumForm, Transport};

use crate::signature::TRAILER_LEN;

pub use self::advert::{EncodeError, decode, encode};
pub use self::arp::{
    ARP_FRAME_LEN, answer, claim, gratuitous_reply, gratuitous_request, probe, question,
};

/// Group that adverts are sent to (RFC 9568, section 5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// IP protocol number of VRRP (RFC 9568, section 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// Bytes of the longest datagram that [`encode`] writes: IPv4 header, fixed part, 255 addresses, a
/// password of version 2, signature.
pub const MAX_DATAGRAM: usize = 20 + 8 + 4 * 255 + v2::AUTH_DATA_LEN + TRAILER_LEN;

/// One advert for IPv4 (RFC 9568 or 3768, section 5.2 and 5.3). The addresses stay where they were read
/// from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advert<'a> {
    pub vrid: Vrid,
    /// 0 = the sender resigns.
    pub priority: u8,
    /// 10 ms to 40.95 s in steps of 10 ms; in version 2 whole seconds, 1 to 255.
    pub interval: Duration,
    /// The virtual addresses in network order, 1 to 255 of them (`&[vip.octets()]`).
    pub addresses: &'a [[u8; 4]],
}

impl Advert<'_> {
    /// The virtual addresses.
    pub fn vips(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses.iter().copied().map(Ipv4Addr::from)
    }
}

/// What an advert must fit to be heard.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// This node's address on the interface: never a sender, and the destination of unicast
    /// adverts.
    pub own: Ipv4Addr,
    pub transport: Transport,
    /// Senders that are heard. Unicast: only these. Multicast: only these, and everybody if the
    /// list is empty.
    pub sources: &'a [Ipv4Addr],
    /// Virtual routers of this node on the interface.
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
    pub source: Ipv4Addr,
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
    pub source: Ipv4Addr,
    /// [`GROUP`] or the other node.
    pub destination: Ipv4Addr,
    pub version: Version,
}

/// What differs between the versions in an advert that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V3(ChecksumForm),
    /// With its password, if there is one.
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
