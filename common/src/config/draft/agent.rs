//! Agents while they are checked.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Agent;
use crate::config::value::{At, Values};

/// The longest a question may take where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(in crate::config) struct AgentDraft {
    pub(in crate::config) port: Option<At<u16>>,
    pub(in crate::config) address: Option<At<IpAddr>>,
    pub(in crate::config) interval: Option<At<Duration>>,
    pub(in crate::config) timeout: Option<At<Duration>>,
    pub(in crate::config) send: Option<At<String>>,
}

impl AgentDraft {
    pub(super) fn of(values: &Values) -> Self {
        Self {
            port: values.get::<u64>("port").and_then(|port| {
                let number = u16::try_from(port.value).ok()?;
                Some(port.with(number))
            }),
            address: values.get("address"),
            interval: values.get("interval"),
            timeout: values.get("timeout"),
            send: values.get("send"),
        }
    }

    pub(in crate::config) fn build(&self) -> Option<Agent> {
        let interval = self.interval.as_ref()?.value;
        Some(Agent {
            port: self.port.as_ref()?.value,
            address: self.address.as_ref().map(|at| at.value),
            interval,
            timeout: self
                .timeout
                .as_ref()
                .map_or(interval.min(TIMEOUT), |at| at.value),
            send: self.send.as_ref().map(|at| at.value.clone()),
        })
    }
}
