//! The configuration that a node runs by.

use serde::{Deserialize, Serialize};

/// The running configuration, and the last reload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadStatus {
    /// Since the node runs by it.
    pub since_ms_ago: Option<u64>,
    /// How the last reload ended: `none`, `applied`, `invalid` (the file) or `refused`.
    pub last: String,
    pub last_ms_ago: Option<u64>,
    /// Why it changed nothing; empty = it was done.
    pub reason: String,
    /// Reloads that were done.
    pub applied: u64,
    /// Reloads that changed nothing.
    pub failed: u64,
    /// The file on disk says something else than what runs, or cannot be read.
    pub file_differs: bool,
}
