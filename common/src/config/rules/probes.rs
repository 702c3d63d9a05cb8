//! How servers are checked.

use std::net::SocketAddr;

use super::backends::listener_at;
use crate::config::diagnostic::Findings;
use crate::config::draft::{BackendDraft, Draft, ProbeDraft};
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
        match probe.kind.as_ref().map(|kind| kind.value) {
            Some("kube-apiserver") => certificates(backend, probe, findings),
            Some(_) => without_tls(probe, findings),
            None => {}
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

fn without_tls(probe: &ProbeDraft, findings: &mut Findings) {
    let files = [
        ("ca_file", &probe.ca_file),
        ("cert_file", &probe.cert_file),
        ("key_file", &probe.key_file),
    ];
    for (name, file) in files {
        if let Some(file) = file {
            findings.error(
                file.span,
                format!("`{name}` does nothing in a probe of kind \"tcp\""),
                "add kind = \"kube-apiserver\", or remove it",
            );
        }
    }
}

fn certificates(backend: &BackendDraft, probe: &ProbeDraft, findings: &mut Findings) {
    let name = &backend.name.value;
    match (&probe.cert_file, &probe.key_file) {
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
        (None, None) => findings.warn(
            probe.span,
            format!(
                "the probe of backend `{name}` shows no certificate: an API server with \
                 anonymous-auth=false answers 401 also while it shuts down, which then stays unseen"
            ),
            "add `cert_file` and `key_file` of a client that may GET /readyz",
        ),
        (Some(_), Some(_)) => {}
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
