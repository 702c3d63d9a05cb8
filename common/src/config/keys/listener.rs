//! The keys of what accepts connections.

use std::time::Duration;

use super::tcp::{KEEPALIVE, USER_TIMEOUT};
use super::tls::LISTENER_TLS;
use super::{IDLE, MANY, SECOND, WEEK};
use crate::config::kind::{
    Choice, Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape,
};

/// TCP_DEFER_ACCEPT is rounded to retransmissions of the SYN-ACK, 1 s, 3 s, 7 s … (tcp(7)).
const DEFER: DurationRange = DurationRange::new(SECOND, Duration::from_secs(60))
    .steps_of(SECOND)
    .or_off();
const HELLO: DurationRange =
    DurationRange::new(Duration::from_millis(100), Duration::from_secs(60));
/// The specification wants at least 3 s, for a retransmission.
const HEADER: DurationRange = DurationRange::new(Duration::from_secs(3), Duration::from_secs(60));
/// TCP_MSS_MIN and the largest value of TCP_MAXSEG (tcp.h).
const MSS: IntegerRange = IntegerRange::new(88, 32_767);

pub(in crate::config) const LISTENERS: Section = Section {
    name: "listeners",
    shape: Shape::Named,
    doc: "Addresses where connections are accepted, and the backend that they are relayed to.",
    example: r#"[listeners.api]
bind = ["vips.api:6443"]
backend = "k3s-api"
allow = ["192.168.0.0/24", "10.8.0.0/24"]

[listeners.https]
bind = ["vips.web:443"]
backend = "traefik-https""#,
    keys: &[
        Key {
            name: "bind",
            kind: Kind::List(&Kind::Text(Form::Bind)),
            default: Default::Required,
            doc: "Where connections are accepted: a VIP by name or an address, with a port or a range of \
                  them, \"vips.NAME:30000-30100\"; each port is a socket for each relay thread",
        },
        Key {
            name: "backend",
            kind: Kind::Text(Form::Name),
            default: Default::Required,
            doc: "Name of the backend whose servers get the connections",
        },
        Key {
            name: "routes",
            kind: Kind::List(&Kind::TableOr(&ROUTE, "backend")),
            default: Default::Toml("[]"),
            doc: "Other backends, by what a TLS client asks for before anything is encrypted; the first \
                  route that fits is taken, `backend` if none does or if it is not TLS",
        },
        Key {
            name: "hello_timeout",
            kind: Kind::Duration(HELLO),
            default: Default::Toml("\"5s\""),
            doc: "With `routes`: who has not said in so long what it asks for gets `backend`, or with \
                  `tls` is refused; a part of its `handshake_timeout`, and never longer",
        },
        Key {
            name: "tls",
            kind: Kind::TableOrOff(&LISTENER_TLS),
            default: Default::Toml("\"off\""),
            doc: "The listener ends TLS: certificates, versions, protocols. Without it TLS passes through \
                  to the servers",
        },
        Key {
            name: "accept_proxy",
            kind: Kind::TableOrOff(&ACCEPT_PROXY),
            default: Default::Toml("\"off\""),
            doc: "Clients that send a PROXY protocol header: other balancers. Lists and limits of this listener \
                  look at the balancer's address, not at the one in its header",
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
            name: "deny",
            kind: Kind::List(&Kind::Text(Form::Network)),
            default: Default::Toml("[]"),
            doc: "Networks of clients that are refused (RST), also where `allow` names them",
        },
        Key {
            name: "drop",
            kind: Kind::List(&Kind::Text(Form::Network)),
            default: Default::Toml("[]"),
            doc: "Networks of clients that are refused without an answer, looked at before `deny`: the \
                  RST ends at the first router, so only clients on the node's own network see it",
        },
        Key {
            name: "allow_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("no such file"),
            doc: "More networks for `allow`, in a file: one network or address to a line, `#` begins a \
                  comment. It is looked at each second, and a change holds for new connections; bad \
                  contents are refused and the old ones stay",
        },
        Key {
            name: "deny_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("no such file"),
            doc: "More networks for `deny`, as in `allow_file`",
        },
        Key {
            name: "drop_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("no such file"),
            doc: "More networks for `drop`, as in `allow_file`",
        },
        Key {
            name: "max_sessions",
            kind: Kind::Integer(MANY),
            default: Default::Unset("no limit but [proxy] max_sessions"),
            doc: "Sessions at the same time; more wait in the kernel's queue",
        },
        Key {
            name: "accept_rate",
            kind: Kind::Integer(MANY),
            default: Default::Unset("no limit"),
            doc: "New sessions a second, after a burst of what a tenth of a second allows; more wait in \
                  the kernel's queue",
        },
        Key {
            name: "source_limit",
            kind: Kind::TableOrOff(&SOURCE_LIMIT),
            default: Default::Toml("\"off\""),
            doc: "What one client address may have; more is refused (RST)",
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
            name: "client_fin_timeout",
            kind: Kind::Duration(IDLE),
            default: Default::Inherited {
                section: "timeouts",
                key: "client_fin",
            },
            doc: "As [timeouts] client_fin, for this listener only",
        },
        Key {
            name: "max_lifetime",
            kind: Kind::Duration(DurationRange::new(SECOND, WEEK).or_off()),
            default: Default::Toml("\"off\""),
            doc: "A session ends after so long, and up to a tenth more so that not all end at once: \
                  clients come again and are spread anew",
        },
        Key {
            name: "keepalive",
            kind: Kind::TableOrOff(&KEEPALIVE),
            default: Default::Toml("{}"),
            doc: "TCP keepalive towards clients, or \"off\"",
        },
        Key {
            name: "user_timeout",
            kind: Kind::Duration(USER_TIMEOUT),
            default: Default::Toml("\"off\""),
            doc: "A client that acknowledges nothing for so long is given up (TCP_USER_TIMEOUT)",
        },
        Key {
            name: "session_log",
            kind: Kind::Choice(Choice {
                values: &["off", "json", "tcplog"],
                later: &[],
            }),
            default: Default::Toml("\"off\""),
            doc: "A line for each connection at its end, also for one that is refused: as JSON, or in \
                  HAProxy's format for TCP (its manual, 8.2.2), with dates in UTC",
        },
        Key {
            name: "session_log_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the proxy's standard error, where it logs all else"),
            doc: "File that these lines are appended to, by the user fmc-lb-proxy; it may be rotated at any \
                  time. Listeners with the same `session_log` may share one",
        },
        Key {
            name: "interface",
            kind: Kind::Text(Form::Interface),
            default: Default::Unset("connections are accepted from every interface"),
            doc: "Only connections that arrive on this interface (SO_BINDTODEVICE)",
        },
        Key {
            name: "backlog",
            kind: Kind::Integer(IntegerRange::new(1, 65_535)),
            default: Default::Unset("net.core.somaxconn"),
            doc: "Connections that wait to be accepted, for each address and relay thread",
        },
        Key {
            name: "defer_accept",
            kind: Kind::Duration(DEFER),
            default: Default::Toml("\"off\""),
            doc: "A connection without a byte is accepted only after so long (TCP_DEFER_ACCEPT); not \
                  for protocols in which the server speaks first",
        },
        Key {
            name: "fast_open",
            kind: Kind::Integer(IntegerRange::new(1, 65_535)),
            default: Default::Unset("no TCP Fast Open"),
            doc: "Connections with data in the SYN that may wait (TCP_FASTOPEN); needs \
                  net.ipv4.tcp_fastopen = 3",
        },
        Key {
            name: "mss",
            kind: Kind::Integer(MSS),
            default: Default::Unset("what the interface's MTU gives"),
            doc: "Largest segment that clients are asked to send (TCP_MAXSEG)",
        },
        Key {
            name: "mark",
            kind: Kind::Integer(IntegerRange::new(1, u32::MAX as u64)),
            default: Default::Unset("no mark"),
            doc: "Mark of the packets to clients, for routing rules and firewalls (SO_MARK)",
        },
    ],
};

pub(in crate::config) const ROUTE: Section = Section {
    name: "route",
    shape: Shape::Inline,
    doc: "A backend for clients of TLS that ask for certain names or protocols.",
    example: r#"{ backend = "traefik-https", sni = ["*.example.org"] }"#,
    keys: &[
        Key {
            name: "backend",
            kind: Kind::Text(Form::Name),
            default: Default::Required,
            doc: "Name of the backend",
        },
        Key {
            name: "sni",
            kind: Kind::List(&Kind::Text(Form::ServerName)),
            default: Default::Toml("[]"),
            doc: "Server names (SNI), one of which the client asks for: \"a.example.org\", or \
                  \"*.example.org\" for one label in front; empty = any client of TLS",
        },
        Key {
            name: "alpn",
            kind: Kind::List(&Kind::Text(Form::Protocol)),
            default: Default::Toml("[]"),
            doc: "Protocols (ALPN), one of which the client offers: \"h2\", \"acme-tls/1\"; empty = any",
        },
    ],
};

pub(in crate::config) const ACCEPT_PROXY: Section = Section {
    name: "accept_proxy",
    shape: Shape::Inline,
    doc: "PROXY protocol headers that are received.",
    example: r#"{ from = ["10.7.0.0/16"], version = "v2" }"#,
    keys: &[
        Key {
            name: "from",
            kind: Kind::List(&Kind::Text(Form::Network)),
            default: Default::Required,
            doc: "Networks of those who send a header, always; all others are clients without one. Who \
                  may send one may claim any address",
        },
        Key {
            name: "version",
            kind: Kind::Choice(Choice {
                values: &["any", "v1", "v2"],
                later: &[],
            }),
            default: Default::Toml("\"any\""),
            doc: "Which headers are accepted",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(HEADER),
            default: Default::Toml("\"5s\""),
            doc: "Limit for the whole header to arrive",
        },
    ],
};

pub(in crate::config) const SOURCE_LIMIT: Section = Section {
    name: "source_limit",
    shape: Shape::Inline,
    doc: "What one client address (IPv6: one /64) may have of a listener.",
    example: r#"{ sessions = 100, rate = 50, exempt = ["192.168.0.40/32"] }"#,
    keys: &[
        Key {
            name: "sessions",
            kind: Kind::Integer(MANY),
            default: Default::Unset("no limit"),
            doc: "Sessions at the same time",
        },
        Key {
            name: "rate",
            kind: Kind::Integer(MANY),
            default: Default::Unset("no limit"),
            doc: "New sessions a second, after a burst of what a tenth of a second allows",
        },
        Key {
            name: "exempt",
            kind: Kind::List(&Kind::Text(Form::Network)),
            default: Default::Toml("[]"),
            doc: "Networks without these limits: many clients behind one address",
        },
        Key {
            name: "exempt_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("no such file"),
            doc: "More of them, as in the listener's `allow_file`",
        },
    ],
};
