//! A listener's certificate, as clients get it.

use std::sync::Arc;

use common::board::CertificateSlot;
use common::config::CertificateFiles;
use common::dns_name;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

use super::Files;
use super::files::{TlsError, certificates, private_key};
use super::validity::{Standing, Validity};

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// The names that it is for: exact, or `*.` and a suffix, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) validity: Validity,
}

impl Certificate {
    /// # Errors
    ///
    /// A file that is missing or no PEM, a key of another certificate.
    pub(crate) fn read(
        files: &CertificateFiles,
        contents: &Files,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let chain = certificates(&files.cert_file, contents)?;
        let key = private_key(&files.key_file, contents)?;
        let own = chain.first().map(|own| own.as_ref()).unwrap_or_default();
        let parsed = parse_x509_certificate(own).map_err(|source| TlsError::Certificate {
            path: files.cert_file.clone(),
            source: X509Error::from(source),
        });
        let (names, validity) = parsed.map(|(_, own)| (names(&own), Validity::of(&own)))?;
        let key =
            CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Pair {
                path: files.cert_file.clone(),
                source,
            })?;
        Ok(Self {
            key: Arc::new(key),
            names,
            validity,
        })
    }

    /// What is wrong with it at so many seconds since 1970.
    pub(crate) fn objection(&self, files: &CertificateFiles, now: i64) -> Option<TlsError> {
        let path = files.cert_file.clone();
        match self.validity.at(now) {
            Standing::Valid => None,
            Standing::Expired => Some(TlsError::Expired {
                path,
                on: date(self.validity.not_after),
            }),
            Standing::NotYet => Some(TlsError::NotYetValid {
                path,
                from: date(self.validity.not_before),
            }),
        }
    }

    /// Puts it on the board.
    pub(crate) fn show(&self, slot: &CertificateSlot) {
        let not_after = u64::try_from(self.validity.not_after).unwrap_or(0);
        slot.names.set(&self.words());
        slot.not_after.set(not_after);
    }

    /// `web.example.org and 2 more names`
    fn words(&self) -> String {
        match self.names.as_slice() {
            [] => "no names".to_owned(),
            [name] => name.clone(),
            [name, other] => format!("{name} and {other}"),
            [name, others @ ..] => format!("{name} and {} more names", others.len()),
        }
    }
}

/// Those of the subject alternative names; where there are none, the common name (RFC 6125, section
/// 6.4.4). What no client can ask for is left out.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative
        .iter()
        .flat_map(|names| &names.value.general_names);
    let dns = alternative.filter_map(|name| {
        if let GeneralName::DNSName(name) = name {
            pattern(name)
        } else {
            None
        }
    });
    let dns: Vec<String> = dns.collect();
    if !dns.is_empty() {
        return dns;
    }
    let common = certificate.subject().iter_common_name();
    let common = common.filter_map(|name| name.as_str().ok());
    common.filter_map(pattern).collect()
}

fn pattern(name: &str) -> Option<String> {
    let (wildcard, name) = match name.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", name),
    };
    let name = dns_name::normalize(name.as_bytes()).ok()?;
    Some(format!("{wildcard}{name}"))
}

/// `2026-01-31`, in UTC.
fn date(timestamp: i64) -> String {
    x509_parser::time::ASN1Time::from_timestamp(timestamp).map_or_else(
        |_| timestamp.to_string(),
        |time| time.to_datetime().date().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn names_of(alternative: &[&str], common: &str) -> Vec<String> {
        let alternative: Vec<String> = alternative.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(alternative).expect("names");
        params
            .distinguished_name
            .push(DnType::CommonName, common.to_owned());
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let (_, parsed) = parse_x509_certificate(certificate.der()).expect("a certificate");
        names(&parsed)
    }

    #[test]
    fn names_are_the_alternative_ones_or_else_the_common_one() {
        let alternative = ["Web.example.org", "*.Example.net", "192.0.2.1"];
        assert_eq!(
            names_of(&alternative, "other.example.org"),
            ["web.example.org", "*.example.net"]
        );
        assert_eq!(names_of(&[], "old.example.org"), ["old.example.org"]);
        assert_eq!(names_of(&[], "Our web server"), [""; 0]);
    }

    #[test]
    fn a_date_is_written_as_people_read_it() {
        assert_eq!(date(1_709_164_800), "2024-02-29");
    }
}
