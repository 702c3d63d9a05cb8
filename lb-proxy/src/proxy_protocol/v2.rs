//! Version 2: a binary block (section 2.2).

use std::net::{IpAddr, SocketAddr};

use super::tlv::{self, Tlv, Tlvs};
use super::{
    Decoded, Endpoints, Header, HeaderError, MAX_HEADER, OneFamily, Version, begins_like, crc32c,
};

#[cfg(test)]
mod tests;

pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
const VERSION: u8 = 2;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const PORTS: usize = 4;
/// Two paths of 108 bytes.
const UNIX_ADDRESSES: usize = 216;

/// What follows the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Nothing that may be looked at: LOCAL, UNSPEC.
    Skipped,
    /// Addresses of this many bytes each, ports, TLVs.
    Inet { address: usize },
    /// Paths, which say nothing to a TCP relay, and TLVs.
    Unix,
}

impl Block {
    const fn addresses(self) -> usize {
        match self {
            Self::Skipped => 0,
            Self::Inet { address } => 2 * address + PORTS,
            Self::Unix => UNIX_ADDRESSES,
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, HeaderError> {
    if !begins_like(bytes, SIGNATURE) {
        return Err(HeaderError::NoHeader);
    }
    let Some(block) = block(bytes.get(SIGNATURE.len()..).unwrap_or_default())? else {
        return Ok(Decoded::Incomplete);
    };
    let Some([.., high, low]) = bytes.first_chunk::<FIXED>() else {
        return Ok(Decoded::Incomplete);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    let tlvs_begin = FIXED + block.addresses();
    if length > MAX_HEADER {
        return Err(HeaderError::TooLong(length));
    }
    if length < tlvs_begin {
        return Err(HeaderError::AddressesCut);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Decoded::Incomplete);
    };
    let addresses = &header[FIXED..tlvs_begin];
    let (endpoints, tlvs_begin) = match block {
        Block::Skipped => (None, length),
        Block::Inet { address } => (Some(endpoints(addresses, address)), tlvs_begin),
        Block::Unix => (None, tlvs_begin),
    };
    Ok(Decoded::Header(Header {
        version: Version::V2,
        length,
        endpoints,
        tlvs: Tlvs::parse(header, tlvs_begin).map_err(HeaderError::Tlv)?,
    }))
}

/// What the two bytes after the signature announce, as soon as they are there.
fn block(bytes: &[u8]) -> Result<Option<Block>, HeaderError> {
    let Some(version_command) = bytes.first() else {
        return Ok(None);
    };
    if version_command >> 4 != VERSION {
        return Err(HeaderError::UnknownVersion(version_command >> 4));
    }
    match (*version_command, bytes.get(1)) {
        // Its family is to be ignored.
        (LOCAL, _) => Ok(Some(Block::Skipped)),
        (PROXY, Some(family_transport)) => family(*family_transport).map(Some),
        (PROXY, None) => Ok(None),
        (_, _) => Err(HeaderError::UnknownCommand(version_command & 0xf)),
    }
}

fn family(family_transport: u8) -> Result<Block, HeaderError> {
    match (family_transport >> 4, family_transport & 0xf) {
        (family @ 4.., _) => Err(HeaderError::UnknownFamily(family)),
        (_, transport @ 3..) => Err(HeaderError::UnknownTransport(transport)),
        (0, _) | (_, 0) => Ok(Block::Skipped),
        (1, _) => Ok(Block::Inet { address: 4 }),
        (2, _) => Ok(Block::Inet { address: 16 }),
        (3, _) => Ok(Block::Unix),
    }
}

/// Source address, destination address, source port, destination port.
fn endpoints(block: &[u8], address: usize) -> Endpoints {
    let (source, rest) = block.split_at(address);
    let (destination, ports) = rest.split_at(address);
    let (source_port, destination_port) = ports.split_at(PORTS / 2);
    let endpoint = |ip: &[u8], port: &[u8]| {
        let port = u16::from_be_bytes([port[0], port[1]]);
        let v4 = <[u8; 4]>::try_from(ip).map(IpAddr::from);
        let ip = v4.or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from));
        SocketAddr::new(ip.expect("an address has 4 or 16 bytes"), port)
    };
    Endpoints::new(
        endpoint(source, source_port),
        endpoint(destination, destination_port),
    )
}

/// What a header says besides the endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutgoingTlvs<'a> {
    /// The protocol in use over the connection, as ALPN names it.
    pub alpn: Option<&'a [u8]>,
    /// The host name that the client asked for: the SNI of TLS.
    pub authority: Option<&'a str>,
    /// What the client's TLS was like, see [`super::ClientTls::encode`].
    pub ssl: Option<&'a [u8]>,
    /// At most 128 bytes.
    pub unique_id: Option<&'a [u8]>,
    /// Whether the header carries its checksum.
    pub crc32c: bool,
    /// Entries of the types 0xE0 to 0xEF.
    pub custom: &'a [Tlv<'a>],
}

/// Why a header cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a unique id of {0} bytes is longer than 128")]
    UniqueId(usize),
    #[error("type {0:#04x} is not one of those for applications, 0xe0 to 0xef")]
    NotCustom(u8),
    #[error("a header of {0} bytes is longer than {MAX_HEADER}")]
    TooLong(usize),
}

/// The header for these endpoints, to be sent in one write before anything else; without endpoints
/// it says UNSPEC.
///
/// # Errors
///
/// Values that the specification excludes, or more than [`MAX_HEADER`] bytes in all.
pub fn encode(
    endpoints: Option<Endpoints>,
    tlvs: &OutgoingTlvs<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let addresses = endpoints.map(Endpoints::in_one_family);
    let (family_transport, block) = match addresses {
        None => (UNSPEC, Block::Skipped),
        Some(OneFamily::V4(_)) => (TCP4, Block::Inet { address: 4 }),
        Some(OneFamily::V6(_)) => (TCP6, Block::Inet { address: 16 }),
    };
    let length = checked_length(block, tlvs)?;
    let mut header = Vec::with_capacity(FIXED + usize::from(length));
    header.extend_from_slice(SIGNATURE);
    header.extend_from_slice(&[PROXY, family_transport]);
    header.extend_from_slice(&length.to_be_bytes());
    match addresses {
        None => {}
        Some(OneFamily::V4(both)) => header.extend(both.iter().flat_map(|ip| ip.octets())),
        Some(OneFamily::V6(both)) => header.extend(both.iter().flat_map(|ip| ip.octets())),
    }
    for endpoint in endpoints
        .iter()
        .flat_map(|both| [both.source, both.destination])
    {
        header.extend_from_slice(&endpoint.port().to_be_bytes());
    }
    if let Some(at) = push_tlvs(&mut header, tlvs) {
        let checksum = crc32c::checksum(&[&header]).to_be_bytes();
        header[at..at + tlv::CHECKSUM].copy_from_slice(&checksum);
    }
    Ok(header)
}

/// The header of a connection of our own, a probe: LOCAL, without addresses.
pub fn local() -> Vec<u8> {
    [SIGNATURE.as_slice(), &[LOCAL, UNSPEC, 0, 0]].concat()
}

/// What the length field will say.
fn checked_length(block: Block, tlvs: &OutgoingTlvs<'_>) -> Result<u16, EncodeError> {
    if let Some(id) = tlvs.unique_id
        && id.len() > tlv::MAX_UNIQUE_ID
    {
        return Err(EncodeError::UniqueId(id.len()));
    }
    let mut custom = tlvs.custom.iter();
    if let Some(entry) = custom.find(|entry| !tlv::CUSTOM.contains(&entry.kind)) {
        return Err(EncodeError::NotCustom(entry.kind));
    }
    let entries = entries(tlvs).map(|entry| tlv::ENTRY_HEAD + entry.value.len());
    let length = block.addresses() + entries.sum::<usize>();
    match u16::try_from(length) {
        Ok(short) if FIXED + length <= MAX_HEADER => Ok(short),
        Ok(_) | Err(_) => Err(EncodeError::TooLong(FIXED + length)),
    }
}

/// Appends the entries; gives the place of the checksum, which is zero so far.
fn push_tlvs(header: &mut Vec<u8>, tlvs: &OutgoingTlvs<'_>) -> Option<usize> {
    let mut checksum_at = None;
    for Tlv { kind, value } in entries(tlvs) {
        let length = u16::try_from(value.len()).expect("the sum of the lengths fits");
        header.push(kind);
        header.extend_from_slice(&length.to_be_bytes());
        if kind == tlv::CRC32C {
            checksum_at = Some(header.len());
        }
        header.extend_from_slice(value);
    }
    checksum_at
}

fn entries<'a>(tlvs: &OutgoingTlvs<'a>) -> impl Iterator<Item = Tlv<'a>> {
    let checksum: Option<&'a [u8]> = tlvs.crc32c.then_some(&[0; tlv::CHECKSUM]);
    let known = [
        (tlv::CRC32C, checksum),
        (tlv::ALPN, tlvs.alpn),
        (tlv::AUTHORITY, tlvs.authority.map(str::as_bytes)),
        (tlv::UNIQUE_ID, tlvs.unique_id),
        (tlv::SSL, tlvs.ssl),
    ];
    let known = known.into_iter();
    known
        .filter_map(|(kind, value)| value.map(|value| Tlv { kind, value }))
        .chain(tlvs.custom.iter().copied())
}
