//! Whether files of TLS can be used, before anybody uses them.

use std::sync::Arc;

use common::config::TlsUse;
use rustls::crypto::ring;

use super::Files;
use super::certificate::Certificate;
use super::clients::verifier;
use super::files::{TlsError, authorities};

/// What is wrong with files that are used together; nothing is started. `now` = seconds since 1970, at
/// which certificates must be valid; without it that is not asked.
///
/// # Errors
///
/// The first fault.
pub fn check_tls_files(uses: &[TlsUse], files: &Files, now: Option<i64>) -> Result<(), TlsError> {
    let provider = Arc::new(ring::default_provider());
    for one in uses {
        match one {
            TlsUse::Certificate(pair) => {
                let certificate = Certificate::read(pair, files, &provider)?;
                let objection = now.and_then(|now| certificate.objection(pair, now));
                if let Some(objection) = objection {
                    return Err(objection);
                }
            }
            TlsUse::Authorities(path) => {
                authorities(path, files)?;
            }
            TlsUse::Clients(clients) => {
                verifier(clients, files, Arc::clone(&provider))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::config::ClientCheck;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        IsCa, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
    };

    use super::*;

    #[test]
    fn lists_of_revoked_certificates_are_taken_as_the_proxy_takes_them() {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("ring makes keys");
        let authority = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2024, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&authority).expect("it signs");
        let list = list.pem().expect("PEM");
        let uses = [TlsUse::Clients(ClientCheck {
            ca_file: "/ca".into(),
            crl_file: Some("/crl".into()),
            required: true,
        })];
        let judged = |ca: &str, list: &str| {
            let files = [("/ca".into(), ca.into()), ("/crl".into(), list.into())];
            check_tls_files(&uses, &files.into(), None).map_err(|error| error.to_string())
        };
        let certificate = authority.pem();
        assert_eq!(judged(&certificate, &list), Ok(()));
        assert_eq!(judged(&certificate, &format!("{list}{list}")), Ok(()));
        let garbage = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
        for (ca, list, why) in [
            (
                &certificate[..],
                garbage,
                "taking the lists in /crl of revoked certificates",
            ),
            (&certificate, "", "reading /crl as PEM"),
            (
                &certificate,
                &list[..90],
                "/crl ends before its -----END X509 CRL-----",
            ),
            ("", &list, "looking for a certificate in /ca"),
        ] {
            assert_eq!(judged(ca, list), Err(why.to_owned()));
        }
    }
}
