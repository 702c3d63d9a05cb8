//! Backends while they are checked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::agent::AgentDraft;
use super::names::NameDraft;
use super::probe::ProbeDraft;
use super::tls::BackendTlsDraft;
use super::{at_own_or, count, keepalive, number, own_or, small};
use crate::config::diagnostic::Span;
use crate::config::value::{At, ServingText, Values};
use crate::config::{
    AllDown, Balance, Keepalive, OnError, OnMarkedDown, OnMarkedUp, PortOffset, PortRange,
    SendProxy, SendTlvs,
};

#[derive(Debug)]
pub(in crate::config) struct BackendDraft {
    pub(in crate::config) name: At<String>,
    /// How many the file names, if the list could be read.
    pub(in crate::config) server_count: Option<At<usize>>,
    /// Without those that were wrong.
    pub(in crate::config) servers: Vec<ServerDraft>,
    /// Servers by name, without those that were wrong.
    pub(in crate::config) names: Vec<NameDraft>,
    pub(in crate::config) balance: Option<Balance>,
    pub(in crate::config) hash_balance_factor: Option<At<u64>>,
    pub(in crate::config) slow_start: Option<At<Option<Duration>>>,
    pub(in crate::config) queue: Option<At<usize>>,
    pub(in crate::config) queue_timeout: Option<At<Duration>>,
    pub(in crate::config) probe: Option<Option<ProbeDraft>>,
    pub(in crate::config) agent: Option<Option<AgentDraft>>,
    /// The name of the backend that it follows.
    pub(in crate::config) track: Option<At<String>>,
    /// Index into the backends.
    pub(in crate::config) followed: Option<usize>,
    /// Whether connections are observed.
    pub(in crate::config) observe: Option<At<bool>>,
    pub(in crate::config) error_limit: Option<At<u64>>,
    pub(in crate::config) on_error: Option<At<OnError>>,
    pub(in crate::config) on_marked_down: Option<At<OnMarkedDown>>,
    pub(in crate::config) on_marked_up: Option<At<OnMarkedUp>>,
    pub(in crate::config) all_down: Option<At<AllDown>>,
    pub(in crate::config) connect_timeout: Option<Duration>,
    pub(in crate::config) retries: Option<u32>,
    pub(in crate::config) server_timeout: Option<At<Option<Duration>>>,
    pub(in crate::config) server_fin_timeout: Option<Option<Duration>>,
    pub(in crate::config) keepalive: Option<Option<Keepalive>>,
    pub(in crate::config) user_timeout: Option<Option<Duration>>,
    pub(in crate::config) send_proxy: Option<Option<At<SendProxy>>>,
    /// Where the file names TLVs for a header that cannot hold any.
    pub(in crate::config) useless_tlvs: Option<Span>,
    pub(in crate::config) tls: Option<Option<BackendTlsDraft>>,
    pub(in crate::config) source: Option<At<Vec<At<IpAddr>>>>,
    pub(in crate::config) source_ports: Option<At<PortRange>>,
}

#[derive(Debug)]
pub(in crate::config) struct ServerDraft {
    pub(in crate::config) address: At<SocketAddr>,
    pub(in crate::config) port_offset: Option<PortOffset>,
    pub(in crate::config) weight: u16,
    pub(in crate::config) backup: bool,
    pub(in crate::config) max_sessions: Option<u32>,
    /// Only names may have it.
    pub(in crate::config) max_addresses: Option<At<u64>>,
    pub(in crate::config) probe_address: Option<At<SocketAddr>>,
    /// The server that it follows, as the file names it.
    pub(in crate::config) track: Option<At<(String, SocketAddr)>>,
    /// Backend and index of the server that it follows, by its own `track` or its backend's.
    pub(in crate::config) followed: Option<At<(usize, usize)>>,
}

impl BackendDraft {
    pub(super) fn of(name: &At<String>, values: &Values, timeouts: &Values) -> Self {
        let servers = values.list::<Values>("servers");
        Self {
            name: name.clone(),
            server_count: count(values, "servers"),
            servers: servers
                .iter()
                .flat_map(|list| &list.value)
                .filter_map(|server| ServerDraft::of(&server.value))
                .collect(),
            names: servers
                .iter()
                .flat_map(|list| &list.value)
                .filter_map(|server| NameDraft::of(&server.value))
                .collect(),
            balance: values.get::<&str>("balance").and_then(|word| {
                let mut known = Balance::WORDS.iter();
                known
                    .find(|(name, _)| *name == word.value)
                    .map(|(_, balance)| *balance)
            }),
            hash_balance_factor: values.get("hash_balance_factor"),
            slow_start: values.get("slow_start"),
            queue: values.get::<u64>("queue").and_then(|length| {
                usize::try_from(length.value)
                    .ok()
                    .map(|value| length.with(value))
            }),
            queue_timeout: values.get("queue_timeout").or_else(|| {
                let inherited = timeouts.get("connect")?;
                Some(At {
                    given: false,
                    ..inherited
                })
            }),
            probe: values
                .get::<Option<Values>>("probe")
                .map(|probe| probe.value.map(|values| ProbeDraft::of(&values, name.span))),
            agent: values
                .get::<Option<Values>>("agent")
                .map(|agent| agent.value.map(|values| AgentDraft::of(&values))),
            track: values.get("track"),
            followed: None,
            observe: values
                .get::<&str>("observe")
                .map(|word| word.with(word.value == "connect")),
            error_limit: values.get("error_limit"),
            on_error: values.get::<&str>("on_error").and_then(|word| {
                let mut known = OnError::WORDS.iter();
                let (_, action) = known.find(|(name, _)| *name == word.value)?;
                Some(word.with(*action))
            }),
            on_marked_down: values.get::<&str>("on_marked_down").map(|word| {
                word.with(match word.value {
                    "cut" => OnMarkedDown::Cut,
                    _ => OnMarkedDown::Keep,
                })
            }),
            on_marked_up: values.get::<&str>("on_marked_up").map(|word| {
                word.with(match word.value {
                    "cut-backups" => OnMarkedUp::CutBackups,
                    _ => OnMarkedUp::Keep,
                })
            }),
            all_down: values.get::<&str>("all_down").map(|word| {
                word.with(match word.value {
                    "try_all" => AllDown::TryAll,
                    _ => AllDown::Refuse,
                })
            }),
            connect_timeout: own_or("connect_timeout", values, ("connect", timeouts)),
            retries: values.get("retries").and_then(small),
            server_timeout: at_own_or("server_timeout", values, ("server", timeouts)),
            server_fin_timeout: own_or("server_fin_timeout", values, ("server_fin", timeouts)),
            keepalive: keepalive(values),
            user_timeout: values.get("user_timeout").map(|limit| limit.value),
            send_proxy: send_proxy(values),
            useless_tlvs: useless_tlvs(values),
            tls: BackendTlsDraft::of(values),
            source: values.list("source"),
            source_ports: values.get("source_ports"),
        }
    }
}

impl BackendDraft {
    /// Whether every server follows another one, so that none is probed for this backend.
    pub(in crate::config) fn follows_all(&self) -> bool {
        !self.servers.is_empty()
            && self.names.is_empty()
            && self.servers.iter().all(|one| one.followed.is_some())
    }

    /// Whether agents speak for its servers.
    pub(in crate::config) fn has_agent(&self) -> bool {
        matches!(self.agent, Some(Some(_)))
    }

    /// Whether nothing tells which of its servers are down: neither probes of their own nor a server
    /// that they follow.
    pub(in crate::config) fn is_unwatched(&self) -> bool {
        let follows = |one: &ServerDraft| one.track.is_some() || self.track.is_some();
        matches!(self.probe, Some(None)) && !self.servers.iter().any(follows)
    }
}

impl ServerDraft {
    pub(super) fn of(values: &Values) -> Option<Self> {
        let address = values.get::<ServingText>("address")?;
        Some(Self {
            port_offset: address.value.offset,
            address: address.with(address.value.address),
            weight: number(values, "weight")?,
            backup: values.get::<bool>("backup")?.value,
            max_sessions: number(values, "max_sessions"),
            max_addresses: values.get("max_addresses"),
            track: values.get("track"),
            followed: None,
            probe_address: values.get("probe_address"),
        })
    }
}

fn send_proxy(values: &Values) -> Option<Option<At<SendProxy>>> {
    let at = values.get::<Option<Values>>("send_proxy")?;
    let Some(table) = &at.value else {
        return Some(None);
    };
    let list = table.list::<&str>("tlvs")?.value;
    let says = |name| list.iter().any(|tlv| tlv.value == name);
    let version = match table.get::<&str>("version")?.value {
        "v1" => SendProxy::V1,
        _ => SendProxy::V2(SendTlvs {
            alpn: says("alpn"),
            authority: says("authority"),
            crc32c: says("crc32c"),
            ssl: says("ssl"),
            unique_id: says("unique-id"),
        }),
    };
    Some(Some(at.with(version)))
}

fn useless_tlvs(values: &Values) -> Option<Span> {
    let table = values.get::<Option<Values>>("send_proxy")?.value?;
    let list = table.list::<&str>("tlvs")?;
    let is_v1 = table.get::<&str>("version")?.value == "v1";
    (is_v1 && !list.value.is_empty()).then_some(list.span)
}
