//! TLS settings of a probe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::{ClientCertificate, ProbeFiles};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::tls::files::{TlsError, authorities, certificates, private_key};

/// Everything that is wrong with the files of a probe, of those that are given; nothing is started.
pub fn check_files(given: &ProbeFiles) -> Vec<TlsError> {
    let ProbeFiles {
        ca_file,
        cert_file,
        key_file,
    } = given;
    let all = [ca_file, cert_file, key_file].into_iter().flatten();
    let files: BTreeMap<PathBuf, Vec<u8>> = all
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
            client_config(None, Some(&pair), &files).err()
        }
        _ => None,
    };
    [authority, certificate, key, pair]
        .into_iter()
        .flatten()
        .collect()
}

/// The settings for a backend's probes. Every probe makes a full handshake, as a new client would.
pub(crate) fn client_config(
    ca_file: Option<&Path>,
    client: Option<&ClientCertificate>,
    files: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?;
    let builder = match ca_file {
        Some(path) => builder.with_root_certificates(authorities(path, files)?),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchecked(provider))),
    };
    let mut config = match client {
        Some(client) => with_certificate(builder, client, files)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

type NeedsClientCertificate = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn with_certificate(
    builder: NeedsClientCertificate,
    client: &ClientCertificate,
    files: &BTreeMap<PathBuf, Vec<u8>>,
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
/// Such a probe asks whether an API server answers at this address, not who it is: nothing secret
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
