//! Lists of networks in files of their own: one network or address to a line. Pure.
//!
//! `#` begins a comment, blank lines mean nothing. An address alone is a network of one.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Longest list that is read, in bytes: more than a million IPv4 addresses.
pub const MAX_LIST_BYTES: u64 = 16 << 20;
/// Bad lines that are named one by one.
const NAMED: usize = 5;

/// A line that is no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// What is wrong with a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadList {
    /// The first bad lines.
    pub lines: Vec<BadLine>,
    /// Bad lines beyond those.
    pub more: usize,
}

impl fmt::Display for BadLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.why)
    }
}

impl fmt::Display for BadList {
    /// `line 3: …; line 9: …; and 4 more`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, line) in self.lines.iter().enumerate() {
            let gap = if place == 0 { "" } else { "; " };
            write!(formatter, "{gap}{line}")?;
        }
        if self.more > 0 {
            write!(formatter, "; and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for BadList {}

/// The networks of a list, in its order.
///
/// # Errors
/// The lines that are no networks.
pub fn parse(text: &str) -> Result<Vec<IpNet>, BadList> {
    let mut networks = Vec::new();
    let mut bad = BadList {
        lines: Vec::new(),
        more: 0,
    };
    for (index, line) in text.lines().enumerate() {
        let (entry, _comment) = line.split_once('#').unwrap_or((line, ""));
        let entry = entry.trim();
        if entry.is_empty() {
            continue;
        }
        match network(entry) {
            Ok(network) => networks.push(network),
            Err(_) if bad.lines.len() == NAMED => bad.more += 1,
            Err(why) => bad.lines.push(BadLine {
                line: index + 1,
                why,
            }),
        }
    }
    if bad.lines.is_empty() {
        Ok(networks)
    } else {
        Err(bad)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse::<IpNet>()
        .or_else(|error| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| error))
        .map_err(|_| format!("`{}` is neither a network nor an address", cut(text)))?;
    if network.addr() != network.network() {
        let right = network.trunc();
        return Err(format!("`{text}` is an address inside its network {right}"));
    }
    if let IpNet::V6(v6) = network
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(format!("`{text}` is IPv4 written as IPv6"));
    }
    Ok(network)
}

/// A line may be anything, and what is wrong with it goes to a log.
fn cut(text: &str) -> String {
    const MOST: usize = 40;
    let shown: String = text.chars().take(MOST).collect();
    let shown = shown.escape_default().to_string();
    if text.chars().count() > MOST {
        format!("{shown}…")
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_comments_and_blank_lines() {
        let text = "# of the office\n\n10.0.0.0/8\t# all of it\r\n  192.0.2.7\n2001:db8::/32\n::1";
        let networks = parse(text).expect("every line is right");
        let shown: Vec<String> = networks.iter().map(IpNet::to_string).collect();
        assert_eq!(
            shown,
            ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128"]
        );
        assert_eq!(parse("# nothing\n"), Ok(Vec::new()));
    }

    #[test]
    fn every_bad_line_is_named_with_its_number_up_to_some() {
        let said = |text: &str| parse(text).expect_err("it is bad").to_string();
        assert_eq!(
            said("10.0.0.0/8\n\nten\n10.0.0.1/8\n::ffff:10.0.0.1\n10.0.0.0/33"),
            "line 3: `ten` is neither a network nor an address; \
             line 4: `10.0.0.1/8` is an address inside its network 10.0.0.0/8; \
             line 5: `::ffff:10.0.0.1` is IPv4 written as IPv6; \
             line 6: `10.0.0.0/33` is neither a network nor an address"
        );
        let many = "x\n".repeat(9);
        assert!(said(&many).ends_with("; and 4 more"), "{}", said(&many));
        let long = "\u{1b}".repeat(1_000);
        assert!(said(&long).len() < 600, "{}", said(&long));
        assert!(!said(&long).contains('\u{1b}'));
    }
}
