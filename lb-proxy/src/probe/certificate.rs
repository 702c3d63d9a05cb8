//! The certificate that a server shows to probes, also when it is not accepted: one that has expired
//! is what people want to be told of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::parse_x509_certificate;

use crate::tls::validity::Validity;

/// What is known of the certificate that a server has shown last.
#[derive(Debug, Default)]
pub(super) struct Certificate {
    /// In seconds since 1970; 0 = it has shown none, or one without a date that can be read.
    not_after: AtomicU64,
}

impl Certificate {
    /// The last second in which it is valid, since 1970.
    pub(super) fn not_after(&self) -> Option<u64> {
        Some(self.not_after.load(Ordering::Relaxed)).filter(|end| *end > 0)
    }

    fn note(&self, certificate: &CertificateDer<'_>) {
        let parsed = parse_x509_certificate(certificate).ok();
        let end = parsed.map(|(_, own)| Validity::of(&own).not_after);
        let end = end.and_then(|end| u64::try_from(end).ok()).unwrap_or(0);
        self.not_after.store(end, Ordering::Relaxed);
    }
}

/// Notes a server's certificate, and leaves the verdict on it to another.
#[derive(Debug)]
pub(super) struct Noting {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) certificate: Arc<Certificate>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.certificate.note(end_entity);
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.verifier.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_last_second_is_read_and_garbage_has_none() {
        let certificate = Certificate::default();
        assert_eq!(certificate.not_after(), None);
        let mut params = CertificateParams::new(vec!["a.example.org".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(2024, 2, 29);
        let key = KeyPair::generate().expect("ring makes keys");
        certificate.note(params.self_signed(&key).expect("it signs itself").der());
        assert_eq!(certificate.not_after(), Some(1_709_164_800));
        certificate.note(&CertificateDer::from_slice(b"0"));
        assert_eq!(certificate.not_after(), None);
    }
}
