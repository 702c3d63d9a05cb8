//! The keys of the pools of servers, and of the limits of their sessions.

use std::time::Duration;

use super::agent::AGENT;
use super::probe::PROBE;
use super::tcp::{KEEPALIVE, USER_TIMEOUT};
use super::tls::BACKEND_TLS;
use super::{HOUR, IDLE, MANY, SECOND, TEN_MS};
use crate::config::MAX_WEIGHT;
use crate::config::kind::{
    Choice, Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape,
};

const CONNECT: DurationRange = DurationRange::new(TEN_MS, Duration::from_secs(300));

pub(in crate::config) const BACKENDS: Section = Section {
    name: "backends",
    shape: Shape::Named,
    doc: "A pool of servers.",
    example: r#"[backends.k3s-api]
servers = ["10.17.4.21:6443", "10.17.4.22:6443", "10.17.4.23:6443"]
balance = "least-connections"
probe = { kind = "kube-apiserver", interval = "1s" }

[backends.traefik-https]
servers = ["10.17.4.24:443", "10.17.4.25:443", { address = "10.17.4.26:443", weight = 2 }]"#,
    keys: &[
        Key {
            name: "servers",
            kind: Kind::List(&Kind::TableOr(&SERVER, "address")),
            default: Default::Required,
            doc: "The servers: an address with a port, or { address = …, weight = … }; or a name that stands for \
                  several: a host with a port (A and AAAA), or a service (SRV), see [dns]",
        },
        Key {
            name: "balance",
            kind: Kind::Choice(Choice {
                values: &[
                    "round-robin",
                    "least-connections",
                    "random",
                    "source",
                    "consistent-hash",
                    "first",
                ],
                later: &[],
            }),
            default: Default::Toml("\"round-robin\""),
            doc: "How a server is chosen, all by weight: in turn; the one with the fewest sessions; the \
                  less loaded of two drawn ones; by the client's address; by the client's address so \
                  that few clients move when servers change (Maglev); the first with a free slot",
        },
        Key {
            name: "hash_balance_factor",
            kind: Kind::Integer(IntegerRange::new(101, 65_535)),
            default: Default::Unset("no bound; with \"consistent-hash\" 125"),
            doc: "With \"consistent-hash\": most sessions of a server, in percent of its share; beyond \
                  it a client gets another one",
        },
        Key {
            name: "slow_start",
            kind: Kind::Duration(DurationRange::new(SECOND, HOUR).or_off()),
            default: Default::Toml("\"off\""),
            doc: "A server that comes up, or back from maintenance, gets its share (weight and max_sessions) \
                  little by little over so long; never at the start of the node",
        },
        Key {
            name: "queue",
            kind: Kind::Integer(IntegerRange::new(0, 1_000_000)),
            default: Default::Toml("1024"),
            doc: "Clients that may wait while every server has its max_sessions; more are refused. Exact to \
                  within the number of relay threads",
        },
        Key {
            name: "queue_timeout",
            kind: Kind::Duration(CONNECT),
            default: Default::Inherited {
                section: "timeouts",
                key: "connect",
            },
            doc: "Limit of that wait",
        },
        Key {
            name: "probe",
            kind: Kind::TableOrOff(&PROBE),
            default: Default::Toml("{}"),
            doc: "How servers are checked, or \"off\": all count as up",
        },
        Key {
            name: "agent",
            kind: Kind::TableOrOff(&AGENT),
            default: Default::Toml("\"off\""),
            doc: "An agent beside each server that says what may be done with it, whatever the probes find",
        },
        Key {
            name: "track",
            kind: Kind::Text(Form::Name),
            default: Default::Unset("the servers are probed themselves"),
            doc: "Another backend, whose probes count for the servers of this one: each follows the server \
                  there with the same address, whatever the ports. It is up, down, draining or in maintenance \
                  as that one is",
        },
        Key {
            name: "observe",
            kind: Kind::Choice(Choice {
                values: &["off", "connect"],
                later: &[],
            }),
            default: Default::Toml("\"off\""),
            doc: "\"connect\": connections for sessions that fail tell of a server's health too, beside its \
                  probes. They move no VIP: the other node has other sessions, or none",
        },
        Key {
            name: "error_limit",
            kind: Kind::Integer(IntegerRange::new(1, 1_000_000)),
            default: Default::Toml("10"),
            doc: "With `observe`: so many in a row, without one between them that succeeds, are an error of \
                  the server",
        },
        Key {
            name: "on_error",
            kind: Kind::Choice(Choice {
                values: &["fast-probe", "fail-probe", "sudden-death", "mark-down"],
                later: &[],
            }),
            default: Default::Toml("\"fail-probe\""),
            doc: "What such an error does: the next probe comes soon (`fast_interval`); it counts as a failed \
                  probe too; it leaves the server one failure before it is down, or takes it down where that \
                  is so already; it takes the server down",
        },
        Key {
            name: "on_marked_down",
            kind: Kind::Choice(Choice {
                values: &["keep", "cut"],
                later: &[],
            }),
            default: Default::Toml("\"keep\""),
            doc: "The sessions of a server that goes down go on, or are ended by RST to both sides; those that \
                  were still connecting to it try another one",
        },
        Key {
            name: "on_marked_up",
            kind: Kind::Choice(Choice {
                values: &["keep", "cut-backups"],
                later: &[],
            }),
            default: Default::Toml("\"keep\""),
            doc: "When a server that is no backup comes up, or is ready again, the sessions of backups go on, \
                  or are ended by RST to both sides so that clients come to it at once",
        },
        Key {
            name: "all_down",
            kind: Kind::Choice(Choice {
                values: &["refuse", "try_all"],
                later: &[],
            }),
            default: Default::Toml("\"refuse\""),
            doc: "While the probes say that every server is down, new sessions are refused, or tried on all of \
                  them, backups too, but not on those that an administrator keeps out. To VRRP such a backend \
                  has no usable server: the other node may have some",
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
            name: "server_fin_timeout",
            kind: Kind::Duration(IDLE),
            default: Default::Inherited {
                section: "timeouts",
                key: "server_fin",
            },
            doc: "As [timeouts] server_fin, for this backend only",
        },
        Key {
            name: "keepalive",
            kind: Kind::TableOrOff(&KEEPALIVE),
            default: Default::Toml("{}"),
            doc: "TCP keepalive towards servers, or \"off\"",
        },
        Key {
            name: "user_timeout",
            kind: Kind::Duration(USER_TIMEOUT),
            default: Default::Toml("\"off\""),
            doc: "A server that acknowledges nothing for so long is given up (TCP_USER_TIMEOUT)",
        },
        Key {
            name: "send_proxy",
            kind: Kind::TableOrOff(&SEND_PROXY),
            default: Default::Toml("\"off\""),
            doc: "Tell the servers whose connection it is by a PROXY protocol header, which they have to \
                  expect",
        },
        Key {
            name: "tls",
            kind: Kind::TableOrOff(&BACKEND_TLS),
            default: Default::Toml("\"off\""),
            doc: "Servers are spoken to in TLS, or \"off\": they get what clients say as it is",
        },
        Key {
            name: "source",
            kind: Kind::List(&Kind::Text(Form::Source)),
            default: Default::Unset("the kernel chooses, never a VIP"),
            doc: "Addresses that connections to the servers come from, in turn (each has ports of its own): each \
                  node takes those of the list that it has",
        },
        Key {
            name: "source_ports",
            kind: Kind::Text(Form::Ports),
            default: Default::Unset("net.ipv4.ip_local_port_range, 28,000 ports as a rule"),
            doc: "Ports that connections to the servers come from, each with all of them: for more than 28,000 \
                  sessions of a server from one address",
        },
    ],
};

pub(in crate::config) const SEND_PROXY: Section = Section {
    name: "send_proxy",
    shape: Shape::Inline,
    doc: "PROXY protocol headers that are sent, in probes too (version 2: as LOCAL).",
    example: r#"{ version = "v2", tlvs = ["authority", "unique-id"] }"#,
    keys: &[
        Key {
            name: "version",
            kind: Kind::Choice(Choice {
                values: &["v2", "v1"],
                later: &[],
            }),
            default: Default::Toml("\"v2\""),
            doc: "Version of the header: binary or text",
        },
        Key {
            name: "tlvs",
            kind: Kind::List(&Kind::Choice(Choice {
                values: &["alpn", "authority", "crc32c", "ssl", "unique-id"],
                later: &[],
            })),
            default: Default::Toml("[]"),
            doc: "What version 2 tells beside the addresses: first protocol and server name that the \
                  client asked for (if the listener has `routes` or `tls`, or received them), a checksum, \
                  what the client's TLS was like that ended here or before (version, cipher, its \
                  certificate's CN), an identity of the session",
        },
    ],
};

pub(in crate::config) const SERVER: Section = Section {
    name: "server",
    shape: Shape::Inline,
    doc: "One member of a backend.",
    example: r#"{ address = "10.17.4.24:443", weight = 2 }"#,
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text(Form::Serving),
            default: Default::Required,
            doc: "Address and port of the server. Without a port (\"10.17.4.24\") a session goes to the port that \
                  its client came to, by the header of a proxy that is trusted, if it brought one; with a sign \
                  (\"10.17.4.24:+1000\") to so many ports above or below it. Such a server is called with port 0 \
                  in status and commands. \"api.example.org:6443\" = the addresses of that name, at this port; \
                  \"_api._tcp.example.org\" = hosts, ports and weights as its SRV records say: those of the lowest \
                  priority, and all others as backups",
        },
        Key {
            name: "weight",
            kind: Kind::Integer(IntegerRange::new(0, MAX_WEIGHT)),
            default: Default::Toml("1"),
            doc: "Share of new sessions in proportion to the other servers; 0 = none",
        },
        Key {
            name: "backup",
            kind: Kind::Bool,
            default: Default::Toml("false"),
            doc: "Gets sessions only while no other server is usable; several backups share them",
        },
        Key {
            name: "max_sessions",
            kind: Kind::Integer(MANY),
            default: Default::Unset("no limit"),
            doc: "Sessions at the same time, from this node; more go to other servers, or wait. Exact to \
                  within the number of relay threads",
        },
        Key {
            name: "max_addresses",
            kind: Kind::Integer(IntegerRange::new(1, 64)),
            default: Default::Unset("8, of a name"),
            doc: "Most servers that a name stands for at the same time; more are left out, and status says so. All \
                  together have at most 256 places",
        },
        Key {
            name: "track",
            kind: Kind::Text(Form::Member),
            default: Default::Unset("it is probed itself, if its backend is"),
            doc: "The server that this one follows instead of being probed: it is up, down, draining or in \
                  maintenance as that one is, which is probed or follows another one",
        },
        Key {
            name: "probe_address",
            kind: Kind::Text(Form::Server),
            default: Default::Unset("where its sessions go"),
            doc: "Address and port that its probes go to, whatever `port` the probe names",
        },
    ],
};

pub(in crate::config) const TIMEOUTS: Section = Section {
    name: "timeouts",
    shape: Shape::Once,
    doc: "Limits for all listeners and backends, each of which may override them.",
    example: r#"[timeouts]
tunnel = "2h"
connect = "3s""#,
    keys: &[
        Key {
            name: "client",
            kind: Kind::Duration(IDLE),
            default: Default::Toml("\"off\""),
            doc: "A session ends when nothing has passed in either direction for so long (from 10s on, to \
                  within 2s); with `server` \
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
            name: "client_fin",
            kind: Kind::Duration(IDLE),
            default: Default::Toml("\"off\""),
            doc: "Once the server has ended its direction, the session ends when the client has said nothing \
                  for so long; set, it supersedes the limits above from then on. Not while the server does not \
                  take what the client has said",
        },
        Key {
            name: "server_fin",
            kind: Kind::Duration(IDLE),
            default: Default::Toml("\"off\""),
            doc: "The same of a server, once the client has ended its direction",
        },
        Key {
            name: "connect",
            kind: Kind::Duration(CONNECT),
            default: Default::Toml("\"5s\""),
            doc: "Limit of one attempt to connect to a server",
        },
    ],
};
