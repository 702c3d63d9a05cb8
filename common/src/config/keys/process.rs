//! The keys of the processes that relay and answer.

use std::time::Duration;

use super::{MANY, WEEK};
use crate::config::MAX_THREADS;
use crate::config::kind::{Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape};

pub(in crate::config) const PROXY: Section = Section {
    name: "proxy",
    shape: Shape::Once,
    doc: "The process that relays.",
    example: r#"[proxy]
drain = "20s""#,
    keys: &[
        Key {
            name: "threads",
            kind: Kind::Integer(IntegerRange::new(1, MAX_THREADS as u64)),
            default: Default::Unset("one for each core"),
            doc: "Relay threads",
        },
        Key {
            name: "max_sessions",
            kind: Kind::Integer(MANY),
            default: Default::Unset("what the limit of descriptors allows"),
            doc: "Sessions of all listeners at the same time; more wait in the kernel's queues",
        },
        Key {
            name: "drain",
            kind: Kind::Duration(DurationRange::new(Duration::ZERO, WEEK)),
            default: Default::Toml("\"30s\""),
            doc: "How long sessions may go on after a stop was asked for. Those that say nothing for a second are closed in order, one after another all over that time, so that their clients do not all come back at once; what is left at its end is reset. `status` says how many are left",
        },
    ],
};

pub(in crate::config) const ADMIN: Section = Section {
    name: "admin",
    shape: Shape::Once,
    doc: "The process that answers questions.",
    example: r#"[admin]
http = "node:9600"
allow = ["127.0.0.0/8", "192.168.0.0/24"]"#,
    keys: &[
        Key {
            name: "http",
            kind: Kind::Text(Form::Http),
            default: Default::Toml("\"node:9600\""),
            doc: "Where /metrics, /healthz and /readyz are served; \"node:PORT\" = each node's own \
                  address and loopback",
        },
        Key {
            name: "allow",
            kind: Kind::List(&Kind::Text(Form::Network)),
            default: Default::Toml("[\"127.0.0.0/8\", \"::1/128\"]"),
            doc: "Networks that may ask",
        },
    ],
};
