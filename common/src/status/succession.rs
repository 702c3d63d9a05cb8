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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetiredStatus {
    pub pid: u64,
    pub version: String,
    pub since_ms_ago: Option<u64>,
    #[serde(flatten)]
    pub left: RemainingStatus,
}

/// Sessions that are left where none is accepted any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemainingStatus {
    pub sessions: u64,
    /// Age of the oldest one; `None` = they have not been looked at yet.
    pub oldest_ms: Option<u64>,
    /// By age, as of half a second ago; only where there are some.
    pub ages: Vec<RemainingOfAge>,
    /// By listener; only those that have some.
    pub listeners: Vec<RemainingOf>,
    /// The same by server, as BACKEND/ADDRESS:PORT.
    pub servers: Vec<RemainingOf>,
}

/// Sessions that are left of one listener or server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemainingOf {
    pub name: String,
    pub sessions: u64,
}

/// Sessions that are left of an age.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemainingOfAge {
    /// They are as old as this, at least; `None` = they are younger than all the others.
    pub from: Option<String>,
    /// And younger than this.
    pub below: Option<String>,
    pub sessions: u64,
}
