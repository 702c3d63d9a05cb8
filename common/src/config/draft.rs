//! The configuration while it is checked: every value with its place in the file, and holes where
//! something was wrong (a hole has been reported, so the checks pass over it).

mod timeouts;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::diagnostic::{Findings, Span};
use super::document::Document;
use super::keys;
use super::nearest::remedy_for_name;
use super::value::{At, BindText, Value, Values};
use super::{Admin, AdminHttp, Balance, ChecksumForm, Keepalive, Proxy, Runs, Transport};

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) nodes: Vec<NodeDraft>,
    pub(super) pair: PairDraft,
    pub(super) allow_fast: bool,
    pub(super) vips: Vec<VipDraft>,
    pub(super) backends: Vec<BackendDraft>,
    pub(super) listeners: Vec<ListenerDraft>,
    pub(super) proxy: Option<Proxy>,
    pub(super) admin: AdminDraft,
}

#[derive(Debug)]
pub(super) struct NodeDraft {
    pub(super) name: At<String>,
    pub(super) address: Option<At<Ipv4Addr>>,
    pub(super) priority: Option<At<u8>>,
    pub(super) runs: Option<At<Runs>>,
}

#[derive(Debug)]
pub(super) struct PairDraft {
    pub(super) header: Span,
    pub(super) interface: Option<At<String>>,
    pub(super) key_file: Option<At<PathBuf>>,
    pub(super) heartbeat: Option<At<Option<Duration>>>,
    pub(super) port: Option<At<u16>>,
}

#[derive(Debug)]
pub(super) struct VipDraft {
    pub(super) name: At<String>,
    pub(super) address: Option<At<Ipv4Net>>,
    pub(super) vrid: Option<At<u8>>,
    pub(super) interface: Option<At<String>>,
    /// In the order of the nodes.
    pub(super) priorities: Vec<Option<At<u8>>>,
    pub(super) advert_interval: Option<At<Duration>>,
    pub(super) preempt: Option<At<bool>>,
    pub(super) preempt_delay: Option<At<Duration>>,
    pub(super) transport: Option<Transport>,
    pub(super) checksum: Option<ChecksumForm>,
}

#[derive(Debug)]
pub(super) struct ListenerDraft {
    pub(super) name: At<String>,
    /// How many the file names, if the list could be read.
    pub(super) bind_count: Option<At<usize>>,
    /// Without those that were wrong.
    pub(super) binds: Vec<BindDraft>,
    /// Index into the backends.
    pub(super) backend: Option<At<usize>>,
    pub(super) allow: Option<At<Vec<IpNet>>>,
    pub(super) required: Option<bool>,
    pub(super) client_timeout: Option<At<Option<Duration>>>,
    pub(super) tunnel_timeout: Option<At<Option<Duration>>>,
    pub(super) keepalive: Option<Option<Keepalive>>,
}

/// Where a listener binds, with the VIP resolved.
#[derive(Debug, Clone)]
pub(super) struct BindDraft {
    pub(super) address: SocketAddr,
    pub(super) span: Span,
    /// Index into the VIPs.
    pub(super) vip: Option<usize>,
}

#[derive(Debug)]
pub(super) struct BackendDraft {
    pub(super) name: At<String>,
    /// How many the file names, if the list could be read.
    pub(super) server_count: Option<At<usize>>,
    /// Without those that were wrong.
    pub(super) servers: Vec<ServerDraft>,
    pub(super) balance: Option<Balance>,
    pub(super) probe: Option<Option<ProbeDraft>>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) retries: Option<u32>,
    pub(super) server_timeout: Option<At<Option<Duration>>>,
    pub(super) keepalive: Option<Option<Keepalive>>,
}

#[derive(Debug)]
pub(super) struct ServerDraft {
    pub(super) address: At<SocketAddr>,
    pub(super) weight: u16,
}

#[derive(Debug)]
pub(super) struct ProbeDraft {
    /// The probe itself; for a default one, the backend's name.
    pub(super) span: Span,
    pub(super) kind: Option<At<&'static str>>,
    pub(super) interval: Option<At<Duration>>,
    pub(super) timeout: Option<At<Duration>>,
    pub(super) rise: Option<u32>,
    pub(super) fall: Option<u32>,
    pub(super) ca_file: Option<At<PathBuf>>,
    pub(super) cert_file: Option<At<PathBuf>>,
    pub(super) key_file: Option<At<PathBuf>>,
}

#[derive(Debug)]
pub(super) struct AdminDraft {
    pub(super) http: Option<At<Option<AdminHttp>>>,
    pub(super) allow: Option<At<Vec<IpNet>>>,
}

impl Draft {
    /// Resolves names and inherited values; names that lead nowhere are reported.
    pub(super) fn of(document: &Document, findings: &mut Findings) -> Self {
        let once = |section| document.once(section);
        let (pair, vrrp) = (once(&keys::PAIR), once(&keys::VRRP));
        let (timeouts, proxy) = (once(&keys::TIMEOUTS), once(&keys::PROXY));
        let pair = PairDraft::of(pair);
        let nodes: Vec<NodeDraft> = document
            .named(&keys::NODES)
            .map(|(name, values)| NodeDraft::of(name, values))
            .collect();
        let vips: Vec<VipDraft> = document
            .named(&keys::VIPS)
            .map(|(name, values)| {
                let mut vip = VipDraft::of(name, values, vrrp);
                vip.interface = vip.interface.or_else(|| inherited(pair.interface.as_ref()));
                vip.priorities = priorities(values, &nodes, findings);
                vip
            })
            .collect();
        let backends: Vec<BackendDraft> = document
            .named(&keys::BACKENDS)
            .map(|(name, values)| BackendDraft::of(name, values, timeouts))
            .collect();
        let listeners = document
            .named(&keys::LISTENERS)
            .map(|(name, values)| {
                let mut listener = ListenerDraft::of(name, values, timeouts);
                listener.binds = binds(values, &vips, findings);
                listener.backend = backend(values, &backends, findings);
                listener.settle_tunnel(&backends);
                listener
            })
            .collect();
        Self {
            allow_fast: vrrp.get("allow_fast").is_some_and(|allow| allow.value),
            proxy: proxy_of(proxy),
            admin: AdminDraft::of(once(&keys::ADMIN)),
            nodes,
            pair,
            vips,
            backends,
            listeners,
        }
    }
}

impl NodeDraft {
    fn of(name: &At<String>, values: &Values) -> Self {
        Self {
            name: name.clone(),
            address: values.get("address"),
            priority: values.get("priority").and_then(byte),
            runs: values.get::<&str>("runs").map(|word| {
                word.with(match word.value {
                    "keepalived" => Runs::Keepalived,
                    _ => Runs::FmcLb,
                })
            }),
        }
    }

    /// Whether fmc-lb runs there.
    pub(super) fn is_ours(&self) -> bool {
        self.runs
            .as_ref()
            .is_none_or(|runs| runs.value == Runs::FmcLb)
    }
}

impl PairDraft {
    fn of(values: &Values) -> Self {
        Self {
            header: values.header,
            interface: values.get("interface"),
            key_file: values.get("key_file"),
            heartbeat: values.get("heartbeat"),
            port: values
                .get::<u64>("port")
                .and_then(|port| u16::try_from(port.value).ok().map(|value| port.with(value))),
        }
    }
}

impl VipDraft {
    fn of(name: &At<String>, values: &Values, vrrp: &Values) -> Self {
        let word = |key: &str| {
            values
                .get::<&str>(key)
                .or_else(|| vrrp.get(key))
                .map(|word| word.value)
        };
        Self {
            name: name.clone(),
            address: values.get("address"),
            vrid: values.get("vrid").and_then(byte),
            interface: values.get("interface"),
            priorities: Vec::new(),
            advert_interval: values
                .get("advert_interval")
                .or_else(|| vrrp.get("advert_interval")),
            preempt: values.get("preempt").or_else(|| vrrp.get("preempt")),
            preempt_delay: values
                .get("preempt_delay")
                .or_else(|| vrrp.get("preempt_delay")),
            transport: word("transport").map(|word| match word {
                "unicast" => Transport::Unicast,
                _ => Transport::Multicast,
            }),
            checksum: word("checksum").map(|word| match word {
                "message" => ChecksumForm::Message,
                _ => ChecksumForm::Pseudo,
            }),
        }
    }
}

impl ListenerDraft {
    fn of(name: &At<String>, values: &Values, timeouts: &Values) -> Self {
        Self {
            name: name.clone(),
            bind_count: count(values, "bind"),
            binds: Vec::new(),
            backend: None,
            allow: networks(values),
            required: values.get("required").map(|required| required.value),
            client_timeout: at_own_or("client_timeout", values, ("client", timeouts)),
            tunnel_timeout: at_own_or("tunnel_timeout", values, ("tunnel", timeouts)),
            keepalive: keepalive(values),
        }
    }
}

impl BackendDraft {
    fn of(name: &At<String>, values: &Values, timeouts: &Values) -> Self {
        let servers = values.list::<Values>("servers");
        Self {
            name: name.clone(),
            server_count: count(values, "servers"),
            servers: servers
                .into_iter()
                .flat_map(|list| list.value)
                .filter_map(|server| ServerDraft::of(&server.value))
                .collect(),
            balance: values.get::<&str>("balance").map(|word| match word.value {
                "least-connections" => Balance::LeastConnections,
                _ => Balance::RoundRobin,
            }),
            probe: values
                .get::<Option<Values>>("probe")
                .map(|probe| probe.value.map(|values| ProbeDraft::of(&values, name.span))),
            connect_timeout: own_or("connect_timeout", values, ("connect", timeouts)),
            retries: values.get("retries").and_then(small),
            server_timeout: at_own_or("server_timeout", values, ("server", timeouts)),
            keepalive: keepalive(values),
        }
    }
}

impl ServerDraft {
    fn of(values: &Values) -> Option<Self> {
        Some(Self {
            address: values.get("address")?,
            weight: u16::try_from(values.get::<u64>("weight")?.value).ok()?,
        })
    }
}

impl ProbeDraft {
    fn of(values: &Values, backend: Span) -> Self {
        let is_default = values.entries.iter().all(|(_, value)| !value.given);
        Self {
            span: if is_default { backend } else { values.header },
            kind: values.get("kind"),
            interval: values.get("interval"),
            timeout: values.get("timeout"),
            rise: values.get("rise").and_then(small),
            fall: values.get("fall").and_then(small),
            ca_file: values.get("ca_file"),
            cert_file: values.get("cert_file"),
            key_file: values.get("key_file"),
        }
    }
}

impl AdminDraft {
    fn of(values: &Values) -> Self {
        Self {
            http: values.get("http"),
            allow: networks(values),
        }
    }

    /// The validated section; `None` if something was wrong.
    pub(super) fn build(&self) -> Option<Admin> {
        Some(Admin {
            http: self.http.as_ref()?.value,
            allow: self.allow.as_ref()?.value.clone(),
        })
    }
}

/// A value of another section is a default here.
fn inherited<T: Clone>(value: Option<&At<T>>) -> Option<At<T>> {
    value.map(|at| At {
        given: false,
        ..at.clone()
    })
}

fn own_or<T: super::value::FromValue>(
    own: &str,
    values: &Values,
    (key, section): (&str, &Values),
) -> Option<T> {
    at_own_or(own, values, (key, section)).map(|at| at.value)
}

fn at_own_or<T: super::value::FromValue>(
    own: &str,
    values: &Values,
    (key, section): (&str, &Values),
) -> Option<At<T>> {
    values.get(own).or_else(|| section.get(key))
}

fn count(values: &Values, list: &str) -> Option<At<usize>> {
    let list = values.get::<Vec<At<Value>>>(list)?;
    Some(list.with(list.value.len()))
}

fn byte(number: At<u64>) -> Option<At<u8>> {
    let value = u8::try_from(number.value).ok()?;
    Some(number.with(value))
}

fn small(number: At<u64>) -> Option<u32> {
    u32::try_from(number.value).ok()
}

fn networks(values: &Values) -> Option<At<Vec<IpNet>>> {
    let list = values.list::<IpNet>("allow")?;
    let networks = list.value.iter().map(|network| network.value).collect();
    Some(list.with(networks))
}

fn keepalive(values: &Values) -> Option<Option<Keepalive>> {
    let Some(values) = values.get::<Option<Values>>("keepalive")?.value else {
        return Some(None);
    };
    Some(Some(Keepalive {
        idle: values.get("idle")?.value,
        interval: values.get("interval")?.value,
        count: values.get("count").and_then(small)?,
    }))
}

fn proxy_of(values: &Values) -> Option<Proxy> {
    Some(Proxy {
        threads: values
            .get::<u64>("threads")
            .and_then(|threads| usize::try_from(threads.value).ok()),
        drain: values.get("drain")?.value,
    })
}

fn priorities(
    values: &Values,
    nodes: &[NodeDraft],
    findings: &mut Findings,
) -> Vec<Option<At<u8>>> {
    let own = values
        .get::<Vec<(At<String>, At<Value>)>>("priority")
        .map_or_else(Vec::new, |by_node| by_node.value);
    for (name, _) in &own {
        if nodes.iter().all(|node| node.name.value != name.value) {
            let names = nodes.iter().map(|node| node.name.value.as_str());
            findings.error(
                name.span,
                format!("there is no node `{}`", name.value),
                remedy_for_name("nodes", &name.value, names),
            );
        }
    }
    nodes
        .iter()
        .map(|node| {
            let found = own.iter().find(|(name, _)| name.value == node.name.value);
            match found {
                Some((_, at)) => {
                    if let Value::Integer(number) = at.value {
                        byte(at.with(number))
                    } else {
                        None
                    }
                }
                None => node.priority.clone(),
            }
        })
        .collect()
}

fn backend(
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

fn binds(values: &Values, vips: &[VipDraft], findings: &mut Findings) -> Vec<BindDraft> {
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
    let (address, vip) = match &bind.value {
        BindText::Address(address) => {
            let same = |vip: &VipDraft| of_vip(vip).is_some_and(|vip| vip == address.ip());
            (*address, vips.iter().position(same))
        }
        BindText::Vip(name, port) => {
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
            (SocketAddr::new(address.into(), *port), Some(index))
        }
    };
    Some(BindDraft {
        address,
        span: bind.span,
        vip,
    })
}
