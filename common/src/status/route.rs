//! Routes and rules that follow a VIP.

use serde::{Deserialize, Serialize};

/// One of them on this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteStatus {
    /// `route` or `rule`.
    pub kind: String,
    /// As `ip route` or `ip rule` takes it.
    pub text: String,
    /// `installed`, `absent` (the VIP is not held here) or `refused`.
    pub state: String,
    /// Why the kernel refuses it; empty = it does not.
    pub reason: String,
    /// Times that it was put back after somebody else had removed it.
    pub restored: u64,
}
