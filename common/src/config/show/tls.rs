//! TLS as TOML.

use super::{array, inline, path, quoted};
use crate::config::keys;
use crate::config::kind::show_duration;
use crate::config::{BackendTls, CertificateFiles, ListenerTls};

pub(super) fn listener_tls(tls: Option<&ListenerTls>) -> String {
    let Some(tls) = tls else {
        return quoted("off");
    };
    let clients = tls.clients.as_ref();
    inline(&keys::LISTENER_TLS, |key| match key {
        "client_ca_file" => path(clients.map(|clients| &clients.ca_file)),
        "client_verify" => clients.map(|clients| {
            quoted(match clients.required {
                true => "required",
                false => "optional",
            })
        }),
        "client_crl_file" => path(clients.and_then(|clients| clients.crl_file.as_ref())),
        "certificates" => Some(certificates(&tls.certificates)),
        "strict_sni" => Some(tls.strict_sni.to_string()),
        "min_version" => Some(quoted(tls.versions.min.word())),
        "max_version" => Some(quoted(tls.versions.max.word())),
        "alpn" => Some(array(tls.alpn.iter())),
        "resumption" => Some(tls.resumption.to_string()),
        "handshake_timeout" => Some(quoted(show_duration(tls.handshake_timeout))),
        _ => None,
    })
}

pub(super) fn backend_tls(tls: Option<&BackendTls>) -> String {
    let Some(tls) = tls else {
        return quoted("off");
    };
    let client = tls.client.as_ref();
    inline(&keys::BACKEND_TLS, |key| match key {
        "server_name" => tls.server_name.as_ref().map(quoted),
        "verify" => Some(tls.ca_file.is_some().to_string()),
        "ca_file" => path(tls.ca_file.as_ref()),
        "cert_file" => path(client.map(|client| &client.cert_file)),
        "key_file" => path(client.map(|client| &client.key_file)),
        "min_version" => Some(quoted(tls.versions.min.word())),
        "max_version" => Some(quoted(tls.versions.max.word())),
        "alpn" => Some(array(tls.alpn.iter())),
        "resumption" => Some(tls.resumption.to_string()),
        _ => None,
    })
}

fn certificates(certificates: &[CertificateFiles]) -> String {
    let tables = certificates.iter().map(|files| {
        let own_key = (files.key_file != files.cert_file).then_some(&files.key_file);
        inline(&keys::CERTIFICATE, |key| match key {
            "cert_file" => path(Some(&files.cert_file)),
            "key_file" => path(own_key),
            _ => None,
        })
    });
    let tables: Vec<String> = tables.collect();
    format!("[{}]", tables.join(", "))
}
