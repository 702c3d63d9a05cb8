//! Where connections are accepted, and who may come.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::diagnostic::Findings;
use crate::config::draft::{BindDraft, Draft, ListenerDraft, RouteDraft};
use crate::config::kind::show_duration;
use crate::config::value::At;
use crate::config::{AdminHttp, Bind};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for (index, listener) in draft.listeners.iter().enumerate() {
        if let Some(count) = &listener.bind_count
            && count.value == 0
        {
            findings.error(
                count.span,
                format!("listener `{}` binds to nothing", listener.name.value),
                "add a VIP or an address with a port: [\"vips.NAME:443\"]",
            );
        }
        for (place, bind) in listener.binds.iter().enumerate() {
            let same = listener.binds[..place].iter().map(|bind| (listener, bind));
            let others = draft.listeners[..index]
                .iter()
                .flat_map(|other| other.binds.iter().map(move |bind| (other, bind)));
            taken(bind, others.chain(same), findings);
            admin(bind, draft, findings);
            stray(bind, draft, findings);
        }
        allow(listener, draft, findings);
        routes(listener, findings);
        senders(listener, findings);
        never_allowed(listener, findings);
        no_limit(listener, findings);
        endless(listener, draft, findings);
        superseded(listener, draft, findings);
    }
    admin_of_one_node(draft, findings);
    if let Some(allow) = &draft.admin.allow
        && allow.value.is_empty()
    {
        nobody(
            allow.span,
            "say http = \"off\" if nobody shall ask by HTTP",
            findings,
        );
    }
}

/// Whether sockets at both could get the same connection. A socket at `[::]` gets IPv6 only.
fn overlap(one: Bind, other: Bind) -> bool {
    let (ip, other_ip) = (one.address.ip(), other.address.ip());
    let same_family = ip.is_ipv4() == other_ip.is_ipv4();
    let wildcard = ip.is_unspecified() || other_ip.is_unspecified();
    let same_port = one.address.port() <= other.last_port && other.address.port() <= one.last_port;
    same_port && same_family && (ip == other_ip || wildcard)
}

fn taken<'a>(
    bind: &BindDraft,
    mut earlier: impl Iterator<Item = (&'a ListenerDraft, &'a BindDraft)>,
    findings: &mut Findings,
) {
    if let Some((listener, other)) = earlier.find(|(_, other)| overlap(other.bind, bind.bind)) {
        let (name, one, two) = (&listener.name.value, bind.bind, other.bind);
        let how = if (one.address, one.last_port) == (two.address, two.last_port) {
            format!("`{one}` is bound")
        } else {
            format!("`{one}` overlaps with `{two}`, which is bound")
        };
        findings.error_beside(
            (bind.span, other.span),
            format!("{how} by listener `{name}` already"),
            "use another port or address, or remove one of the two",
        );
    }
}

fn admin(bind: &BindDraft, draft: &Draft, findings: &mut Findings) {
    let http = draft.admin.http.as_ref().and_then(|http| http.value);
    let bound = bind.bind;
    let clash = match http {
        None => false,
        Some(AdminHttp::Address(address)) => {
            let http = Bind {
                address,
                last_port: address.port(),
                vip: None,
            };
            overlap(http, bound)
        }
        Some(AdminHttp::Node(port)) => {
            let ip = bound.address.ip();
            let is_node = |ip: IpAddr| {
                draft
                    .nodes
                    .iter()
                    .filter_map(|node| node.address.as_ref())
                    .any(|address| address.value == ip)
            };
            bound.has_port(port) && (ip.is_loopback() || ip.is_unspecified() || is_node(ip))
        }
    };
    if clash {
        findings.error(
            bind.span,
            format!("`{bound}` is where [admin] serves HTTP"),
            "use another port here, or another `http` in [admin]",
        );
    }
}

/// Both nodes read this file: the other one would bind this address too, and nobody could ask it.
fn admin_of_one_node(draft: &Draft, findings: &mut Findings) {
    let Some(http) = &draft.admin.http else {
        return;
    };
    let Some(AdminHttp::Address(address)) = http.value else {
        return;
    };
    let own = draft.nodes.iter().find(|node| {
        let known = node.address.as_ref();
        known.is_some_and(|known| known.value == address.ip())
    });
    if let (Some(node), true) = (own, draft.nodes.len() > 1) {
        findings.error(
            http.span,
            format!(
                "`{}` is node `{}`'s address, so the other node could not be asked",
                address.ip(),
                node.name.value
            ),
            format!("say \"node:{}\": each node's own address", address.port()),
        );
    }
}

/// An address of the VIPs' subnet that belongs to nobody is a slip of the pen: the kernel would let
/// us bind to it, and no connection would ever come.
fn stray(bind: &BindDraft, draft: &Draft, findings: &mut Findings) {
    let ip = bind.bind.address.ip();
    let of_node = draft.nodes.iter().any(|node| {
        node.address
            .as_ref()
            .is_none_or(|address| address.value == ip)
    });
    let near = draft
        .vips
        .iter()
        .filter_map(|vip| vip.address.as_ref())
        .any(|net| net.value.contains(&ip));
    if near && bind.bind.vip.is_none() && !of_node && !ip.is_unspecified() {
        findings.warn(
            bind.span,
            format!(
                "`{ip}` is neither a VIP nor a node's address, so nothing may ever arrive there"
            ),
            "write a VIP's or a node's address",
        );
    }
}

fn allow(listener: &ListenerDraft, draft: &Draft, findings: &mut Findings) {
    match &listener.allow {
        Some(allow) if allow.value.is_empty() && listener.files.allow.is_none() => nobody(
            allow.span,
            "leave `allow` out to serve everybody, or name the clients' networks",
            findings,
        ),
        Some(_) => {}
        None if listener.files.allow.is_some() => {}
        None => {
            let is_api = listener
                .backend
                .as_ref()
                .and_then(|backend| draft.backends[backend.value].probe.as_ref())
                .and_then(|probe| probe.as_ref())
                .and_then(|probe| probe.kind.as_ref())
                .is_some_and(|kind| kind.value == "kube-apiserver");
            if is_api {
                findings.warn(
                    listener.name.span,
                    format!(
                        "listener `{}` lets everybody reach the Kubernetes API",
                        listener.name.value
                    ),
                    "name the networks of its clients in `allow`; [\"0.0.0.0/0\"] says that everybody is meant",
                );
            }
        }
    }
}

/// A network of `allow` that lies inside one that is refused.
fn never_allowed(listener: &ListenerDraft, findings: &mut Findings) {
    let Some(allow) = &listener.allow else {
        return;
    };
    for (key, list) in [("deny", &listener.deny), ("drop", &listener.drop)] {
        let Some(list) = list else { continue };
        let covered = allow
            .value
            .iter()
            .find(|net| list.value.iter().any(|refused| refused.contains(*net)));
        if let Some(net) = covered {
            findings.error(
                list.span,
                format!("`{key}` refuses all of {net}, which `allow` names"),
                "remove it from one of the two: what is refused is looked at first",
            );
        }
    }
}

fn no_limit(listener: &ListenerDraft, findings: &mut Findings) {
    if let Some(limit) = &listener.source_limit
        && limit.given
        && limit.value.sessions.is_none()
        && limit.value.rate.is_none()
    {
        let exempts = !limit.value.exempt.is_empty() || limit.value.exempt_file.is_some();
        findings.error(
            limit.span,
            match exempts {
                true => "`source_limit` exempts from a limit that it does not set",
                false => "`source_limit` sets no limit",
            },
            "add `sessions` or `rate`",
        );
    }
}

/// Routes that nobody can take: the first that fits is taken.
fn routes(listener: &ListenerDraft, findings: &mut Findings) {
    for (place, route) in listener.routes.iter().enumerate() {
        let earlier = &listener.routes[..place];
        let covers = |other: &RouteDraft| {
            let any_protocol = other.alpn.is_empty() || other.alpn == route.value.alpn;
            let every_name = route
                .value
                .sni
                .iter()
                .all(|name| other.sni.iter().any(|earlier| earlier.value == name.value));
            any_protocol && (other.sni.is_empty() || (every_name && !route.value.sni.is_empty()))
        };
        if earlier.iter().any(|other| covers(&other.value)) {
            findings.error(
                route.span,
                "an earlier route takes all that this one would",
                "put it before that one, or remove it",
            );
        }
    }
    if let Some(timeout) = &listener.hello_timeout
        && timeout.given
        && listener.routes.is_empty()
    {
        findings.error(
            timeout.span,
            "`hello_timeout` does nothing without `routes`",
            "remove it, or add routes",
        );
    }
    late_hello(listener, findings);
}

/// The hello is a part of the handshake, and of its time.
fn late_hello(listener: &ListenerDraft, findings: &mut Findings) {
    if let (Some(hello), Some(Some(tls))) = (&listener.hello_timeout, &listener.tls)
        && let Some(whole) = tls.handshake_timeout
        && hello.given
        && !listener.routes.is_empty()
        && hello.value > whole
    {
        let whole = show_duration(whole);
        findings.error(
            hello.span,
            format!("`hello_timeout` is longer than the whole handshake may take, {whole}"),
            format!("make it {whole} or less, or raise `handshake_timeout` of `tls`"),
        );
    }
}

fn senders(listener: &ListenerDraft, findings: &mut Findings) {
    let Some(Some(accept)) = &listener.accept_proxy else {
        return;
    };
    if accept.from.value.is_empty() {
        findings.error(
            accept.from.span,
            "`from` names no network, so nobody could send a header",
            "name the networks of the balancers in front, or remove accept_proxy",
        );
    }
    let everybody = accept.from.value.iter().find(|net| net.prefix_len() == 0);
    if let Some(net) = everybody {
        findings.warn(
            accept.from.span,
            format!("{net} lets every client claim to be any other by a PROXY protocol header"),
            "name the networks of the balancers in front only",
        );
    }
}

fn nobody(span: crate::config::diagnostic::Span, help: &str, findings: &mut Findings) {
    findings.error(
        span,
        "`allow` names no network, so nobody would be served",
        help,
    );
}

fn endless(listener: &ListenerDraft, draft: &Draft, findings: &mut Findings) {
    let server = listener.server_timeout(&draft.backends);
    let sides = [
        listener.client_timeout.as_ref(),
        listener.tunnel_timeout.as_ref(),
        server,
    ];
    let off = |side: Option<&At<Option<Duration>>>| side.is_some_and(|side| side.value.is_none());
    if sides.into_iter().all(off) && listener.keepalive == Some(None) {
        findings.warn(
            listener.name.span,
            format!(
                "listener `{}` has no timeout and no keepalive: sessions of clients that are gone never end",
                listener.name.value
            ),
            "set a tunnel_timeout, or leave keepalive on",
        );
    }
}

fn superseded(listener: &ListenerDraft, draft: &Draft, findings: &mut Findings) {
    let Some(tunnel) = &listener.tunnel_timeout else {
        return;
    };
    let server = listener.server_timeout(&draft.backends);
    let sides = [listener.client_timeout.as_ref(), server];
    let set = sides
        .into_iter()
        .flatten()
        .find(|side| side.value.is_some());
    if let (Some(_), Some(side)) = (tunnel.value, set) {
        findings.warn(
            side.span,
            format!(
                "this timeout does nothing for listener `{}`: its tunnel timeout supersedes it",
                listener.name.value
            ),
            "remove one of the two, or say tunnel_timeout = \"off\"",
        );
    }
}
