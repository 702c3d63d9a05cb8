//! Probes.

use std::time::Duration;

use crate::config::draft::ProbeDraft;
use crate::config::value::At;
use crate::config::{
    ClientCertificate, ExternalProbe, HttpProbe, Probe, ProbeKind, ProbeTls, SendExpect,
};

/// The longest a probe may take where the file does not say.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The probe of a backend.
pub(super) fn build(probe: &ProbeDraft) -> Option<Probe> {
    let interval = probe.interval.as_ref()?.value;
    let or_steady = |own: &Option<At<Duration>>| own.as_ref().map_or(interval, |at| at.value);
    Some(Probe {
        kind: match probe.kind.as_ref()?.value {
            "kube-apiserver" => ProbeKind::KubeApiserver(tls(probe)?),
            "tls" => ProbeKind::Tls(tls(probe)?),
            "http" => ProbeKind::Http(http(probe, None)?),
            "https" => ProbeKind::Http(http(probe, Some(tls(probe)?))?),
            "send-expect" => ProbeKind::SendExpect(dialogue(probe, None)?),
            "send-expect-tls" => ProbeKind::SendExpect(dialogue(probe, Some(tls(probe)?))?),
            "external" => ProbeKind::External(external(probe)?),
            _ => ProbeKind::Tcp,
        },
        interval,
        fast_interval: or_steady(&probe.fast_interval),
        down_interval: or_steady(&probe.down_interval),
        timeout: probe
            .timeout
            .as_ref()
            .map_or(interval.min(PROBE_TIMEOUT), |timeout| timeout.value),
        rise: probe.rise?,
        fall: probe.fall?,
        initial_state: probe.initial_state?,
        port: probe.port.as_ref().map(|port| port.value),
        send_proxy: probe.send_proxy,
    })
}

fn tls(probe: &ProbeDraft) -> Option<ProbeTls> {
    let files = probe.cert_file.as_ref().zip(probe.key_file.as_ref());
    Some(ProbeTls {
        server_name: probe.server_name.as_ref().map(|name| name.value.clone()),
        ca_file: probe.ca_file.as_ref().map(|file| file.value.clone()),
        client: files.map(|(cert, key)| ClientCertificate {
            cert_file: cert.value.clone(),
            key_file: key.value.clone(),
        }),
        expiry_warning_days: probe.expiry_warning_days?,
    })
}

fn http(probe: &ProbeDraft, tls: Option<ProbeTls>) -> Option<HttpProbe> {
    let http = &probe.http;
    Some(HttpProbe {
        tls,
        method: http.method.as_ref()?.value.clone(),
        path: http.path.clone()?,
        host: http.host.clone(),
        headers: http.headers.clone()?,
        version: http.version?,
        expect_status: http.expect_status.clone()?,
        drain_status: http.drain_status.clone()?,
        expect_body: http.expect_body.as_ref().map(|text| text.value.clone()),
        body_limit: http.body_limit.as_ref()?.value,
    })
}

fn dialogue(probe: &ProbeDraft, tls: Option<ProbeTls>) -> Option<SendExpect> {
    let steps = probe.steps.as_ref()?.value.iter();
    Some(SendExpect {
        tls,
        steps: steps.map(|at| at.value.build()).collect::<Option<_>>()?,
    })
}

fn external(probe: &ProbeDraft) -> Option<ExternalProbe> {
    let arguments = probe.arguments.as_ref()?.value.iter();
    Some(ExternalProbe {
        program: probe.program.as_ref()?.value.clone(),
        arguments: arguments.map(|at| at.value.clone()).collect(),
    })
}
