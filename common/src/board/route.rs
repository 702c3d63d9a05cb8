//! Routes and rules that follow VIPs, as vrrp has them.

use super::{Cell, Text};

board_enum! {
    /// Where a route or a rule is.
    RouteState {
        /// Not in the kernel: the VIP is not held.
        Absent = 0 => "absent",
        Installed = 1 => "installed",
        /// The VIP is held, and the kernel does not take it.
        Refused = 2 => "refused",
    }
}

/// One of them, by its place among all of the configuration. Since layout 11.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RouteSlot {
    /// [`RouteState`]
    pub state: Cell,
    /// Times that it was put back after somebody else had removed it.
    pub restored: Cell,
    /// Why the kernel refused it the last time; empty = it did not.
    pub reason: Text,
}
