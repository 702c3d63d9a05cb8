//! Servers by name: what the resolver has found.

use super::{Cell, MomentCell, Text};

/// One name of a backend. The servers that it stands for are on the roster.
#[repr(C)]
#[derive(Debug, Default)]
pub struct NameSlot {
    /// The last answer that named servers.
    pub answered: MomentCell,
    /// Since when every answer has failed, in whole or in part; "never" = the last one was good.
    pub failing: MomentCell,
    /// How the last one failed, in words; empty = it did not.
    pub reason: Text,
    /// Questions that were put.
    pub queries: Cell,
    /// Those of them that failed.
    pub failures: Cell,
    /// Gauge: addresses of the last good answer that became no servers.
    pub left_out: Cell,
    /// Why the first of them did not, in words.
    pub left_out_reason: Text,
}
