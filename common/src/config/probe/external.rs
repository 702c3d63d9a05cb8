//! Probes that a program of the site makes.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::placeholders::fill;

/// A program that tells by its exit code whether a server is well, as HAProxy's `external-check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalProbe {
    pub program: PathBuf,
    /// With placeholders.
    pub arguments: Vec<String>,
}

impl ExternalProbe {
    /// The arguments for one server.
    pub fn arguments_for(&self, backend: &str, server: SocketAddr) -> Vec<String> {
        let arguments = self.arguments.iter();
        arguments.map(|one| fill(one, backend, server)).collect()
    }
}
