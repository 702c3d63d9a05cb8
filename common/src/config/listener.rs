//! What accepts connections.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{BackendIndex, ListenerTls, Vip, VipIndex};

/// What accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    /// The file has it no more, and its place is kept for the sessions that it still has: see
    /// [`super::Arrangement`].
    pub retired: bool,
    /// At least one, unless it is retired.
    pub binds: Vec<Bind>,
    pub backend: BackendIndex,
    /// Backends by what a client of TLS asks for; the first that fits is taken.
    pub routes: Vec<Route>,
    /// How long a client may take to say what it asks for, if there are routes, default 5 s.
    pub hello_timeout: Duration,
    /// TLS that is ended here; `None` = it passes through.
    pub tls: Option<ListenerTls>,
    /// PROXY protocol headers that are received; `None` = nobody sends one.
    pub accept_proxy: Option<AcceptProxy>,
    /// Clients that are served; `None` = everybody, or those of [`AccessFiles::allow`]. An IPv4-mapped client address is compared as IPv4.
    pub allow: Option<Vec<IpNet>>,
    /// Clients that are refused, also where `allow` names them.
    pub deny: Vec<IpNet>,
    /// Clients that are refused without an answer.
    pub drop: Vec<IpNet>,
    /// More of these three, in files.
    pub files: AccessFiles,
    /// Sessions at the same time; more wait. `None` = no limit.
    pub max_sessions: Option<u64>,
    /// New sessions a second; more wait. `None` = no limit.
    pub accept_rate: Option<u64>,
    pub source_limit: SourceLimit,
    /// While no server of its backend is usable here and some are at the other node, the VIP moves there.
    pub required: bool,
    pub client_timeout: Option<Duration>,
    pub tunnel_timeout: Option<Duration>,
    /// Longest silence of a client whose server has ended its direction; `None` = the other limits
    /// hold on.
    pub client_fin_timeout: Option<Duration>,
    /// Longest life of a session, and up to a tenth more; `None` = no limit.
    pub max_lifetime: Option<Duration>,
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT towards clients, at least 1 s; `None` = the kernel's retransmission limit.
    pub user_timeout: Option<Duration>,
    /// `None` = its sessions are not logged.
    pub session_log: Option<SessionLog>,
    pub socket: SocketOptions,
}

/// Lists of networks in files of their own, used anew when they change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessFiles {
    pub allow: Option<PathBuf>,
    pub deny: Option<PathBuf>,
    pub drop: Option<PathBuf>,
}

/// Where a listener's sessions are logged, a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLog {
    pub format: LogFormat,
    /// A full path, of one format only; `None` = where the process logs.
    pub file: Option<PathBuf>,
}

/// The form of a line of a session log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    /// HAProxy's "tcplog".
    Tcplog,
}

impl LogFormat {
    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Tcplog => "tcplog",
        }
    }
}

/// A backend for certain clients of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub backend: BackendIndex,
    /// Server names in lower case, exact or `*.` and a suffix; empty = any.
    pub sni: Vec<String>,
    /// Protocols, one of which the client offers; empty = any.
    pub alpn: Vec<String>,
}

/// PROXY protocol headers that a listener receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Who sends a header, always; others send none.
    pub from: Vec<IpNet>,
    pub version: ProxyVersions,
    /// Limit for the whole header, at least 3 s, default 5 s.
    pub timeout: Duration,
}

/// Versions of the PROXY protocol that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersions {
    Any,
    V1,
    V2,
}

impl Listener {
    /// The backend of a client that no route fits, and those of the routes; one may come twice.
    pub fn backends(&self) -> impl Iterator<Item = BackendIndex> {
        std::iter::once(self.backend).chain(self.routes.iter().map(|route| route.backend))
    }

    /// Whether connections to the VIP, which has this index, arrive here.
    pub fn serves(&self, index: VipIndex, vip: &Vip) -> bool {
        self.binds.iter().any(|bind| {
            let same_family = bind.address.is_ipv4() == vip.address.is_ipv4();
            bind.vip == Some(index) || (same_family && bind.address.ip().is_unspecified())
        })
    }
}

/// What one client address (IPv6: one /64) may have of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceLimit {
    /// Sessions at the same time; `None` = no limit.
    pub sessions: Option<u32>,
    /// New sessions a second; `None` = no limit.
    pub rate: Option<u64>,
    /// Clients without these limits.
    pub exempt: Vec<IpNet>,
    /// More of them, in a file.
    pub exempt_file: Option<PathBuf>,
}

/// Options of the listening sockets, set before they are bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketOptions {
    /// SO_BINDTODEVICE; `None` = every interface.
    pub interface: Option<String>,
    /// Length of the accept queue; `None` = net.core.somaxconn.
    pub backlog: Option<u16>,
    /// TCP_DEFER_ACCEPT, whole seconds; `None` = off.
    pub defer_accept: Option<Duration>,
    /// TCP_FASTOPEN: length of its queue; `None` = off.
    pub fast_open: Option<u16>,
    /// TCP_MAXSEG, 88 to 32767; `None` = by the MTU.
    pub mss: Option<u16>,
    /// SO_MARK; `None` = no mark.
    pub mark: Option<u32>,
}

/// One address of a listener, with one port or several in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// With the first port.
    pub address: SocketAddr,
    /// That of the address, if it is the only one.
    pub last_port: u16,
    /// The VIP that the file named, or whose address this is.
    pub vip: Option<VipIndex>,
}

impl Bind {
    /// Every address of it.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let ip = self.address.ip();
        (self.address.port()..=self.last_port).map(move |port| SocketAddr::new(ip, port))
    }

    /// Whether it has the port.
    pub fn has_port(&self, port: u16) -> bool {
        (self.address.port()..=self.last_port).contains(&port)
    }

    /// Number of its ports.
    pub fn ports(&self) -> usize {
        usize::from(self.last_port.saturating_sub(self.address.port())) + 1
    }
}

impl fmt::Display for Bind {
    /// `192.168.0.10:443`, `[fd00::1]:30000-30100`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)?;
        if self.last_port > self.address.port() {
            write!(formatter, "-{}", self.last_port)?;
        }
        Ok(())
    }
}

/// TCP keepalive of both sides of a session (SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe, whole seconds, default 60 s.
    pub idle: Duration,
    /// Time between probes, whole seconds, default 10 s.
    pub interval: Duration,
    /// Unanswered probes before the connection is given up, default 3.
    pub count: u32,
}
