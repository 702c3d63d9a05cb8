//! The lab's certificate authority, a certificate for each server, one for clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::topology::{API_VIP, WEB_VIP};

/// Everything that TLS in the lab needs.
#[derive(Debug)]
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    client: Arc<ClientConfig>,
    client_with_certificate: Arc<ClientConfig>,
}

impl Pki {
    /// Makes the authority and writes `ca.pem`, `client.pem` and `client.key` into the folder.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).context("name the authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "lab CA");
        let key = KeyPair::generate().context("make the authority's key")?;
        let issuer = CertifiedIssuer::self_signed(params, key).context("sign the authority")?;
        let (certificate, key) = signed(&issuer, "lab client", Vec::new())?;
        std::fs::write(folder.join("ca.pem"), issuer.pem()).context("write ca.pem")?;
        std::fs::write(folder.join("client.pem"), certificate.pem()).context("write client.pem")?;
        std::fs::write(folder.join("client.key"), key.serialize_pem())
            .context("write client.key")?;
        let client = client_config(&issuer, None)?;
        let own = (certificate.der().clone(), private(&key));
        let client_with_certificate = client_config(&issuer, Some(own))?;
        Ok(Self {
            issuer,
            folder: folder.to_owned(),
            client,
            client_with_certificate,
        })
    }

    /// The authority's certificate, for `ca_file`.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A client certificate that the fake API server accepts as credentials.
    pub fn client_certificate_file(&self) -> PathBuf {
        self.folder.join("client.pem")
    }

    /// Its key.
    pub fn client_key_file(&self) -> PathBuf {
        self.folder.join("client.key")
    }

    /// Trusts the authority, shows nothing.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// Trusts the authority and shows the client certificate.
    pub fn client_with_certificate(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client_with_certificate)
    }

    /// A server of this name; valid for both VIPs, asks for a client certificate and does without.
    pub(crate) fn server(
        &self,
        name: &str,
        address: std::net::Ipv4Addr,
    ) -> Result<Arc<ServerConfig>> {
        let names = vec![
            name.to_owned(),
            address.to_string(),
            API_VIP.to_string(),
            WEB_VIP.to_string(),
        ];
        let (certificate, key) = signed(&self.issuer, name, names)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots(&self.issuer)?),
            Arc::new(rustls::crypto::ring::default_provider()),
        )
        .allow_unauthenticated()
        .build()
        .context("make the verifier of client certificates")?;
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .context("choose the TLS versions")?
                .with_client_cert_verifier(verifier)
                .with_single_cert(vec![certificate.der().clone()], private(&key))
                .context("take the server's certificate")?;
        Ok(Arc::new(config))
    }
}

fn signed(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    alternatives: Vec<String>,
) -> Result<(rcgen::Certificate, KeyPair)> {
    let mut params = CertificateParams::new(alternatives).context("name a certificate")?;
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().context("make a key")?;
    let certificate = params
        .signed_by(&key, issuer)
        .context("sign a certificate")?;
    Ok((certificate, key))
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

fn roots(issuer: &CertifiedIssuer<'static, KeyPair>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots
        .add(issuer.der().clone())
        .context("trust the lab's authority")?;
    Ok(roots)
}

fn client_config(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("choose the TLS versions")?
            .with_root_certificates(roots(issuer)?);
    let config = match own {
        Some((certificate, key)) => builder
            .with_client_auth_cert(vec![certificate], key)
            .context("take the client's certificate")?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
