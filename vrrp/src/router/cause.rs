//! Why a node cannot hold a VIP, and whether it keeps one all the same that nobody else could take.

use std::fmt;

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
    /// The kernel refused the lease; for 30 s it is not tried again.
    LeaseRefused(String),
    /// Somebody deleted the address more than three times in a minute; for 30 s it is left alone.
    LeaseDisputed,
    /// No supervisor for two seconds.
    SupervisorGone,
    /// A tracker without a weight is down; what it has found.
    Tracker { name: String, words: String },
    /// Another VIP, which moves together with this one, cannot be held, or this one itself.
    Together { vip: String, cause: Box<Self> },
}

impl Cause {
    /// Whether the node's kernel answers for the VIP all the same.
    pub(super) fn leaves_the_kernel(&self) -> bool {
        match self {
            Self::ProxyHung
            | Self::ProxyCrashLoop
            | Self::ProxyNotReady
            | Self::NoUsableServer
            | Self::SupervisorGone
            | Self::Tracker { .. } => true,
            Self::Interface(_) | Self::LeaseRefused(_) | Self::LeaseDisputed => false,
            Self::Together { cause, .. } => cause.leaves_the_kernel(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProxyHung => f.write_str("the proxy has not accepted for 100 ms"),
            Self::ProxyCrashLoop => f.write_str("the proxy died three times in 10 s"),
            Self::ProxyNotReady => f.write_str("no proxy accepts yet"),
            Self::NoUsableServer => {
                f.write_str("a required listener has no usable server here, the other node has one")
            }
            Self::Interface(what) => write!(f, "interface: {what}"),
            Self::LeaseRefused(why) => write!(f, "the kernel refused the address: {why}"),
            Self::LeaseDisputed => {
                f.write_str("somebody deleted the address more than 3 times in 60 s")
            }
            Self::SupervisorGone => f.write_str("no supervisor for 2 s"),
            Self::Tracker { name, words } => write!(f, "tracker {name} is down: {words}"),
            Self::Together { vip, cause } => write!(f, "together with VIP {vip}: {cause}"),
        }
    }
}
