//! Probes as TOML.

use super::{array, inline, path, quoted, shown};
use crate::config::keys;
use crate::config::kind::show_duration;
use crate::config::{Agent, Escaped, Probe, ProbeKind, Step, StepAction};

pub(super) fn probe(probe: &Probe) -> String {
    inline(&keys::PROBE, |key| probe_value(probe, key))
}

/// An agent as TOML.
pub(super) fn agent(agent: &Agent) -> String {
    inline(&keys::AGENT, |key| match key {
        "port" => Some(agent.port.to_string()),
        "address" => agent.address.map(quoted),
        "interval" => Some(quoted(show_duration(agent.interval))),
        "timeout" => Some(quoted(show_duration(agent.timeout))),
        "send" => agent.send.as_ref().map(quoted),
        _ => None,
    })
}

fn probe_value(probe: &Probe, key: &str) -> Option<String> {
    match key {
        "kind" => Some(quoted(probe.kind.word())),
        "interval" => Some(quoted(show_duration(probe.interval))),
        "fast_interval" => Some(quoted(show_duration(probe.fast_interval))),
        "down_interval" => Some(quoted(show_duration(probe.down_interval))),
        "timeout" => Some(quoted(show_duration(probe.timeout))),
        "rise" => Some(probe.rise.to_string()),
        "fall" => Some(probe.fall.to_string()),
        "initial_state" => Some(quoted(probe.initial_state.word())),
        "port" => shown(probe.port),
        "send_proxy" => probe.send_proxy.map(|header| quoted(header.word())),
        "steps" => steps(&probe.kind),
        "program" | "arguments" => external_value(&probe.kind, key),
        _ => tls_value(&probe.kind, key).or_else(|| http_value(&probe.kind, key)),
    }
}

fn tls_value(kind: &ProbeKind, key: &str) -> Option<String> {
    let tls = kind.tls()?;
    let client = tls.client.as_ref();
    match key {
        "server_name" => tls.server_name.as_ref().map(quoted),
        // An API server without authority is not checked anyway.
        "verify" => match kind {
            ProbeKind::Tls(_) | ProbeKind::Http(_) | ProbeKind::SendExpect(_) => {
                Some(tls.ca_file.is_some().to_string())
            }
            ProbeKind::Tcp | ProbeKind::KubeApiserver(_) | ProbeKind::External(_) => None,
        },
        "ca_file" => path(tls.ca_file.as_ref()),
        "cert_file" => path(client.map(|client| &client.cert_file)),
        "key_file" => path(client.map(|client| &client.key_file)),
        "expiry_warning_days" => Some(tls.expiry_warning_days.to_string()),
        _ => None,
    }
}

fn http_value(kind: &ProbeKind, key: &str) -> Option<String> {
    let http = match kind {
        ProbeKind::Http(http) => http,
        ProbeKind::Tcp
        | ProbeKind::Tls(_)
        | ProbeKind::KubeApiserver(_)
        | ProbeKind::SendExpect(_)
        | ProbeKind::External(_) => return None,
    };
    match key {
        "method" => Some(quoted(&http.method)),
        "path" => Some(quoted(&http.path)),
        "host" => http.host.as_ref().map(quoted),
        "headers" => {
            let headers = http.headers.iter();
            Some(array(
                headers.map(|(name, value)| format!("{name}: {value}")),
            ))
        }
        "http_version" => Some(quoted(http.version.word())),
        "expect_status" => Some(array(http.expect_status.iter())),
        "drain_status" => Some(array(http.drain_status.iter())),
        "expect_body" => http.expect_body.as_ref().map(quoted),
        // Without a text nothing is looked for, and the key is refused.
        "body_limit" => http
            .expect_body
            .as_ref()
            .map(|_| http.body_limit.to_string()),
        _ => None,
    }
}

fn steps(kind: &ProbeKind) -> Option<String> {
    let dialogue = match kind {
        ProbeKind::SendExpect(dialogue) => dialogue,
        ProbeKind::Tcp
        | ProbeKind::Tls(_)
        | ProbeKind::Http(_)
        | ProbeKind::KubeApiserver(_)
        | ProbeKind::External(_) => return None,
    };
    let steps = dialogue.steps.iter();
    let steps: Vec<String> = steps
        .map(|step| inline(&keys::STEP, |key| step_value(step, key)))
        .collect();
    Some(format!("[{}]", steps.join(", ")))
}

fn step_value(step: &Step, key: &str) -> Option<String> {
    let bytes = |bytes: &Vec<u8>| quoted(Escaped(bytes));
    match (key, &step.action) {
        ("send", StepAction::Send(sent)) => Some(bytes(sent)),
        ("expect", StepAction::Expect { text, .. }) => Some(bytes(text)),
        ("fail", StepAction::Expect { fail, .. }) => fail.as_ref().map(bytes),
        ("comment", _) => step.comment.as_ref().map(quoted),
        (_, StepAction::Send(_) | StepAction::Expect { .. }) => None,
    }
}

fn external_value(kind: &ProbeKind, key: &str) -> Option<String> {
    let external = match kind {
        ProbeKind::External(external) => external,
        ProbeKind::Tcp
        | ProbeKind::Tls(_)
        | ProbeKind::Http(_)
        | ProbeKind::KubeApiserver(_)
        | ProbeKind::SendExpect(_) => return None,
    };
    match key {
        "program" => path(Some(&external.program)),
        "arguments" => Some(array(external.arguments.iter())),
        _ => None,
    }
}
