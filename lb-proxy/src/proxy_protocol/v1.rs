//! Version 1: one line of text (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Decoded, Endpoints, Header, HeaderError, OneFamily, Tlvs, Version, begins_like};

#[cfg(test)]
mod tests;

pub(super) const PREFIX: &[u8] = b"PROXY ";
const CRLF: &[u8] = b"\r\n";
/// The longest line that the specification knows, CRLF included.
const MAX_LINE: usize = 107;

#[derive(Debug, Clone, Copy)]
enum Keyword {
    Tcp4,
    Tcp6,
    Unknown,
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, HeaderError> {
    if !begins_like(bytes, PREFIX) {
        return Err(HeaderError::NoHeader);
    }
    let after_prefix = bytes.get(PREFIX.len()..).unwrap_or_default();
    let keyword = keyword(after_prefix)?;
    let Some(line) = line(bytes)? else {
        return Ok(Decoded::Incomplete);
    };
    let fields = &line[PREFIX.len()..];
    let endpoints = match keyword.ok_or(HeaderError::Keyword)? {
        // Whatever else the line has is to be ignored.
        Keyword::Unknown => None,
        Keyword::Tcp4 => Some(endpoints(fields, |text| text.parse().map(IpAddr::V4).ok())?),
        Keyword::Tcp6 => Some(endpoints(fields, |text| text.parse().map(IpAddr::V6).ok())?),
    };
    Ok(Decoded::Header(Header {
        version: Version::V1,
        length: line.len() + CRLF.len(),
        endpoints,
        tlvs: Tlvs::default(),
    }))
}

/// The keyword, as soon as there is all of it and what ends it.
fn keyword(text: &[u8]) -> Result<Option<Keyword>, HeaderError> {
    let ways: [(&[u8], Keyword); 4] = [
        (b"TCP4 ", Keyword::Tcp4),
        (b"TCP6 ", Keyword::Tcp6),
        (b"UNKNOWN ", Keyword::Unknown),
        (b"UNKNOWN\r", Keyword::Unknown),
    ];
    let mut possible = ways.iter().filter(|(word, _)| begins_like(text, word));
    match possible.next() {
        None => Err(HeaderError::Keyword),
        Some((word, keyword)) => Ok((text.len() >= word.len()).then_some(*keyword)),
    }
}

/// The line without its CRLF. Neither CR nor LF is tolerated alone, in what is ignored neither.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, HeaderError> {
    let within = &bytes[..bytes.len().min(MAX_LINE)];
    let is_end = |byte: &u8| CRLF.contains(byte);
    let end = within.iter().position(is_end).unwrap_or(within.len());
    let (line, rest) = within.split_at(end);
    match rest {
        [b'\r', b'\n', ..] => Ok(Some(line)),
        [] | [b'\r'] if within.len() == MAX_LINE => Err(HeaderError::LineTooLong),
        [] | [b'\r'] => Ok(None),
        _ => Err(HeaderError::LineEnd),
    }
}

/// Keyword, source, destination, source port and destination port, with one space between them.
fn endpoints(fields: &[u8], address: fn(&str) -> Option<IpAddr>) -> Result<Endpoints, HeaderError> {
    let text = std::str::from_utf8(fields).map_err(|_| HeaderError::Fields)?;
    let mut fields = text.split(' ').skip(1);
    let mut next = || {
        let field = fields.next().filter(|field| !field.is_empty());
        field.ok_or(HeaderError::Fields)
    };
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if fields.next().is_some() {
        return Err(HeaderError::Fields);
    }
    let endpoint = |ip: &str, number: &str| {
        let ip = address(ip).ok_or(HeaderError::Address)?;
        Ok(SocketAddr::new(ip, port(number)?))
    };
    Ok(Endpoints::new(
        endpoint(source, source_port)?,
        endpoint(destination, destination_port)?,
    ))
}

/// Digits only, and no zero in front of others.
fn port(text: &str) -> Result<u16, HeaderError> {
    let is_padded = text.starts_with('0') && text != "0";
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_number && !is_padded => Ok(port),
        Ok(_) | Err(_) => Err(HeaderError::Port),
    }
}

/// The line for these endpoints, to be sent in one write before anything else. UNKNOWN, which some
/// receivers refuse, is only for addresses that are not known: a probe sends those of its socket.
pub fn encode(endpoints: Option<Endpoints>) -> Vec<u8> {
    let Some(endpoints) = endpoints else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (keyword, [source, destination]) = match endpoints.in_one_family() {
        OneFamily::V4(addresses) => ("TCP4", addresses.map(|ip: Ipv4Addr| ip.to_string())),
        OneFamily::V6(addresses) => ("TCP6", addresses.map(hexadecimal)),
    };
    let (source_port, destination_port) = (endpoints.source.port(), endpoints.destination.port());
    format!("PROXY {keyword} {source} {destination} {source_port} {destination_port}\r\n")
        .into_bytes()
}

/// The specification knows hexadecimal groups only, where RFC 5952 writes mapped addresses with
/// dots. (As a receiver we take both: HAProxy sends what the C library prints.)
fn hexadecimal(ip: Ipv6Addr) -> String {
    match ip.to_ipv4_mapped() {
        Some(_) => {
            let [.., high, low] = ip.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        None => ip.to_string(),
    }
}
