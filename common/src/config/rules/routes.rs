//! Routes and rules that follow a VIP: what the kernel would refuse, and what would cut the nodes off.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::addr::Family;
use crate::config::diagnostic::{Findings, Span};
use crate::config::draft::{Draft, VipDraft, VipRouteDraft, VipRuleDraft};
use crate::config::value::At;
use crate::config::{MAIN_TABLE, RouteScope};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let mut routes: Vec<(RouteKey, Span)> = Vec::new();
    let mut rules: Vec<(RuleKey<'_>, Span)> = Vec::new();
    for vip in &draft.vips {
        let Some(family) = vip.family() else { continue };
        for route in &vip.routes.routes {
            if !check_family(vip, family, (route.value.to.as_ref(), "a route"), findings) {
                continue;
            }
            check_next_hop(vip, route, draft, findings);
            check_source(vip, &route.value, draft, findings);
            check_scope(family, &route.value, findings);
            check_neighbours(vip, &route.value, draft, findings);
            if let Some(key) = route_key(&route.value) {
                check_repeated((key, route.span), &mut routes, "route", findings);
            }
        }
        for rule in &vip.routes.rules {
            let both = [&rule.value.from, &rule.value.to];
            let mut fits = true;
            for net in both {
                fits &= check_family(vip, family, (net.as_ref(), "a rule"), findings);
            }
            if fits && let Some(key) = rule_key(family, &rule.value) {
                check_selector(rule, &key, findings);
                check_repeated((key, rule.span), &mut rules, "rule", findings);
            }
        }
    }
}

fn check_family(
    vip: &VipDraft,
    family: Family,
    (net, what): (Option<&At<IpNet>>, &str),
    findings: &mut Findings,
) -> bool {
    let Some(at) = net else { return true };
    if Family::of(at.value.addr()) == family {
        return true;
    }
    let name = |family| match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    findings.error(
        at.span,
        format!(
            "{what} for `{}` cannot follow VIP `{}`, which is {}",
            at.value,
            vip.name.value,
            name(family)
        ),
        "write it at a VIP of its own family",
    );
    false
}

fn check_next_hop(
    vip: &VipDraft,
    route: &At<VipRouteDraft>,
    draft: &Draft,
    findings: &mut Findings,
) {
    let on_link = route.value.on_link.as_ref().filter(|at| at.value);
    let Some(via) = &route.value.via else {
        if let Some(on_link) = on_link {
            findings.error(
                on_link.span,
                "`onlink` is said of a next hop, and this route has none",
                "add `via`, or remove `onlink`",
            );
        }
        return;
    };
    let Some(net) = vip.address.as_ref().map(|at| at.value) else {
        return;
    };
    if via.value.is_ipv4() != net.addr().is_ipv4() {
        findings.error(
            via.span,
            format!("`{}` is of another family than the destination", via.value),
            "write a next hop of the same family",
        );
        return;
    }
    if let Some(whose) = owner_of(via.value, draft) {
        findings.error(
            via.span,
            format!("`{}` is {whose}, so it is no next hop there", via.value),
            "write the address of a router",
        );
        return;
    }
    let elsewhere = match (&route.value.dev, &vip.interface) {
        (Some(dev), Some(own)) => dev.value != own.value,
        (Some(_), None) | (None, _) => false,
    };
    let is_link_local = matches!(via.value, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if !elsewhere && !is_link_local && on_link.is_none() && !net.contains(&via.value) {
        findings.error(
            via.span,
            format!(
                "`{}` is not in {}, the VIP's subnet, so nothing says that it can be reached at its interface",
                via.value,
                net.trunc()
            ),
            "name the `dev` that it is at, or say onlink = true",
        );
    }
}

/// Whose an address is, if it is one of the pair's: `VIP `api``.
fn owner_of(address: IpAddr, draft: &Draft) -> Option<String> {
    let mut vips = draft.vips.iter();
    let vip = vips.find(|vip| {
        let net = vip.address.as_ref();
        net.is_some_and(|net| net.value.addr() == address)
    });
    let mut nodes = draft.nodes.iter();
    let node = nodes.find(|node| {
        let own = node.address.as_ref().map(|own| own.value);
        let link_local = node.link_local.as_ref().map(|own| own.value.into());
        own == Some(address) || link_local == Some(address)
    });
    match (vip, node) {
        (Some(vip), _) => Some(format!("VIP `{}`", vip.name.value)),
        (None, Some(node)) => Some(format!("node `{}`'s own address", node.name.value)),
        (None, None) => None,
    }
}

/// The file is the same for both nodes, and what leaves from another node's address has no answer.
fn check_source(vip: &VipDraft, route: &VipRouteDraft, draft: &Draft, findings: &mut Findings) {
    let (Some(source), Some(own)) = (&route.source, &vip.address) else {
        return;
    };
    let own = own.value.addr();
    let moves_with_it = draft.together
        && draft.vips.iter().any(|other| {
            let net = other.address.as_ref();
            net.is_some_and(|net| net.value.addr() == source.value)
        });
    if source.value != own && !moves_with_it {
        let whose = owner_of(source.value, draft);
        findings.error(
            source.span,
            match whose {
                Some(whose) => format!(
                    "`{}` is {whose}, which is not always where VIP `{}` is",
                    source.value, vip.name.value
                ),
                None => format!("`{}` is no address of both nodes", source.value),
            },
            format!("write src = \"{own}\", or leave it out"),
        );
        return;
    }
    from_vip(vip, (route, source.span), draft, findings);
}

/// Sessions to servers that leave from the VIP do not outlive its next move.
fn from_vip(
    vip: &VipDraft,
    (route, span): (&VipRouteDraft, Span),
    draft: &Draft,
    findings: &mut Findings,
) {
    let (Some(to), Some(MAIN_TABLE)) = (&route.to, route.table) else {
        return;
    };
    let reached = draft.backends.iter().find(|backend| {
        let mut servers = backend.servers.iter();
        backend.source.is_none() && servers.any(|one| to.value.contains(&one.address.value.ip()))
    });
    if let Some(backend) = reached {
        findings.warn(
            span,
            format!(
                "sessions to servers of backend `{}` may leave from VIP `{}` by this route, and end when it moves",
                backend.name.value, vip.name.value
            ),
            "leave `src` out, or give the backend a `source`",
        );
    }
}

fn check_scope(family: Family, route: &VipRouteDraft, findings: &mut Findings) {
    let Some(scope) = &route.scope else { return };
    match (family, scope.value, &route.via) {
        (Family::V6, _, _) => {
            findings.error(scope.span, "routes of IPv6 have no scope", "remove `scope`")
        }
        (Family::V4, RouteScope::Link, Some(via)) => findings.error(
            scope.span,
            format!("what is behind {} is not at the interface", via.value),
            "remove `scope`, or `via`",
        ),
        (Family::V4, RouteScope::Link, None) | (Family::V4, RouteScope::Global, _) => {}
    }
}

/// A route to the subnet of the nodes, or to a part of it, would lead adverts and heartbeats away.
fn check_neighbours(vip: &VipDraft, route: &VipRouteDraft, draft: &Draft, findings: &mut Findings) {
    let (Some(to), Some(net), Some(MAIN_TABLE)) = (&route.to, &vip.address, route.table) else {
        return;
    };
    let (to, net, span) = (to.value, net.value, to.span);
    let node = draft.nodes.iter().find(|node| {
        let own = node.address.as_ref().map(|own| own.value);
        own.is_some_and(|own| to.contains(&own) && net.contains(&own))
    });
    if let Some(node) = node
        && to.prefix_len() >= net.prefix_len()
    {
        findings.error(
            span,
            format!(
                "this route would lead what goes to node `{}` another way: the nodes are in {}",
                node.name.value,
                net.trunc()
            ),
            "use a destination outside of it, or another `table`",
        );
    }
}

/// What the kernel knows a route by: two of them cannot be.
type RouteKey = (IpNet, u32, u32);

fn route_key(route: &VipRouteDraft) -> Option<RouteKey> {
    let to = route.to.as_ref()?.value;
    Some((
        to,
        route.table?,
        route.metric.unwrap_or(match to {
            IpNet::V4(_) => 0,
            IpNet::V6(_) => 1024,
        }),
    ))
}

type RuleKey<'a> = (
    Family,
    [Option<IpNet>; 2],
    Option<&'a str>,
    Option<u32>,
    [u32; 2],
);

fn rule_key(family: Family, rule: &VipRuleDraft) -> Option<RuleKey<'_>> {
    let nets = [&rule.from, &rule.to];
    Some((
        family,
        nets.map(|net| net.as_ref().map(|at| at.value)),
        rule.iif.as_deref(),
        rule.fwmark,
        [rule.table?, rule.priority?],
    ))
}

fn check_selector(rule: &At<VipRuleDraft>, key: &RuleKey<'_>, findings: &mut Findings) {
    if let (_, [None, None], None, None, [table, _]) = key {
        findings.warn(
            rule.span,
            format!("this rule sends every packet to table {table}, those between the nodes too"),
            "name `from`, `to`, `iif` or `fwmark`, unless that is meant",
        );
    }
}

/// Two VIPs cannot share one either: it would go when the first of them goes.
fn check_repeated<K: PartialEq>(
    (key, span): (K, Span),
    earlier: &mut Vec<(K, Span)>,
    what: &str,
    findings: &mut Findings,
) {
    match earlier.iter().find(|(other, _)| *other == key) {
        Some((_, other)) => findings.error_beside(
            (span, *other),
            format!("the same {what} stands here and before"),
            match what {
                "route" => "remove one of the two, or give them another `metric` or `table`",
                _ => "remove one of the two",
            },
        ),
        None => earlier.push((key, span)),
    }
}
