//! The way of a packet through the chains of a ruleset. Pure.
//!
//! A base chain that accepts a packet says nothing of the next one; any that drops it ends it (nft(8), "Chains"). Where a
//! condition cannot be told, both ways are gone.

use std::collections::HashMap;

use serde_json::Value;

use super::packet::{Packet, Truth};

/// Statements that let a packet go on as it is (libnftables-json(5)).
const HARMLESS: [&str; 9] = [
    "comment",
    "counter",
    "log",
    "mangle",
    "notrack",
    "secmark",
    "ct helper",
    "ct timeout",
    "flow",
];
/// Targets of iptables, which nft(8) only names, likewise (iptables-extensions(8)).
const HARMLESS_TARGETS: [&str; 8] = [
    "CHECKSUM", "CONNMARK", "CT", "LOG", "MARK", "NFLOG", "TCPMSS", "TRACE",
];
/// Chains that jump to each other deeper than this are not followed (the kernel allows 16).
const DEEPEST: usize = 16;

/// A ruleset as `nft -j list ruleset` prints it.
#[derive(Debug)]
pub(super) struct Ruleset<'a> {
    /// By family, table and name.
    chains: HashMap<[&'a str; 3], Chain<'a>>,
    /// Elements of named sets and maps, likewise.
    sets: HashMap<[&'a str; 3], &'a Value>,
    /// Base chains by priority.
    bases: Vec<([&'a str; 3], i64)>,
}

#[derive(Debug)]
struct Chain<'a> {
    about: &'a Value,
    rules: Vec<&'a Value>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Dropped(Reason),
    /// It cannot be told; this would drop it.
    Unclear(Reason),
}

/// What drops a packet, in words, and the base chain in which it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// "rule 12 of chain inet filter input"
    pub(super) what: String,
    /// "inet filter input"
    pub(super) base: String,
}

/// How the ways through a chain end.
#[derive(Debug, Default)]
struct Ends {
    accepts: bool,
    /// The first that drops.
    drops: Option<String>,
    /// Its end is reached, or a `return`.
    falls: bool,
}

impl Ends {
    fn add(&mut self, other: Self) {
        self.accepts |= other.accepts;
        self.drops = self.drops.take().or(other.drops);
        self.falls |= other.falls;
    }
}

fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

impl<'a> Ruleset<'a> {
    pub(super) fn new(objects: &'a [Value]) -> Self {
        let mut ruleset = Self {
            chains: HashMap::new(),
            sets: HashMap::new(),
            bases: Vec::new(),
        };
        for about in objects.iter().filter_map(|object| object.get("chain")) {
            let key = ["family", "table", "name"].map(|part| word(about, part));
            if about.get("hook").is_some() {
                ruleset
                    .bases
                    .push((key, about["prio"].as_i64().unwrap_or(0)));
            }
            let rules = Vec::new();
            ruleset.chains.insert(key, Chain { about, rules });
        }
        for rule in objects.iter().filter_map(|object| object.get("rule")) {
            let key = ["family", "table", "chain"].map(|part| word(rule, part));
            if let Some(chain) = ruleset.chains.get_mut(&key) {
                chain.rules.push(rule);
            }
        }
        for object in objects {
            if let Some(set) = object.get("set").or_else(|| object.get("map")) {
                let key = ["family", "table", "name"].map(|part| word(set, part));
                ruleset.sets.insert(key, &set["elem"]);
            }
        }
        ruleset.bases.sort_by_key(|(_, priority)| *priority);
        ruleset
    }

    /// Whether any chain sees packets at all.
    pub(super) fn looks_at_packets(&self) -> bool {
        !self.bases.is_empty()
    }

    /// What becomes of a packet in all chains that it passes.
    pub(super) fn fate(&self, packet: &Packet) -> Fate {
        let mut unclear = None;
        for hook in packet.hooks() {
            for (key, _) in &self.bases {
                let chain = &self.chains[key];
                if word(chain.about, "hook") != hook || !packet.is_seen_by(chain.about) {
                    continue;
                }
                let mut ends = self.walk(*key, packet, 0);
                if ends.falls && word(chain.about, "policy") == "drop" {
                    let policy = format!("the policy of chain {}", key.join(" "));
                    ends.drops = ends.drops.or(Some(policy));
                } else {
                    ends.accepts |= ends.falls;
                }
                let reason = ends.drops.map(|what| Reason {
                    what,
                    base: key.join(" "),
                });
                match reason {
                    Some(reason) if !ends.accepts => return Fate::Dropped(reason),
                    Some(reason) => unclear = unclear.or(Some(reason)),
                    None => {}
                }
            }
        }
        unclear.map_or(Fate::Passes, Fate::Unclear)
    }

    fn walk(&self, key: [&str; 3], packet: &Packet, depth: usize) -> Ends {
        let mut ends = Ends::default();
        let Some(chain) = self.chains.get(&key).filter(|_| depth <= DEEPEST) else {
            ends.falls = true;
            return ends;
        };
        for rule in &chain.rules {
            if !self.obey(rule, (key, packet, depth), &mut ends) {
                return ends;
            }
        }
        ends.falls = true;
        ends
    }

    /// Whether the next rule may be reached.
    fn obey(
        &self,
        rule: &Value,
        (key, packet, depth): ([&str; 3], &Packet, usize),
        ends: &mut Ends,
    ) -> bool {
        let [family, table, _] = key;
        let sets = |name: &str| self.sets.get(&[family, table, name]).copied();
        let mut sure = true;
        for part in rule["expr"].as_array().map_or(&[][..], Vec::as_slice) {
            if let Some(map) = part.get("vmap") {
                let (more, known) = self.look_up(map, rule, (key, packet, depth), ends);
                sure &= known;
                if !more {
                    return !sure;
                }
                continue;
            }
            if let Some(passed) = condition(part, packet, &sets) {
                match passed {
                    Some(true) => {}
                    Some(false) => return true,
                    None => sure = false,
                }
                continue;
            }
            if let Some(goes_on) = self.verdict(part, rule, (key, packet, depth), ends) {
                return goes_on || !sure;
            }
        }
        true
    }

    /// Obeys a verdict; whether the chain goes on behind it. `None` = it is none, as a counter.
    fn verdict(
        &self,
        part: &Value,
        rule: &Value,
        (key, packet, depth): ([&str; 3], &Packet, usize),
        ends: &mut Ends,
    ) -> Option<bool> {
        let (name, inner) = part.as_object()?.iter().next()?;
        let [family, table, chain] = key;
        let mut drops = || {
            let place = format!("{family} {table} {chain}");
            let handle = rule["handle"].as_u64().unwrap_or(0);
            let what = format!("rule {handle} of chain {place}");
            ends.drops = ends.drops.take().or(Some(what));
        };
        match name.as_str() {
            "accept" => ends.accepts = true,
            "drop" | "reject" => drops(),
            "xt" if word(inner, "name") == "REJECT" => drops(),
            "xt" if HARMLESS_TARGETS.contains(&word(inner, "name")) => return None,
            "return" => ends.falls = true,
            "goto" => {
                let target = [family, table, word(inner, "target")];
                ends.add(self.walk(target, packet, depth + 1));
            }
            "jump" => {
                let target = [family, table, word(inner, "target")];
                let there = self.walk(target, packet, depth + 1);
                let returns = there.falls;
                ends.add(Ends {
                    falls: false,
                    ..there
                });
                return Some(returns);
            }
            name if HARMLESS.contains(&name) => return None,
            "set" | "map" => return None,
            // It goes elsewhere, a program decides, or nobody here knows.
            _ => {
                drops();
                ends.accepts = true;
                return Some(true);
            }
        }
        Some(false)
    }

    /// A verdict map: whether the chain may go on, and whether it is known which entry is met.
    fn look_up(
        &self,
        map: &Value,
        rule: &Value,
        at: ([&str; 3], &Packet, usize),
        ends: &mut Ends,
    ) -> (bool, bool) {
        let ([family, table, _], packet, _) = at;
        let data = match map["data"].as_str().and_then(|name| name.strip_prefix('@')) {
            Some(name) => self.sets.get(&[family, table, name]).copied(),
            None => map["data"].get("set"),
        };
        let Some(entries) = data.and_then(Value::as_array) else {
            // Without elements; or it is not known what they are.
            let empty = data.is_some_and(Value::is_null);
            if !empty {
                self.verdict(&serde_json::json!({"unknown": null}), rule, at, ends);
            }
            return (true, empty);
        };
        let mut known = true;
        for entry in entries {
            match packet.looks_up(&map["key"], &entry[0]) {
                Some(false) => {}
                Some(true) => {
                    let goes_on = self.verdict(&entry[1], rule, at, ends).unwrap_or(true);
                    return (goes_on || !known, known);
                }
                None => {
                    known = false;
                    self.verdict(&entry[1], rule, at, ends);
                }
            }
        }
        (true, known)
    }
}

/// Whether a part of a rule that is a condition holds; `None` = it is none.
fn condition<'a>(
    part: &Value,
    packet: &Packet,
    sets: &dyn Fn(&str) -> Option<&'a Value>,
) -> Option<Truth> {
    if let Some(inner) = part.get("match") {
        return Some(packet.meets(inner, sets));
    }
    if let Some(limit) = part.get("limit") {
        // One packet exceeds no limit; within one are not all.
        let over = limit["inv"] == true;
        return Some(if over { Some(false) } else { None });
    }
    let adds = part.get("set").or_else(|| part.get("map"));
    if let Some(element) = adds {
        // As a rate for each address.
        return element.get("stmt").is_some().then_some(None);
    }
    if let Some(module) = part.get("xt") {
        return (word(module, "type") == "match").then_some(None);
    }
    let counts = ["quota", "ct count", "last"];
    counts
        .iter()
        .any(|name| part.get(*name).is_some())
        .then_some(None)
}
