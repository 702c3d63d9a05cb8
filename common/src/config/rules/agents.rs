//! Agents beside servers.

use std::net::SocketAddr;

use super::backends::listener_at;
use crate::config::diagnostic::Findings;
use crate::config::draft::{AgentDraft, BackendDraft, Draft};
use crate::config::kind::show_duration;
use crate::config::placeholders::unknown;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for backend in &draft.backends {
        if let Some(Some(agent)) = &backend.agent {
            times(agent, findings);
            targets(backend, agent, draft, findings);
            question(backend, agent, findings);
        }
    }
}

fn times(agent: &AgentDraft, findings: &mut Findings) {
    if let (Some(timeout), Some(interval)) = (&agent.timeout, &agent.interval)
        && timeout.value > interval.value
    {
        findings.error(
            timeout.span,
            format!(
                "a timeout of {} is longer than the interval of {}, so questions would pile up",
                show_duration(timeout.value),
                show_duration(interval.value)
            ),
            format!("use at most \"{}\"", show_duration(interval.value)),
        );
    }
}

/// An agent that is the balancer itself says nothing of a server.
fn targets(backend: &BackendDraft, agent: &AgentDraft, draft: &Draft, findings: &mut Findings) {
    let Some(port) = &agent.port else {
        return;
    };
    for server in &backend.servers {
        let (ip, span) = match &agent.address {
            Some(address) => (address.value, address.span),
            None => (server.address.value.ip(), port.span),
        };
        let target = SocketAddr::new(ip, port.value);
        if let Some(listener) = listener_at(draft, target) {
            findings.error(
                span,
                format!(
                    "`{target}` is where listener `{}` accepts: the balancer would ask itself",
                    listener.name.value
                ),
                "write where the agent itself answers",
            );
        }
        if agent.address.is_none() && server.address.value == target {
            findings.error(
                span,
                format!("`{target}` is the server itself, and no agent"),
                "write the agent's own port",
            );
        }
    }
}

fn question(backend: &BackendDraft, agent: &AgentDraft, findings: &mut Findings) {
    if let Some(send) = &agent.send
        && let Some(unknown) = unknown(&send.value)
    {
        findings.error(
            send.span,
            format!("`{unknown}` is nothing of a server"),
            "use {backend}, {address} or {port}",
        );
    }
    if let (Some(address), None) = (&agent.address, &agent.send)
        && backend.servers.len() > 1
    {
        findings.warn(
            address.span,
            format!(
                "the agent at `{}` is not told which of {} servers it is asked about, so it says the same of all",
                address.value,
                backend.servers.len()
            ),
            "add send = \"{backend}/{address}\\n\", or leave `address` out",
        );
    }
}
