//! TLS settings of a probe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::{ClientCertificate, ProbeFiles, ProbeTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::certificate::{Certificate, Noting};
use crate::tls::Files;
use crate::tls::files::{TlsError, authorities, certificates, private_key};

/// Everything that is wrong with the files of a probe, of those that are given; nothing is started.
pub fn check_files(given: &ProbeFiles) -> Vec<TlsError> {
    let ProbeFiles {
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
#[derive(Debug)]
pub(super) struct TlsClients {
    config: ClientConfig,
    verifier: Arc<dyn ServerCertVerifier>,
    server_name: Option<ServerName<'static>>,
    shows_certificate: bool,
}

impl TlsClients {
    /// `protocols` are those of ALPN that a probe speaks. Every probe makes a full handshake, as a
    /// new client would.
    pub(super) fn new(tls: &ProbeTls, protocols: &[&str], files: &Files) -> Result<Self, TlsError> {
        let verifier = verifier(tls.ca_file.as_deref(), files)?;
        let mut config = client_config(Arc::clone(&verifier), tls.client.as_ref(), files)?;
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        config.resumption = Resumption::disabled();
        let server_name = tls.server_name.clone().map(|name| {
            ServerName::try_from(name).expect("TLS knows every name of a configuration")
        });
        Ok(Self {
            config,
            verifier,
            server_name,
            shows_certificate: tls.client.is_some(),
        })
    }

    /// The name that servers are asked for; `None` = their addresses.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        self.server_name.clone()
    }

    /// Whether they have a client certificate.
    pub(super) const fn show_certificate(&self) -> bool {
        self.shows_certificate
    }

    /// Settings for one server, whose certificate is noted.
    pub(super) fn that_note(&self, certificate: &Arc<Certificate>) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        let verifier = Noting {
            verifier: Arc::clone(&self.verifier),
            certificate: Arc::clone(certificate),
        };
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        Arc::new(config)
    }
}

/// What a server's certificate is checked by; without authorities any one is accepted.
fn verifier(
    ca_file: Option<&Path>,
    files: &Files,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let Some(path) = ca_file else {
        return Ok(Arc::new(Unchecked(provider)));
    };
    let roots = Arc::new(authorities(path, files)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    match verifier {
        Ok(verifier) => Ok(verifier),
        // There is no other reason without revocation lists.
        Err(_) => Err(TlsError::NoCertificate(path.to_owned())),
    }
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    client: Option<&ClientCertificate>,
    files: &Files,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match client {
        Some(client) => with_certificate(builder, client, files),
        None => Ok(builder.with_no_client_auth()),
    }
}

type NeedsClientCertificate = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn with_certificate(
    builder: NeedsClientCertificate,
    client: &ClientCertificate,
    files: &Files,
) -> Result<ClientConfig, TlsError> {
    let chain = certificates(&client.cert_file, files)?;
    let key = private_key(&client.key_file, files)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|source| TlsError::Pair {
            path: client.cert_file.clone(),
            source,
        })
}

/// Takes any certificate, for probes whose configuration names no authority.
///
/// Such a probe asks whether a server answers at this address, not who it is: nothing secret
/// is sent (without an authority the client certificate proves itself by a signature, which cannot
/// be reused), and the clients that are relayed check the server's certificate themselves. Somebody
/// who sits between balancer and server can make a server look ready or not, as with a TCP probe.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
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

    fn given(ca: &str, cert: &str, key: &str) -> ProbeFiles {
        let file = |name: &str, text: &str| Some((PathBuf::from(name), text.to_owned()));
        ProbeFiles {
            ca_file: file("/ca", ca),
            cert_file: file("/cert", cert),
            key_file: file("/key", key),
        }
    }

    #[test]
    fn every_file_that_cannot_be_used_is_named() {
        let (certificate, key) = certificate();
        let paths = |files: &ProbeFiles| -> Vec<String> {
            let errors = check_files(files);
            let path =
                |error: &TlsError| error.path().expect("a file's fault").display().to_string();
            errors.iter().map(path).collect()
        };
        let none: &[&str] = &[];
        assert_eq!(paths(&given(&certificate, &certificate, &key)), none);
        assert_eq!(paths(&ProbeFiles::default()), none);
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
