//! Which certificate a client gets, by the name that it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use crate::hello::ServerNames;

/// The certificates of a listener.
#[derive(Debug)]
pub(crate) struct Named {
    /// At least one; the first one is for those who ask for another name.
    certificates: Vec<Arc<CertifiedKey>>,
    /// Places in `certificates`, in order.
    names: ServerNames<Vec<usize>>,
    /// Nobody gets the first one for want of a better one.
    strict: bool,
}

impl Named {
    pub(crate) fn new(certificates: &[Certificate], strict: bool) -> Self {
        let mut places = BTreeMap::<&str, Vec<usize>>::new();
        for (place, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                places.entry(name).or_default().push(place);
            }
        }
        let certificates = certificates.iter().map(|one| Arc::clone(&one.key));
        Self {
            certificates: certificates.collect(),
            names: ServerNames::new(places).expect("a certificate's names are valid, once each"),
            strict,
        }
    }

    /// Of several for one name (RSA and ECDSA) the first whose key `is_understood`.
    fn choose(
        &self,
        asked: Option<&str>,
        is_understood: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<&Arc<CertifiedKey>> {
        let Some(places) = asked.and_then(|name| self.names.route(name)) else {
            return self.certificates.first().filter(|_| !self.strict);
        };
        let mut named = places.iter().map(|place| &self.certificates[*place]);
        let first = named.clone().next();
        named.find(|one| is_understood(one)).or(first)
    }
}

impl ResolvesServerCert for Named {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let chosen = self.choose(hello.server_name(), |one| {
            one.key.choose_scheme(schemes).is_some()
        });
        chosen.cloned()
    }
}

#[cfg(test)]
mod tests {
    use common::config::CertificateFiles;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::ring;

    use super::super::Files;
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let files = CertificateFiles {
            cert_file: "/cert".into(),
            key_file: "/key".into(),
        };
        let contents = Files::from([
            (files.cert_file.clone(), certificate.pem().into_bytes()),
            (files.key_file.clone(), key.serialize_pem().into_bytes()),
        ]);
        Certificate::read(&files, &contents, &ring::default_provider()).expect("a pair")
    }

    #[test]
    fn the_name_decides_and_the_first_one_is_for_the_others() {
        let certificates = [
            certificate(&["a.example.org"]),
            certificate(&["*.example.org", "b.example.net"]),
            certificate(&["b.example.org", "b.example.net"]),
        ];
        let place = |strict, asked: Option<&str>| {
            let named = Named::new(&certificates, strict);
            let chosen = named.choose(asked, |_| true).cloned();
            chosen.and_then(|chosen| {
                let mut all = certificates.iter();
                all.position(|one| Arc::ptr_eq(&one.key, &chosen))
            })
        };
        for (asked, expected) in [
            (Some("a.example.org"), Some(0)),
            (Some("A.EXAMPLE.org"), Some(0)),
            (Some("b.example.org"), Some(2)),
            (Some("c.example.org"), Some(1)),
            (Some("b.example.net"), Some(1)),
            (Some("c.d.example.org"), None),
            (Some("example.org"), None),
            (None, None),
        ] {
            assert_eq!(place(true, asked), expected, "{asked:?}");
            assert_eq!(place(false, asked), expected.or(Some(0)), "{asked:?}");
        }
    }

    #[test]
    fn of_two_for_a_name_the_client_gets_the_one_that_it_understands() {
        let certificates = [
            certificate(&["a.example.org"]),
            certificate(&["a.example.org"]),
        ];
        let named = Named::new(&certificates, false);
        let second = &certificates[1].key;
        let only_second = |one: &CertifiedKey| std::ptr::eq(one, Arc::as_ptr(second));
        let chosen = named.choose(Some("a.example.org"), only_second);
        assert!(Arc::ptr_eq(chosen.expect("one"), second));
        // None is understood: the handshake fails, and says why.
        assert!(named.choose(Some("a.example.org"), |_| false).is_some());
    }
}
