//! Agents in the status.

use serde::{Deserialize, Serialize};

/// What the agent of a server says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    /// The line that it said last; empty = it has said nothing yet.
    pub says: String,
    /// `up`, `down`, `stopped` or `failed`; empty = it has not said.
    pub word: String,
    /// `none`, `drain` or `maintenance`.
    pub administrative: String,
    /// Percent of the configured weight; `None` = it has not said.
    pub weight_percent: Option<u64>,
    /// Sessions at the same time, 0 = no limit; `None` = it has not said.
    pub max_sessions: Option<u64>,
    pub asked: u64,
    /// Times that it gave no answer, or one without a word.
    pub failures: u64,
    pub heard_ms_ago: Option<u64>,
    /// What is wrong with it now; empty = nothing.
    pub problem: String,
}
