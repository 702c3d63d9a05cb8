//! What a node looks at beside its data plane to know whether it may hold a VIP.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, VipIndex};

/// Something that is looked at again and again, and what follows while it is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    pub name: String,
    /// A reload has taken it out of the file: nobody looks any more.
    pub retired: bool,
    pub kind: TrackerKind,
    /// Time between the starts of two looks, 100 ms to 1 h, default 1 s.
    pub interval: Duration,
    /// Limit of one look, at most the interval; default the interval.
    pub timeout: Duration,
    /// Good looks in a row that make it up, default 2.
    pub rise: u32,
    /// Bad looks in a row that make it down, default 3, for an interface 1.
    pub fall: u32,
    /// While it is down.
    pub effect: TrackerEffect,
    /// The VIPs that it concerns, at least one; none of one that has retired.
    pub vips: Vec<VipIndex>,
}

/// What a tracker that is down does to its VIPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerEffect {
    /// The node cannot hold them, as Keepalived has it without a weight.
    Fault,
    /// So much is taken from the node's priority, 1 to 253.
    Lower(u8),
}

/// What is looked at, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackerKind {
    /// An interface that carries no VIP: it is there, switched on, and has a carrier.
    Interface { interface: String },
    /// Somebody who answers ARP, or neighbour discovery, on an interface.
    Gateway { address: IpAddr, interface: String },
    /// What a file says: 0, nothing, or no file is up, all else is down (Keepalived's track_file).
    File { path: PathBuf },
    /// A process with this name (Keepalived's track_process).
    Process { process: String },
    /// A program that ends with 0 (Keepalived's vrrp_script).
    Script {
        program: PathBuf,
        arguments: Vec<String>,
    },
    /// The share of usable servers behind the VIPs, in percent, 1 to 100.
    Servers { min_share: u8 },
}

impl TrackerKind {
    /// Its word in the file, in status and in metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Interface { .. } => "interface",
            Self::Gateway { .. } => "gateway",
            Self::File { .. } => "file",
            Self::Process { .. } => "process",
            Self::Script { .. } => "script",
            Self::Servers { .. } => "servers",
        }
    }

    /// Whether vrrp looks itself; otherwise admin does, since it may have to wait.
    pub const fn is_of_vrrp(&self) -> bool {
        match self {
            Self::Interface { .. } | Self::Gateway { .. } | Self::Servers { .. } => true,
            Self::File { .. } | Self::Process { .. } | Self::Script { .. } => false,
        }
    }
}

impl Tracker {
    /// How much later the other node may find the same: it may have looked just before. Both kernels
    /// tell of interfaces at once.
    pub fn out_of_step(&self) -> Duration {
        match self.kind {
            TrackerKind::Interface { .. } => Duration::ZERO,
            TrackerKind::Gateway { .. }
            | TrackerKind::File { .. }
            | TrackerKind::Process { .. }
            | TrackerKind::Servers { .. } => self.interval,
            TrackerKind::Script { .. } => self.interval + self.timeout,
        }
    }

    /// Whether it concerns one of these VIPs.
    pub fn concerns(&self, mut vips: impl Iterator<Item = usize>) -> bool {
        vips.any(|place| self.vips.contains(&VipIndex(place)))
    }

    /// Whether it is the same, as far as what is found counts for both.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind && self.retired == other.retired
    }

    /// What is left of one that the file knows no more.
    pub(super) fn stand_in() -> Self {
        Self {
            name: String::new(),
            retired: true,
            kind: TrackerKind::Servers { min_share: 1 },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
            effect: TrackerEffect::Fault,
            vips: Vec::new(),
        }
    }
}

impl Config {
    /// The trackers that concern a VIP: its own, and those of all VIPs that move together with it.
    pub fn trackers_of(&self, vip: VipIndex) -> impl Iterator<Item = &Tracker> {
        let vips = if self.together {
            0..self.vips.len()
        } else {
            vip.0..vip.0 + 1
        };
        let all = self.trackers.iter();
        all.filter(move |tracker| tracker.concerns(vips.clone()))
    }
}
