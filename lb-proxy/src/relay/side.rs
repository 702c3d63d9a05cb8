//! Which of the two connections of a session broke.

use std::io;

/// One of the two that a session is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A connection that is of no use any more.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the {} broke", .side.word())]
pub(crate) struct Broken {
    pub(crate) side: Side,
    #[source]
    error: io::Error,
}

impl Side {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl Broken {
    pub(crate) const fn new(side: Side, error: io::Error) -> Self {
        Self { side, error }
    }

    pub(crate) fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

/// The side that a direction reads from.
pub(super) const fn source<const TO_SERVER: bool>() -> Side {
    if TO_SERVER {
        Side::Client
    } else {
        Side::Server
    }
}

/// The side that a direction writes to.
pub(super) const fn target<const TO_SERVER: bool>() -> Side {
    if TO_SERVER {
        Side::Server
    } else {
        Side::Client
    }
}

pub(super) fn source_broke<const TO_SERVER: bool>(error: io::Error) -> Broken {
    Broken::new(source::<TO_SERVER>(), error)
}

pub(super) fn target_broke<const TO_SERVER: bool>(error: io::Error) -> Broken {
    Broken::new(target::<TO_SERVER>(), error)
}
