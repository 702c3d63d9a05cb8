//! What the nodes know of each other's sessions, and what becomes of them when a machine is lost.

use serde::{Deserialize, Serialize};

use super::{DrainStatus, RetiredStatus};

/// The connections between the admin processes of the two nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkStatus {
    /// Since when the other node is told of this one's sessions; `None` = it is not.
    pub telling_ms: Option<u64>,
    /// Since when it tells of its own; `None` = it does not, and what it told last is kept.
    pub hearing_ms: Option<u64>,
    /// Sessions that it has been told of.
    pub told: u64,
    /// Its sessions that are known here.
    pub heard: u64,
    /// Connections that this node has made to it.
    pub connects: u64,
    /// Those that have ended, or could not be made.
    pub failures: u64,
    /// Connections to this node that were refused: not from the other node, or not with its key.
    pub refused: u64,
    /// Sessions that it cannot be told of, since the table of sessions was full.
    pub untold: u64,
    /// Its sessions at an address that is no VIP here.
    pub strangers: u64,
    /// Why it is not told; empty = it is.
    pub problem: String,
    /// How the other node's sessions come to their end; `None` unless it stops.
    pub drain: Option<DrainStatus>,
    /// It has stopped, as it was told to; `None` = it has not, or speaks again.
    pub stopped: Option<StoppedStatus>,
    /// Its proxies that accept nothing any more and have sessions.
    pub retired: Vec<RetiredStatus>,
}

/// How a node has stopped, by its last word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoppedStatus {
    pub ms_ago: u64,
    /// Sessions that it has closed at a quiet moment.
    pub closed: u64,
    /// Those that were reset at the end of its drain.
    pub reset: u64,
}

/// Clients of the other node that were told, when its machine was lost, that their connections are gone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RescueStatus {
    /// Times that this was done.
    pub runs: u64,
    /// Sessions that these were for.
    pub clients: u64,
    /// Of these, those whose client got an RST meanwhile.
    pub freed: u64,
    /// Segments that asked clients for it.
    pub pokes: u64,
    /// Segments that the kernel has refused.
    pub refused: u64,
    /// Rescues that ended early: not started, failed, or the machine was heard again.
    pub cut_short: u64,
    /// Why the last one of those did; empty = none did.
    pub problem: String,
    /// When the last one began; `None` = there was none.
    pub last_ms_ago: Option<u64>,
    /// How long it took; `None` = it runs, or there was none.
    pub last_took_ms: Option<u64>,
    pub last_clients: u64,
    pub last_freed: u64,
}
