//! What the proxy says of its session logs.

use super::{Cell, MomentCell, Text};

/// What became of the lines of the session logs.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct SessionLogSlot {
    /// Lines that were written.
    pub written: Cell,
    /// Lines that were not: too many waited, or a log could not be written.
    pub lost: Cell,
    /// When the last one was lost.
    pub lost_at: MomentCell,
    /// Which log cannot be written now, and why; empty = none. Cleared by the next proxy.
    pub problem: Text,
}
