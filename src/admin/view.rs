//! What the parts of a status are read from. Pure.

use std::sync::Arc;

use common::config::{Config, NodeIndex};
use common::time::Moment;

use super::Boards;
use super::remaining::Exchange;

/// What a status is read from.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) config: Arc<Config>,
    pub(crate) node: NodeIndex,
    pub(crate) config_hash: u64,
    pub(crate) boards: Boards,
    /// What the other node says of the sessions that are left there.
    pub(crate) left: &'static Exchange,
}

/// Whole milliseconds from `then` to `now`.
pub(crate) fn millis(now: Moment, then: Moment) -> u64 {
    u64::try_from(now.since(then).as_millis()).unwrap_or(u64::MAX)
}

/// A configuration's hash as people compare it.
pub(crate) fn hash_word(hash: u64) -> String {
    format!("{hash:016x}")
}
