//! The keys of the agents that run beside servers.

use super::{HOUR, PORT};
use crate::config::kind::{Default, DurationRange, Form, Key, Kind, Section, Shape};

use std::time::Duration;

const TIME: DurationRange = DurationRange::new(Duration::from_millis(100), HOUR);

pub(in crate::config) const AGENT: Section = Section {
    name: "agent",
    shape: Shape::Inline,
    doc: "An agent beside each server that says what may be done with it (HAProxy's agent-check). It is asked by a \
          TCP connection and answers a line of words: `up`; `down`, `stopped`, `failed`; `ready`, `drain`, `maint`; \
          `75%` of the configured weight; `maxconn:30` sessions at a time. What it does not speak of stays as it \
          said before, also when it gives no answer: that takes no server down. `up` is up only if the probes say so \
          too. What an administrator says stands apart and above it.",
    example: r#"{ port = 9777, interval = "5s" }"#,
    keys: &[
        Key {
            name: "port",
            kind: Kind::Integer(PORT),
            default: Default::Required,
            doc: "Port of the agent",
        },
        Key {
            name: "address",
            kind: Kind::Text(Form::Source),
            default: Default::Unset("the server's own"),
            doc: "Address of one agent for all servers of the backend",
        },
        Key {
            name: "interval",
            kind: Kind::Duration(TIME),
            default: Default::Toml("\"2s\""),
            doc: "Time between the starts of two questions, give or take 5 %",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(TIME),
            default: Default::Unset("the smaller of the interval and 2s"),
            doc: "Limit of one question with its answer, at most the interval",
        },
        Key {
            name: "send",
            kind: Kind::Text(Form::Text),
            default: Default::Unset("nothing is sent, it speaks at once"),
            doc: "What the agent is sent first, for example \"{backend}/{address}\\n\"; {backend}, {address} and {port} \
                  are the server's",
        },
    ],
};
