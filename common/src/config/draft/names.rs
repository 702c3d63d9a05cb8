//! Servers by name while they are checked, and how names are resolved.

use std::net::SocketAddr;
use std::time::Duration;

use super::{number, small};
use crate::config::value::{At, Values};
use crate::config::{Dns, NamedServers, ServerQuery};

/// What a name stands for where the file does not say how much.
const MAX_ADDRESSES: u64 = 8;

#[derive(Debug)]
pub(in crate::config) struct NameDraft {
    pub(in crate::config) name: At<ServerQuery>,
    pub(in crate::config) max_addresses: At<u64>,
    pub(in crate::config) weight: At<u64>,
    pub(in crate::config) backup: bool,
    pub(in crate::config) max_sessions: Option<u32>,
    /// Keys that only an address may have, and where they stand.
    pub(in crate::config) of_addresses: Vec<At<&'static str>>,
}

impl NameDraft {
    pub(super) fn of(values: &Values) -> Option<Self> {
        let name: At<ServerQuery> = values.get("address")?;
        let track = values.get::<(String, SocketAddr)>("track");
        let probe_address = values.get::<SocketAddr>("probe_address");
        let named = [
            track.map(|at| at.with("track")),
            probe_address.map(|at| at.with("probe_address")),
        ];
        Some(Self {
            max_addresses: values.get("max_addresses").unwrap_or_else(|| At {
                given: false,
                ..name.with(MAX_ADDRESSES)
            }),
            weight: values.get("weight")?,
            backup: values.get::<bool>("backup")?.value,
            max_sessions: number(values, "max_sessions"),
            of_addresses: named.into_iter().flatten().collect(),
            name,
        })
    }

    /// Whether it gets sessions as far as the file knows.
    pub(in crate::config) fn has_weight(&self) -> bool {
        self.weight.value > 0
    }

    pub(in crate::config) fn build(&self) -> Option<NamedServers> {
        let weight = u16::try_from(self.weight.value).ok()?;
        Some(NamedServers {
            weight: (!self.name.value.is_service()).then_some(weight),
            name: self.name.value.clone(),
            max_addresses: usize::try_from(self.max_addresses.value).ok()?,
            backup: self.backup,
            max_sessions: self.max_sessions,
        })
    }
}

/// The section `[dns]`.
#[derive(Debug)]
pub(in crate::config) struct DnsDraft {
    pub(in crate::config) dns: Option<Dns>,
    pub(in crate::config) min_ttl: Option<At<Duration>>,
    pub(in crate::config) max_ttl: Option<At<Duration>>,
}

impl DnsDraft {
    pub(super) fn of(values: &Values) -> Self {
        let servers = values.list::<SocketAddr>("servers");
        let servers = servers.map_or_else(Vec::new, |list| list.value);
        let (min_ttl, max_ttl) = (values.get("min_ttl"), values.get("max_ttl"));
        Self {
            dns: (|| {
                Some(Dns {
                    servers: servers.iter().map(|at| at.value).collect(),
                    timeout: values.get("timeout")?.value,
                    attempts: values.get("attempts").and_then(small)?,
                    min_ttl: min_ttl.as_ref().map(|at: &At<_>| at.value)?,
                    max_ttl: max_ttl.as_ref().map(|at: &At<_>| at.value)?,
                })
            })(),
            min_ttl,
            max_ttl,
        }
    }
}
