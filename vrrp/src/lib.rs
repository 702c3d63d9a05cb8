//! Who owns a virtual IP.

pub mod router;

use std::sync::Arc;

use common::board::{ProxyBoard, SupervisorBoard, VrrpBoard};
use common::config::{Config, NodeIndex};

/// What the process needs; everything was opened by the supervisor.
#[derive(Debug)]
pub struct Inputs {
    pub config: Arc<Config>,
    pub node: NodeIndex,
    pub board: &'static VrrpBoard,
    pub proxy: &'static ProxyBoard,
    pub supervisor: &'static SupervisorBoard,
    /// Contents of the pair's key file; `None` = the pair channel is off.
    pub pair_key: Option<String>,
}
