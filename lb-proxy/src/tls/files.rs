//! Certificates and keys in PEM files, whose contents were handed over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::VerifierBuilderError;
use x509_parser::error::X509Error;

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
    #[error("{} ends before its -----END {what}-----", path.display())]
    Cut { path: PathBuf, what: String },
    #[error("looking for a certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    #[error("taking the certificates in {} as authorities", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("taking the lists in {} of revoked certificates", path.display())]
    Revocations {
        path: PathBuf,
        #[source]
        source: VerifierBuilderError,
    },
    #[error("using {} with its private key", path.display())]
    Pair {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("taking {} for an X.509 certificate", path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        source: X509Error,
    },
    #[error("{} expired on {on}", path.display())]
    Expired { path: PathBuf, on: String },
    #[error("{} is not valid before {from}", path.display())]
    NotYetValid { path: PathBuf, from: String },
    #[error("making keys for session tickets")]
    Tickets(#[source] rustls::Error),
    #[error("choosing TLS versions")]
    Versions(#[source] rustls::Error),
}

impl TlsError {
    /// The file, where it is one's fault.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Missing(path)
            | Self::NoCertificate(path)
            | Self::Cut { path, .. }
            | Self::Pem { path, .. }
            | Self::Authority { path, .. }
            | Self::Revocations { path, .. }
            | Self::Pair { path, .. }
            | Self::Certificate { path, .. }
            | Self::Expired { path, .. }
            | Self::NotYetValid { path, .. } => Some(path),
            Self::Tickets(_) | Self::Versions(_) => None,
        }
    }

    /// Whether the file is good at another time: a node that starts with it is better than none.
    pub fn is_of_time(&self) -> bool {
        match self {
            Self::Expired { .. } | Self::NotYetValid { .. } => true,
            Self::Missing(_)
            | Self::Pem { .. }
            | Self::Cut { .. }
            | Self::NoCertificate(_)
            | Self::Authority { .. }
            | Self::Revocations { .. }
            | Self::Pair { .. }
            | Self::Certificate { .. }
            | Self::Tickets(_)
            | Self::Versions(_) => false,
        }
    }

    /// What to do about the file.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Pair { .. } => "name a certificate and the private key that belongs to it",
            Self::Expired { .. } => "renew it: no client trusts it any more",
            Self::NotYetValid { .. } => {
                "look at the machine's clock, or wait: no client trusts it yet"
            }
            Self::Missing(_)
            | Self::NoCertificate(_)
            | Self::Pem { .. }
            | Self::Cut { .. }
            | Self::Authority { .. }
            | Self::Revocations { .. }
            | Self::Certificate { .. }
            | Self::Tickets(_)
            | Self::Versions(_) => {
                "copy the file anew: PEM, whole from its first BEGIN line to its last END line"
            }
        }
    }
}

/// The first private key of a file.
pub(crate) fn private_key(
    path: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(contents(path, files)?).map_err(|fault| no_pem(path, fault))
}

/// The certificates of a file as those that others are checked against.
pub(crate) fn authorities(
    path: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<RootCertStore, TlsError> {
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

/// The lists of revoked certificates of a file, at least one.
pub(crate) fn revocations(
    path: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(contents(path, files)?).collect();
    match lists {
        Ok(lists) if lists.is_empty() => Err(no_pem(path, pem::Error::NoItemsFound)),
        Ok(lists) => Ok(lists),
        Err(fault) => Err(no_pem(path, fault)),
    }
}

/// The certificates of a file in their order, at least one.
pub(crate) fn certificates(
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
        Err(fault) => Err(no_pem(path, fault)),
    }
}

fn no_pem(path: &Path, fault: pem::Error) -> TlsError {
    let path = path.to_owned();
    if let pem::Error::MissingSectionEnd { end_marker } = fault {
        let what = String::from_utf8_lossy(&end_marker).into_owned();
        return TlsError::Cut { path, what };
    }
    TlsError::Pem {
        path,
        source: fault,
    }
}

fn contents<'a>(path: &Path, files: &'a BTreeMap<PathBuf, Vec<u8>>) -> Result<&'a [u8], TlsError> {
    files
        .get(path)
        .map(Vec::as_slice)
        .ok_or_else(|| TlsError::Missing(path.to_owned()))
}
