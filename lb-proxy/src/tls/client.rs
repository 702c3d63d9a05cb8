//! TLS that the proxy begins itself: with servers that it asks how they are, and for sessions.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use common::config::{BackendTls, ClientCertificate, ProbeTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

use super::Files;
use super::files::{TlsError, authorities, certificates, private_key};
use super::listener::versions;

/// How servers are spoken to, with the files as they are now.
#[derive(Debug)]
pub(crate) struct Clients {
    current: ArcSwap<Settings>,
}

/// What is made of the files.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: ClientConfig,
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
}

impl Clients {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            current: ArcSwap::from_pointee(settings),
        }
    }

    /// Those of the next handshake.
    pub(crate) fn current(&self) -> Arc<Settings> {
        self.current.load_full()
    }

    /// What begins from now on is spoken by these.
    pub(crate) fn replace(&self, settings: Settings) {
        self.current.store(Arc::new(settings));
    }
}

impl Settings {
    /// `protocols` are those of ALPN that a probe speaks. Every probe makes a full handshake, as a
    /// new client would.
    ///
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn of_probe(
        tls: &ProbeTls,
        protocols: &[&str],
        files: &Files,
    ) -> Result<Self, TlsError> {
        let verifier = verifier(tls.ca_file.as_deref(), files)?;
        let mut config = client_config(Arc::clone(&verifier), tls.client.as_ref(), files)?;
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        config.resumption = Resumption::disabled();
        Ok(Self { config, verifier })
    }
}

/// Of the sessions of a backend, but for what servers give to resume them.
///
/// # Errors
///
/// A file that cannot be used.
pub(crate) fn of_backend(tls: &BackendTls, files: &Files) -> Result<ClientConfig, TlsError> {
    let verifier = verifier(tls.ca_file.as_deref(), files)?;
    let client = (tls.client.as_ref(), files);
    let mut config = client_config_of(&versions(tls.versions), verifier, client)?;
    let protocols = tls.alpn.iter().map(|name| name.clone().into_bytes());
    config.alpn_protocols = protocols.collect();
    Ok(config)
}

/// What a server's certificate is checked by; without authorities any one is accepted.
pub(crate) fn verifier(
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

/// With both versions of TLS.
pub(crate) fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    client: Option<&ClientCertificate>,
    files: &Files,
) -> Result<ClientConfig, TlsError> {
    client_config_of(rustls::DEFAULT_VERSIONS, verifier, (client, files))
}

fn client_config_of(
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ServerCertVerifier>,
    (client, files): (Option<&ClientCertificate>, &Files),
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
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

/// Takes any certificate, where the configuration names no authority.
///
/// A probe of that kind asks whether a server answers at this address, not who it is: nothing secret
/// is sent (without an authority the client certificate proves itself by a signature, which cannot
/// be reused). Somebody who sits between balancer and server can make a server look ready or not, as
/// with a TCP probe. For sessions the file has to say `verify = false`, and is warned of: what clients
/// say is kept from those who listen, not from those who answer.
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
