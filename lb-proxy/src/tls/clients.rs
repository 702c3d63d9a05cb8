//! How certificates of clients are checked.

use std::sync::Arc;

use common::config::ClientCheck;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::Files;
use super::files::{TlsError, authorities, revocations};

/// Whoever shows a certificate that is not to be trusted is refused, also where none would do. With
/// lists of revoked certificates there has to be one of each authority above it, since what is not
/// known is no reason to let anybody in.
///
/// # Errors
///
/// A file that cannot be used.
pub(crate) fn verifier(
    clients: &ClientCheck,
    files: &Files,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Arc::new(authorities(&clients.ca_file, files)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if let Some(path) = &clients.crl_file {
        builder = builder.with_crls(revocations(path, files)?);
    }
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    // There is an authority at least, so it can only be a list.
    let path = clients.crl_file.as_ref().unwrap_or(&clients.ca_file);
    builder.build().map_err(|source| TlsError::Revocations {
        path: path.clone(),
        source,
    })
}
