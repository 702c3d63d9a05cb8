//! Where the sessions of a server go: to a port, or to the one that the client came to.

use std::net::{IpAddr, SocketAddr};

use super::{Fault, host, socket};
use crate::config::PortOffset;
use crate::config::kind::Form;
use crate::config::value::{ServingText, Value};

pub(super) fn serving(text: &str) -> Result<Value, Fault> {
    parse(text).map(Value::Serving)
}

pub(super) fn parse(text: &str) -> Result<ServingText, Fault> {
    let moved = |ip: IpAddr, offset: PortOffset| {
        host(ip, text)?;
        Ok(ServingText {
            address: SocketAddr::new(ip, 0),
            offset: Some(offset),
        })
    };
    if let Some(ip) = bare(text) {
        return moved(ip, PortOffset::SAME);
    }
    if let Some((address, port)) = text.rsplit_once(':')
        && port.starts_with(['+', '-'])
        && let Some(ip) = bare(address)
    {
        return match offset(port) {
            Some(offset) => moved(ip, offset),
            None => Err(Fault::new(
                format!("`{port}` cannot be added to a port"),
                "write a sign and digits, for example \"+1000\"",
            )),
        };
    }
    let address = socket(text, Form::Server)?;
    host(address.ip(), text)?;
    Ok(ServingText {
        address,
        offset: None,
    })
}

/// An address without a port; IPv6 may stand in brackets.
fn bare(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let ip: IpAddr = match inner {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => text.parse().ok()?,
    };
    // What is wrong with that is said of the address with a port too.
    (ip == ip.to_canonical()).then_some(ip)
}

fn offset(text: &str) -> Option<PortOffset> {
    let digits = &text[1..];
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i32>().ok().filter(|_| plain)?;
    PortOffset::new(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Option<String>)> {
        match serving(text) {
            Ok(Value::Serving(found)) => Some((
                found.address.to_string(),
                found.offset.map(|offset| offset.to_string()),
            )),
            _ => None,
        }
    }

    #[test]
    fn a_port_an_offset_or_none() {
        for (text, address, offset) in [
            ("10.17.4.21:6443", "10.17.4.21:6443", None),
            ("10.17.4.21", "10.17.4.21:0", Some("+0")),
            ("10.17.4.21:+1000", "10.17.4.21:0", Some("+1000")),
            ("[fd00::1]:-5", "[fd00::1]:0", Some("-5")),
            ("fd00::1", "[fd00::1]:0", Some("+0")),
            ("[fd00::1]", "[fd00::1]:0", Some("+0")),
        ] {
            let wanted = (address.to_owned(), offset.map(str::to_owned));
            assert_eq!(read(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for wrong in [
            "10.17.4.21:",
            "10.17.4.21:+",
            "10.17.4.21:++1",
            "10.17.4.21:+65535",
            "10.17.4.21:+99999999999",
            "10.17.4.21:0",
            "0.0.0.0",
            "224.0.0.1:+1",
            "::ffff:10.17.4.21",
            "[10.17.4.21]",
            "web:+1",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_added_stays_within_the_ports() {
        let offset = PortOffset::new(-100).expect("it is one");
        assert_eq!(offset.of(101), Some(1));
        assert_eq!(offset.of(100), None);
        assert_eq!(offset.before(1), Some(101));
        assert_eq!(offset.before(65_500), None);
        assert_eq!(PortOffset::SAME.of(65_535), Some(65_535));
    }
}
