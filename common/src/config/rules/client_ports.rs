//! Servers that are reached at the port that the client came to.

use super::backends::covers;
use crate::config::diagnostic::Findings;
use crate::config::draft::{BackendDraft, Draft, ListenerDraft, ServerDraft};
use crate::config::{Bind, PortOffset};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for (index, backend) in draft.backends.iter().enumerate() {
        let listeners = || {
            let all = draft.listeners.iter();
            all.filter(move |listener| listener.leads_to(index))
        };
        for server in &backend.servers {
            let Some(offset) = server.port_offset else {
                continue;
            };
            probe_knows_where(backend, server, findings);
            for listener in listeners() {
                for bind in &listener.binds {
                    ports((listener, &bind.bind), (server, offset), findings);
                    loops((draft, &bind.bind), (server, offset), findings);
                }
            }
        }
    }
}

/// A probe has no client whose port it could take.
fn probe_knows_where(backend: &BackendDraft, server: &ServerDraft, findings: &mut Findings) {
    let follows = server.track.is_some() || backend.track.is_some();
    let Some(Some(probe)) = &backend.probe else {
        return;
    };
    if follows || probe.port.is_some() || server.probe_address.is_some() {
        return;
    }
    let ip = server.address.value.ip();
    let with_port = std::net::SocketAddr::new(ip, 443);
    findings.error(
        server.address.span,
        format!("`{ip}` has no port of its own, so its probe does not know where to go"),
        format!(
            "add the port, for example \"{with_port}\"; or where clients' ports are kept, say probe = {{ port = … }}"
        ),
    );
}

/// Every port of the listener has to become one.
fn ports(
    (listener, bind): (&ListenerDraft, &Bind),
    (server, offset): (&ServerDraft, PortOffset),
    findings: &mut Findings,
) {
    let ends = [bind.address.port(), bind.last_port];
    if let Some(port) = ends.into_iter().find(|port| offset.of(*port).is_none()) {
        findings.error(
            server.address.span,
            format!(
                "`{offset}` makes no port of {port}, which listener `{}` has",
                listener.name.value
            ),
            "the sum has to be 1 to 65535",
        );
    }
}

/// Where one of our own listeners accepts, connections would go round.
fn loops(
    (draft, bind): (&Draft, &Bind),
    (server, offset): (&ServerDraft, PortOffset),
    findings: &mut Findings,
) {
    let ends = (offset.of(bind.address.port()), offset.of(bind.last_port));
    let (Some(first), Some(last)) = ends else {
        return;
    };
    let ip = server.address.value.ip();
    let meets = |other: &Bind| other.address.port() <= last && first <= other.last_port;
    let met = draft.listeners.iter().find(|listener| {
        let mut binds = listener.binds.iter();
        binds.any(|other| meets(&other.bind) && covers(draft, &other.bind, ip))
    });
    if let Some(listener) = met {
        findings.error(
            server.address.span,
            format!(
                "ports of `{ip}` are where listener `{}` accepts: connections would go round in a loop",
                listener.name.value
            ),
            "write the address of the machine that serves",
        );
    }
}
