//! How servers are checked.

use std::net::SocketAddr;

use super::backends::listener_at;
use super::tls::client_pair;
use super::{external, steps};
use crate::config::diagnostic::Findings;
use crate::config::draft::{BackendDraft, Draft, HttpDraft, ProbeDraft};
use crate::config::kind::show_duration;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for backend in &draft.backends {
        let probe = match &backend.probe {
            Some(Some(probe)) => probe,
            Some(None) => {
                unprobed(backend, findings);
                continue;
            }
            None => continue,
        };
        times(probe, findings);
        targets(backend, probe, draft, findings);
        let Some(kind) = probe.kind.as_ref().map(|kind| kind.value) else {
            continue;
        };
        of_other_kinds(probe, kind, findings);
        if WITH_TLS.contains(&kind) {
            client_pair((&probe.cert_file, &probe.key_file), findings);
        }
        if kind == "kube-apiserver" {
            api_server(backend, probe, findings);
        }
        if VERIFIED.contains(&kind) {
            verification(backend, probe, findings);
        }
        if HTTP.contains(&kind) {
            body(&probe.http, findings);
        }
        if DIALOGUE.contains(&kind) {
            steps::check(probe, findings);
        }
        if kind == "external" {
            external::check(probe, findings);
        }
    }
}

fn unprobed(backend: &BackendDraft, findings: &mut Findings) {
    let addresses = backend.servers.iter().map(|server| &server.probe_address);
    for address in addresses.flatten() {
        findings.error(
            address.span,
            "`probe_address` does nothing with probe = \"off\"",
            "remove it, or probe the servers",
        );
    }
}

/// A probe that asks the balancer itself says nothing of a server.
fn targets(backend: &BackendDraft, probe: &ProbeDraft, draft: &Draft, findings: &mut Findings) {
    for server in &backend.servers {
        let (target, span) = match (&server.probe_address, &probe.port) {
            (Some(address), _) => (address.value, address.span),
            (None, Some(port)) => {
                let ip = server.address.value.ip();
                (SocketAddr::new(ip, port.value), port.span)
            }
            // What is wrong with the server's own address is said there.
            (None, None) => continue,
        };
        if let Some(listener) = listener_at(draft, target) {
            findings.error(
                span,
                format!(
                    "`{target}` is where listener `{}` accepts: probes would ask the balancer itself",
                    listener.name.value
                ),
                "write where the server itself answers",
            );
        }
    }
}

fn times(probe: &ProbeDraft, findings: &mut Findings) {
    if let (Some(timeout), Some(interval)) = (&probe.timeout, &probe.interval)
        && timeout.value > interval.value
    {
        findings.error(
            timeout.span,
            format!(
                "a timeout of {} is longer than the interval of {}, so probes would pile up",
                show_duration(timeout.value),
                show_duration(interval.value)
            ),
            format!("use at most \"{}\"", show_duration(interval.value)),
        );
    }
}

/// The keys that only some kinds know.
const OF_SOME_KINDS: &[(&str, &[&str])] = &[
    ("server_name", WITH_TLS),
    ("verify", VERIFIED),
    ("ca_file", WITH_TLS),
    ("cert_file", WITH_TLS),
    ("key_file", WITH_TLS),
    ("expiry_warning_days", WITH_TLS),
    ("method", HTTP),
    ("path", HTTP),
    ("host", HTTP),
    ("headers", HTTP),
    ("http_version", HTTP),
    ("expect_status", HTTP),
    ("drain_status", HTTP),
    ("expect_body", HTTP),
    ("body_limit", HTTP),
    ("steps", DIALOGUE),
    ("program", &["external"]),
    ("arguments", &["external"]),
];
const WITH_TLS: &[&str] = &["tls", "https", "kube-apiserver", "send-expect-tls"];
const VERIFIED: &[&str] = &["tls", "https", "send-expect-tls"];
const HTTP: &[&str] = &["http", "https"];
const DIALOGUE: &[&str] = &["send-expect", "send-expect-tls"];

fn of_other_kinds(probe: &ProbeDraft, kind: &str, findings: &mut Findings) {
    for key in &probe.given {
        let known = OF_SOME_KINDS.iter().find(|(name, _)| *name == key.value);
        let Some((name, kinds)) = known.filter(|(_, kinds)| !kinds.contains(&kind)) else {
            continue;
        };
        let quoted: Vec<String> = kinds.iter().map(|kind| format!("\"{kind}\"")).collect();
        findings.error(
            key.span,
            format!("`{name}` does nothing in a probe of kind \"{kind}\""),
            format!("say kind = {}, or remove it", quoted.join(" or ")),
        );
    }
}

/// A certificate is checked unless the file says that it is not.
fn verification(backend: &BackendDraft, probe: &ProbeDraft, findings: &mut Findings) {
    let name = &backend.name.value;
    let verified = probe.verify.as_ref().is_none_or(|verify| verify.value);
    match (&probe.ca_file, verified) {
        (Some(_), true) => {}
        (Some(file), false) => findings.error(
            file.span,
            "`ca_file` does nothing with verify = false",
            "remove one of the two",
        ),
        (None, true) => findings.error(
            probe.kind.as_ref().map_or(probe.span, |kind| kind.span),
            format!("the probe of backend `{name}` has nothing to check the server's certificate against"),
            "add `ca_file`, or say verify = false",
        ),
        (None, false) => findings.warn(
            probe.verify.as_ref().map_or(probe.span, |verify| verify.span),
            format!(
                "the probe of backend `{name}` accepts any certificate: whoever answers at that address \
                 counts as the server"
            ),
            "add `ca_file` in its place",
        ),
    }
}

fn body(http: &HttpDraft, findings: &mut Findings) {
    match (&http.expect_body, &http.method, &http.body_limit) {
        (Some(text), Some(method), _) if method.value == "HEAD" => findings.error(
            text.span,
            "an answer to HEAD has no body",
            "say method = \"GET\", or remove `expect_body`",
        ),
        (None, _, Some(limit)) if limit.given => findings.error(
            limit.span,
            "`body_limit` does nothing without `expect_body`",
            "remove it, or say what the body has to hold",
        ),
        (Some(text), _, Some(limit)) if text.value.len() > limit.value => findings.error(
            limit.span,
            format!(
                "a text of {} bytes is never within {} bytes",
                text.value.len(),
                limit.value
            ),
            format!("use {} or more", text.value.len()),
        ),
        (_, _, _) => {}
    }
}

fn api_server(backend: &BackendDraft, probe: &ProbeDraft, findings: &mut Findings) {
    let name = &backend.name.value;
    if probe.cert_file.is_none() && probe.key_file.is_none() {
        findings.warn(
            probe.span,
            format!(
                "the probe of backend `{name}` shows no certificate: an API server with \
                 anonymous-auth=false answers 401 also while it shuts down, which then stays unseen"
            ),
            "add `cert_file` and `key_file` of a client that may GET /readyz",
        );
    }
    if probe.ca_file.is_none() {
        findings.warn(
            probe.span,
            format!(
                "the probe of backend `{name}` does not check the API server's certificate: whoever \
                 answers at that address counts as the server"
            ),
            "add `ca_file`, in K3s /var/lib/rancher/k3s/server/tls/server-ca.crt of a master",
        );
    }
}
