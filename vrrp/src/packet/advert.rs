//! The advert of version 3, the datagram around either version, and the validation ladder.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use common::addr::{Family, Vrid};
use common::board::DropReason;
use common::config::{ChecksumForm, Transport};
use pnet_packet::ip::IpNextHeaderProtocols::Vrrp;
use pnet_packet::util;

use crate::signature::{Keys, Stamp, TRAILER_LEN};

use super::ip::{self, IPV4_HEADER, IPV6_HEADER, TTL};
use super::{Addresses, Advert, Envelope, Expect, Packet, Received, V2, Version, group, v2};

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
    /// Its addresses are of one family, and IPv6 came with version 3.
    #[error(
        "an advert of version {version} from {source_address} to {destination} with {addresses} addresses"
    )]
    Family {
        version: u8,
        source_address: IpAddr,
        destination: IpAddr,
        addresses: Family,
    },
    /// See [`super::MAX_DATAGRAM`].
    #[error("the buffer has {got} bytes, the datagram {needed}")]
    Buffer { needed: usize, got: usize },
}

/// Version to checksum.
const FIXED: usize = 8;
/// Version 3 in the upper half, type 1 (ADVERTISEMENT) in the lower (RFC 9568, sections 5.2.1 and
/// 5.2.2).
const VERSION: u8 = 3;
const TYPE: u8 = 1;
/// Index of the checksum among the 16-bit words of an advert.
const CHECKSUM_WORD: usize = 3;

/// Reads a packet by the validation ladder in its order: the first check that fails is the reason.
///
/// # Errors
/// The reason for which the packet has to be dropped and counted. It must change nothing then, not
/// even a timer.
pub fn decode<'a>(packet: &Packet<'a>, expect: &Expect<'_>) -> Result<Received<'a>, DropReason> {
    check_header(packet, expect)?;
    let Packet {
        source,
        destination,
        message,
        ..
    } = *packet;
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
    let Parts {
        message,
        addresses,
        trailer,
    } = split((message, count), Family::of(source), (router.v2, expect))?;
    let (checksum, interval) = match (&router.v2, addresses) {
        (None, _) => (
            checksum_form(message, source, destination).ok_or(DropReason::Checksum)?,
            v3_interval(interval)?,
        ),
        (Some(own), Addresses::V4(addresses)) => (Fits::Both, v2::check(message, addresses, own)?),
        (Some(_), Addresses::V6(_)) => return Err(DropReason::Version),
    };
    first_is_link_local(addresses)?;
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

/// What a message consists of.
struct Parts<'a> {
    /// Itself, without its signature.
    message: &'a [u8],
    addresses: Addresses<'a>,
    trailer: Option<&'a [u8; TRAILER_LEN]>,
}

/// Splits a message with so many addresses.
fn split<'a>(
    (message, count): (&'a [u8], u8),
    family: Family,
    (v2, expect): (Option<V2>, &Expect<'_>),
) -> Result<Parts<'a>, DropReason> {
    let addresses_end = FIXED + usize::from(count) * address_len(family);
    let end = addresses_end + v2.map_or(0, |_| v2::AUTH_DATA_LEN);
    let (message, rest) = message.split_at_checked(end).ok_or(DropReason::Length)?;
    let trailer = match rest {
        [] => None,
        _ if !expect.trailers => return Err(DropReason::Length),
        rest => Some(rest.try_into().map_err(|_| DropReason::Length)?),
    };
    let addresses = &message[FIXED..addresses_end];
    let addresses = match family {
        Family::V4 => Addresses::V4(addresses.as_chunks().0),
        Family::V6 => Addresses::V6(addresses.as_chunks().0),
    };
    Ok(Parts {
        message,
        addresses,
        trailer,
    })
}

const fn address_len(family: Family) -> usize {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

/// RFC 9568, section 5.2.9 and erratum 8300.
fn first_is_link_local(addresses: Addresses<'_>) -> Result<(), DropReason> {
    match addresses {
        Addresses::V6([first, ..]) if Ipv6Addr::from(*first).is_unicast_link_local() => Ok(()),
        Addresses::V6(_) => Err(DropReason::LinkLocal),
        Addresses::V4(_) => Ok(()),
    }
}

/// RFC 9568, section 5.2.6: the four reserved bits are ignored.
fn v3_interval(field: [u8; 2]) -> Result<Duration, DropReason> {
    match u16::from_be_bytes(field) & 0x0fff {
        // Erratum 8301: an interval of zero would make a Backup take over at once.
        0 => Err(DropReason::IntervalZero),
        centiseconds => Ok(Duration::from_millis(u64::from(centiseconds) * 10)),
    }
}

/// Writes the whole IP datagram (for a socket with `IP_HDRINCL` or `IPV6_HDRINCL`), signed if there
/// is a `signature`, and returns its length.
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
    let count = match u8::try_from(advert.addresses.count()) {
        Ok(count) if count > 0 => count,
        Ok(_) | Err(_) => return Err(EncodeError::Addresses(advert.addresses.count())),
    };
    let family = one_family(advert, envelope)?;
    let interval = match envelope.version {
        Version::V3(_) => centiseconds(advert.interval)?.to_be_bytes(),
        Version::V2(pass) => [v2::auth_type(pass), v2::seconds(advert.interval)?],
    };
    let trailer = if signature.is_some() { TRAILER_LEN } else { 0 };
    let auth_data = match envelope.version {
        Version::V3(_) => 0,
        Version::V2(_) => v2::AUTH_DATA_LEN,
    };
    let addresses_end = FIXED + usize::from(count) * address_len(family);
    let header = match family {
        Family::V4 => IPV4_HEADER,
        Family::V6 => IPV6_HEADER,
    };
    let payload = (addresses_end + auth_data + trailer) as u16;
    let needed = header + usize::from(payload);
    let got = out.len();
    let datagram = out
        .get_mut(..needed)
        .ok_or(EncodeError::Buffer { needed, got })?;
    let (header, message) = datagram.split_at_mut(header);

    let (message, trailer) = message.split_at_mut(usize::from(payload) - trailer);
    message[0] = envelope.version.number() << 4 | TYPE;
    message[1] = advert.vrid.value();
    message[2] = advert.priority;
    message[3] = count;
    message[4..6].copy_from_slice(&interval);
    message[FIXED..addresses_end].copy_from_slice(advert.addresses.bytes());
    if let Version::V2(pass) = envelope.version {
        message[addresses_end..].copy_from_slice(&pass.unwrap_or_default());
    }
    let checksum = checksum(message, CHECKSUM_WORD, envelope);
    message[6..8].copy_from_slice(&checksum.to_be_bytes());
    if let Some((keys, stamp)) = signature {
        trailer.copy_from_slice(&keys.sign(envelope.source, message, stamp));
    }

    match (envelope.source, envelope.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ip::write_v4((from, to), payload, header),
        (IpAddr::V6(from), IpAddr::V6(to)) => ip::write_v6((from, to), payload, header),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
    Ok(needed)
}

fn one_family(advert: &Advert<'_>, envelope: &Envelope) -> Result<Family, EncodeError> {
    let family = advert.addresses.family();
    let known = match envelope.version {
        Version::V3(_) => true,
        Version::V2(_) => family == Family::V4,
    };
    let same = family == Family::of(envelope.source) && family == Family::of(envelope.destination);
    if known && same {
        return Ok(family);
    }
    Err(EncodeError::Family {
        version: envelope.version.number(),
        source_address: envelope.source,
        destination: envelope.destination,
        addresses: family,
    })
}

/// Destination, TTL and source (RFC 9568, section 7.1).
fn check_header(packet: &Packet<'_>, expect: &Expect<'_>) -> Result<(), DropReason> {
    let destination = match expect.transport {
        Transport::Multicast => group(Family::of(expect.own)),
        Transport::Unicast => expect.own,
    };
    if packet.destination != destination {
        return Err(DropReason::DstClass);
    }
    if packet.ttl != TTL {
        return Err(DropReason::Ttl);
    }
    if packet.source == expect.own {
        return Err(DropReason::OwnSource);
    }
    Ok(())
}

/// Whether an advert by unicast, which is dropped for its checksum, would be right if it went to the group: so old
/// Keepalived sum, and later ones with `old_unicast_checksum`.
pub fn is_summed_for_group(packet: &Packet<'_>) -> bool {
    let group = group(Family::of(packet.source));
    packet.destination != group
        && checksum_form(packet.message, packet.source, group)
            .is_some_and(|fits| fits.form() == Some(ChecksumForm::Pseudo))
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

/// `None` if the checksum is wrong in both forms (IPv6 has one). A sum over everything, checksum
/// included, is zero when it is right.
fn checksum_form(message: &[u8], source: IpAddr, destination: IpAddr) -> Option<Fits> {
    let skip_nothing = message.len();
    let sum = |form| {
        let envelope = Envelope {
            source,
            destination,
            version: Version::V3(form),
        };
        checksum(message, skip_nothing, &envelope)
    };
    let plain = source.is_ipv4() && sum(ChecksumForm::Message) == 0;
    let pseudo = sum(ChecksumForm::Pseudo) == 0;
    match (plain, pseudo) {
        (true, true) => Some(Fits::Both),
        (true, false) => Some(Fits::Message),
        (false, true) => Some(Fits::Pseudo),
        (false, false) => None,
    }
}

/// RFC 9568, section 5.2.8; the pseudo-headers are those of RFC 5798 and of RFC 8200, section 8.1.
fn checksum(message: &[u8], skip: usize, envelope: &Envelope) -> u16 {
    match (envelope.source, envelope.destination, envelope.version) {
        (IpAddr::V6(from), IpAddr::V6(to), _) => {
            util::ipv6_checksum(message, skip, &[], &from, &to, Vrrp)
        }
        (IpAddr::V4(from), IpAddr::V4(to), Version::V3(ChecksumForm::Pseudo)) => {
            util::ipv4_checksum(message, skip, &[], &from, &to, Vrrp)
        }
        _ => util::checksum(message, skip),
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

#[cfg(test)]
mod tests;
