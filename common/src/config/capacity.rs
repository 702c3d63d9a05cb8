//! What a machine has for the node on it.

/// What is known of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Cores that the process may use.
    pub cores: usize,
    /// Most descriptors of a process; `u64::MAX` = no limit.
    pub descriptors: u64,
    /// net.core.somaxconn: the longest accept queue.
    pub backlog: u32,
}

/// Most listening sockets of a node, one for each port and relay thread: passing on more of them to
/// the next proxy would take longer than clients should wait.
pub const MAX_SOCKETS: usize = 16_384;
/// Descriptors of a process that are not for listening sockets and sessions.
pub const RESERVED_DESCRIPTORS: u64 = 1_024;
