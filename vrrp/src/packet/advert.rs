//! Adverts for IPv4: the datagram, and version 3.

use std::net::Ipv4Addr;
use std::time::Duration;

use common::addr::Vrid;
use common::board::DropReason;
use common::config::{ChecksumForm, Transport};
use pnet_packet::ip::IpNextHeaderProtocols::Vrrp;
use pnet_packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet_packet::util;

use crate::signature::{Keys, Stamp, TRAILER_LEN};

use super::{Advert, Envelope, Expect, GROUP, PROTOCOL, Received, Version, v2};

/// An advert cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// RFC 9568, section 5.2.5.
    #[error("an advert carries 1 to 255 addresses, not {0}")]
    Addresses(usize),
    /// RFC 9568, section 5.2.7.
    #[error("an advert interval is 10 ms to 40.95 s in steps of 10 ms, not {0:?}")]
    Interval(Duration),
    /// RFC 3768, section 5.3.7.
    #[error("an advert interval of VRRPv2 is 1 to 255 whole seconds, not {0:?}")]
    Seconds(Duration),
    /// See [`super::MAX_DATAGRAM`].
    #[error("the buffer has {got} bytes, the datagram {needed}")]
    Buffer { needed: usize, got: usize },
}

const IP_HEADER: usize = 20;
/// Version to checksum.
const FIXED: usize = 8;
/// Version 3 in the upper half, type 1 (ADVERTISEMENT) in the lower (RFC 9568, sections 5.2.1 and
/// 5.2.2).
const VERSION: u8 = 3;
const TYPE: u8 = 1;
/// RFC 9568, section 5.1.1.3: a router between the sender and us would have lowered it.
const TTL: u8 = 255;
/// Class selector 6 in the upper six bits of the type of service: internetwork control.
const DSCP: u8 = 0x30;
/// Index of the checksum among the 16-bit words of an advert.
const CHECKSUM_WORD: usize = 3;

/// Reads an IPv4 datagram as a raw socket gives it (header included), by the validation ladder in
/// its order: the first check that fails is the reason.
///
/// # Errors
/// The reason for which the datagram has to be dropped and counted. It must change nothing then,
/// not even a timer.
pub fn decode<'a>(datagram: &'a [u8], expect: &Expect<'_>) -> Result<Received<'a>, DropReason> {
    let (header, message) = split(datagram).ok_or(DropReason::IpHeader)?;
    let source = check_header(&header, expect)?;
    let fixed = message
        .first_chunk::<FIXED>()
        .ok_or(DropReason::Truncated)?;
    let [version_type, vrid, priority, count, interval @ .., _, _] = *fixed;
    // RFC 9568, section 7.1: the VRID is configured on the interface.
    let router = Vrid::new(vrid)
        .and_then(|vrid| expect.routers.iter().find(|router| router.vrid == vrid))
        .ok_or(DropReason::Vrid)?;
    let anybody = expect.transport == Transport::Multicast && expect.sources.is_empty();
    if !anybody && !expect.sources.contains(&source) {
        return Err(DropReason::Source);
    }
    let version = if router.v2.is_some() { 2 } else { VERSION };
    if version_type >> 4 != version {
        return Err(DropReason::Version);
    }
    if version_type & 0x0f != TYPE {
        return Err(DropReason::Type);
    }
    // RFC 9568, section 5.2.5 and erratum 8299.
    if count == 0 {
        return Err(DropReason::CountZero);
    }
    let addresses_end = FIXED + usize::from(count) * 4;
    let end = addresses_end + router.v2.map_or(0, |_| v2::AUTH_DATA_LEN);
    let (message, rest) = message.split_at_checked(end).ok_or(DropReason::Length)?;
    let trailer = match rest {
        [] => None,
        _ if !expect.trailers => return Err(DropReason::Length),
        rest => Some(rest.try_into().map_err(|_| DropReason::Length)?),
    };
    let (addresses, _) = message[FIXED..addresses_end].as_chunks::<4>();
    let destination = header.get_destination();
    let (checksum, interval) = match &router.v2 {
        None => (
            checksum_form(message, source, destination).ok_or(DropReason::Checksum)?,
            v3_interval(interval)?,
        ),
        Some(own) => (Fits::Both, v2::check(message, addresses, own)?),
    };
    Ok(Received {
        advert: Advert {
            vrid: router.vrid,
            priority,
            interval,
            addresses,
        },
        source,
        checksum: checksum.form(),
        message,
        trailer,
    })
}

/// RFC 9568, section 5.2.6: the four reserved bits are ignored.
fn v3_interval(field: [u8; 2]) -> Result<Duration, DropReason> {
    match u16::from_be_bytes(field) & 0x0fff {
        // Erratum 8301: an interval of zero would make a Backup take over at once.
        0 => Err(DropReason::IntervalZero),
        centiseconds => Ok(Duration::from_millis(u64::from(centiseconds) * 10)),
    }
}

/// Writes the whole IPv4 datagram (for a socket with `IP_HDRINCL`), signed if there is a `signature`,
/// and returns its length.
///
/// # Errors
/// If the advert cannot exist on the wire, or `out` is shorter than [`super::MAX_DATAGRAM`] and too
/// short for it.
pub fn encode(
    advert: &Advert<'_>,
    envelope: &Envelope,
    signature: Option<(&Keys, Stamp)>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let count = match u8::try_from(advert.addresses.len()) {
        Ok(count) if count > 0 => count,
        Ok(_) | Err(_) => return Err(EncodeError::Addresses(advert.addresses.len())),
    };
    let interval = match envelope.version {
        Version::V3(_) => centiseconds(advert.interval)?.to_be_bytes(),
        Version::V2(pass) => [v2::auth_type(pass), v2::seconds(advert.interval)?],
    };
    let trailer = if signature.is_some() { TRAILER_LEN } else { 0 };
    let auth_data = match envelope.version {
        Version::V3(_) => 0,
        Version::V2(_) => v2::AUTH_DATA_LEN,
    };
    let addresses_end = FIXED + usize::from(count) * 4;
    let length = (IP_HEADER + addresses_end + auth_data + trailer) as u16;
    let needed = usize::from(length);
    let got = out.len();
    let datagram = out
        .get_mut(..needed)
        .ok_or(EncodeError::Buffer { needed, got })?;

    let (message, trailer) = datagram[IP_HEADER..].split_at_mut(needed - IP_HEADER - trailer);
    message[0] = envelope.version.number() << 4 | TYPE;
    message[1] = advert.vrid.value();
    message[2] = advert.priority;
    message[3] = count;
    message[4..6].copy_from_slice(&interval);
    message[FIXED..addresses_end].copy_from_slice(advert.addresses.as_flattened());
    if let Version::V2(pass) = envelope.version {
        message[addresses_end..].copy_from_slice(&pass.unwrap_or_default());
    }
    let checksum = match envelope.version {
        Version::V2(_) | Version::V3(ChecksumForm::Message) => {
            util::checksum(message, CHECKSUM_WORD)
        }
        Version::V3(ChecksumForm::Pseudo) => util::ipv4_checksum(
            message,
            CHECKSUM_WORD,
            &[],
            &envelope.source,
            &envelope.destination,
            Vrrp,
        ),
    };
    message[6..8].copy_from_slice(&checksum.to_be_bytes());
    if let Some((keys, stamp)) = signature {
        trailer.copy_from_slice(&keys.sign(envelope.source, message, stamp));
    }

    write_ip_header(envelope, length, &mut datagram[..IP_HEADER]);
    Ok(needed)
}

/// The header, and the payload without what Ethernet padded.
fn split(datagram: &[u8]) -> Option<(Ipv4Packet<'_>, &[u8])> {
    let header = Ipv4Packet::new(datagram)?;
    let header_length = usize::from(header.get_header_length()) * 4;
    let total_length = usize::from(header.get_total_length());
    let sound = header.get_version() == 4
        && header_length >= IP_HEADER
        && header.get_next_level_protocol().0 == PROTOCOL;
    let message = datagram.get(header_length..total_length)?;
    sound.then_some((header, message))
}

/// Destination, TTL and source (RFC 9568, section 7.1); returns the source.
fn check_header(header: &Ipv4Packet<'_>, expect: &Expect<'_>) -> Result<Ipv4Addr, DropReason> {
    let destination = match expect.transport {
        Transport::Multicast => GROUP,
        Transport::Unicast => expect.own,
    };
    if header.get_destination() != destination {
        return Err(DropReason::DstClass);
    }
    if header.get_ttl() != TTL {
        return Err(DropReason::Ttl);
    }
    let source = header.get_source();
    if source == expect.own {
        return Err(DropReason::OwnSource);
    }
    Ok(source)
}

/// Which forms a checksum is right in.
enum Fits {
    Pseudo,
    Message,
    Both,
}

impl Fits {
    const fn form(&self) -> Option<ChecksumForm> {
        match self {
            Self::Pseudo => Some(ChecksumForm::Pseudo),
            Self::Message => Some(ChecksumForm::Message),
            Self::Both => None,
        }
    }
}

/// `None` if the checksum is wrong in both forms. A sum over everything, checksum included, is zero
/// when it is right.
fn checksum_form(message: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> Option<Fits> {
    let skip_nothing = message.len();
    let plain = util::checksum(message, skip_nothing) == 0;
    let pseudo = util::ipv4_checksum(message, skip_nothing, &[], &source, &destination, Vrrp) == 0;
    match (plain, pseudo) {
        (true, true) => Some(Fits::Both),
        (true, false) => Some(Fits::Message),
        (false, true) => Some(Fits::Pseudo),
        (false, false) => None,
    }
}

fn centiseconds(interval: Duration) -> Result<u16, EncodeError> {
    let wrong = EncodeError::Interval(interval);
    if !interval.subsec_nanos().is_multiple_of(10_000_000) {
        return Err(wrong);
    }
    match u16::try_from(interval.as_millis() / 10) {
        Ok(centiseconds @ 1..=0x0fff) => Ok(centiseconds),
        Ok(_) | Err(_) => Err(wrong),
    }
}

fn write_ip_header(envelope: &Envelope, total_length: u16, out: &mut [u8]) {
    out.fill(0);
    let mut header =
        MutableIpv4Packet::new(out).expect("the slice is as long as a header without options");
    header.set_version(4);
    header.set_header_length((IP_HEADER / 4) as u8);
    header.set_dscp(DSCP);
    header.set_total_length(total_length);
    header.set_ttl(TTL);
    header.set_next_level_protocol(Vrrp);
    header.set_source(envelope.source);
    header.set_destination(envelope.destination);
    let checksum = ipv4::checksum(&header.to_immutable());
    header.set_checksum(checksum);
}

#[cfg(test)]
mod tests;
