//! Listeners while they are checked.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::backend::BackendDraft;
use super::vrrp::VipDraft;
use super::{at_own_or, count, keepalive, networks};
use crate::config::Keepalive;
use crate::config::diagnostic::{Findings, Span};
use crate::config::nearest::remedy_for_name;
use crate::config::value::{At, BindText, Values};

#[derive(Debug)]
pub(in crate::config) struct ListenerDraft {
    pub(in crate::config) name: At<String>,
    /// How many the file names, if the list could be read.
    pub(in crate::config) bind_count: Option<At<usize>>,
    /// Without those that were wrong.
    pub(in crate::config) binds: Vec<BindDraft>,
    /// Index into the backends.
    pub(in crate::config) backend: Option<At<usize>>,
    pub(in crate::config) allow: Option<At<Vec<IpNet>>>,
    pub(in crate::config) required: Option<bool>,
    pub(in crate::config) client_timeout: Option<At<Option<Duration>>>,
    pub(in crate::config) tunnel_timeout: Option<At<Option<Duration>>>,
    pub(in crate::config) keepalive: Option<Option<Keepalive>>,
}

/// Where a listener binds, with the VIP resolved.
#[derive(Debug, Clone)]
pub(in crate::config) struct BindDraft {
    pub(in crate::config) address: SocketAddr,
    pub(in crate::config) span: Span,
    /// Index into the VIPs.
    pub(in crate::config) vip: Option<usize>,
}

impl ListenerDraft {
    pub(super) fn of(name: &At<String>, values: &Values, timeouts: &Values) -> Self {
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
