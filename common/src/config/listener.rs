//! What accepts connections.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{BackendIndex, VipIndex};

/// What accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    /// At least one.
    pub binds: Vec<Bind>,
    pub backend: BackendIndex,
    /// Clients that are served; `None` = everybody. An IPv4-mapped client address is compared as IPv4.
    pub allow: Option<Vec<IpNet>>,
    /// While no server of its backend is usable here and some are at the other node, the VIP moves there.
    pub required: bool,
    pub client_timeout: Option<Duration>,
    pub tunnel_timeout: Option<Duration>,
    pub keepalive: Option<Keepalive>,
}

/// One address of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    pub address: SocketAddr,
    /// The VIP that the file named, or whose address this is.
    pub vip: Option<VipIndex>,
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
