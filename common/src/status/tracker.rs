//! Trackers in the status.

use serde::{Deserialize, Serialize};

/// Something beside servers that says whether the node should hold VIPs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrackerStatus {
    pub name: String,
    /// `interface`, `gateway`, `file`, `process`, `script` or `servers`.
    pub kind: String,
    /// `up`, `down`, or `unknown` before the first look.
    pub state: String,
    pub since_ms_ago: Option<u64>,
    /// What the last look has found.
    pub reason: String,
    /// What is added to the priority while it is down, negative; `None` = its VIPs are in fault then.
    pub weight: Option<i64>,
    /// Names of the VIPs that it concerns.
    pub vips: Vec<String>,
    pub looked_ms_ago: Option<u64>,
    pub looks: u64,
    /// Of these, the bad ones.
    pub failures: u64,
    /// Changes from up to down.
    pub downs: u64,
}
