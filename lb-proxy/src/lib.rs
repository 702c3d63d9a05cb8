//! Where the bytes go.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use common::board::ProxyBoard;
use common::config::{Config, NodeIndex};

/// What the process needs; everything was opened by the supervisor.
#[derive(Debug)]
pub struct Inputs {
    pub config: Arc<Config>,
    pub node: NodeIndex,
    pub board: &'static ProxyBoard,
    /// Relay threads; there is one socket for each bind and thread.
    pub threads: usize,
    pub sockets: Vec<ListeningSocket>,
    /// Contents of the certificate and key files that the configuration names.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

/// A listening socket that the supervisor bound.
#[derive(Debug)]
pub struct ListeningSocket {
    /// Index into [`Config::listeners`].
    pub listener: usize,
    /// Index into the listener's binds.
    pub bind: usize,
    /// The thread that accepts from it, below [`Inputs::threads`].
    pub thread: usize,
    pub socket: OwnedFd,
}
