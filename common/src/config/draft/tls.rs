//! TLS while it is checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::diagnostic::Span;
use crate::config::value::{At, Values};
use crate::config::{TlsVersion, TlsVersions};

/// The `tls` of a listener.
#[derive(Debug)]
pub(in crate::config) struct ListenerTlsDraft {
    pub(in crate::config) span: Span,
    /// Without those that were wrong.
    pub(in crate::config) certificates: Option<At<Vec<At<CertificateDraft>>>>,
    pub(in crate::config) strict_sni: Option<bool>,
    pub(in crate::config) client_ca_file: Option<At<PathBuf>>,
    /// Whether clients have to show a certificate.
    pub(in crate::config) client_verify: Option<At<bool>>,
    pub(in crate::config) client_crl_file: Option<At<PathBuf>>,
    pub(in crate::config) versions: VersionsDraft,
    pub(in crate::config) alpn: Option<At<Vec<String>>>,
    pub(in crate::config) resumption: Option<bool>,
    pub(in crate::config) handshake_timeout: Option<Duration>,
}

#[derive(Debug)]
pub(in crate::config) struct CertificateDraft {
    pub(in crate::config) cert_file: At<PathBuf>,
    pub(in crate::config) key_file: Option<At<PathBuf>>,
}

#[derive(Debug)]
pub(in crate::config) struct VersionsDraft {
    pub(in crate::config) min: Option<At<TlsVersion>>,
    pub(in crate::config) max: Option<At<TlsVersion>>,
}

impl ListenerTlsDraft {
    /// `None` = the value was wrong; `Some(None)` = no TLS.
    pub(super) fn of(values: &Values) -> Option<Option<Self>> {
        let at = values.get::<Option<Values>>("tls")?;
        let Some(table) = &at.value else {
            return Some(None);
        };
        Some(Some(Self {
            span: at.span,
            certificates: certificates(table),
            strict_sni: table.get("strict_sni").map(|strict| strict.value),
            client_ca_file: table.get("client_ca_file"),
            client_verify: table
                .get::<&str>("client_verify")
                .map(|word| word.with(word.value == "required")),
            client_crl_file: table.get("client_crl_file"),
            versions: VersionsDraft::of(table),
            alpn: alpn(table),
            resumption: table.get("resumption").map(|may| may.value),
            handshake_timeout: table.get("handshake_timeout").map(|limit| limit.value),
        }))
    }
}

/// The `tls` of a backend.
#[derive(Debug)]
pub(in crate::config) struct BackendTlsDraft {
    pub(in crate::config) span: Span,
    pub(in crate::config) server_name: Option<At<String>>,
    pub(in crate::config) verify: Option<At<bool>>,
    pub(in crate::config) ca_file: Option<At<PathBuf>>,
    pub(in crate::config) cert_file: Option<At<PathBuf>>,
    pub(in crate::config) key_file: Option<At<PathBuf>>,
    pub(in crate::config) versions: VersionsDraft,
    pub(in crate::config) alpn: Option<At<Vec<String>>>,
    pub(in crate::config) resumption: Option<bool>,
}

impl BackendTlsDraft {
    /// `None` = the value was wrong; `Some(None)` = no TLS.
    pub(super) fn of(values: &Values) -> Option<Option<Self>> {
        let at = values.get::<Option<Values>>("tls")?;
        let Some(table) = &at.value else {
            return Some(None);
        };
        Some(Some(Self {
            span: at.span,
            server_name: table.get("server_name"),
            verify: table.get("verify"),
            ca_file: table.get("ca_file"),
            cert_file: table.get("cert_file"),
            key_file: table.get("key_file"),
            versions: VersionsDraft::of(table),
            alpn: alpn(table),
            resumption: table.get("resumption").map(|may| may.value),
        }))
    }
}

impl VersionsDraft {
    pub(super) fn of(table: &Values) -> Self {
        let version = |key| {
            let word = table.get::<&str>(key)?;
            Some(word.with(match word.value {
                "1.2" => TlsVersion::V1_2,
                _ => TlsVersion::V1_3,
            }))
        };
        Self {
            min: version("min_version"),
            max: version("max_version"),
        }
    }

    pub(in crate::config) fn build(&self) -> Option<TlsVersions> {
        Some(TlsVersions {
            min: self.min.as_ref()?.value,
            max: self.max.as_ref()?.value,
        })
    }
}

fn certificates(table: &Values) -> Option<At<Vec<At<CertificateDraft>>>> {
    let list = table.list::<Values>("certificates")?;
    let certificates = list.value.iter().filter_map(|entry| {
        Some(entry.with(CertificateDraft {
            cert_file: entry.value.get("cert_file")?,
            key_file: entry.value.get("key_file"),
        }))
    });
    Some(list.with(certificates.collect()))
}

fn alpn(table: &Values) -> Option<At<Vec<String>>> {
    let list = table.list::<String>("alpn")?;
    let names = list.value.iter().map(|name| name.value.clone()).collect();
    Some(list.with(names))
}
