//! One process of a node after another: upgrades in place, and proxies that have retired.

use serde::{Deserialize, Serialize};

/// The last upgrade in place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpgradeStatus {
    /// How many there were since the node started.
    pub number: u64,
    /// How many of them have failed.
    pub failures: u64,
    /// How far it has come: `proving`, `proxy`, `admin`, `vrrp`, `trial`, `supervisor`, `rolling-back`, `done` or `failed`.
    pub stage: String,
    /// The version that it is to; empty = that has not said so.
    pub version: String,
    pub began_ms_ago: Option<u64>,
    /// `None` = it is under way.
    pub ended_ms_ago: Option<u64>,
    /// Why it has failed; empty = it has not.
    pub why: String,
}

/// A proxy that accepts nothing any more, and ends when its sessions have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetiredStatus {
    pub pid: u64,
    pub version: String,
    pub since_ms_ago: Option<u64>,
    /// Sessions that it has.
    pub sessions: u64,
    /// Listeners of which it has sessions.
    pub listeners: Vec<RetiredListenerStatus>,
}

/// Sessions of one listener of a proxy that has retired.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetiredListenerStatus {
    pub name: String,
    pub sessions: u64,
}
