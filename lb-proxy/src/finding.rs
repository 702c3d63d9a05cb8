//! What one probe found, for people and for machines. Pure.

use std::fmt;

use common::board::ProbeStatus;

/// How a probe ended, and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: ProbeStatus,
    /// The number that the server answered with (HTTP's 200).
    pub(crate) code: Option<u16>,
    pub(crate) words: String,
}

impl Finding {
    pub(crate) fn new(status: ProbeStatus, words: impl Into<String>) -> Self {
        Self {
            status,
            code: None,
            words: words.into(),
        }
    }

    pub(crate) fn with_code(self, code: u16) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }
}

/// `L4CON: connection refused`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.word(), self.words)
    }
}
