//! The configuration: one TOML file for both nodes, parsed into values that cannot be wrong.
//!
//! The way from text to [`Config`]: [`keys`] is the table of every key; `document` and `reader` read the TOML against it;
//! `draft` resolves names and defaults; `rules` and `files` check what must hold between values; `build` makes the
//! [`Config`]. Every step reports all it finds, with the place in the file and a remedy ([`Report`]).

mod agent;
mod arrangement;
mod backend;
mod build;
pub mod capacity;
mod diagnostic;
mod difference;
mod document;
mod draft;
mod files;
mod forms;
mod hash;
mod identity;
pub mod key;
pub mod keys;
pub mod kind;
mod listener;
mod manual;
mod names;
mod nearest;
mod parse;
mod placeholders;
mod probe;
mod reader;
mod route;
mod rules;
mod schema;
mod show;
mod syntax;
mod tls;
mod tracker;
mod value;
mod vrrp;
mod watched;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::addr::{Family, Mac, Priority, Vrid};

pub use agent::Agent;
pub use arrangement::{Arrangement, NoPlace, Occupied, PlacedServer, PlacedVip};
pub use backend::{
    AllDown, Backend, Balance, Observe, OnError, OnMarkedDown, OnMarkedUp, PortOffset, PortRange,
    SendProxy, SendTlvs, Server, Track,
};
pub use capacity::Capacity;
pub use diagnostic::{Diagnostic, Paint, Report, Severity, Span};
pub use difference::{Change, Difference, Obstacle, REMEDY, What};
pub use files::{
    CertificateContents, ClientFiles, Content, FileFact, FileFacts, ListenerFiles, Objection,
};
pub use identity::{Machine, NodeError};
pub use listener::{
    AcceptProxy, AccessFiles, Bind, Keepalive, Listener, LogFormat, ProxyVersions, Route,
    SessionLog, SocketOptions, SourceLimit,
};
pub use manual::manual;
pub use names::{Dns, NamedServers, NoQuery, ServerQuery};
pub use parse::{Parsed, Viewpoint, Who};
pub use probe::{
    ClientCertificate, Escaped, ExternalProbe, HttpProbe, HttpVersion, InitialState, Probe,
    ProbeKind, ProbeProxy, ProbeTls, SendExpect, StatusRange, Step, StepAction,
};
pub use route::{Follower, MAIN_TABLE, MAX_ROUTES, RouteScope, VipRoute, VipRule};
pub use schema::schema;
pub use tls::{BackendTls, CertificateFiles, ClientCheck, ListenerTls, TlsVersion, TlsVersions};
pub use tracker::{Tracker, TrackerEffect, TrackerKind};
pub use vrrp::{Signing, SilentTakeover, VirtualMac, VrrpVersion};
pub use watched::{TlsUse, Watched, WatchedKind, judge_list};

/// Most nodes a configuration may name.
pub const MAX_NODES: usize = 2;
/// Most virtual IPs; the boards have this many places.
pub const MAX_VIPS: usize = 16;
/// Most listeners; the boards have this many places.
pub const MAX_LISTENERS: usize = 64;
/// Most servers over all backends; the boards have this many places.
pub const MAX_SERVERS: usize = 256;
/// Most names of servers over all backends; the boards have this many places.
pub const MAX_NAMES: usize = 64;
/// Most certificates over all listeners; the boards have this many places.
pub const MAX_CERTIFICATES: usize = 256;
/// Greatest weight of a server.
pub const MAX_WEIGHT: u64 = 256;
/// Most files that are watched for changes; the boards have this many places.
pub const MAX_WATCHED: usize = 256;
/// Most trackers; the boards have this many places.
pub const MAX_TRACKERS: usize = 16;
/// Most threads of the proxy; the boards have this many places.
pub const MAX_THREADS: usize = 64;

/// A validated configuration. Every index in it is in range, every name resolved, every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One node or two, in the order of the file.
    pub nodes: Vec<Node>,
    /// What the nodes have between them.
    pub pair: Pair,
    /// In the order of the file; after a reload by their places, with stand-ins for those that are gone. See
    /// [`Config::live_vips`].
    pub vips: Vec<Vip>,
    /// All VIPs are elected as one, by what the first of them says.
    pub together: bool,
    /// How long a node that has started takes nothing from nobody, unless it hears the other one before.
    pub startup_delay: Duration,
    /// As the VIPs, see [`Config::live_trackers`].
    pub trackers: Vec<Tracker>,
    /// In the order of the file.
    pub listeners: Vec<Listener>,
    /// In the order of the file.
    pub backends: Vec<Backend>,
    /// Settings of the proxy process.
    pub proxy: Proxy,
    /// Settings of the admin process.
    pub admin: Admin,
    /// How servers by name are resolved.
    pub dns: Dns,
}

/// Index into [`Config::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

/// Index into [`Config::vips`], and of the VIP's place on the boards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipIndex(pub usize);

/// Index into [`Config::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendIndex(pub usize);

/// One balancer machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// The machine's own address on the pair's interface, where the pair channel is; not link-local.
    pub address: IpAddr,
    /// Its link-local address on that interface; `None` = taken from the interface, and the other
    /// node's is not known.
    pub link_local: Option<Ipv6Addr>,
    pub runs: Runs,
}

/// What runs on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    FmcLb,
    /// During a migration: plain VRRP towards it, no pair channel.
    Keepalived,
}

/// What the nodes have between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Interface of the nodes' addresses, and of every VIP that names none.
    pub interface: String,
    /// Key of the pair channel; without it the channel is off.
    pub key_file: Option<PathBuf>,
    /// How adverts are signed; not off only with a key.
    pub signing: Signing,
    /// Interval of the pair channel's heartbeats, 10 ms to 1 s; `None` = off.
    pub heartbeat: Option<Duration>,
    /// Whether a silent node's VIPs are taken over before its adverts are missed.
    pub silent_takeover: SilentTakeover,
    /// UDP port of the pair channel, and TCP port of the admins' connections, default 9601.
    pub port: u16,
}

/// One virtual IP and its virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    pub name: String,
    /// A reload has taken it out of the file: it is nobody's any more, and keeps its place.
    pub retired: bool,
    pub address: IpAddr,
    /// Of the subnet that the address belongs to; the address itself is installed as a /32 (/128).
    pub prefix_len: u8,
    /// What stands first in the adverts of an IPv6 VIP (RFC 9568, section 5.2.9); no interface gets it.
    /// `None` for IPv4.
    pub link_local: Option<Ipv6Addr>,
    pub vrid: Vrid,
    pub interface: String,
    /// Priority of each node, in the order of [`Config::nodes`].
    pub priorities: Vec<Priority>,
    /// 10 ms to 40.95 s in steps of 10 ms (RFC 9568, section 5.2.7).
    pub advert_interval: Duration,
    /// A node with a higher priority takes the VIP from one with a lower (RFC 9568, Preempt_Mode).
    pub preempt: bool,
    /// How long a returning node waits before it takes a VIP from a node with a lower priority.
    pub preempt_delay: Duration,
    pub transport: Transport,
    pub checksum: ChecksumForm,
    pub version: VrrpVersion,
    pub virtual_mac: VirtualMac,
    /// What comes and goes with the lease: routes, then rules, each in the order of the file.
    pub followers: Vec<Follower>,
}

/// How adverts reach the other node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// To 224.0.0.18, or ff02::12.
    Multicast,
    /// To the other node's address.
    Unicast,
}

/// Which checksum form our VRRPv3 IPv4 adverts carry; both are accepted. (Over IPv6 there is one, with
/// the pseudo-header.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumForm {
    /// Over pseudo-header and message (RFC 5798, Keepalived, FRR).
    Pseudo,
    /// Over the message only (RFC 9568, section 5.2.8).
    Message,
}

/// Settings of the proxy process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy {
    /// Relay threads, 1 to [`MAX_THREADS`]; `None` = one for each core.
    pub threads: Option<usize>,
    /// Sessions of all listeners at the same time; `None` = no limit.
    pub max_sessions: Option<u64>,
    /// How long sessions may go on after a stop was asked for, default 30 s.
    pub drain: Duration,
}

/// Settings of the admin process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where HTTP is served.
    pub http: Option<AdminHttp>,
    /// Who may ask by HTTP.
    pub allow: Vec<IpNet>,
}

/// The addresses of the admin HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminHttp {
    /// Each node's own address and loopback, at this port (`"node:9600"`).
    Node(u16),
    /// One address.
    Address(SocketAddr),
}

impl Vip {
    /// Whether it is the same virtual router with the same address at the same place of the network, whatever it is
    /// called: then it does not move when its name or its settings change.
    pub fn is_same_router(&self, other: &Self) -> bool {
        (self.address, self.vrid) == (other.address, other.vrid)
            && self.interface == other.interface
    }

    /// Of its virtual router.
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Of its virtual router; it is used as [`Vip::virtual_mac`] says.
    pub const fn router_mac(&self) -> Mac {
        Mac::of_virtual_router(self.family(), self.vrid)
    }

    /// Name of the interface that has [`Vip::router_mac`] and carries the lease (`vrrp4-51`); `None` = it is not used.
    pub fn macvlan(&self) -> Option<String> {
        (self.virtual_mac != VirtualMac::Off)
            .then(|| format!("vrrp{}-{}", self.family().number(), self.vrid))
    }
}

impl Config {
    /// Whether a node has a pair channel: two nodes that both run fmc-lb, heartbeats and a key.
    pub fn has_pair_channel(&self, node: NodeIndex) -> bool {
        let both_ours = self.nodes.iter().all(|node| node.runs == Runs::FmcLb);
        both_ours
            && self.peer_of(node).is_some()
            && self.pair.heartbeat.is_some()
            && self.pair.key_file.is_some()
    }

    /// The VIPs, without stand-ins for those that a reload has taken away.
    pub fn live_vips(&self) -> impl DoubleEndedIterator<Item = (VipIndex, &Vip)> + Clone {
        let vips = self.vips.iter().enumerate();
        vips.filter(|(_, vip)| !vip.retired)
            .map(|(place, vip)| (VipIndex(place), vip))
    }

    /// The trackers with their places, likewise.
    pub fn live_trackers(&self) -> impl Iterator<Item = (usize, &Tracker)> {
        let trackers = self.trackers.iter().enumerate();
        trackers.filter(|(_, tracker)| !tracker.retired)
    }

    /// The VIP with this address.
    pub fn vip_at(&self, address: IpAddr) -> Option<VipIndex> {
        let mut vips = self.live_vips();
        vips.find(|(_, vip)| vip.address == address)
            .map(|(place, _)| place)
    }

    /// Whether everything is the same that the virtual routers are told at their start.
    pub fn elects_like(&self, other: &Self) -> bool {
        self.nodes == other.nodes
            && self.pair == other.pair
            && self.vips == other.vips
            && self.together == other.together
            && self.startup_delay == other.startup_delay
            && self.trackers == other.trackers
    }

    /// The other node, if there are two.
    pub fn peer_of(&self, node: NodeIndex) -> Option<NodeIndex> {
        (self.nodes.len() == MAX_NODES).then(|| NodeIndex(1 - node.0))
    }

    /// The listeners at which connections to a VIP arrive and without whose servers a node does not hold
    /// it.
    pub fn required_by(&self, vip: VipIndex) -> impl Iterator<Item = &Listener> {
        let of_vip = move |listener: &&Listener| {
            listener.required && listener.serves(vip, &self.vips[vip.0])
        };
        self.listeners.iter().filter(of_vip)
    }

    /// Why no server can be reached at an address: it is our own, or nobody's.
    pub fn own_address(&self, address: SocketAddr) -> Option<String> {
        // [::ffff:192.168.0.10] is 192.168.0.10.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let ip = address.ip();
        if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Some("it is not the address of one machine".to_owned());
        }
        let ours = |ip: IpAddr| {
            ip.is_loopback()
                || self.vip_at(ip).is_some()
                || self.nodes.iter().any(|node| node.address == ip)
        };
        let accepts = |bind: &Bind| {
            let wildcard = bind.address.ip().is_unspecified()
                && bind.address.is_ipv4() == address.is_ipv4()
                && ours(address.ip());
            bind.has_port(address.port()) && (bind.address.ip() == address.ip() || wildcard)
        };
        let mut listeners = self.listeners.iter();
        if let Some(listener) = listeners.find(|one| one.binds.iter().any(accepts)) {
            return Some(format!(
                "listener `{}` accepts there, connections would go round in a loop",
                listener.name
            ));
        }
        let vip = self.vip_at(address.ip())?;
        Some(format!(
            "it is VIP `{}`, which is always on the node itself",
            self.vips[vip.0].name
        ))
    }

    /// The server whose probes count for this one: itself, or the end of what it follows.
    pub fn probed_as(&self, server: Track) -> Track {
        let mut probed = server;
        // The rules have seen to it that this leads to an end.
        while let Some(next) = self.backends[probed.backend.0].servers[probed.server].track {
            probed = next;
        }
        probed
    }

    /// The probe that counts for a server, its own or another one's; `None` = nobody probes it.
    pub fn probe_of(&self, server: Track) -> Option<&Probe> {
        let probed = self.probed_as(server);
        self.backends[probed.backend.0].probe.as_ref()
    }

    /// The probes that count for the servers of a backend, for each of them.
    pub fn probes_of(&self, backend: BackendIndex) -> impl Iterator<Item = &Probe> {
        let servers = 0..self.backends[backend.0].servers.len();
        servers.filter_map(move |server| self.probe_of(Track { backend, server }))
    }

    /// The agents that may keep sessions from the servers of a backend: its own, and those of servers
    /// that are followed.
    pub fn agents_of(&self, backend: BackendIndex) -> impl Iterator<Item = &Agent> {
        let servers = 0..self.backends[backend.0].servers.len();
        let followed = move |at: &Track| self.backends[at.backend.0].servers[at.server].track;
        let ways = servers.flat_map(move |server| {
            std::iter::successors(Some(Track { backend, server }), followed)
        });
        ways.filter_map(|at| self.backends[at.backend.0].agent.as_ref())
    }

    /// Servers by name over all backends; their places here are those on the boards.
    pub fn names(&self) -> impl Iterator<Item = (BackendIndex, &NamedServers)> {
        let backends = self.backends.iter().enumerate();
        backends.flat_map(|(index, backend)| {
            let names = backend.names.iter();
            names.map(move |one| (BackendIndex(index), one))
        })
    }

    /// Routes and rules of a VIP, each with its place on the boards: they are counted over all VIPs.
    pub fn followers(&self, vip: VipIndex) -> impl Iterator<Item = (usize, &Follower)> {
        let before = self.vips[..vip.0].iter();
        let first: usize = before.map(|vip| vip.followers.len()).sum();
        let followers = self.vips[vip.0].followers.iter();
        followers
            .enumerate()
            .map(move |(place, follower)| (first + place, follower))
    }

    /// Servers over all backends, without those by name.
    pub fn server_count(&self) -> usize {
        self.backends
            .iter()
            .map(|backend| backend.servers.len())
            .sum()
    }
}
