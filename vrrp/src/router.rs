//! The virtual router: who should hold a VIP, decided from what was heard and when (RFC 9568, section 6.4).
//!
//! Pure. The driver calls `handle_*` for what happened, then takes every [`Action`] from [`VirtualRouter::poll_action`]
//! and performs it in that order, then asks [`VirtualRouter::poll_timeout`] when to call [`VirtualRouter::handle_timeout`].

use std::net::Ipv4Addr;
use std::time::Duration;

use common::addr::{Priority, Vrid};
use common::board::VipState;
use common::time::Moment;

/// What a router is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    pub vrid: Vrid,
    pub priority: Priority,
    pub advert_interval: Duration,
    pub preempt: bool,
    pub preempt_delay: Duration,
    /// This node's address on the VIP's interface: adverts' source, and the tie-break.
    pub own: Ipv4Addr,
    /// The other node, if the configuration names exactly one: its resignation needs no skew time (DESIGN: it is the
    /// only one who could take over, so there is nothing to arbitrate).
    pub sole_peer: Option<Ipv4Addr>,
    /// Interval of the pair channel's heartbeats if the channel is on: the active-down interval is never below three.
    pub heartbeat: Option<Duration>,
}

/// An advert, or a heartbeat of the pair channel that counts as one, that passed every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub source: Ipv4Addr,
    /// 0 = the sender resigns.
    pub priority: u8,
    /// The sender's advert interval.
    pub interval: Duration,
    pub via: Via,
    /// When the kernel received it.
    pub at: Moment,
}

/// How a node was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Advert,
    Heartbeat,
}

/// Why this node cannot hold the VIP now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The proxy's accept loops have not turned for 100 ms.
    ProxyHung,
    /// The proxy died three times in ten seconds.
    ProxyCrashLoop,
    /// No proxy has accepted yet.
    ProxyNotReady,
    /// A required listener has no usable server here, the other node has one.
    NoUsableServer,
    /// The interface is down, missing or lost its address.
    Interface(String),
    /// The kernel refused the lease.
    LeaseRefused(String),
    /// No supervisor for two seconds.
    SupervisorGone,
}

/// What the driver has to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send one advert with this priority (0 = resign).
    Advertise { priority: u8 },
    /// Install the lease with this lifetime (whole seconds).
    InstallLease { lifetime: Duration },
    /// Renew it.
    RenewLease { lifetime: Duration },
    /// Delete it.
    RemoveLease,
    /// Send one round of gratuitous ARP in both forms.
    Announce,
    /// The state changed.
    Changed {
        from: VipState,
        to: VipState,
        reason: String,
    },
}
