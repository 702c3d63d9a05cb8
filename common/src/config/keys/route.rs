//! The keys of routes and rules that follow a VIP.

use crate::config::kind::{Choice, Default, Form, IntegerRange, Key, Kind, Section, Shape};

/// 0 is no table, and 255 is filled by the kernel.
const TABLE: IntegerRange = IntegerRange {
    min: 1,
    max: u32::MAX as u64,
    except: Some((
        255,
        "table 255 is the kernel's own, of the machine's addresses (local)",
    )),
};
const METRIC: IntegerRange = IntegerRange::new(1, u32::MAX as u64);
/// Of all routes and rules of the kernel: 0 is its rule for table local, 32766 the one for main.
const RULE_PRIORITY: IntegerRange = IntegerRange::new(1, 32_765);
const MARK: IntegerRange = IntegerRange::new(1, u32::MAX as u64);

pub(in crate::config) const VIP_ROUTE: Section = Section {
    name: "vip_route",
    shape: Shape::Inline,
    doc: "A route that is on the node that holds the VIP and on no other (Keepalived's virtual_routes). It comes with \
          the lease, goes with it, and is put back if somebody removes it; it carries the protocol number 112 in \
          `ip route`. One that the kernel refuses is a warning in status: the VIP stays. Of each family at VIPs of \
          that family. A route has no lifetime as a lease has: if all processes of a node are killed at once, \
          `fmc-lb release` takes it away, which the unit runs then, or the next start does.",
    example: r#"{ to = "10.99.0.0/16", via = "192.168.0.1", metric = 50 }"#,
    keys: &[
        Key {
            name: "to",
            kind: Kind::Text(Form::Network),
            default: Default::Required,
            doc: "Destination; \"0.0.0.0/0\" or \"::/0\" for everything",
        },
        Key {
            name: "via",
            kind: Kind::Text(Form::Source),
            default: Default::Unset("the destination is at the interface itself"),
            doc: "The next hop",
        },
        Key {
            name: "dev",
            kind: Kind::Text(Form::Interface),
            default: Default::Unset("the VIP's interface"),
            doc: "Interface that the route leads out of",
        },
        Key {
            name: "src",
            kind: Kind::Text(Form::Source),
            default: Default::Unset(
                "the kernel chooses one of the machine's own addresses, never a VIP",
            ),
            doc: "The VIP, if connections that this machine makes by this route are to come from it. They end when the \
                  VIP moves; those of sessions to servers too, unless the backend has a `source`",
        },
        Key {
            name: "table",
            kind: Kind::Integer(TABLE),
            default: Default::Toml("254"),
            doc: "Routing table by number; 254 is main",
        },
        Key {
            name: "metric",
            kind: Kind::Integer(METRIC),
            default: Default::Unset("0, which comes first; over IPv6 1024"),
            doc: "Of two routes to the same destination the one with the lower metric counts",
        },
        Key {
            name: "scope",
            kind: Kind::Choice(Choice {
                values: &["global", "link"],
                later: &[],
            }),
            default: Default::Unset("\"global\" with `via`, \"link\" without"),
            doc: "How far away the destination of an IPv4 route is",
        },
        Key {
            name: "onlink",
            kind: Kind::Bool,
            default: Default::Toml("false"),
            doc: "`via` is at the interface although it is in none of its subnets",
        },
    ],
};

pub(in crate::config) const VIP_RULE: Section = Section {
    name: "vip_rule",
    shape: Shape::Inline,
    doc: "A rule that is on the node that holds the VIP and on no other (Keepalived's virtual_rules), treated as the \
          routes are. It sends packets to a routing table; what it does not name fits every packet. A rule for \
          answers that leave from the VIP belongs on both machines always, not here: sessions end on the machine \
          where they began.",
    example: r#"{ to = "10.99.0.0/16", table = 100, priority = 1000 }"#,
    keys: &[
        Key {
            name: "from",
            kind: Kind::Text(Form::Network),
            default: Default::Unset("any"),
            doc: "Source of packets",
        },
        Key {
            name: "to",
            kind: Kind::Text(Form::Network),
            default: Default::Unset("any"),
            doc: "Destination of packets",
        },
        Key {
            name: "iif",
            kind: Kind::Text(Form::Interface),
            default: Default::Unset("any; \"lo\" = packets of this machine itself"),
            doc: "Interface that packets come in by",
        },
        Key {
            name: "fwmark",
            kind: Kind::Integer(MARK),
            default: Default::Unset("any"),
            doc: "Mark of packets, as nftables sets it; may be written as 0x10",
        },
        Key {
            name: "table",
            kind: Kind::Integer(TABLE),
            default: Default::Required,
            doc: "The routing table by number that such packets take",
        },
        Key {
            name: "priority",
            kind: Kind::Integer(RULE_PRIORITY),
            default: Default::Required,
            doc: "The kernel asks rules with a lower number first",
        },
    ],
};
