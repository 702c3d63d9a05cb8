//! A packet as a firewall sees it, and whether a condition of a rule holds for it. Pure.
//!
//! Conditions as libnftables-json(5) has them. What is not known here is neither true nor false.

use std::net::IpAddr;

use serde_json::Value;

/// What a condition says of a packet: `None` = it cannot be told.
pub(super) type Truth = Option<bool>;

/// IP protocol numbers (IANA) and what nft(8) calls them.
const PROTOCOLS: [(u8, &str); 4] = [(6, "tcp"), (17, "udp"), (112, "vrrp"), (132, "sctp")];

/// The first packet of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) incoming: bool,
    /// By which it comes or goes.
    pub(crate) interface: String,
    /// `None` = anybody's, or not known.
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: IpAddr,
    /// IP protocol: 6, 17 or 112.
    pub(crate) protocol: u8,
    /// Of UDP and TCP.
    pub(crate) port: Option<u16>,
}

/// A value of a packet.
enum Field<'a> {
    Address(IpAddr),
    Number(u64),
    Word(&'a str),
    /// There is one, whatever it is.
    Something,
}

/// A field, or what a condition about it is without one.
type Found<'a> = Result<Field<'a>, Truth>;

/// The packet has no such field: no condition about it holds.
const MISSING: Found<'static> = Err(Some(false));
const UNKNOWN: Found<'static> = Err(None);

impl Packet {
    /// Whether a base chain sees it: the inner object of `{"chain": …}`.
    pub(super) fn is_seen_by(&self, chain: &Value) -> bool {
        let family = match chain["family"].as_str() {
            Some("inet" | "netdev") => true,
            Some("ip") => self.destination.is_ipv4(),
            Some("ip6") => self.destination.is_ipv6(),
            _ => false,
        };
        let interface = match &chain["dev"] {
            Value::String(one) => *one == self.interface,
            Value::Array(all) => all.iter().any(|one| *one == self.interface),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
        };
        family && interface
    }

    /// Hooks that it passes, in this order (netfilter hooks of a packet for or from this machine itself).
    pub(super) fn hooks(&self) -> [&'static str; 3] {
        match self.incoming {
            true => ["ingress", "prerouting", "input"],
            false => ["output", "postrouting", "egress"],
        }
    }

    /// Whether a condition holds: the inner object of `{"match": …}`. `sets` finds the elements of a named set.
    pub(super) fn meets<'a>(
        &self,
        condition: &Value,
        sets: &dyn Fn(&str) -> Option<&'a Value>,
    ) -> Truth {
        let is = match self.field(&condition["left"]) {
            Ok(field) => holds(&field, &condition["right"], sets),
            Err(truth) => return truth,
        };
        match condition["op"].as_str() {
            Some("==" | "in") => is,
            Some("!=") => is.map(|is| !is),
            _ => None,
        }
    }

    /// Which of the entries of a verdict map it meets: `(key, verdict)` with what is known of it.
    pub(super) fn looks_up(&self, key: &Value, entry: &Value) -> Truth {
        match self.field(key) {
            Ok(field) => holds(&field, entry, &|_| None),
            Err(truth) => truth,
        }
    }

    fn field(&self, left: &Value) -> Found<'_> {
        if let Some(payload) = left.get("payload") {
            let word = |key: &str| payload[key].as_str().unwrap_or_default();
            return self.of_payload(word("protocol"), word("field"));
        }
        if let Some(key) = left["meta"]["key"].as_str() {
            return self.of_meta(key);
        }
        if let Some(key) = left["ct"]["key"].as_str() {
            return match key {
                "state" => Ok(Field::Word("new")),
                // Nobody has translated its addresses.
                "status" => Ok(Field::Word("")),
                _ => UNKNOWN,
            };
        }
        match left["fib"]["result"].as_str() {
            Some("type") => Ok(Field::Word(self.kind(&left["fib"]["flags"]))),
            // The other node and the clients can be reached.
            Some("oif") => Ok(Field::Something),
            _ => UNKNOWN,
        }
    }

    fn of_payload(&self, protocol: &str, field: &str) -> Found<'_> {
        let four = self.destination.is_ipv4();
        let own = self.protocol_name();
        match (protocol, field) {
            ("ip", _) if !four => MISSING,
            ("ip6", _) if four => MISSING,
            ("ip" | "ip6", "saddr") => self.source.map(Field::Address).ok_or(None),
            ("ip" | "ip6", "daddr") => Ok(Field::Address(self.destination)),
            ("ip", "protocol") | ("ip6", "nexthdr") => Ok(Field::Word(own)),
            ("th", "dport") => self.port(),
            ("tcp" | "udp" | "sctp", _) if protocol != own => MISSING,
            ("tcp" | "udp", "dport") => self.port(),
            ("icmp" | "icmpv6" | "igmp" | "esp" | "ah" | "dccp" | "udplite" | "comp", _) => MISSING,
            _ => UNKNOWN,
        }
    }

    fn of_meta(&self, key: &str) -> Found<'_> {
        let interface = |incoming: bool| match self.incoming == incoming {
            true => Ok(Field::Word(&self.interface)),
            false => Ok(Field::Word("")),
        };
        match key {
            "l4proto" => Ok(Field::Word(self.protocol_name())),
            "nfproto" if self.destination.is_ipv4() => Ok(Field::Word("ipv4")),
            "nfproto" => Ok(Field::Word("ipv6")),
            "protocol" if self.destination.is_ipv4() => Ok(Field::Word("ip")),
            "protocol" => Ok(Field::Word("ip6")),
            "iifname" | "iif" => interface(true),
            "oifname" | "oif" => interface(false),
            "pkttype" if self.incoming && self.destination.is_multicast() => {
                Ok(Field::Word("multicast"))
            }
            "pkttype" if self.incoming => Ok(Field::Word("host")),
            _ => UNKNOWN,
        }
    }

    fn port(&self) -> Found<'_> {
        let number = self.port.map(|port| Field::Number(port.into()));
        number.ok_or(Some(false))
    }

    /// What kind of address it goes to or comes from (fib, "type").
    fn kind(&self, flags: &Value) -> &'static str {
        let mut flags = flags.as_array().into_iter().flatten();
        let of_source = flags.any(|flag| flag == "saddr");
        match (self.destination.is_multicast(), self.incoming == of_source) {
            (true, _) if !of_source => "multicast",
            (_, true) => "unicast",
            (_, false) => "local",
        }
    }

    fn protocol_name(&self) -> &'static str {
        let known = PROTOCOLS
            .iter()
            .find(|(number, _)| *number == self.protocol);
        known.map_or("", |(_, name)| name)
    }
}

/// Whether the right side of a condition has a value: itself, in a set, a range or a network.
fn holds<'a>(field: &Field<'_>, right: &Value, sets: &dyn Fn(&str) -> Option<&'a Value>) -> Truth {
    match right {
        Value::Bool(exists) => Some(*exists),
        Value::Number(number) => Some(match field {
            Field::Number(own) => number.as_u64() == Some(*own),
            Field::Word(word) => {
                let named = PROTOCOLS.iter().find(|(_, name)| name == word);
                named.is_some_and(|(own, _)| number.as_u64() == Some(u64::from(*own)))
            }
            Field::Address(_) | Field::Something => return None,
        }),
        Value::String(text) => match text.strip_prefix('@') {
            Some(name) => holds(field, sets(name)?, sets),
            None => is_word(field, text),
        },
        Value::Array(all) => any(all.iter().map(|one| holds(field, one, sets))),
        Value::Object(object) => {
            if let Some(inner) = object.get("set") {
                return holds(field, inner, sets);
            }
            if let Some(element) = object.get("elem") {
                return holds(field, &element["val"], sets);
            }
            if let Some(prefix) = object.get("prefix") {
                return is_in_network(field, prefix);
            }
            is_in_range(field, object.get("range")?)
        }
        // A set without elements.
        Value::Null => Some(false),
    }
}

/// True if one is, unknown if one may be.
fn any(truths: impl Iterator<Item = Truth>) -> Truth {
    let mut so_far = Some(false);
    for truth in truths {
        match truth {
            Some(true) => return truth,
            Some(false) => {}
            None => so_far = None,
        }
    }
    so_far
}

fn is_word(field: &Field<'_>, text: &str) -> Truth {
    match field {
        Field::Word(own) => Some(match text.strip_suffix('*') {
            Some(beginning) => own.starts_with(beginning),
            None => *own == text,
        }),
        Field::Address(own) => text.parse().ok().map(|other: IpAddr| *own == other),
        // A port by the name of its service.
        Field::Number(_) | Field::Something => None,
    }
}

fn is_in_network(field: &Field<'_>, prefix: &Value) -> Truth {
    let Field::Address(own) = field else {
        return None;
    };
    let network: IpAddr = prefix["addr"].as_str()?.parse().ok()?;
    let length = u32::try_from(prefix["len"].as_u64()?).ok()?;
    Some(match (own, network) {
        (IpAddr::V4(own), IpAddr::V4(network)) => {
            let differing = own.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= length
        }
        (IpAddr::V6(own), IpAddr::V6(network)) => {
            let differing = own.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= length
        }
        _ => false,
    })
}

fn is_in_range(field: &Field<'_>, range: &Value) -> Truth {
    let (from, to) = (&range[0], &range[1]);
    match field {
        Field::Number(own) => Some((from.as_u64()?..=to.as_u64()?).contains(own)),
        Field::Address(own) => {
            let from: IpAddr = from.as_str()?.parse().ok()?;
            let to: IpAddr = to.as_str()?.parse().ok()?;
            Some((from..=to).contains(own))
        }
        Field::Word(_) | Field::Something => None,
    }
}
