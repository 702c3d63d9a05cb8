//! Routes and rules of the kernel that follow a VIP (Keepalived's virtual_routes and virtual_rules).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::addr::Family;

/// Most routes and rules over all VIPs; the boards have this many places.
pub const MAX_ROUTES: usize = 64;
/// The table that is asked where no rule says otherwise (`RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;

/// What is installed with a VIP's lease and removed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follower {
    Route(VipRoute),
    Rule(VipRule),
}

/// A route (ip-route(8)) to one next hop, or to the network at an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipRoute {
    pub to: IpNet,
    /// `None` = the destination is at the interface itself.
    pub via: Option<IpAddr>,
    pub interface: String,
    /// What packets leave from that name no source; `None` = the kernel's choice, which is never a VIP.
    pub source: Option<IpAddr>,
    /// Not 0.
    pub table: u32,
    /// `None` = the kernel's own, 0 for IPv4 and 1024 for IPv6.
    pub metric: Option<u32>,
    pub scope: RouteScope,
    /// The next hop is at the interface although no address says so.
    pub on_link: bool,
}

/// How far away the destination of an IPv4 route is. (IPv6 has no such thing.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteScope {
    /// Behind a gateway.
    Global,
    /// At the interface.
    Link,
}

impl RouteScope {
    /// All of them, and their words in the file.
    pub const WORDS: &[(&str, Self)] = &[("global", Self::Global), ("link", Self::Link)];

    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Link => "link",
        }
    }
}

/// A rule (ip-rule(8)) that sends packets to a table. What it does not name fits every packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipRule {
    /// Of the packets.
    pub family: Family,
    pub from: Option<IpNet>,
    pub to: Option<IpNet>,
    /// Interface that a packet came in by.
    pub iif: Option<String>,
    /// Mark of a packet, all 32 bits of it.
    pub fwmark: Option<u32>,
    /// Not 0.
    pub table: u32,
    /// 1 to 32765: before the kernel's rule for the main table.
    pub priority: u32,
}

impl Follower {
    /// The word in status: `route` or `rule`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Route(_) => "route",
            Self::Rule(_) => "rule",
        }
    }
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => route.fmt(f),
            Self::Rule(rule) => rule.fmt(f),
        }
    }
}

/// As `ip route` takes it.
impl fmt::Display for VipRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.interface)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if self.on_link {
            write!(f, " onlink")?;
        }
        Ok(())
    }
}

/// As `ip rule` takes it.
impl fmt::Display for VipRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "priority {}", self.priority)?;
        match self.from {
            Some(from) => write!(f, " from {from}")?,
            None => write!(f, " from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(mark) = self.fwmark {
            write!(f, " fwmark {mark:#x}")?;
        }
        write!(f, " table {}", self.table)
    }
}
