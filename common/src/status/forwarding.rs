//! Flow forwarding in the status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whether segments of the other node's connections go there, and how many did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForwardingStatus {
    /// `on`, `waiting`, `refused` (this machine cannot) or `off` (the configuration has no use for it).
    pub state: String,
    /// Why it is not on; empty = it is.
    pub reason: String,
    /// Whether the other node does the same with ours, as its last heartbeat had it.
    pub peer_forwards: bool,
    /// Times that the other node's machine was found lost, and its connections were reset for it.
    pub peer_deaths: u64,
    /// Packets for a VIP by what became of them, since the TC program was loaded. Those that went to the other node:
    /// `syn-there`, `foreign`, `unknown`, `icmp-there`, `fragment`.
    pub packets: BTreeMap<String, u64>,
    /// The same in bytes.
    pub bytes: BTreeMap<String, u64>,
}
