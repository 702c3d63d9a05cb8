//! Agents beside servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::placeholders::fill;

/// An agent that says what may be done with a server, as HAProxy's `agent-check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub port: u16,
    /// One for all servers; `None` = each server has its own.
    pub address: Option<IpAddr>,
    /// Time between the starts of two questions, default 2 s.
    pub interval: Duration,
    /// Limit of one question, at most the interval; default the smaller of the interval and 2 s.
    pub timeout: Duration,
    /// What it is sent first, with placeholders.
    pub send: Option<String>,
}

impl Agent {
    /// Where the agent of a server is.
    pub fn of(&self, server: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.address.unwrap_or(server.ip()), self.port)
    }

    /// What it is sent for a server of this backend.
    pub fn question(&self, backend: &str, server: SocketAddr) -> Vec<u8> {
        let send = self.send.as_deref().unwrap_or_default();
        fill(send, backend, server).into_bytes()
    }
}
