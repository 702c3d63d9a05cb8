//! TLS settings of a probe.

use std::path::PathBuf;
use std::sync::Arc;

use common::config::{ClientCertificate, ClientFiles, ProbeTls};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::certificate::{Certificate, Noting};
use crate::tls::Files;
use crate::tls::client::{Clients, client_config, verifier};
use crate::tls::files::{TlsError, authorities, certificates, private_key};

/// Everything that is wrong with the files of a probe, of those that are given; nothing is started.
pub fn check_files(given: &ClientFiles) -> Vec<TlsError> {
    let ClientFiles {
        ca_file,
        cert_file,
        key_file,
    } = given;
    let all = [ca_file, cert_file, key_file].into_iter().flatten();
    let files: Files = all
        .map(|(path, text)| (path.clone(), text.clone().into_bytes()))
        .collect();
    let path = |file: &'_ Option<(PathBuf, String)>| file.as_ref().map(|(path, _)| path.clone());
    let authority = path(ca_file).and_then(|path| authorities(&path, &files).err());
    let certificate = path(cert_file).and_then(|path| certificates(&path, &files).err());
    let key = path(key_file).and_then(|path| private_key(&path, &files).err());
    let pair = match (cert_file, key_file) {
        (Some((cert, _)), Some((key_file, _))) if certificate.is_none() && key.is_none() => {
            let pair = ClientCertificate {
                cert_file: cert.clone(),
                key_file: key_file.clone(),
            };
            verifier(None, &files)
                .and_then(|verifier| client_config(verifier, Some(&pair), &files))
                .err()
        }
        _ => None,
    };
    [authority, certificate, key, pair]
        .into_iter()
        .flatten()
        .collect()
}

/// The TLS of a backend's probes.
#[derive(Debug, Clone)]
pub(super) struct TlsClients {
    clients: Arc<Clients>,
    server_name: Option<ServerName<'static>>,
    shows_certificate: bool,
}

impl TlsClients {
    pub(super) fn new(tls: &ProbeTls, clients: Arc<Clients>) -> Self {
        let server_name = tls.server_name.clone().map(|name| {
            ServerName::try_from(name).expect("TLS knows every name of a configuration")
        });
        Self {
            clients,
            server_name,
            shows_certificate: tls.client.is_some(),
        }
    }

    /// The name that servers are asked for; `None` = their addresses.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        self.server_name.clone()
    }

    /// Whether they have a client certificate.
    pub(super) const fn show_certificate(&self) -> bool {
        self.shows_certificate
    }

    /// Settings of the next handshake with one server, whose certificate is noted.
    pub(super) fn that_note(&self, certificate: &Arc<Certificate>) -> Arc<ClientConfig> {
        let current = self.clients.current();
        let mut config = current.config.clone();
        let verifier = Noting {
            verifier: Arc::clone(&current.verifier),
            certificate: Arc::clone(certificate),
        };
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        Arc::new(config)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate() -> (String, String) {
        let key = KeyPair::generate().expect("ring makes keys");
        let params = CertificateParams::new(vec!["lb1".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("it signs itself");
        (certificate.pem(), key.serialize_pem())
    }

    fn given(ca: &str, cert: &str, key: &str) -> ClientFiles {
        let file = |name: &str, text: &str| Some((PathBuf::from(name), text.to_owned()));
        ClientFiles {
            ca_file: file("/ca", ca),
            cert_file: file("/cert", cert),
            key_file: file("/key", key),
        }
    }

    #[test]
    fn every_file_that_cannot_be_used_is_named() {
        let (certificate, key) = certificate();
        let paths = |files: &ClientFiles| -> Vec<String> {
            let errors = check_files(files);
            let path =
                |error: &TlsError| error.path().expect("a file's fault").display().to_string();
            errors.iter().map(path).collect()
        };
        let none: &[&str] = &[];
        assert_eq!(paths(&given(&certificate, &certificate, &key)), none);
        assert_eq!(paths(&ClientFiles::default()), none);
        assert_eq!(paths(&given("", "", "")), ["/ca", "/cert", "/key"]);
        assert_eq!(
            paths(&given(&certificate, &key, &certificate)),
            ["/cert", "/key"]
        );
    }

    #[test]
    fn a_key_that_does_not_belong_to_its_certificate_is_found() {
        let ((certificate, _), (_, key)) = (certificate(), certificate());
        let errors = check_files(&given(&certificate, &certificate, &key));
        assert!(
            matches!(&errors[..], [error @ TlsError::Pair { .. }] if error.remedy().contains("belongs")),
            "{errors:?}"
        );
    }
}
