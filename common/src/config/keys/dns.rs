//! The keys of the resolver.

use std::time::Duration;

use super::{HOUR, SECOND};
use crate::config::kind::{Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape};

const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(in crate::config) const DNS: Section = Section {
    name: "dns",
    shape: Shape::Once,
    doc: "How servers are resolved that backends name. Names are whole: no search list is used. An answer that \
          says nothing (no such name, a failure, no answer in time) takes no server away: the last ones stay, and \
          status says so.",
    example: r#"[dns]
servers = ["10.17.4.2", "10.17.4.3"]
max_ttl = "1m""#,
    keys: &[
        Key {
            name: "servers",
            kind: Kind::List(&Kind::Text(Form::NameServer)),
            default: Default::Unset(
                "the name servers of /etc/resolv.conf, read again when it changes",
            ),
            doc: "Whom to ask; a port other than 53 is written behind the address. UDP first, TCP where an \
                  answer does not fit",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(DurationRange::new(
                Duration::from_millis(100),
                Duration::from_secs(30),
            )),
            default: Default::Toml("\"2s\""),
            doc: "Limit of one attempt",
        },
        Key {
            name: "attempts",
            kind: Kind::Integer(IntegerRange::new(1, 10)),
            default: Default::Toml("2"),
            doc: "Attempts before the question counts as failed",
        },
        Key {
            name: "min_ttl",
            kind: Kind::Duration(DurationRange::new(SECOND, HOUR)),
            default: Default::Toml("\"5s\""),
            doc: "A name is asked for again no sooner, however short its records live; after a failure just then",
        },
        Key {
            name: "max_ttl",
            kind: Kind::Duration(DurationRange::new(SECOND, DAY)),
            default: Default::Toml("\"5m\""),
            doc: "A name is asked for again no later, however long its records live; up to a tenth sooner, so \
                  that not all are asked for at once",
        },
    ],
};
