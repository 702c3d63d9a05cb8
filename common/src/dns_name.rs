//! One form for the DNS names that clients send and that configurations route by.

use std::net::IpAddr;

/// RFC 1035, section 2.3.4, in text form and without the trailing dot.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Why a name is no DNS name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// RFC 6066, section 3, allows names only.
    #[error("it is an IP address")]
    IpAddress,
    #[error("it is longer than 253 characters")]
    TooLong,
    #[error("a label is empty or longer than 63 characters")]
    LabelLength,
    /// Labels are made of letters, digits, hyphens inside, and, as seen in the wild, underscores.
    /// (An international name arrives as `xn--…`, RFC 5890.)
    #[error("a label has a character that is not allowed")]
    Character,
    /// So that nothing that looks like an IPv4 address is one (RFC 3696, section 2).
    #[error("the last label is a number")]
    NumericTop,
}

/// The name in lower case and without a trailing dot.
///
/// # Errors
///
/// What is no host name; a wildcard is none either.
pub fn normalize(name: &[u8]) -> Result<String, InvalidName> {
    let text = std::str::from_utf8(name).map_err(|_| InvalidName::Character)?;
    let is_bracketed = text.starts_with('[') && text.ends_with(']');
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if text.parse::<IpAddr>().is_ok() || (is_bracketed && bare.parse::<IpAddr>().is_ok()) {
        return Err(InvalidName::IpAddress);
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.len() > MAX_NAME {
        return Err(InvalidName::TooLong);
    }
    for label in text.split('.') {
        check_label(label)?;
    }
    let top = text.rsplit('.').next().unwrap_or(text);
    if is_number(top) {
        return Err(InvalidName::NumericTop);
    }
    Ok(text.to_ascii_lowercase())
}

/// Decimal, or hexadecimal: what URLs and TLS libraries take for the end of an address.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or(label.strip_prefix("0X"));
    label.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn check_label(label: &str) -> Result<(), InvalidName> {
    if label.is_empty() || label.len() > MAX_LABEL {
        return Err(InvalidName::LabelLength);
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !label.bytes().all(is_allowed) || label.starts_with('-') || label.ends_with('-') {
        return Err(InvalidName::Character);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(name: &str) -> Result<String, InvalidName> {
        normalize(name.as_bytes())
    }

    #[test]
    fn case_and_trailing_dot_do_not_matter() {
        for name in ["api.example.org", "API.Example.ORG", "api.example.org."] {
            assert_eq!(normalized(name), Ok("api.example.org".into()));
        }
        assert_eq!(normalized("localhost"), Ok("localhost".into()));
        assert_eq!(normalized("_a.xn--bcher-kva.example"), {
            Ok("_a.xn--bcher-kva.example".into())
        });
        assert_eq!(normalized("1.2.3.in-addr.arpa"), {
            Ok("1.2.3.in-addr.arpa".into())
        });
    }

    #[test]
    fn addresses_are_no_names() {
        for name in [
            "192.0.2.1",
            "2001:db8::1",
            "[2001:db8::1]",
            "::ffff:1.2.3.4",
        ] {
            assert_eq!(normalized(name), Err(InvalidName::IpAddress), "{name}");
        }
        for name in ["192.0.2.1.", "192.0.2", "1", "api.010", "api.0x1F", "0x"] {
            assert_eq!(normalized(name), Err(InvalidName::NumericTop), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", ".", "..", "a..b", ".a", "a.."] {
            assert_eq!(normalized(name), Err(InvalidName::LabelLength), "{name}");
        }
        for name in [
            "*.a",
            "a b",
            "a/b",
            "-a",
            "a-.b",
            "bücher.de",
            "a\0",
            "a:443",
        ] {
            assert_eq!(normalized(name), Err(InvalidName::Character), "{name}");
        }
        assert_eq!(normalize(&[0xff, b'a']), Err(InvalidName::Character));
    }

    #[test]
    fn lengths_are_bounded() {
        let label = "a".repeat(63);
        assert!(normalized(&label).is_ok());
        assert_eq!(normalized(&(label.clone() + "a")), {
            Err(InvalidName::LabelLength)
        });
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert!(normalized(&longest).is_ok());
        assert!(normalized(&(longest.clone() + ".")).is_ok());
        assert_eq!(normalized(&(longest + "a")), Err(InvalidName::TooLong));
    }
}
