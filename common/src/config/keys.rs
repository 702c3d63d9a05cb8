//! Every key of the file: its kind, its default and what it does. Nothing else in the program knows
//! a key that is not here.

mod agent;
mod backend;
mod dns;
mod listener;
mod probe;
mod process;
mod route;
mod step;
mod tcp;
mod tls;
mod tracker;

use std::time::Duration;

use super::kind::{Choice, Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape};

pub(super) use agent::AGENT;
pub(super) use backend::{BACKENDS, SEND_PROXY, SERVER, TIMEOUTS};
pub(super) use dns::DNS;
pub(super) use listener::{ACCEPT_PROXY, LISTENERS, ROUTE, SOURCE_LIMIT};
pub(super) use probe::PROBE;
pub(super) use process::{ADMIN, PROXY};
pub(super) use route::{VIP_ROUTE, VIP_RULE};
pub(super) use step::STEP;
pub(super) use tcp::KEEPALIVE;
pub(super) use tls::{BACKEND_TLS, CERTIFICATE, LISTENER_TLS};
pub(super) use tracker::TRACKERS;

/// The sections in the order in which `--show` prints them.
pub const SECTIONS: &[&Section] = &[
    &NODES, &PAIR, &VRRP, &VIPS, &TRACKERS, &LISTENERS, &BACKENDS, &DNS, &TIMEOUTS, &PROXY, &ADMIN,
];

const TEN_MS: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(168 * 3_600);
const IDLE: DurationRange = DurationRange::new(SECOND, WEEK).or_off();
/// Sessions, or sessions a second: more than any machine has.
const MANY: IntegerRange = IntegerRange::new(1, 10_000_000);
const PRIORITY: IntegerRange = IntegerRange {
    min: 1,
    max: 255,
    except: Some((
        254,
        "254 is reserved: the node that a handover made active advertises it",
    )),
};
/// RFC 9568, section 5.2.7: 12 bits of centiseconds.
const ADVERT_INTERVAL: DurationRange =
    DurationRange::new(TEN_MS, Duration::from_millis(40_950)).steps_of(TEN_MS);
const PREEMPT_DELAY: DurationRange = DurationRange::new(Duration::ZERO, HOUR);
const PORT: IntegerRange = IntegerRange::new(1, 65_535);
const TRANSPORT: Choice = Choice {
    values: &["multicast", "unicast"],
    later: &[],
};
const VERSION: IntegerRange = IntegerRange::new(2, 3);
const VIRTUAL_MAC: Choice = Choice {
    values: &["off", "auto", "always"],
    later: &[],
};
const CHECKSUM: Choice = Choice {
    values: &["pseudo", "message"],
    later: &[],
};

pub(in crate::config) const NODES: Section = Section {
    name: "nodes",
    shape: Shape::Named,
    doc: "A balancer machine. There are two of them, or one for trying; the file is the same on both.",
    example: r#"[nodes.lb1]
address = "192.168.0.11"
priority = 250

[nodes.lb2]
address = "192.168.0.12"
priority = 240"#,
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text(Form::Node),
            default: Default::Required,
            doc: "The machine's own address on the pair's interface, IPv4 or IPv6: the pair channel is between \
                  these, and adverts of IPv4 VIPs come from it",
        },
        Key {
            name: "link_local",
            kind: Kind::Text(Form::LinkLocal),
            default: Default::Unset(
                "the interface's own; adverts of IPv6 VIPs are heard from everybody",
            ),
            doc: "The machine's link-local address on that interface: adverts of IPv6 VIPs come from it. Needed \
                  for those that travel by unicast",
        },
        Key {
            name: "priority",
            kind: Kind::Integer(PRIORITY),
            default: Default::Toml("100"),
            doc: "The node with the higher priority holds the VIPs; 1 to 253, or 255 as the owner of RFC 9568, who takes them \
                  at once always (Keepalived's too)",
        },
        Key {
            name: "runs",
            kind: Kind::Choice(Choice {
                values: &["fmc-lb", "keepalived"],
                later: &[],
            }),
            default: Default::Toml("\"fmc-lb\""),
            doc: "What runs on the node; \"keepalived\" during a migration: plain VRRP towards it, \
                  no pair channel",
        },
    ],
};

pub(in crate::config) const PAIR: Section = Section {
    name: "pair",
    shape: Shape::Once,
    doc: "What the nodes have between them.",
    example: r#"[pair]
interface = "eth0"
key_file = "/etc/fmc-lb/pair.key""#,
    keys: &[
        Key {
            name: "interface",
            kind: Kind::Text(Form::Interface),
            default: Default::Required,
            doc: "Interface of the nodes' addresses, and of every VIP that names none",
        },
        Key {
            name: "key_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the pair channel is off and adverts are not authenticated"),
            doc: "The pair's key, the same on both nodes, made with `fmc-lb keygen`; only its owner \
                  may read it",
        },
        Key {
            name: "signing",
            kind: Kind::Choice(Choice {
                values: &["enforce", "permissive", "receive-only", "off"],
                later: &[],
            }),
            default: Default::Unset(
                "\"enforce\" with a key between two nodes that run fmc-lb, \"receive-only\" with a key \
                 otherwise, \"off\" without",
            ),
            doc: "Adverts are signed with the key, as Keepalived 2.4 does (auth_hmac): \"enforce\" = ours are \
                  signed, unsigned ones are dropped; \"permissive\" = ours are signed, unsigned ones are \
                  heard; \"receive-only\" = ours are not. Signed ones that are wrong, old or repeated are \
                  dropped always. To switch it on under way, take both nodes from \"receive-only\" over \
                  \"permissive\" to \"enforce\"",
        },
        Key {
            name: "heartbeat",
            kind: Kind::Duration(DurationRange::new(TEN_MS, SECOND).or_off()),
            default: Default::Toml("\"20ms\""),
            doc: "Interval of the pair channel's heartbeats; \"off\" = no pair channel",
        },
        Key {
            name: "silent_takeover",
            kind: Kind::Choice(Choice {
                values: &["auto", "off", "always"],
                later: &[],
            }),
            default: Default::Toml("\"auto\""),
            doc: "Whether a VIP is taken over as soon as the other machine is silent: three heartbeats are \
                  missing, and three questions to its kernel (ARP or neighbour discovery, 10 ms apart) stay \
                  unanswered; so 70 ms after the loss of a machine at heartbeats of 20 ms, whatever the advert \
                  interval. A hung or stopped process is not silent: its kernel answers. A machine that is paused \
                  for so long is, and so is one behind a switch that stops for so long. \"auto\" = while both nodes \
                  forward segments of each other's connections, so that such a mistake costs none; \"always\" = \
                  also where it costs them; \"off\" = adverts decide",
        },
        Key {
            name: "port",
            kind: Kind::Integer(PORT),
            default: Default::Toml("9601"),
            doc: "UDP port of the pair channel on both nodes, and TCP port at which their admin processes tell each other \
                  their sessions",
        },
    ],
};

pub(in crate::config) const VRRP: Section = Section {
    name: "vrrp",
    shape: Shape::Once,
    doc: "How the nodes elect the holder of a VIP (VRRP, RFC 9568). A VIP may override each of these.",
    example: r#"[vrrp]
preempt_delay = "30s"
advert_interval = "100ms""#,
    keys: &[
        Key {
            name: "preempt",
            kind: Kind::Bool,
            default: Default::Toml("true"),
            doc: "A node with a higher priority takes a VIP from one with a lower",
        },
        Key {
            name: "preempt_delay",
            kind: Kind::Duration(PREEMPT_DELAY),
            default: Default::Toml("\"10s\""),
            doc: "How long a returning node waits before it takes a VIP from a node with a lower priority. A node that \
                  lowers its priority itself (trackers) is relieved at once",
        },
        Key {
            name: "startup_delay",
            kind: Kind::Duration(PREEMPT_DELAY),
            default: Default::Toml("\"0s\""),
            doc: "How long a node that has just started waits before it takes a VIP for want of another node, unless it \
                  hears that one before: for a switch that lets nothing through at first (spanning tree, a bond), \
                  behind which both nodes would hold it (Keepalived's vrrp_startup_delay). An owner (255) waits for \
                  nothing",
        },
        Key {
            name: "advert_interval",
            kind: Kind::Duration(ADVERT_INTERVAL),
            default: Default::Toml("\"100ms\""),
            doc: "Time between adverts; a lost machine is noticed after three of them. Below 100ms \
                  only with allow_fast = true",
        },
        Key {
            name: "allow_fast",
            kind: Kind::Bool,
            default: Default::Toml("false"),
            doc: "Permit advert intervals below 100ms, for machines that are never paused or starved of CPU",
        },
        Key {
            name: "transport",
            kind: Kind::Choice(TRANSPORT),
            default: Default::Toml("\"multicast\""),
            doc: "Adverts go to 224.0.0.18 (IPv6: ff02::12), or to the other node's address (IPv6: its \
                  `link_local`; a Keepalived there needs `unicast_ttl 255`)",
        },
        Key {
            name: "checksum",
            kind: Kind::Choice(CHECKSUM),
            default: Default::Toml("\"pseudo\""),
            doc: "Checksum of our adverts: with the pseudo-header (RFC 5798; Keepalived and FRR) or \
                  over the message only (RFC 9568); both are accepted. IPv6 has the first form only",
        },
        Key {
            name: "version",
            kind: Kind::Integer(VERSION),
            default: Default::Toml("3"),
            doc: "Version of VRRP; 2 (RFC 3768, intervals of whole seconds) for a pair with a Keepalived that \
                  is not set to 3",
        },
        Key {
            name: "auth_pass",
            kind: Kind::Text(Form::Pass),
            default: Default::Unset("no authentication"),
            doc: "With version 2: Keepalived's auth_pass. Everybody on the network can read it, so it keeps \
                  mistakes away and nobody else",
        },
        Key {
            name: "virtual_mac",
            kind: Kind::Choice(VIRTUAL_MAC),
            default: Default::Toml("\"off\""),
            doc: "Whether a VIP is reached at the hardware address of its virtual router, 00:00:5e:00:01:VRID (IPv6: \
                  00:00:5e:00:02:VRID), which moves with it, so that nobody has to learn another one: for hosts that \
                  ignore gratuitous ARP, and for networks that bind addresses to hardware addresses. The lease is then \
                  on a macvlan interface, `vrrp4-VRID` (`vrrp6-VRID`). Many hypervisors deliver no frames to a second \
                  hardware address, so a preflight asks the other node from one, as long as that node is heard: with \
                  \"auto\" a VIP whose network fails it stays at the interface's own address, and status says so; \
                  \"always\" = whatever it finds",
        },
        Key {
            name: "together",
            kind: Kind::Bool,
            default: Default::Toml("false"),
            doc: "All VIPs are elected as one and are on the same node always: what keeps a node from one of them \
                  keeps it from all (Keepalived's vrrp_sync_group). Their priorities, intervals and what they say of \
                  preemption have to agree",
        },
    ],
};

pub(in crate::config) const VIPS: Section = Section {
    name: "vips",
    shape: Shape::Named,
    doc: "A virtual IP: an address that one of the nodes holds.",
    example: r#"[vips.api]
address = "192.168.0.10/24"
vrid = 51

[vips.web]
address = "192.168.0.14/24"
vrid = 52
priority = { lb1 = 240, lb2 = 250 }  # the other node holds this one

[vips.web6]
address = "fd00::14/64"
vrid = 52"#,
    keys: &[
        Key {
            name: "address",
            kind: Kind::Text(Form::Subnet),
            default: Default::Required,
            doc: "The VIP with the prefix length of the subnet that it belongs to, IPv4 or IPv6; installed as a \
                  /32 (/128)",
        },
        Key {
            name: "link_local",
            kind: Kind::Text(Form::LinkLocal),
            default: Default::Unset(
                "of an IPv6 VIP fe80::200:5eff:fe00:2XX, with the VRID in hexadecimal",
            ),
            doc: "What the adverts of an IPv6 VIP begin with (RFC 9568, section 5.2.9). Beside a Keepalived write \
                  the link-local address that its virtual_ipaddress begins with: both must name the same \
                  addresses. No interface gets it",
        },
        Key {
            name: "vrid",
            kind: Kind::Integer(IntegerRange::new(1, 255)),
            default: Default::Required,
            doc: "Virtual router identifier, used by nobody else on the interface's network; an IPv4 and an IPv6 \
                  VIP may have the same",
        },
        Key {
            name: "interface",
            kind: Kind::Text(Form::Interface),
            default: Default::Inherited {
                section: "pair",
                key: "interface",
            },
            doc: "Interface that carries the VIP",
        },
        Key {
            name: "priority",
            kind: Kind::ByNode(PRIORITY),
            default: Default::Unset("each node's own priority"),
            doc: "Priority of nodes for this VIP, { lb1 = 240, lb2 = 250 }",
        },
        inherited_from_vrrp("preempt", Kind::Bool),
        inherited_from_vrrp("preempt_delay", Kind::Duration(PREEMPT_DELAY)),
        inherited_from_vrrp("advert_interval", Kind::Duration(ADVERT_INTERVAL)),
        inherited_from_vrrp("transport", Kind::Choice(TRANSPORT)),
        inherited_from_vrrp("checksum", Kind::Choice(CHECKSUM)),
        inherited_from_vrrp("version", Kind::Integer(VERSION)),
        inherited_from_vrrp("auth_pass", Kind::Text(Form::Pass)),
        inherited_from_vrrp("virtual_mac", Kind::Choice(VIRTUAL_MAC)),
        Key {
            name: "routes",
            kind: Kind::List(&Kind::Table(&VIP_ROUTE)),
            default: Default::Toml("[]"),
            doc: "Routes that follow the VIP; may be written as tables, [[vips.NAME.routes]]",
        },
        Key {
            name: "rules",
            kind: Kind::List(&Kind::Table(&VIP_RULE)),
            default: Default::Toml("[]"),
            doc: "Rules of routing that follow the VIP",
        },
    ],
};

const fn inherited_from_vrrp(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        default: Default::Inherited {
            section: "vrrp",
            key: name,
        },
        doc: "As in [vrrp], for this VIP only",
    }
}
