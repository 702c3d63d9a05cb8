//! Listeners while they are checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::backend::BackendDraft;
use super::tls::ListenerTlsDraft;
use super::vrrp::VipDraft;
use super::{at_own_or, count, keepalive, networks, number, own_or};
use crate::config::diagnostic::{Findings, Span};
use crate::config::nearest::remedy_for_name;
use crate::config::value::{At, BindHost, BindText, Values};
use crate::config::{
    Bind, Keepalive, LogFormat, ProxyVersions, SocketOptions, SourceLimit, VipIndex,
};

#[derive(Debug)]
pub(in crate::config) struct ListenerDraft {
    pub(in crate::config) name: At<String>,
    /// How many the file names, if the list could be read.
    pub(in crate::config) bind_count: Option<At<usize>>,
    /// Without those that were wrong.
    pub(in crate::config) binds: Vec<BindDraft>,
    /// Index into the backends.
    pub(in crate::config) backend: Option<At<usize>>,
    /// Without those that were wrong.
    pub(in crate::config) routes: Vec<At<RouteDraft>>,
    pub(in crate::config) hello_timeout: Option<At<Duration>>,
    pub(in crate::config) tls: Option<Option<ListenerTlsDraft>>,
    pub(in crate::config) accept_proxy: Option<Option<AcceptProxyDraft>>,
    pub(in crate::config) allow: Option<At<Vec<IpNet>>>,
    pub(in crate::config) deny: Option<At<Vec<IpNet>>>,
    pub(in crate::config) drop: Option<At<Vec<IpNet>>>,
    pub(in crate::config) files: FilesDraft,
    pub(in crate::config) max_sessions: Option<u64>,
    pub(in crate::config) accept_rate: Option<u64>,
    pub(in crate::config) source_limit: Option<At<SourceLimit>>,
    pub(in crate::config) required: Option<bool>,
    pub(in crate::config) client_timeout: Option<At<Option<Duration>>>,
    pub(in crate::config) tunnel_timeout: Option<At<Option<Duration>>>,
    pub(in crate::config) client_fin_timeout: Option<Option<Duration>>,
    pub(in crate::config) keepalive: Option<Option<Keepalive>>,
    pub(in crate::config) max_lifetime: Option<Option<Duration>>,
    pub(in crate::config) user_timeout: Option<Option<Duration>>,
    /// `None` in it = off.
    pub(in crate::config) session_log: Option<Option<LogFormat>>,
    pub(in crate::config) session_log_file: Option<At<PathBuf>>,
    pub(in crate::config) socket: Option<SocketOptions>,
    /// The same as in `socket`, and where it stands.
    pub(in crate::config) backlog: Option<At<u64>>,
}

/// Files with lists of networks.
#[derive(Debug)]
pub(in crate::config) struct FilesDraft {
    pub(in crate::config) allow: Option<At<PathBuf>>,
    pub(in crate::config) deny: Option<At<PathBuf>>,
    pub(in crate::config) drop: Option<At<PathBuf>>,
    /// Of `source_limit`.
    pub(in crate::config) exempt: Option<At<PathBuf>>,
}

impl FilesDraft {
    fn of(values: &Values) -> Self {
        let limit = values.get::<Option<Values>>("source_limit");
        let limit = limit.and_then(|limit| limit.value);
        Self {
            allow: values.get("allow_file"),
            deny: values.get("deny_file"),
            drop: values.get("drop_file"),
            exempt: limit.and_then(|limit| limit.get("exempt_file")),
        }
    }
}

#[derive(Debug)]
pub(in crate::config) struct RouteDraft {
    /// Index into the backends.
    pub(in crate::config) backend: usize,
    pub(in crate::config) sni: Vec<At<String>>,
    pub(in crate::config) alpn: Vec<String>,
}

#[derive(Debug)]
pub(in crate::config) struct AcceptProxyDraft {
    pub(in crate::config) from: At<Vec<IpNet>>,
    pub(in crate::config) version: ProxyVersions,
    pub(in crate::config) timeout: Duration,
}

/// Where a listener binds, with the VIP resolved.
#[derive(Debug, Clone)]
pub(in crate::config) struct BindDraft {
    pub(in crate::config) bind: Bind,
    pub(in crate::config) span: Span,
}

impl ListenerDraft {
    /// Whether sessions of it may go to the backend of this index.
    pub(in crate::config) fn leads_to(&self, backend: usize) -> bool {
        let mut routes = self.routes.iter();
        let is_default = self.backend.as_ref().is_some_and(|at| at.value == backend);
        is_default || routes.any(|route| route.value.backend == backend)
    }

    pub(super) fn of(name: &At<String>, values: &Values, timeouts: &Values) -> Self {
        Self {
            name: name.clone(),
            bind_count: count(values, "bind"),
            binds: Vec::new(),
            backend: None,
            routes: Vec::new(),
            hello_timeout: values.get("hello_timeout"),
            tls: ListenerTlsDraft::of(values),
            accept_proxy: accept_proxy(values),
            allow: networks(values, "allow"),
            deny: networks(values, "deny"),
            drop: networks(values, "drop"),
            files: FilesDraft::of(values),
            max_sessions: number(values, "max_sessions"),
            accept_rate: number(values, "accept_rate"),
            source_limit: source_limit(values),
            required: values.get("required").map(|required| required.value),
            client_timeout: at_own_or("client_timeout", values, ("client", timeouts)),
            tunnel_timeout: at_own_or("tunnel_timeout", values, ("tunnel", timeouts)),
            client_fin_timeout: own_or("client_fin_timeout", values, ("client_fin", timeouts)),
            keepalive: keepalive(values),
            max_lifetime: values.get("max_lifetime").map(|limit| limit.value),
            user_timeout: values.get("user_timeout").map(|limit| limit.value),
            session_log: values.get("session_log").map(|word| log_format(word.value)),
            session_log_file: values.get("session_log_file"),
            socket: socket_options(values),
            backlog: values.get("backlog"),
        }
    }
}

/// The routes whose backends there are.
pub(super) fn routes(
    values: &Values,
    backends: &[BackendDraft],
    findings: &mut Findings,
) -> Vec<At<RouteDraft>> {
    let list = values.list::<Values>("routes");
    let tables = list.into_iter().flat_map(|list| list.value);
    let mut route = |table: At<Values>| {
        let texts = |key| {
            let list = table.value.list::<String>(key);
            list.map_or_else(Vec::new, |list| list.value)
        };
        let draft = RouteDraft {
            backend: backend(&table.value, backends, findings)?.value,
            sni: texts("sni"),
            alpn: texts("alpn").into_iter().map(|name| name.value).collect(),
        };
        Some(table.with(draft))
    };
    tables.filter_map(&mut route).collect()
}

fn accept_proxy(values: &Values) -> Option<Option<AcceptProxyDraft>> {
    let Some(table) = values.get::<Option<Values>>("accept_proxy")?.value else {
        return Some(None);
    };
    Some(Some(AcceptProxyDraft {
        from: networks(&table, "from")?,
        version: match table.get::<&str>("version")?.value {
            "v1" => ProxyVersions::V1,
            "v2" => ProxyVersions::V2,
            _ => ProxyVersions::Any,
        },
        timeout: table.get("timeout")?.value,
    }))
}

fn log_format(word: &str) -> Option<LogFormat> {
    let formats = [LogFormat::Json, LogFormat::Tcplog];
    formats.into_iter().find(|format| format.word() == word)
}

fn source_limit(values: &Values) -> Option<At<SourceLimit>> {
    let table = values.get::<Option<Values>>("source_limit")?;
    let Some(limit) = &table.value else {
        // As if it were left out.
        return Some(At {
            given: false,
            ..table.with(SourceLimit::default())
        });
    };
    Some(table.with(SourceLimit {
        sessions: number(limit, "sessions"),
        rate: number(limit, "rate"),
        exempt: networks(limit, "exempt")?.value,
        exempt_file: limit.get::<PathBuf>("exempt_file").map(|path| path.value),
    }))
}

fn socket_options(values: &Values) -> Option<SocketOptions> {
    Some(SocketOptions {
        interface: values.get("interface").map(|name| name.value),
        backlog: number(values, "backlog"),
        defer_accept: values.get::<Option<Duration>>("defer_accept")?.value,
        fast_open: number(values, "fast_open"),
        mss: number(values, "mss"),
        mark: number(values, "mark"),
    })
}

pub(super) fn backend(
    values: &Values,
    backends: &[BackendDraft],
    findings: &mut Findings,
) -> Option<At<usize>> {
    let name = values.get::<String>("backend")?;
    let found = backends.iter().position(|b| b.name.value == name.value);
    if found.is_none() {
        let names = backends.iter().map(|backend| backend.name.value.as_str());
        findings.error(
            name.span,
            format!("there is no backend `{}`", name.value),
            remedy_for_name("backends", &name.value, names),
        );
    }
    found.map(|index| name.with(index))
}

pub(super) fn binds(values: &Values, vips: &[VipDraft], findings: &mut Findings) -> Vec<BindDraft> {
    let list = values.list::<BindText>("bind");
    let texts = list.into_iter().flat_map(|list| list.value);
    texts
        .filter_map(|bind| resolve_bind(&bind, vips, findings))
        .collect()
}

fn resolve_bind(
    bind: &At<BindText>,
    vips: &[VipDraft],
    findings: &mut Findings,
) -> Option<BindDraft> {
    let of_vip = |vip: &VipDraft| vip.address.as_ref().map(|net| net.value.addr());
    let (ip, vip) = match &bind.value.host {
        BindHost::Address(ip) => {
            let same = |vip: &VipDraft| of_vip(vip).is_some_and(|vip| vip == *ip);
            (*ip, vips.iter().position(same))
        }
        BindHost::Vip(name) => {
            let Some(index) = vips.iter().position(|vip| vip.name.value == *name) else {
                let names = vips.iter().map(|vip| vip.name.value.as_str());
                findings.error(
                    bind.span,
                    format!("there is no VIP `{name}`"),
                    remedy_for_name("VIPs", name, names),
                );
                return None;
            };
            let address = of_vip(&vips[index])?;
            (address, Some(index))
        }
    };
    Some(BindDraft {
        bind: Bind {
            address: SocketAddr::new(ip, bind.value.first_port),
            last_port: bind.value.last_port,
            vip: vip.map(VipIndex),
        },
        span: bind.span,
    })
}
