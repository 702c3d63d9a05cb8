//! Probes while they are checked.

use std::path::PathBuf;
use std::time::Duration;

use super::http::HttpDraft;
use super::small;
use super::step::StepDraft;
use crate::config::diagnostic::Span;
use crate::config::value::{At, Values};
use crate::config::{InitialState, ProbeProxy};

#[derive(Debug)]
pub(in crate::config) struct ProbeDraft {
    /// The probe itself; for a default one, the backend's name.
    pub(in crate::config) span: Span,
    pub(in crate::config) kind: Option<At<&'static str>>,
    pub(in crate::config) interval: Option<At<Duration>>,
    pub(in crate::config) fast_interval: Option<At<Duration>>,
    pub(in crate::config) down_interval: Option<At<Duration>>,
    pub(in crate::config) timeout: Option<At<Duration>>,
    pub(in crate::config) rise: Option<u32>,
    pub(in crate::config) fall: Option<u32>,
    pub(in crate::config) initial_state: Option<InitialState>,
    pub(in crate::config) port: Option<At<u16>>,
    pub(in crate::config) send_proxy: Option<ProbeProxy>,
    pub(in crate::config) server_name: Option<At<String>>,
    pub(in crate::config) verify: Option<At<bool>>,
    pub(in crate::config) ca_file: Option<At<PathBuf>>,
    pub(in crate::config) cert_file: Option<At<PathBuf>>,
    pub(in crate::config) key_file: Option<At<PathBuf>>,
    pub(in crate::config) expiry_warning_days: Option<u32>,
    pub(in crate::config) http: HttpDraft,
    pub(in crate::config) program: Option<At<PathBuf>>,
    pub(in crate::config) arguments: Option<At<Vec<At<String>>>>,
    pub(in crate::config) steps: Option<At<Vec<At<StepDraft>>>>,
    /// The keys that the file names.
    pub(in crate::config) given: Vec<At<&'static str>>,
}

impl ProbeDraft {
    pub(super) fn of(values: &Values, backend: Span) -> Self {
        let is_default = values.entries.iter().all(|(_, value)| !value.given);
        Self {
            span: if is_default { backend } else { values.header },
            kind: values.get("kind"),
            interval: values.get("interval"),
            fast_interval: values.get("fast_interval"),
            down_interval: values.get("down_interval"),
            timeout: values.get("timeout"),
            rise: values.get("rise").and_then(small),
            fall: values.get("fall").and_then(small),
            initial_state: values.get::<&str>("initial_state").and_then(|word| {
                let mut known = InitialState::WORDS.iter();
                known
                    .find(|(name, _)| *name == word.value)
                    .map(|(_, state)| *state)
            }),
            port: values.get::<u64>("port").and_then(|port| {
                let number = u16::try_from(port.value).ok()?;
                Some(port.with(number))
            }),
            send_proxy: values.get::<&str>("send_proxy").and_then(|word| {
                let mut known = ProbeProxy::WORDS.iter();
                known
                    .find(|(name, _)| *name == word.value)
                    .map(|(_, header)| *header)
            }),
            server_name: values.get("server_name"),
            verify: values.get("verify"),
            ca_file: values.get("ca_file"),
            cert_file: values.get("cert_file"),
            key_file: values.get("key_file"),
            expiry_warning_days: values.get("expiry_warning_days").and_then(small),
            http: HttpDraft::of(values),
            program: values.get("program"),
            arguments: values.list("arguments"),
            steps: StepDraft::list(values),
            given: values
                .entries
                .iter()
                .filter(|(_, value)| value.given)
                .map(|(key, value)| value.with(key.name))
                .collect(),
        }
    }
}
