//! The PROXY protocol, versions 1 and 2, as HAProxy's specification (doc/proxy-protocol.txt) has it:
//! a header in front of a connection that says whose connection it is. Pure: bytes in, header out,
//! and back.
//!
//! The specification forbids to guess whether there is a header: a listener expects one, or none.
//! (That is why one port cannot serve clients with and without: anybody could claim any address.)
//! So what is no valid header ends the connection, and the sooner the better. Where the
//! specification leaves a choice:
//!
//! - A header of version 2 may have 65,551 bytes; ours end at [`MAX_HEADER`]. It says itself that
//!   both versions are made for the 536 bytes of the smallest segment.
//! - UNIX sockets and UNSPEC are accepted and mean the socket's own addresses, like LOCAL and
//!   UNKNOWN. UDP's addresses are used: the client is who it says, whatever carried it to the
//!   sender. TLVs are read where it is known where they begin: not after LOCAL (the whole block is
//!   to be discarded) and UNSPEC (there may be addresses of any length).
//! - Mapped addresses (`::ffff:192.0.2.1`) become IPv4, so that no list of networks is evaded by
//!   the way an address is written.

mod crc32c;
mod ssl;
mod tlv;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use self::ssl::{ClientCertificate, ClientTls, common_name};
pub use self::tlv::{Tlv, TlvError, Tlvs};
pub use self::v1::encode as encode_v1;
pub use self::v2::{EncodeError, OutgoingTlvs, encode as encode_v2, local as encode_v2_local};

/// Most bytes of a header, whatever its length field says. Room for a client certificate (TLV 0x28).
pub const MAX_HEADER: usize = 4096;

/// Which versions a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    V1,
    V2,
    Both,
}

/// The version of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// What is known from the bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A header so far, but not all of it.
    Incomplete,
    Header(Header<'a>),
}

/// A header that is complete and valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub version: Version,
    /// Bytes of the header; the payload begins here.
    pub length: usize,
    /// `None`: the addresses of the socket are meant (LOCAL, UNKNOWN, UNSPEC, a UNIX socket).
    pub endpoints: Option<Endpoints>,
    pub tlvs: Tlvs<'a>,
}

/// Whose connection it is. Addresses are never mapped ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

impl Endpoints {
    /// Address and port of both; an IPv4 address that is written as an IPv6 one becomes IPv4, flow
    /// labels and scopes, for which a header has no room, are dropped.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| {
            let ip = address.ip().to_canonical();
            SocketAddr::new(ip, address.port())
        };
        Self {
            source: canonical(source),
            destination: canonical(destination),
        }
    }

    /// Both addresses in one family, as a header needs it: of mixed ones, the IPv4 address is
    /// written as an IPv6 one (RFC 4291, section 2.5.5.2).
    fn in_one_family(self) -> OneFamily {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => OneFamily::V4([source, destination]),
            (source, destination) => OneFamily::V6([source, destination].map(|ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            })),
        }
    }
}

/// Source and destination.
#[derive(Debug, Clone, Copy)]
enum OneFamily {
    V4([std::net::Ipv4Addr; 2]),
    V6([std::net::Ipv6Addr; 2]),
}

/// Why no header can come of these bytes. The connection is to be aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("the connection does not begin with a PROXY protocol header")]
    NoHeader,
    #[error("a PROXY protocol header of a version that is not accepted here: {0:?}")]
    Refused(Version),
    #[error("the line does not end within 107 bytes")]
    LineTooLong,
    #[error("a CR or LF alone in the line")]
    LineEnd,
    #[error("the protocol is not TCP4, TCP6 or UNKNOWN")]
    Keyword,
    /// Too many, too few, or more than one space between them.
    #[error("the line has not two addresses and two ports")]
    Fields,
    /// No address, or one of the other family.
    #[error("an address of the line is not one of its protocol")]
    Address,
    #[error("a port of the line is not a number from 0 to 65535")]
    Port,
    #[error("version {0} of the binary header")]
    UnknownVersion(u8),
    #[error("command {0} of the binary header")]
    UnknownCommand(u8),
    #[error("address family {0} of the binary header")]
    UnknownFamily(u8),
    #[error("transport protocol {0} of the binary header")]
    UnknownTransport(u8),
    #[error("a binary header of {0} bytes is longer than is accepted")]
    TooLong(usize),
    #[error("the binary header is shorter than its addresses")]
    AddressesCut,
    #[error("the TLVs of the binary header are invalid")]
    Tlv(#[source] TlvError),
}

/// Reads the header at the beginning of a connection, of which `bytes` is everything that has
/// arrived. The payload after [`Header::length`] is not looked at.
///
/// # Errors
///
/// [`HeaderError`]: no further bytes will make it a header that is accepted; said as early as it
/// can be said.
pub fn decode(bytes: &[u8], accept: Accept) -> Result<Decoded<'_>, HeaderError> {
    // The two beginnings differ in their first byte.
    let version = match bytes.first() {
        None => return Ok(Decoded::Incomplete),
        Some(first) if *first == v1::PREFIX[0] => Version::V1,
        Some(first) if *first == v2::SIGNATURE[0] => Version::V2,
        Some(_) => return Err(HeaderError::NoHeader),
    };
    match (version, accept) {
        (Version::V1, Accept::V1 | Accept::Both) => v1::decode(bytes),
        (Version::V2, Accept::V2 | Accept::Both) => v2::decode(bytes),
        (Version::V1, Accept::V2) => refuse(bytes, v1::PREFIX, version),
        (Version::V2, Accept::V1) => refuse(bytes, v2::SIGNATURE, version),
    }
}

/// Tells a header of the wrong version from no header at all; both are errors.
fn refuse<'a>(
    bytes: &'a [u8],
    beginning: &[u8],
    version: Version,
) -> Result<Decoded<'a>, HeaderError> {
    if !begins_like(bytes, beginning) {
        return Err(HeaderError::NoHeader);
    }
    match bytes.len() < beginning.len() {
        true => Ok(Decoded::Incomplete),
        false => Err(HeaderError::Refused(version)),
    }
}

/// Whether the bytes are the beginning of `expected`, or begin with it.
fn begins_like(bytes: &[u8], expected: &[u8]) -> bool {
    bytes
        .iter()
        .zip(expected)
        .all(|(byte, right)| byte == right)
}
