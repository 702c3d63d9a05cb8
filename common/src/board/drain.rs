//! How a stopping proxy lets its sessions come to their end.

use super::{Cell, MomentCell};

/// Since layout 9.
#[repr(C)]
#[derive(Debug, Default)]
pub struct DrainSlot {
    /// When what is left is reset; nothing before a stop was asked for.
    pub until: MomentCell,
    /// Closed in order at a quiet moment.
    pub closed: Cell,
}
