//! The configuration while it is checked: every value with its place in the file, and holes where
//! something was wrong (a hole has been reported, so the checks pass over it).

mod agent;
mod backend;
mod http;
mod listener;
mod names;
mod probe;
mod route;
mod step;
mod timeouts;
mod tls;
mod track;
mod tracker;
mod vrrp;

use std::time::Duration;

use ipnet::IpNet;

use self::listener::{backend, binds, routes};
use self::vrrp::priorities;
use super::diagnostic::Findings;
use super::document::Document;
use super::keys;
use super::value::{At, FromValue, Value, Values};
use super::{Admin, AdminHttp, Keepalive, Proxy};

pub(super) use self::agent::AgentDraft;
pub(super) use self::backend::{BackendDraft, ServerDraft};
pub(super) use self::http::HttpDraft;
pub(super) use self::listener::{BindDraft, ListenerDraft, RouteDraft};
pub(super) use self::names::{DnsDraft, NameDraft};
pub(super) use self::probe::ProbeDraft;
pub(super) use self::route::{RoutesDraft, VipRouteDraft, VipRuleDraft};
pub(super) use self::step::StepDraft;
pub(super) use self::tls::{BackendTlsDraft, CertificateDraft, ListenerTlsDraft, VersionsDraft};
pub(super) use self::tracker::TrackerDraft;
pub(super) use self::vrrp::{NodeDraft, PairDraft, VipDraft};

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) nodes: Vec<NodeDraft>,
    pub(super) pair: PairDraft,
    pub(super) allow_fast: bool,
    pub(super) together: bool,
    pub(super) startup_delay: Option<At<Duration>>,
    pub(super) vips: Vec<VipDraft>,
    pub(super) trackers: Vec<TrackerDraft>,
    pub(super) backends: Vec<BackendDraft>,
    pub(super) listeners: Vec<ListenerDraft>,
    pub(super) proxy: Option<Proxy>,
    pub(super) admin: AdminDraft,
    pub(super) dns: DnsDraft,
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
        let trackers = document
            .named(&keys::TRACKERS)
            .map(|(name, values)| TrackerDraft::of(name, values, &vips, findings))
            .collect();
        let mut backends: Vec<BackendDraft> = document
            .named(&keys::BACKENDS)
            .map(|(name, values)| BackendDraft::of(name, values, timeouts))
            .collect();
        track::resolve(&mut backends, findings);
        let listeners = document
            .named(&keys::LISTENERS)
            .map(|(name, values)| {
                let mut listener = ListenerDraft::of(name, values, timeouts);
                listener.binds = binds(values, &vips, findings);
                listener.backend = backend(values, &backends, findings);
                listener.routes = routes(values, &backends, findings);
                listener.settle_hello();
                listener.settle_tunnel(&backends);
                listener
            })
            .collect();
        Self {
            allow_fast: vrrp.get("allow_fast").is_some_and(|allow| allow.value),
            together: vrrp.get("together").is_some_and(|at| at.value),
            startup_delay: vrrp.get("startup_delay"),
            proxy: proxy_of(proxy),
            admin: AdminDraft::of(once(&keys::ADMIN)),
            dns: DnsDraft::of(once(&keys::DNS)),
            nodes,
            pair,
            vips,
            trackers,
            backends,
            listeners,
        }
    }
}

impl AdminDraft {
    fn of(values: &Values) -> Self {
        Self {
            http: values.get("http"),
            allow: networks(values, "allow"),
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

fn own_or<T: FromValue>(own: &str, values: &Values, (key, section): (&str, &Values)) -> Option<T> {
    at_own_or(own, values, (key, section)).map(|at| at.value)
}

fn at_own_or<T: FromValue>(
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

fn number<T: TryFrom<u64>>(values: &Values, key: &str) -> Option<T> {
    let number = values.get::<u64>(key)?;
    T::try_from(number.value).ok()
}

fn small(number: At<u64>) -> Option<u32> {
    u32::try_from(number.value).ok()
}

fn networks(values: &Values, key: &str) -> Option<At<Vec<IpNet>>> {
    let list = values.list::<IpNet>(key)?;
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
        max_sessions: number(values, "max_sessions"),
        drain: values.get("drain")?.value,
    })
}
