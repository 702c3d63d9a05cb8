//! What the supervisor says.

use std::array;

use super::{
    Cell, ForwardingSlot, Header, MAX_RETIRED, MomentCell, ReloadSlot, RescueSlot, RetiredSlot,
    StopSlot, Text, UpgradeSlot,
};
use crate::config::MAX_WATCHED;

/// What the supervisor says.
#[repr(C)]
#[derive(Debug)]
pub struct SupervisorBoard {
    pub header: Header,
    /// By [`Child`].
    pub children: [ChildSlot; 3],
    /// Warnings about rights or settings for `status`; empty = none.
    pub warnings: [Text; 8],
    /// When the watched files were looked at the last time.
    pub files_looked: MomentCell,
    /// By place in [`crate::config::Config::watched`].
    pub files: [FileSlot; MAX_WATCHED],
    pub forwarding: ForwardingSlot,
    pub reload: ReloadSlot,
    pub rescue: RescueSlot,
    /// Since layout 14, as all that follows: versions of the children's software, by [`Child`].
    pub versions: [Text; 3],
    /// By the place of their boards.
    pub retired: [RetiredSlot; MAX_RETIRED],
    pub upgrade: UpgradeSlot,
    /// Version of its own software.
    pub version: Text,
    /// Where the proxy that accepts writes its sessions, see [`super::SessionTable::lane`].
    pub lane: Cell,
    /// Since layout 17.
    pub stop: StopSlot,
}

/// As nobody has written it yet.
impl Default for SupervisorBoard {
    fn default() -> Self {
        Self {
            header: Default::default(),
            children: Default::default(),
            warnings: array::from_fn(|_| Default::default()),
            files_looked: Default::default(),
            files: array::from_fn(|_| Default::default()),
            forwarding: Default::default(),
            reload: Default::default(),
            rescue: Default::default(),
            versions: Default::default(),
            retired: Default::default(),
            upgrade: Default::default(),
            version: Default::default(),
            lane: Default::default(),
            stop: Default::default(),
        }
    }
}

impl SupervisorBoard {
    /// Lanes of the table of sessions that proxies have which may live.
    pub fn taken_lanes(&self) -> Vec<usize> {
        let living = self.retired.iter().filter(|slot| slot.pid.get() != 0);
        living
            .map(|slot| &slot.lane)
            .chain([&self.lane])
            .map(|lane| usize::try_from(lane.get()).unwrap_or(usize::MAX))
            .collect()
    }

    /// Frees the places of proxies that have retired and ended while no supervisor lived; all that live have
    /// these places. Only the board's writer may call it.
    pub fn keep_retired(&self, living: &[usize]) {
        for (place, slot) in self.retired.iter().enumerate() {
            if !living.contains(&place) {
                slot.pid.set(0);
            }
        }
    }
}

/// Watched files that are used together, as the supervisor sees them.
#[repr(C)]
#[derive(Debug, Default)]
pub struct FileSlot {
    /// Since when the contents in use are in use.
    pub since: MomentCell,
    /// Times that new contents were found good and passed on.
    pub changes: Cell,
    /// Times that new contents were refused, or the file was gone.
    pub refusals: Cell,
    /// Why what is on disk is not in use; empty = it is.
    pub refused: Text,
}

/// A child process, and its index in [`SupervisorBoard::children`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Child {
    Vrrp = 0,
    Proxy = 1,
    Admin = 2,
}

impl Child {
    /// All children, in the order of their start.
    pub const ALL: [Self; 3] = [Self::Vrrp, Self::Proxy, Self::Admin];

    /// Its name in logs, status and metrics, and its subcommand.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vrrp => "vrrp",
            Self::Proxy => "proxy",
            Self::Admin => "admin",
        }
    }
}

/// What the supervisor knows of one child.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ChildSlot {
    pub pid: Cell,
    /// Deaths since the node started; a stop that was asked for does not count.
    pub deaths: Cell,
    /// The last three deaths, oldest first; "never" where there were fewer.
    pub last_deaths: [MomentCell; 3],
    /// How it ended the last time ("killed by signal 9", "hung for 104 ms, killed").
    pub last_end: Text,
}
