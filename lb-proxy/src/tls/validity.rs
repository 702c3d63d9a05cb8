//! How long a certificate is valid.

use x509_parser::prelude::X509Certificate;

/// The first and the last second of a certificate, since 1970 (RFC 5280, section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// How a certificate stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Valid,
    NotYet,
    Expired,
}

impl Validity {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        }
    }

    /// At so many seconds since 1970.
    pub(crate) const fn at(self, now: i64) -> Standing {
        if now < self.not_before {
            Standing::NotYet
        } else if now > self.not_after {
            Standing::Expired
        } else {
            Standing::Valid
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use x509_parser::parse_x509_certificate;

    use super::*;

    #[test]
    fn a_certificate_says_when_it_is_valid() {
        let mut params = CertificateParams::new(vec!["lb1".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2024, 2, 29);
        // Beyond 2049 the date has another form (GeneralizedTime).
        params.not_after = date_time_ymd(2061, 1, 1);
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let parsed = parse_x509_certificate(certificate.der());
        let (_, parsed) = parsed.expect("a certificate");
        let validity = Validity::of(&parsed);
        assert_eq!(validity.not_before, 1_709_164_800);
        assert_eq!(validity.not_after, 2_871_763_200);
        for (now, standing) in [
            (1_709_164_799, Standing::NotYet),
            (1_709_164_800, Standing::Valid),
            (2_871_763_200, Standing::Valid),
            (2_871_763_201, Standing::Expired),
        ] {
            assert_eq!(validity.at(now), standing, "{now}");
        }
    }
}
