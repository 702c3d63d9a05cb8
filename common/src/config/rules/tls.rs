//! TLS that the proxy itself speaks.

use std::path::PathBuf;

use crate::config::MAX_CERTIFICATES;
use crate::config::diagnostic::Findings;
use crate::config::draft::{
    BackendDraft, BackendTlsDraft, CertificateDraft, Draft, ListenerDraft, ListenerTlsDraft,
    ServerDraft, VersionsDraft,
};
use crate::config::value::At;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for backend in &draft.backends {
        if let Some(Some(tls)) = &backend.tls {
            versions(&tls.versions, findings);
            client_pair((&tls.cert_file, &tls.key_file), findings);
            verification(backend, tls, findings);
            plain_probe(backend, findings);
        }
    }
    let mut count = 0;
    for listener in &draft.listeners {
        let Some(Some(tls)) = &listener.tls else {
            twice(listener, draft, findings);
            continue;
        };
        versions(&tls.versions, findings);
        certificates(tls, findings);
        clients(tls, findings);
        unspoken(listener, tls, findings);
        let own = tls.certificates.as_ref();
        count += own.map_or(0, |list| list.value.len());
        if let (Some(list), true) = (own, count > MAX_CERTIFICATES) {
            findings.error(
                list.span,
                format!(
                    "there are {count} certificates up to here, and {MAX_CERTIFICATES} is the most"
                ),
                "remove some: one certificate may have many names",
            );
            return;
        }
    }
}

/// What is said of clients' certificates means something only where they are asked for.
fn clients(tls: &ListenerTlsDraft, findings: &mut Findings) {
    if tls.client_ca_file.is_some() {
        return;
    }
    let verify = tls
        .client_verify
        .as_ref()
        .map(|at| ("client_verify", at.span));
    let crl_file = tls
        .client_crl_file
        .as_ref()
        .map(|at| ("client_crl_file", at.span));
    for (key, span) in verify.into_iter().chain(crl_file) {
        findings.error(
            span,
            format!("`{key}` does nothing without `client_ca_file`"),
            "name the file with the authorities of the clients' certificates, or remove it",
        );
    }
}

/// A client certificate and its key come together.
pub(super) fn client_pair(
    files: (&Option<At<PathBuf>>, &Option<At<PathBuf>>),
    findings: &mut Findings,
) {
    match files {
        (Some(cert), None) => findings.error(
            cert.span,
            "`cert_file` is of no use without its private key",
            "add `key_file`",
        ),
        (None, Some(key)) => findings.error(
            key.span,
            "`key_file` is of no use without its certificate",
            "add `cert_file`",
        ),
        (None, None) | (Some(_), Some(_)) => {}
    }
}

/// Servers are checked unless the file says that they are not.
fn verification(backend: &BackendDraft, tls: &BackendTlsDraft, findings: &mut Findings) {
    let name = &backend.name.value;
    let Some(verify) = &tls.verify else { return };
    match (&tls.ca_file, verify.value) {
        (Some(_), true) => {}
        (Some(file), false) => findings.error(
            file.span,
            "`ca_file` does nothing with verify = false",
            "remove one of the two",
        ),
        (None, true) => findings.error(
            tls.span,
            format!("the tls of backend `{name}` has nothing to check the servers' certificates against"),
            "add `ca_file`, or say verify = false",
        ),
        (None, false) => findings.warn(
            verify.span,
            format!(
                "backend `{name}` accepts any certificate: whoever answers at a server's address gets what \
                 clients say"
            ),
            "add `ca_file` in its place",
        ),
    }
    if let (Some(server_name), false) = (&tls.server_name, verify.value) {
        findings.warn(
            server_name.span,
            "this name is asked for, and not checked",
            "add `ca_file` in the place of verify = false",
        );
    }
}

/// Servers that want TLS do not answer in plain.
fn plain_probe(backend: &BackendDraft, findings: &mut Findings) {
    let Some(Some(probe)) = &backend.probe else {
        return;
    };
    let Some(kind) = &probe.kind else { return };
    let remedy = match kind.value {
        "http" => "https",
        "send-expect" => "send-expect-tls",
        _ => return,
    };
    let elsewhere = |server: &ServerDraft| server.probe_address.is_some();
    if probe.port.is_none() && !backend.servers.iter().all(elsewhere) {
        findings.warn(
            kind.span,
            format!(
                "the servers of backend `{}` speak TLS, and this probe does not",
                backend.name.value
            ),
            format!("say kind = \"{remedy}\", or name another `port`"),
        );
    }
}

fn versions(versions: &VersionsDraft, findings: &mut Findings) {
    if let (Some(min), Some(max)) = (&versions.min, &versions.max)
        && min.value > max.value
    {
        findings.error(
            if max.given { max.span } else { min.span },
            format!(
                "no version is from {} to {}",
                min.value.word(),
                max.value.word()
            ),
            "remove one of the two: the default is 1.2 to 1.3",
        );
    }
}

fn certificates(tls: &ListenerTlsDraft, findings: &mut Findings) {
    let Some(list) = &tls.certificates else {
        return;
    };
    if list.value.is_empty() {
        findings.error(
            list.span,
            "there is no certificate, so no handshake could succeed",
            "name at least one: [\"/etc/fmc-lb/tls/web.pem\"]",
        );
    }
    for (place, certificate) in list.value.iter().enumerate() {
        let same =
            |other: &CertificateDraft| other.cert_file.value == certificate.value.cert_file.value;
        if list.value[..place].iter().any(|other| same(&other.value)) {
            findings.error(
                certificate.value.cert_file.span,
                format!(
                    "`{}` is named twice",
                    certificate.value.cert_file.value.display()
                ),
                "remove one of the two",
            );
        }
    }
}

/// Clients that are routed by what they say in TLS would have it carried in another one.
fn twice(listener: &ListenerDraft, draft: &Draft, findings: &mut Findings) {
    if !matches!(listener.tls, Some(None)) {
        return;
    }
    for route in &listener.routes {
        let backend = draft.backends.get(route.value.backend);
        if let Some(backend) = backend.filter(|one| matches!(one.tls, Some(Some(_)))) {
            findings.warn(
                route.span,
                format!(
                    "clients of this route speak TLS, which backend `{}` wraps into another one",
                    backend.name.value
                ),
                "end the clients' TLS with `tls` in the listener, or remove it from the backend",
            );
        }
    }
}

/// A client that is routed by a protocol expects it to be agreed on.
fn unspoken(listener: &ListenerDraft, tls: &ListenerTlsDraft, findings: &mut Findings) {
    let Some(alpn) = &tls.alpn else { return };
    for route in &listener.routes {
        let unknown = |name: &&String| !alpn.value.contains(*name);
        if let Some(name) = route.value.alpn.iter().find(unknown) {
            findings.warn(
                route.span,
                format!(
                    "this route is for clients that offer `{name}`, which `alpn` of listener `{}` \
                     does not have: they are refused, or speak something else",
                    listener.name.value
                ),
                format!("add \"{name}\" to `alpn` in its tls"),
            );
        }
    }
}
