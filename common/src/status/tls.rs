//! TLS that the node ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// TLS of one listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsStatus {
    /// Handshakes by version and kind: `1.3-full`, `1.3-resumed`, `1.2-full`, `1.2-resumed`.
    pub handshakes: BTreeMap<String, u64>,
    /// Handshakes that came to nothing, by reason: [`crate::board::TlsFailure::word`].
    pub failures: BTreeMap<String, u64>,
    /// Sessions that were reset because a side ended its stream without close_notify.
    pub truncated: u64,
    /// In the order of the configuration.
    pub certificates: Vec<CertificateStatus>,
}

/// Handshakes with the servers of a backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandshakeStatus {
    /// By version and kind, as [`TlsStatus::handshakes`].
    pub handshakes: BTreeMap<String, u64>,
    /// Handshakes that came to nothing, each a connect error of its server, by reason.
    pub failures: BTreeMap<String, u64>,
}

/// A certificate that is shown to clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateStatus {
    pub file: String,
    /// "web.example.org and 2 more names"
    pub names: String,
    /// RFC 3339 in UTC; empty = not known.
    pub not_after: String,
    /// The same in seconds since 1970.
    pub not_after_timestamp: Option<u64>,
    /// Whole days until then; negative = it has expired.
    pub days_left: Option<i64>,
}
