//! The TLS of listeners: boards → status, and what a human should look at. Pure.

use common::board::{CertificateSlot, TlsFailure, TlsHandshake, TlsSlot};
use common::status::{CertificateStatus, HandshakeStatus, ListenerStatus, TlsStatus};

use super::clock::Clocks;
use super::expiry::{Expiry, words};
use super::view::View;

/// A certificate that is valid for fewer days is worth a warning.
const SOON: i64 = 14;

impl View {
    /// What is known of a listener's TLS, if it ends any.
    pub(super) fn tls(&self, listener: usize, clocks: Clocks) -> Option<TlsStatus> {
        let listeners = &self.config.listeners;
        let tls = listeners[listener].tls.as_ref()?;
        let earlier = listeners[..listener].iter().flat_map(|one| &one.tls);
        let first: usize = earlier.map(|tls| tls.certificates.len()).sum();
        let board = self.boards.proxy;
        let slots = board.certificates.iter().skip(first);
        let certificates =
            tls.certificates.iter().zip(slots).map(|(files, slot)| {
                certificate(files.cert_file.display().to_string(), slot, clocks)
            });
        Some(status(
            &board.listeners[listener].tls,
            certificates.collect(),
        ))
    }
}

/// What was counted of handshakes with clients, or with servers.
pub(super) fn handshakes(slot: &TlsSlot) -> HandshakeStatus {
    let handshakes = TlsHandshake::ALL.iter();
    let failures = TlsFailure::ALL.iter();
    HandshakeStatus {
        handshakes: handshakes
            .map(|how| (how.word().to_owned(), slot.handshake(*how).get()))
            .collect(),
        failures: failures
            .map(|why| (why.word().to_owned(), slot.failure(*why).get()))
            .collect(),
    }
}

fn status(slot: &TlsSlot, certificates: Vec<CertificateStatus>) -> TlsStatus {
    let HandshakeStatus {
        handshakes,
        failures,
    } = handshakes(slot);
    TlsStatus {
        handshakes,
        failures,
        truncated: slot.truncated.get(),
        certificates,
    }
}

fn certificate(file: String, slot: &CertificateSlot, clocks: Clocks) -> CertificateStatus {
    let Some(expiry) = Expiry::of(slot.not_after.get(), clocks) else {
        return CertificateStatus {
            file,
            ..CertificateStatus::default()
        };
    };
    CertificateStatus {
        file,
        names: slot.names.get(),
        not_after: expiry.date,
        not_after_timestamp: Some(expiry.timestamp),
        days_left: Some(expiry.days_left),
    }
}

/// A warning for each certificate that has expired or will soon.
pub(super) fn warnings(listener: &ListenerStatus) -> Vec<String> {
    let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
    certificates
        .filter_map(|certificate| warning(&listener.name, certificate))
        .collect()
}

fn warning(listener: &str, certificate: &CertificateStatus) -> Option<String> {
    let days = certificate.days_left.filter(|days| *days < SOON)?;
    let CertificateStatus { file, names, .. } = certificate;
    let when = words(days, &certificate.not_after);
    Some(format!(
        "listener {listener}: certificate {file} ({names}) {when}"
    ))
}

#[cfg(test)]
mod tests {
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::rates::Rates;

    /// Noon of the fixture's day, 2026-05-01.
    const NOON: u64 = 1_777_636_800;

    fn warned(not_after: u64) -> (Option<i64>, Vec<String>) {
        let view = fixture::healthy();
        view.boards.proxy.certificates[0].not_after.set(not_after);
        let status = view.status(&Rates::default(), CLOCKS);
        let tls = status.listeners[1].tls.as_ref().expect("it ends TLS");
        (tls.certificates[0].days_left, status.warnings)
    }

    #[test]
    fn a_certificate_that_expires_within_two_weeks_is_a_warning() {
        let day = 86_400;
        let file = "listener https: certificate /etc/fmc-lb/tls/web.pem (web.example.org)";
        for (not_after, days, words) in [
            (NOON + 14 * day, 14, None),
            (NOON + 14 * day - 1, 13, Some("expires in 13 days")),
            (NOON + 2 * day - 1, 1, Some("expires tomorrow")),
            (NOON + 5, 0, Some("expires today")),
            (NOON - 5, -1, Some("expired on 2026-05-01T11:59:55Z")),
        ] {
            let (left, warnings) = warned(not_after);
            assert_eq!(left, Some(days));
            let expected: Vec<String> = words
                .map(|when| format!("{file} {when}"))
                .into_iter()
                .collect();
            assert_eq!(warnings, expected);
        }
    }

    #[test]
    fn a_certificate_that_the_proxy_has_not_read_yet_is_no_warning() {
        assert_eq!(warned(0), (None, Vec::new()));
    }
}
