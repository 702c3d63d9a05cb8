//! TLS settings of a probe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::ClientCertificate;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// A certificate or key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("looking for the contents of {} among the files that were handed over", .0.display())]
    Missing(PathBuf),
    #[error("reading {} as PEM", path.display())]
    Pem {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("looking for a certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    #[error("taking the certificates in {} as authorities", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("using {} with its key as client certificate", path.display())]
    Client {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("choosing TLS versions")]
    Versions(#[source] rustls::Error),
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
    let key = PrivateKeyDer::from_pem_slice(contents(&client.key_file, files)?);
    let key = key.map_err(|source| TlsError::Pem {
        path: client.key_file.clone(),
        source,
    })?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|source| TlsError::Client {
            path: client.cert_file.clone(),
            source,
        })
}

fn authorities(path: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, files)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(roots)
}

fn certificates(
    path: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(contents(path, files)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(TlsError::NoCertificate(path.to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(TlsError::Pem {
            path: path.to_owned(),
            source,
        }),
    }
}

fn contents<'a>(path: &Path, files: &'a BTreeMap<PathBuf, Vec<u8>>) -> Result<&'a [u8], TlsError> {
    files
        .get(path)
        .map(Vec::as_slice)
        .ok_or_else(|| TlsError::Missing(path.to_owned()))
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
