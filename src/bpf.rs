//! Whether this machine takes the TC program of flow forwarding, for who asks before a node runs: `check` and `doctor`.

use common::config::{Config, NodeIndex};
use forward::{LoadError, Program};
use nix::unistd::geteuid;

/// What helps where it is refused.
pub(crate) const REMEDY: &str = "run this as root; the node itself needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
    (configs/systemd), and a kernel with BPF and its types, from 5.14 on";
/// What is missing without it.
pub(crate) const COST: &str = "no flow forwarding, so a VIP that moves breaks its connections";

/// Whether the node would use it.
pub(crate) fn is_wanted(config: &Config, node: NodeIndex) -> bool {
    config.has_pair_channel(node) && !config.vips.is_empty()
}

/// Loads it and lets it go; it is attached to nothing.
///
/// # Errors
/// Why the kernel refuses it.
pub(crate) fn try_load() -> Result<(), LoadError> {
    Program::load().map(drop)
}

/// A warning about it, as of a file; empty = none. Somebody who is not root may not load it, and that says nothing of
/// the node.
pub(crate) fn warning(config: &Config, node: NodeIndex) -> String {
    if !is_wanted(config, node) {
        return String::new();
    }
    match try_load() {
        Ok(()) => String::new(),
        Err(LoadError::NotPermitted) if !geteuid().is_root() => String::new(),
        Err(error) => {
            let why = anyhow::Error::from(error);
            format!("warning: {COST}: {why:#}\n   = help: {REMEDY}\n")
        }
    }
}
