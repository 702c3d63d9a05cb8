//! The configuration that a node runs by, as its supervisor sees it.

use super::{Cell, MomentCell, Text};

board_enum! {
    /// How a reload has ended.
    ReloadEnd {
        /// There was none since the node's start.
        None = 0 => "none",
        /// The node runs by what the file said.
        Applied = 1 => "applied",
        /// The file is not valid, or cannot be read.
        Invalid = 2 => "invalid",
        /// A running node cannot take it over, or a process did not.
        Refused = 3 => "refused",
    }
}

/// The running configuration, and the last reload.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ReloadSlot {
    /// Since when the node runs by it.
    pub since: MomentCell,
    /// [`ReloadEnd`]
    pub end: Cell,
    pub ended: MomentCell,
    /// Why the last one was not done; empty = it was.
    pub reason: Text,
    pub applied: Cell,
    /// Those that changed nothing.
    pub failed: Cell,
    /// Last look at the file on disk.
    pub looked: MomentCell,
    /// 1 = the file on disk says something else, or cannot be read.
    pub differs: Cell,
}
