//! What the proxy says of the TLS that it speaks itself.

use super::{Cell, Text};

board_enum! {
    /// Why a handshake with a client, or with a server, came to nothing.
    TlsFailure {
        /// None of those below.
        Other = 0 => "other",
        /// It was not complete in time.
        Timeout = 1 => "timeout",
        /// The client has ended or reset the connection: a port scan, a health check.
        Gone = 2 => "gone",
        /// What it said was not TLS.
        NotTls = 3 => "not_tls",
        /// It speaks no version, cipher, group or signature that we do.
        Incompatible = 4 => "incompatible",
        /// It asked for a name of no certificate, where that is refused.
        Name = 5 => "name",
        /// It offers protocols (ALPN), and none that the listener has.
        Protocol = 6 => "protocol",
        /// It has refused us by an alert: it does not trust our certificate, as a rule.
        Refused = 7 => "refused",
        /// It has shown no certificate, where one is required.
        NoCertificate = 8 => "no_certificate",
        /// Its certificate is not to be trusted.
        BadCertificate = 9 => "bad_certificate",
        /// Its certificate has expired, or is not valid yet.
        ExpiredCertificate = 10 => "expired_certificate",
        /// Its certificate was revoked.
        RevokedCertificate = 11 => "revoked_certificate",
        /// It broke the protocol.
        Misbehaved = 12 => "misbehaved",
        /// A server's certificate is for another name.
        WrongName = 13 => "wrong_name",
        /// The authority of its certificate is none of those that are trusted.
        UnknownAuthority = 14 => "unknown_authority",
    }
}

board_enum! {
    /// A handshake with a client that succeeded.
    TlsHandshake {
        Full12 = 0 => "1.2-full",
        Resumed12 = 1 => "1.2-resumed",
        Full13 = 2 => "1.3-full",
        Resumed13 = 3 => "1.3-resumed",
    }
}

impl TlsHandshake {
    /// The version of TLS, and whether a session was resumed.
    pub const fn parts(self) -> (&'static str, bool) {
        match self {
            Self::Full12 => ("1.2", false),
            Self::Resumed12 => ("1.2", true),
            Self::Full13 => ("1.3", false),
            Self::Resumed13 => ("1.3", true),
        }
    }
}

/// TLS of one listener, or of one backend's servers.
#[repr(C)]
#[derive(Debug, Default)]
pub struct TlsSlot {
    /// By [`TlsHandshake`].
    pub handshakes: [Cell; 4],
    /// By [`TlsFailure`].
    pub failures: [Cell; 16],
    /// Sessions that were reset because a side ended its stream without saying so in TLS: it may
    /// have been cut.
    pub truncated: Cell,
}

/// One certificate of a listener.
#[repr(C)]
#[derive(Debug, Default)]
pub struct CertificateSlot {
    /// In seconds since 1970; 0 = there is none, or it is not known.
    pub not_after: Cell,
    /// "web.example.org and 2 more names".
    pub names: Text,
}

impl TlsSlot {
    /// The counter of a failure.
    pub fn failure(&self, why: TlsFailure) -> &Cell {
        &self.failures[why as usize]
    }

    /// The counter of a handshake.
    pub fn handshake(&self, how: TlsHandshake) -> &Cell {
        &self.handshakes[how as usize]
    }
}
