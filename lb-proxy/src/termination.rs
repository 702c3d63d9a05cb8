//! How a session ended, in the two letters of HAProxy's logs (its configuration manual, section
//! 8.5): the first says who ended it, the second what it was about then. Pure.
//!
//! Letters of HAProxy that do not occur: `L` as the first, since no client is answered here, and as
//! the second, since a session is not over before the kernel has all its bytes; `H` and `T`, which
//! are HTTP's.

use std::fmt;
use std::io;

use common::board::TlsFailure;

use crate::connect::ConnectError;
use crate::limit::Refusal;
use crate::opening::Refused;
use crate::registry::Cut;
use crate::relay::{End, Side};
use crate::session::{NoSession, with_causes};
use crate::tls::failure;
use crate::waiting::WaitError;

/// The end of a connection, whatever it was.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// `allow` or `deny` refuse the client.
    Denied,
    /// `drop` does.
    Dropped,
    /// The client has as much as it may have.
    Limited(Refusal),
    NoSession(&'a NoSession),
    /// With the side whose limit of silence is the one that counts.
    Relayed(&'a End, Side),
    /// The proxy stopped before it ended.
    Stopped,
    /// Its task panicked.
    Panicked,
}

/// What a session was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The client had not said yet what it wants.
    Opening,
    /// It waited for a server with a free slot.
    Queue,
    /// A server was being connected to.
    Connect,
    /// It was relayed.
    Data,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Client,
    Server,
    /// The client was silent for too long, or took nothing for too long.
    ClientTimeout,
    /// The same, of the server.
    ServerTimeout,
    /// A limit or a rule of the proxy.
    Proxy,
    /// This machine lacks something.
    Resource,
    /// A fault of the proxy.
    Internal,
    /// Its server went down.
    ServerDown,
    /// It had a backup, and a server that is none came up.
    ActiveUp,
    Administrator,
}

/// The two letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Termination(Option<(Cause, Phase)>);

impl Termination {
    /// Both sides have ended in an orderly way.
    pub(crate) const NORMAL: Self = Self(None);

    /// The letters of an ending that came while the session was in `phase`.
    pub(crate) fn of(ending: &Ending<'_>, phase: Phase) -> Self {
        let (cause, phase) = match ending {
            Ending::Denied
            | Ending::Dropped
            | Ending::Limited(Refusal::Sessions | Refusal::Rate) => (Cause::Proxy, Phase::Opening),
            Ending::NoSession(reason) => match reason {
                NoSession::Opening(Refused::Header(_)) => (Cause::Proxy, Phase::Opening),
                NoSession::Opening(Refused::HeaderLate) => (Cause::ClientTimeout, Phase::Opening),
                NoSession::Opening(Refused::HeaderCut | Refused::Client(_)) => {
                    (Cause::Client, Phase::Opening)
                }
                NoSession::Handshake(error) => {
                    (Cause::of_handshake(failure::of(error)), Phase::Opening)
                }
                NoSession::ClientGone => (Cause::Client, phase),
                NoSession::Cut(why) => (Cause::of_cut(*why), phase),
                NoSession::Server(error) => Cause::of_search(error),
                NoSession::Header(_) => (Cause::Proxy, Phase::Connect),
                NoSession::Head(error) => (Cause::of_server(error), Phase::Data),
            },
            Ending::Relayed(end, silent) => match end {
                End::Finished => return Self::NORMAL,
                End::Idle => (Cause::of_timeout(*silent), Phase::Data),
                End::Stuck(side) | End::HalfClosed(side) => (Cause::of_timeout(*side), Phase::Data),
                End::Old(_) => (Cause::Proxy, Phase::Data),
                End::Drained => (Cause::Administrator, Phase::Data),
                End::Cut(why) => (Cause::of_cut(*why), Phase::Data),
                End::Aborted(broken) => (Cause::of_side(broken.side), Phase::Data),
            },
            Ending::Stopped => (Cause::Administrator, phase),
            Ending::Panicked => (Cause::Internal, phase),
        };
        Self(Some((cause, phase)))
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("--"),
            Some((cause, phase)) => write!(f, "{}{}", cause.letter(), phase.letter()),
        }
    }
}

impl Cause {
    fn of_search(error: &ConnectError) -> (Self, Phase) {
        match error {
            ConnectError::NoServer => (Self::Server, Phase::Connect),
            ConnectError::Wait(WaitError::QueueFull) => (Self::Server, Phase::Queue),
            ConnectError::Wait(WaitError::TimedOut) => (Self::ServerTimeout, Phase::Queue),
            ConnectError::Exhausted { source, .. } => (Self::of_server(source), Phase::Connect),
            ConnectError::Lack { .. } => (Self::Resource, Phase::Connect),
        }
    }

    const fn of_handshake(failure: TlsFailure) -> Self {
        match failure {
            TlsFailure::Timeout => Self::ClientTimeout,
            TlsFailure::Gone | TlsFailure::Refused => Self::Client,
            TlsFailure::NotTls
            | TlsFailure::Incompatible
            | TlsFailure::Protocol
            | TlsFailure::Name
            | TlsFailure::NoCertificate
            | TlsFailure::BadCertificate
            | TlsFailure::ExpiredCertificate
            | TlsFailure::RevokedCertificate
            | TlsFailure::WrongName
            | TlsFailure::UnknownAuthority
            | TlsFailure::Misbehaved
            | TlsFailure::Other => Self::Proxy,
        }
    }

    fn of_server(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            Self::ServerTimeout
        } else {
            Self::Server
        }
    }

    const fn of_cut(why: Cut) -> Self {
        match why {
            Cut::Administrator => Self::Administrator,
            Cut::ServerDown => Self::ServerDown,
            Cut::ActiveUp => Self::ActiveUp,
        }
    }

    const fn of_side(side: Side) -> Self {
        match side {
            Side::Client => Self::Client,
            Side::Server => Self::Server,
        }
    }

    const fn of_timeout(side: Side) -> Self {
        match side {
            Side::Client => Self::ClientTimeout,
            Side::Server => Self::ServerTimeout,
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Client => 'C',
            Self::Server => 'S',
            Self::ClientTimeout => 'c',
            Self::ServerTimeout => 's',
            Self::Proxy => 'P',
            Self::Resource => 'R',
            Self::Internal => 'I',
            Self::ServerDown => 'D',
            Self::ActiveUp => 'U',
            Self::Administrator => 'K',
        }
    }
}

impl Phase {
    const fn letter(self) -> char {
        match self {
            Self::Opening => 'R',
            Self::Queue => 'Q',
            Self::Connect => 'C',
            Self::Data => 'D',
        }
    }
}

impl Ending<'_> {
    /// Why it ended, in words; `None` = both sides ended it in an orderly way.
    pub(crate) fn reason(&self) -> Option<String> {
        let words = match self {
            Self::Denied => "the client's address is not allowed",
            Self::Dropped => "the client's address is to be dropped",
            Self::Limited(Refusal::Sessions) => "the client has as many sessions as it may have",
            Self::Limited(Refusal::Rate) => "the client comes faster than it may",
            Self::NoSession(reason) => return Some(with_causes(reason)),
            Self::Relayed(end, _) => match end {
                End::Finished => return None,
                End::Idle => "nothing was said for the idle timeout",
                End::Stuck(Side::Client) => "the client took nothing for the idle timeout",
                End::Stuck(Side::Server) => "the server took nothing for the idle timeout",
                End::HalfClosed(Side::Client) => {
                    "the server had ended, and the client said nothing for its client_fin timeout"
                }
                End::HalfClosed(Side::Server) => {
                    "the client had ended, and the server said nothing for its server_fin timeout"
                }
                End::Old(_) => "it had lasted as long as it may",
                End::Drained => "the proxy stops, and nothing was under way",
                End::Cut(Cut::Administrator) => "an administrator ended it",
                End::Cut(Cut::ServerDown) => "its server went down",
                End::Cut(Cut::ActiveUp) => "its server is a backup, and another one came up",
                End::Aborted(broken) => return Some(with_causes(broken)),
            },
            Self::Stopped => "the proxy stopped",
            Self::Panicked => "a fault of the proxy",
        };
        Some(words.to_owned())
    }
}
