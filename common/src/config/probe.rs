//! Checks of servers.

use std::path::PathBuf;
use std::time::Duration;

/// A periodic check of each server of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub kind: ProbeKind,
    /// Time between the starts of two probes of a server that is up, default 2 s.
    pub interval: Duration,
    /// The same while it is on its way up or down, or was not probed yet; default as the interval.
    pub fast_interval: Duration,
    /// The same while it is down, default as the interval.
    pub down_interval: Duration,
    /// Limit of one probe, at most the interval; default the smaller of the interval and 2 s.
    pub timeout: Duration,
    /// Good probes in a row that bring a server up, default 2.
    pub rise: u32,
    /// Bad probes in a row that take a server down, default 3.
    pub fall: u32,
    pub initial_state: InitialState,
    /// Where probes go instead of the servers' own ports.
    pub port: Option<u16>,
}

/// What a server counts as until its first probe has ended, HAProxy's `init-state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialState {
    /// It gets sessions, and the first probe decides.
    Up,
    /// It gets sessions until `fall` probes in a row are bad.
    FullyUp,
    /// It gets none, and the first probe decides.
    Down,
    /// It gets none until `rise` probes in a row are good.
    FullyDown,
}

impl InitialState {
    /// All of them, and their words in the file.
    pub const WORDS: &[(&str, Self)] = &[
        ("up", Self::Up),
        ("fully-up", Self::FullyUp),
        ("down", Self::Down),
        ("fully-down", Self::FullyDown),
    ];

    /// The word in the file.
    pub fn word(self) -> &'static str {
        let (word, _) = Self::WORDS
            .iter()
            .find(|(_, state)| *state == self)
            .expect("every one has a word");
        word
    }
}

impl Probe {
    /// Bad probes in a row until a server gets no more sessions: one is enough for a server that
    /// says itself that it is not ready.
    pub fn probes_to_fall(&self) -> u32 {
        match self.kind {
            ProbeKind::Tcp => self.fall,
            ProbeKind::KubeApiserver { .. } => 1,
        }
    }
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// A TCP connection can be made.
    Tcp,
    /// TLS and `GET /readyz`, judged as a kube-apiserver answers.
    KubeApiserver {
        /// Certificates that the server's is checked against; `None` = it is not checked.
        ca_file: Option<PathBuf>,
        /// Client certificate and its key (PEM).
        client: Option<ClientCertificate>,
    },
}

/// Files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}
