//! Why a handshake came to nothing, by what is to be told of it. Pure.

use std::io;

use common::board::TlsFailure;
use rustls::{CertificateError, Error};

/// The reason of an error of a client's handshake.
pub(crate) fn of(error: &io::Error) -> TlsFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(error) => of_tls(error),
        None => of_socket(error.kind()),
    }
}

fn of_socket(kind: io::ErrorKind) -> TlsFailure {
    const GONE: [io::ErrorKind; 5] = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::NotConnected,
    ];
    if kind == io::ErrorKind::TimedOut {
        TlsFailure::Timeout
    } else if GONE.contains(&kind) {
        TlsFailure::Gone
    } else {
        TlsFailure::Other
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add errors: they are told as others"
)]
fn of_tls(error: &Error) -> TlsFailure {
    match error {
        // rustls checks the content type and the version of the first record, which is what tells
        // TLS from other protocols.
        Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType
            | rustls::InvalidMessage::UnknownProtocolVersion,
        ) => TlsFailure::NotTls,
        Error::PeerIncompatible(_) => TlsFailure::Incompatible,
        Error::NoApplicationProtocol => TlsFailure::Protocol,
        Error::AlertReceived(_) => TlsFailure::Refused,
        Error::NoCertificatesPresented => TlsFailure::NoCertificate,
        Error::InvalidCertificate(error) => of_certificate(error),
        // All that rustls says of a resolver that has nothing for a name.
        Error::General(_) => TlsFailure::Name,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_)
        | Error::DecryptError
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord => TlsFailure::Misbehaved,
        _ => TlsFailure::Other,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add errors: each is one of the certificate"
)]
fn of_certificate(error: &CertificateError) -> TlsFailure {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFailure::ExpiredCertificate,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFailure::WrongName
        }
        CertificateError::UnknownIssuer => TlsFailure::UnknownAuthority,
        CertificateError::Revoked => TlsFailure::RevokedCertificate,
        _ => TlsFailure::BadCertificate,
    }
}

/// Whether the client was told by an alert, or has told us: then the connection is closed in order,
/// so that the alert arrives.
pub(crate) fn is_told(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<Error>())
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage, PeerIncompatible, PeerMisbehaved};

    use super::*;

    #[test]
    fn each_error_has_its_reason() {
        let tls = |error: Error| of(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, reason) in [
            (
                Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
                TlsFailure::Incompatible,
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                TlsFailure::NotTls,
            ),
            (
                Error::InvalidMessage(InvalidMessage::MessageTooShort),
                TlsFailure::Misbehaved,
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                TlsFailure::Refused,
            ),
            (
                Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare),
                TlsFailure::Misbehaved,
            ),
            (
                Error::InvalidCertificate(CertificateError::Revoked),
                TlsFailure::RevokedCertificate,
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                TlsFailure::ExpiredCertificate,
            ),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                TlsFailure::UnknownAuthority,
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidForName),
                TlsFailure::WrongName,
            ),
            (
                Error::InvalidCertificate(CertificateError::UnknownRevocationStatus),
                TlsFailure::BadCertificate,
            ),
            (Error::NoApplicationProtocol, TlsFailure::Protocol),
            (Error::NoCertificatesPresented, TlsFailure::NoCertificate),
            (Error::FailedToGetRandomBytes, TlsFailure::Other),
        ] {
            let said = error.to_string();
            assert_eq!(tls(error), reason, "{said}");
        }
        let socket = |kind: io::ErrorKind| of(&kind.into());
        assert_eq!(socket(io::ErrorKind::TimedOut), TlsFailure::Timeout);
        assert_eq!(socket(io::ErrorKind::ConnectionReset), TlsFailure::Gone);
        let eof = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(of(&eof), TlsFailure::Gone);
        assert_eq!(socket(io::ErrorKind::OutOfMemory), TlsFailure::Other);
    }
}
