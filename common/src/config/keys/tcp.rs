//! The keys of a TCP connection, whichever side it is on.

use std::time::Duration;

use super::SECOND;
use crate::config::kind::{Default, DurationRange, IntegerRange, Key, Kind, Section, Shape};

/// TCP_KEEPIDLE and TCP_KEEPINTVL take whole seconds up to 32767 (tcp(7)).
const KEEPALIVE_TIME: DurationRange =
    DurationRange::new(SECOND, Duration::from_secs(32_767)).steps_of(SECOND);

/// TCP_USER_TIMEOUT is in milliseconds; below a second a lost segment would end a connection.
pub(super) const USER_TIMEOUT: DurationRange =
    DurationRange::new(SECOND, Duration::from_secs(3_600)).or_off();

pub(in crate::config) const KEEPALIVE: Section = Section {
    name: "keepalive",
    shape: Shape::Inline,
    doc: "TCP keepalive: finds connections whose other end is gone.",
    example: r#"{ idle = "30s", interval = "5s", count = 3 }"#,
    keys: &[
        Key {
            name: "idle",
            kind: Kind::Duration(KEEPALIVE_TIME),
            default: Default::Toml("\"60s\""),
            doc: "Silence before the first question",
        },
        Key {
            name: "interval",
            kind: Kind::Duration(KEEPALIVE_TIME),
            default: Default::Toml("\"10s\""),
            doc: "Time between questions",
        },
        Key {
            name: "count",
            kind: Kind::Integer(IntegerRange::new(1, 127)),
            default: Default::Toml("3"),
            doc: "Unanswered questions before the connection is given up",
        },
    ],
};
