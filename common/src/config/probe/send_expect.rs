//! Probes that hold a dialogue.

use std::fmt::{self, Write};

use super::ProbeTls;

/// A dialogue with a server, as HAProxy's `tcp-check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendExpect {
    /// `None` = without TLS.
    pub tls: Option<ProbeTls>,
    /// One after the other; one at least expects something.
    pub steps: Vec<Step>,
}

/// A step of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub action: StepAction,
    /// How it is called where it fails.
    pub comment: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepAction {
    /// What had come before counts no more.
    Send(Vec<u8>),
    /// Waits for a text in all that has come since something was sent.
    Expect {
        text: Vec<u8>,
        /// A text by which the server says no.
        fail: Option<Vec<u8>>,
    },
}

impl StepAction {
    /// Whether it waits for something.
    pub const fn expects(&self) -> bool {
        match self {
            Self::Send(_) => false,
            Self::Expect { .. } => true,
        }
    }
}

/// Bytes as the file writes them: visible ASCII and spaces as they are, others by an escape.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'\r' => f.write_str("\\r")?,
                b'\n' => f.write_str("\\n")?,
                b'\t' => f.write_str("\\t")?,
                b'\\' => f.write_str("\\\\")?,
                b' '..=b'~' => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}
