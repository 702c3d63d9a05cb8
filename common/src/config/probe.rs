//! Checks of servers.

mod external;
mod send_expect;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use external::ExternalProbe;
pub use send_expect::{Escaped, SendExpect, Step, StepAction};

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
    /// `None` = as the backend's sessions, where the probe goes where they go.
    pub send_proxy: Option<ProbeProxy>,
}

/// The PROXY protocol header that a probe begins with (HAProxy's `check-send-proxy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeProxy {
    Off,
    /// With the probe's own addresses.
    V1,
    /// As LOCAL.
    V2,
}

impl ProbeProxy {
    /// All of them, and their words in the file.
    pub const WORDS: &[(&str, Self)] = &[("off", Self::Off), ("v1", Self::V1), ("v2", Self::V2)];

    /// The word in the file.
    pub fn word(self) -> &'static str {
        let (word, _) = Self::WORDS
            .iter()
            .find(|(_, header)| *header == self)
            .expect("every one has a word");
        word
    }
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
    /// Whether a server can say itself that it is not ready, and is believed at once.
    pub fn hears_not_ready(&self) -> bool {
        match &self.kind {
            ProbeKind::Tcp
            | ProbeKind::Tls(_)
            | ProbeKind::SendExpect(_)
            | ProbeKind::External(_) => false,
            ProbeKind::Http(http) => !http.drain_status.is_empty(),
            ProbeKind::KubeApiserver(_) => true,
        }
    }
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// A TCP connection can be made.
    Tcp,
    /// A TLS handshake can be made.
    Tls(ProbeTls),
    /// An HTTP request is answered as the file wants, with TLS or without.
    Http(HttpProbe),
    /// TLS and `GET /readyz`, judged as a kube-apiserver answers.
    KubeApiserver(ProbeTls),
    /// A dialogue goes as the file says, with TLS or without.
    SendExpect(SendExpect),
    /// A program says so, which the admin process runs.
    External(ExternalProbe),
}

impl ProbeKind {
    /// The word in the file and in status.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls(_) => "tls",
            Self::Http(HttpProbe { tls: None, .. }) => "http",
            Self::Http(HttpProbe { tls: Some(_), .. }) => "https",
            Self::KubeApiserver(_) => "kube-apiserver",
            Self::SendExpect(SendExpect { tls: None, .. }) => "send-expect",
            Self::SendExpect(SendExpect { tls: Some(_), .. }) => "send-expect-tls",
            Self::External(_) => "external",
        }
    }

    /// How it speaks TLS, if it does.
    pub const fn tls(&self) -> Option<&ProbeTls> {
        match self {
            Self::Tcp | Self::External(_) => None,
            Self::Tls(tls) | Self::KubeApiserver(tls) => Some(tls),
            Self::Http(http) => http.tls.as_ref(),
            Self::SendExpect(dialogue) => dialogue.tls.as_ref(),
        }
    }
}

/// What is asked over HTTP/1, and what answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// `None` = without TLS.
    pub tls: Option<ProbeTls>,
    /// Default GET.
    pub method: String,
    /// With its query, default `/`.
    pub path: String,
    /// `None` = the server name, or else the server's address.
    pub host: Option<String>,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub version: HttpVersion,
    /// Numbers that are good, default 200 to 399.
    pub expect_status: Vec<StatusRange>,
    /// Numbers by which a server says that it wants no new session; they count before the others.
    pub drain_status: Vec<StatusRange>,
    /// What the body has to hold; `None` = it is not looked at.
    pub expect_body: Option<String>,
    /// Bytes of the body in which it is looked for, default 64 KiB.
    pub body_limit: usize,
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http10,
    Http11,
}

impl HttpVersion {
    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}

/// Numbers of HTTP answers, 100 to 599, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// From `first` to `last`, both in it.
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }

    /// Whether a number is in it.
    pub const fn contains(&self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

/// `200`, or `200-399`
impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// How a probe speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTls {
    /// The name that the server's certificate must have, in lower case, and that it is asked for;
    /// `None` = its address.
    pub server_name: Option<String>,
    /// Certificates that the server's is checked against; `None` = it is not checked.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and its key (PEM).
    pub client: Option<ClientCertificate>,
    /// Days before the server's certificate expires from which on status warns, default 14; 0 =
    /// never.
    pub expiry_warning_days: u32,
}

impl ProbeTls {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let client = self.client.iter();
        self.ca_file
            .iter()
            .chain(client.flat_map(|client| [&client.cert_file, &client.key_file]))
    }
}

/// Files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}
