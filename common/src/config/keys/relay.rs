//! The keys of what accepts, relays and answers.

use std::time::Duration;

use super::{HOUR, SECOND, TEN_MS};
use crate::config::kind::{
    Choice, Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape,
};
use crate::config::{MAX_THREADS, MAX_WEIGHT};

/// The longest idle time: a week.
const WEEK: Duration = Duration::from_secs(168 * 3_600);
const IDLE: DurationRange = DurationRange::new(SECOND, WEEK).or_off();
/// TCP_KEEPIDLE and TCP_KEEPINTVL take whole seconds up to 32767 (tcp(7)).
const KEEPALIVE_TIME: DurationRange =
    DurationRange::new(SECOND, Duration::from_secs(32_767)).steps_of(SECOND);
const CONNECT: DurationRange = DurationRange::new(TEN_MS, Duration::from_secs(300));
const PROBE_TIME: DurationRange = DurationRange::new(TEN_MS, HOUR);

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

pub(in crate::config) const KEEPALIVE: Section = Section {
    name: "keepalive",
    shape: Shape::Inline,
    doc: "TCP keepalive: finds connections whose other end is gone.",
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

pub(in crate::config) const BACKENDS: Section = Section {
    name: "backends",
    shape: Shape::Named,
    doc: "A pool of servers.",
    keys: &[
        Key {
            name: "servers",
            kind: Kind::List(&Kind::TableOr(&SERVER, "address")),
            default: Default::Required,
            doc: "The servers: an address with a port, or { address = …, weight = … }",
        },
        Key {
            name: "balance",
            kind: Kind::Choice(Choice {
                values: &["round-robin", "least-connections"],
                later: &[],
            }),
            default: Default::Toml("\"round-robin\""),
            doc: "How a server is chosen: in turn, or the one with the fewest sessions; both by weight",
        },
        Key {
            name: "probe",
            kind: Kind::TableOrOff(&PROBE),
            default: Default::Toml("{}"),
            doc: "How servers are checked, or \"off\": all count as up",
        },
        Key {
            name: "connect_timeout",
            kind: Kind::Duration(CONNECT),
            default: Default::Inherited {
                section: "timeouts",
                key: "connect",
            },
            doc: "As [timeouts] connect, for this backend only",
        },
        Key {
            name: "retries",
            kind: Kind::Integer(IntegerRange::new(0, 100)),
            default: Default::Toml("3"),
            doc: "Attempts to connect beyond the first, each on another server while there is one",
        },
        Key {
            name: "server_timeout",
            kind: Kind::Duration(IDLE),
            default: Default::Inherited {
                section: "timeouts",
                key: "server",
            },
            doc: "As [timeouts] server, for this backend only",
        },
        Key {
            name: "keepalive",
            kind: Kind::TableOrOff(&KEEPALIVE),
            default: Default::Toml("{}"),
            doc: "TCP keepalive towards servers, or \"off\"",
        },
    ],
};

pub(in crate::config) const SERVER: Section = Section {
    name: "server",
    shape: Shape::Inline,
    doc: "One member of a backend.",
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text(Form::Server),
            default: Default::Required,
            doc: "Address and port of the server",
        },
        Key {
            name: "weight",
            kind: Kind::Integer(IntegerRange::new(0, MAX_WEIGHT)),
            default: Default::Toml("1"),
            doc: "Share of new sessions in proportion to the other servers; 0 = none",
        },
    ],
};

pub(in crate::config) const PROBE: Section = Section {
    name: "probe",
    shape: Shape::Inline,
    doc: "A periodic check of each server of a backend.",
    keys: &[
        Key {
            name: "kind",
            kind: Kind::Choice(Choice {
                values: &["tcp", "kube-apiserver"],
                later: &[],
            }),
            default: Default::Toml("\"tcp\""),
            doc: "\"tcp\": a connection can be made; \"kube-apiserver\": TLS and GET /readyz",
        },
        Key {
            name: "interval",
            kind: Kind::Duration(PROBE_TIME),
            default: Default::Toml("\"2s\""),
            doc: "Time between the starts of two probes of a server",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(PROBE_TIME),
            default: Default::Unset("the smaller of the interval and 2s"),
            doc: "Limit of one probe, at most the interval",
        },
        Key {
            name: "rise",
            kind: Kind::Integer(IntegerRange::new(1, 100)),
            default: Default::Toml("2"),
            doc: "Good probes in a row that bring a server up",
        },
        Key {
            name: "fall",
            kind: Kind::Integer(IntegerRange::new(1, 100)),
            default: Default::Toml("3"),
            doc: "Bad probes in a row that take a server down",
        },
        Key {
            name: "ca_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the server's certificate is not checked"),
            doc: "Certificates (PEM) that the API server's is checked against",
        },
        Key {
            name: "cert_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the probe shows no certificate"),
            doc: "Client certificate (PEM) that the probe shows to the API server",
        },
        Key {
            name: "key_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the probe shows no certificate"),
            doc: "Private key (PEM) of cert_file; only its owner may read it",
        },
    ],
};

pub(in crate::config) const TIMEOUTS: Section = Section {
    name: "timeouts",
    shape: Shape::Once,
    doc: "Limits for all listeners and backends, each of which may override them.",
    keys: &[
        Key {
            name: "client",
            kind: Kind::Duration(IDLE),
            default: Default::Toml("\"off\""),
            doc: "A session ends when nothing has passed in either direction for so long; with `server` \
                  set too, the shorter of the two counts",
        },
        Key {
            name: "server",
            kind: Kind::Duration(IDLE),
            default: Default::Toml("\"off\""),
            doc: "The same, for the sessions of a backend",
        },
        Key {
            name: "tunnel",
            kind: Kind::Duration(IDLE),
            default: Default::Toml("\"1h\""),
            doc: "The same; set, it supersedes client and server. The default holds only where neither \
                  of them is set",
        },
        Key {
            name: "connect",
            kind: Kind::Duration(CONNECT),
            default: Default::Toml("\"5s\""),
            doc: "Limit of one attempt to connect to a server",
        },
    ],
};

pub(in crate::config) const PROXY: Section = Section {
    name: "proxy",
    shape: Shape::Once,
    doc: "The process that relays.",
    keys: &[
        Key {
            name: "threads",
            kind: Kind::Integer(IntegerRange::new(1, MAX_THREADS as u64)),
            default: Default::Unset("one for each core"),
            doc: "Relay threads",
        },
        Key {
            name: "drain",
            kind: Kind::Duration(DurationRange::new(Duration::ZERO, WEEK)),
            default: Default::Toml("\"30s\""),
            doc: "How long sessions may go on after a stop was asked for",
        },
    ],
};

pub(in crate::config) const ADMIN: Section = Section {
    name: "admin",
    shape: Shape::Once,
    doc: "The process that answers questions.",
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
