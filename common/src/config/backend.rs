//! Pools of servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Agent, BackendIndex, BackendTls, Keepalive, NamedServers, Probe, ProbeProxy};

/// A pool of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub name: String,
    /// Those whose addresses the file says; at least one, or a name.
    pub servers: Vec<Server>,
    /// Servers by name.
    pub names: Vec<NamedServers>,
    /// Place of each server on the boards, in their order.
    pub places: Vec<usize>,
    /// The file has it no more, and its place is kept for the sessions that it still has: see
    /// [`super::Arrangement`].
    pub retired: bool,
    pub balance: Balance,
    /// With [`Balance::ConsistentHash`]: most sessions of a server in percent of its share, 101 to
    /// 65535.
    pub hash_balance_factor: Option<u32>,
    /// How long a server that came up takes to its whole share; `None` = it has it at once.
    pub slow_start: Option<Duration>,
    /// Most clients that wait while every server is full, default 1024.
    pub queue: usize,
    /// Limit of that wait, default as connect_timeout.
    pub queue_timeout: Duration,
    /// Of the servers that follow no other one; `None` = nobody probes them, or all do.
    pub probe: Option<Probe>,
    /// Says what may be done with a server, whatever the probes find; `None` = nobody.
    pub agent: Option<Agent>,
    /// The backend that all servers follow for which the file says nothing else.
    pub track: Option<BackendIndex>,
    /// What of the sessions' connections tells of a server's health; `None` = nothing.
    pub observe: Option<Observe>,
    /// What becomes of the sessions of a server that goes down, default keep.
    pub on_marked_down: OnMarkedDown,
    /// What becomes of the sessions of backups when another server comes up, default keep.
    pub on_marked_up: OnMarkedUp,
    /// What becomes of new sessions while the probes say that every server is down, default refuse.
    pub all_down: AllDown,
    /// Limit of one connection attempt, default 5 s.
    pub connect_timeout: Duration,
    /// Attempts beyond the first, each on another server while there is one, default 3.
    pub retries: u32,
    pub server_timeout: Option<Duration>,
    /// Longest silence of a server whose client has ended its direction; `None` = the other limits
    /// hold on.
    pub server_fin_timeout: Option<Duration>,
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT towards servers, at least 1 s; `None` = the kernel's retransmission limit.
    pub user_timeout: Option<Duration>,
    /// The PROXY protocol header that servers get; `None` = none.
    pub send_proxy: Option<SendProxy>,
    /// TLS that is spoken with the servers; `None` = none.
    pub tls: Option<BackendTls>,
    /// Addresses that connections come from, in turn, those of them that the node has; empty = the
    /// kernel chooses.
    pub source: Vec<IpAddr>,
    /// Ports that they come from; `None` = the kernel chooses, of net.ipv4.ip_local_port_range.
    pub source_ports: Option<PortRange>,
}

/// Ports from `first` to `last`, both of them too: at least one, none below 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `None` = it is no range, or begins below 1024, where the proxy has no rights.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (1024 <= first && first <= last).then_some(Self { first, last })
    }

    /// Whatever `number` is, a port of the range; neighbouring numbers give neighbouring ports.
    pub fn port(self, number: u64) -> u16 {
        let ports = u64::from(self.last - self.first) + 1;
        let place = u16::try_from(number % ports).unwrap_or(0);
        self.first + place
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// One member of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its port is 0 with a [`Self::port_offset`].
    pub address: SocketAddr,
    /// Sessions go to the port that the client came to and so many more; `None` = they go to the port
    /// of the address.
    pub port_offset: Option<PortOffset>,
    /// Share of new sessions, 0 to 256, default 1; 0 = none.
    pub weight: u16,
    /// Gets sessions only while no other server is usable.
    pub backup: bool,
    /// Sessions at the same time; `None` = no limit.
    pub max_sessions: Option<u32>,
    /// Where its probes go; `None` = where its sessions go, but for [`Probe::port`].
    pub probe_address: Option<SocketAddr>,
    /// The server that it follows instead of being probed itself.
    pub track: Option<Track>,
}

impl Server {
    /// Where a session goes whose client came to this port; `None` = there is no such port.
    pub fn at(&self, port: u16) -> Option<SocketAddr> {
        match self.port_offset {
            None => Some(self.address),
            Some(offset) => {
                let port = offset.of(port)?;
                Some(SocketAddr::new(self.address.ip(), port))
            }
        }
    }
}

/// What is added to the port that a client came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortOffset(i32);

impl PortOffset {
    /// None more: the port itself.
    pub const SAME: Self = Self(0);

    /// At most so many ports as there are; `None` = more.
    pub const fn new(offset: i32) -> Option<Self> {
        if offset.unsigned_abs() < 65_535 {
            Some(Self(offset))
        } else {
            None
        }
    }

    /// What is added.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The port that this one becomes; `None` = there is no such port.
    pub fn of(self, port: u16) -> Option<u16> {
        let moved = u16::try_from(i32::from(port) + self.0).ok()?;
        Some(moved).filter(|moved| *moved != 0)
    }

    /// The port that becomes this one.
    pub fn before(self, port: u16) -> Option<u16> {
        Self(-self.0).of(port)
    }
}

/// `+1000`
impl fmt::Display for PortOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+}", self.0)
    }
}

/// A server that another one follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    pub backend: BackendIndex,
    /// Index in that backend.
    pub server: usize,
}

impl Backend {
    /// Whether some server is reached at the port that the client came to.
    pub fn keeps_ports(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.port_offset.is_some())
    }

    /// Whether some server follows another one.
    pub fn follows(&self) -> bool {
        self.servers.iter().any(|server| server.track.is_some())
    }

    /// Where the probes of one of its servers go.
    pub fn probe_target(&self, server: &Server) -> SocketAddr {
        let port = self.probe.as_ref().and_then(|probe| probe.port);
        server.probe_address.unwrap_or(match port {
            Some(port) => SocketAddr::new(server.address.ip(), port),
            None => server.address,
        })
    }

    /// What the probes of one of its servers say before anything else. The port of the sessions
    /// expects a header where they begin with one; another port does not, as a rule.
    pub fn probe_proxy(&self, server: &Server) -> ProbeProxy {
        let of_probe = self.probe.as_ref().and_then(|probe| probe.send_proxy);
        of_probe.unwrap_or(match self.send_proxy {
            Some(_) if self.probe_target(server) != server.address => ProbeProxy::Off,
            Some(SendProxy::V1) => ProbeProxy::V1,
            Some(SendProxy::V2(_)) => ProbeProxy::V2,
            None => ProbeProxy::Off,
        })
    }
}

/// How connections to a server that fail tell of its health (HAProxy's `observe layer4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observe {
    /// So many in a row, with none between them that succeeds, default 10.
    pub error_limit: u32,
    /// What follows, default fail-probe.
    pub on_error: OnError,
}

/// What follows when as many connections in a row have failed as [`Observe`] says. The next probe is
/// hurried always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Nothing else.
    FastProbe,
    /// It counts as a probe that failed.
    FailProbe,
    /// One more failure of any kind takes the server down; if it is that one, it does.
    SuddenDeath,
    /// The server is down.
    MarkDown,
}

impl OnError {
    /// All of them, and their words in the file.
    pub const WORDS: &[(&str, Self)] = &[
        ("fast-probe", Self::FastProbe),
        ("fail-probe", Self::FailProbe),
        ("sudden-death", Self::SuddenDeath),
        ("mark-down", Self::MarkDown),
    ];

    /// The word in the file.
    pub fn word(self) -> &'static str {
        let (word, _) = Self::WORDS
            .iter()
            .find(|(_, action)| *action == self)
            .expect("every one has a word");
        word
    }
}

/// What becomes of the sessions of a server that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMarkedDown {
    /// They go on: the probe may be wrong, and where it is right they end by themselves.
    Keep,
    /// They are ended by RST to both sides, so that clients turn to another server at once.
    Cut,
}

impl OnMarkedDown {
    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Cut => "cut",
        }
    }
}

/// What becomes of the sessions of backups when a server that is none comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMarkedUp {
    /// They go on, until they end by themselves.
    Keep,
    /// They are ended by RST to both sides, so that clients turn to the server at once.
    CutBackups,
}

impl OnMarkedUp {
    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::CutBackups => "cut-backups",
        }
    }
}

/// What becomes of new sessions while the probes say that every server is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllDown {
    /// They are refused.
    Refuse,
    /// They are tried on every server that no administrator keeps out: the probes may be wrong, and
    /// where they are right nothing is lost.
    TryAll,
}

impl AllDown {
    /// The word in the file and in status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::TryAll => "try_all",
        }
    }
}

/// How a backend chooses a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round-robin.
    RoundRobin,
    /// The server with the fewest sessions in proportion to its weight.
    LeastConnections,
    /// The less loaded one of two that are drawn by weight.
    Random,
    /// By the client's address.
    Source,
    /// By the client's address, by Maglev's table.
    ConsistentHash,
    /// The first one with a free slot.
    First,
}

impl Balance {
    /// All of them, and their words in the file and in status.
    pub const WORDS: &[(&str, Self)] = &[
        ("round-robin", Self::RoundRobin),
        ("least-connections", Self::LeastConnections),
        ("random", Self::Random),
        ("source", Self::Source),
        ("consistent-hash", Self::ConsistentHash),
        ("first", Self::First),
    ];

    /// The word in the file and in status.
    pub fn word(self) -> &'static str {
        let (word, _) = Self::WORDS
            .iter()
            .find(|(_, balance)| *balance == self)
            .expect("every one has a word");
        word
    }
}

/// A PROXY protocol header that is sent to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendProxy {
    V1,
    V2(SendTlvs),
}

/// What a header of version 2 says beside the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendTlvs {
    /// PP2_TYPE_ALPN
    pub alpn: bool,
    /// PP2_TYPE_AUTHORITY: the server name.
    pub authority: bool,
    /// PP2_TYPE_SSL: how the client spoke TLS, and the name in its certificate.
    pub ssl: bool,
    /// PP2_TYPE_CRC32C
    pub crc32c: bool,
    /// PP2_TYPE_UNIQUE_ID
    pub unique_id: bool,
}
