//! The keys of what accepts connections.

use super::backend::IDLE;
use super::tcp::KEEPALIVE;
use crate::config::kind::{Choice, Default, Form, Key, Kind, Section, Shape};

pub(in crate::config) const LISTENERS: Section = Section {
    name: "listeners",
    shape: Shape::Named,
    doc: "Addresses where connections are accepted, and the backend that they are relayed to.",
    keys: &[
        Key {
            name: "bind",
            kind: Kind::List(&Kind::Text(Form::Bind)),
            default: Default::Required,
            doc: "Where connections are accepted: a VIP by name or an address, with a port",
        },
        Key {
            name: "backend",
            kind: Kind::Text(Form::Name),
            default: Default::Required,
            doc: "Name of the backend whose servers get the connections",
        },
        Key {
            name: "mode",
            kind: Kind::Choice(Choice {
                values: &["relay"],
                later: &["nat"],
            }),
            default: Default::Toml("\"relay\""),
            doc: "The relay ends the client's TCP connection and makes one of its own to the server",
        },
        Key {
            name: "allow",
            kind: Kind::List(&Kind::Text(Form::Network)),
            default: Default::Unset("everybody"),
            doc: "Networks of the clients that are served; all others are refused",
        },
        Key {
            name: "required",
            kind: Kind::Bool,
            default: Default::Toml("true"),
            doc: "While no server is usable at the VIP's holder and some are at the other node, the VIP moves there",
        },
        Key {
            name: "client_timeout",
            kind: Kind::Duration(IDLE),
            default: Default::Inherited {
                section: "timeouts",
                key: "client",
            },
            doc: "As [timeouts] client, for this listener only",
        },
        Key {
            name: "tunnel_timeout",
            kind: Kind::Duration(IDLE),
            default: Default::Inherited {
                section: "timeouts",
                key: "tunnel",
            },
            doc: "As [timeouts] tunnel, for this listener only",
        },
        Key {
            name: "keepalive",
            kind: Kind::TableOrOff(&KEEPALIVE),
            default: Default::Toml("{}"),
            doc: "TCP keepalive towards clients, or \"off\"",
        },
    ],
};
