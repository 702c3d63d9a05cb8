//! Whether nftables lets through what the nodes have to hear of each other, and what clients ask. Pure.
//!
//! Each packet goes its way through the chains ([`walk`]), condition by condition ([`packet`]). What cannot be told is said
//! to be unknown: conditions that nft(8) only names (xt), and values that nobody knows beforehand.

mod packet;
mod walk;

use serde_json::Value;

pub(crate) use self::packet::Packet;
use self::walk::{Fate, Reason, Ruleset};
use super::{Finding, Verdict};

/// What has to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// "adverts (IP protocol 112)"
    pub(crate) what: String,
    /// Each of them.
    pub(crate) packets: Vec<Packet>,
    /// The condition of a rule that accepts them: "udp dport 9601"
    pub(crate) condition: String,
    /// What else lets them in, where another program writes the rules; may be empty.
    pub(crate) or: String,
}

/// What becomes of everything that has to pass, by a ruleset as `nft -j list ruleset` prints it.
pub(crate) fn findings(ruleset: &str, wanted: &[Wanted]) -> Vec<Finding> {
    let Ok(parsed) = serde_json::from_str::<Value>(ruleset) else {
        return vec![Finding::new(
            Verdict::Unknown,
            "the firewall: nft printed what is no JSON",
            "look at `nft list ruleset`",
        )];
    };
    let objects = parsed["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let ruleset = Ruleset::new(objects);
    if !ruleset.looks_at_packets() {
        return vec![Finding::good("the firewall drops nothing: it has no rules")];
    }
    let judged = wanted.iter().map(|wanted| judge(&ruleset, wanted));
    judged.collect()
}

/// The worst that happens to any of the packets.
fn judge(ruleset: &Ruleset<'_>, wanted: &Wanted) -> Finding {
    let mut unclear = None;
    for packet in &wanted.packets {
        match ruleset.fate(packet) {
            Fate::Passes => {}
            Fate::Unclear(reason) => unclear = unclear.or(Some((packet, reason))),
            Fate::Dropped(reason) => {
                let (what, way) = (&wanted.what, way(packet));
                let said = format!("the firewall drops {what} {way}: {}", reason.what);
                return Finding::new(Verdict::Bad, said, remedy(wanted, &reason));
            }
        }
    }
    match unclear {
        None => Finding::good(format!("the firewall lets {} pass", wanted.what)),
        Some((packet, reason)) => {
            let (what, way) = (&wanted.what, way(packet));
            let why = &reason.what;
            let said = format!("the firewall may drop {what} {way}: {why}, as far as can be told");
            Finding::new(Verdict::Unknown, said, remedy(wanted, &reason))
        }
    }
}

fn way(packet: &Packet) -> String {
    let interface = &packet.interface;
    match (packet.incoming, packet.source) {
        (true, Some(source)) => format!("that come in from {source} on {interface}"),
        (true, None) => format!("that come in on {interface}"),
        (false, _) => format!("that leave for {} on {interface}", packet.destination),
    }
}

fn remedy(wanted: &Wanted, reason: &Reason) -> String {
    let (base, condition) = (&reason.base, &wanted.condition);
    let insert = format!("nft insert rule {base} {condition} accept");
    match wanted.or.as_str() {
        "" => insert,
        or => format!("{insert}; {or}"),
    }
}

#[cfg(test)]
mod tests;
