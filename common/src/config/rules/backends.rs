//! The servers.

use std::net::{IpAddr, SocketAddr};

use crate::config::diagnostic::Findings;
use crate::config::draft::{BackendDraft, Draft, ListenerDraft, NameDraft, ServerDraft};
use crate::config::{Balance, Bind, OnMarkedUp};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for (index, backend) in draft.backends.iter().enumerate() {
        members(backend, findings);
        for server in &backend.servers {
            loops(server, draft, findings);
            is_vip(server, draft, findings);
        }
        source(backend, draft, findings);
        of_no_use(backend, findings);
        let used = draft.listeners.iter().any(|listener| {
            // One whose name leads nowhere may mean it.
            listener.backend.is_none() || listener.leads_to(index)
        });
        if !used {
            findings.warn(
                backend.name.span,
                format!("no listener uses backend `{}`", backend.name.value),
                "name it as the `backend` of a listener, or remove it",
            );
        }
    }
}

fn members(backend: &BackendDraft, findings: &mut Findings) {
    let Some(count) = &backend.server_count else {
        return;
    };
    let name = &backend.name.value;
    if count.value == 0 {
        findings.error(
            count.span,
            format!("backend `{name}` has no server"),
            "add at least one: [\"10.17.4.21:6443\"]",
        );
        return;
    }
    let none_left_out = backend.servers.len() + backend.names.len() == count.value;
    let has_weight = backend.servers.iter().any(|server| server.weight > 0)
        || backend.names.iter().any(NameDraft::has_weight);
    if none_left_out && !has_weight {
        findings.error(
            count.span,
            format!("every server of backend `{name}` has weight 0, so none would get a session"),
            "give at least one server a weight of 1 or more",
        );
    }
    for (place, server) in backend.servers.iter().enumerate() {
        let address = &server.address;
        if backend.servers[..place]
            .iter()
            .any(|other| other.address.value == address.value)
        {
            findings.error(
                address.span,
                format!("`{}` is in backend `{name}` twice", address.value),
                "remove one of the two; a weight of 2 gives it a double share",
            );
        }
    }
}

/// Whether an address is one of a node that we run on, so that a wildcard accepts there.
fn is_ours(draft: &Draft, ip: IpAddr) -> bool {
    let vips = draft.vips.iter().filter_map(|vip| vip.address.as_ref());
    let nodes = draft.nodes.iter().filter_map(|node| node.address.as_ref());
    ip.is_loopback()
        || vips.map(|net| net.value.addr()).any(|vip| vip == ip)
        || nodes.map(|address| address.value).any(|node| node == ip)
}

/// Whether a bind accepts at an address, whatever its port.
pub(super) fn covers(draft: &Draft, bind: &Bind, ip: IpAddr) -> bool {
    let wildcard = bind.address.ip().is_unspecified() && bind.address.is_ipv4() == ip.is_ipv4();
    bind.address.ip() == ip || wildcard && is_ours(draft, ip)
}

/// The listener of our own that accepts at an address.
pub(super) fn listener_at(draft: &Draft, address: SocketAddr) -> Option<&ListenerDraft> {
    draft.listeners.iter().find(|listener| {
        listener.binds.iter().any(|bind| {
            bind.bind.has_port(address.port()) && covers(draft, &bind.bind, address.ip())
        })
    })
}

/// A server at which one of our own listeners accepts would relay each connection to itself for
/// ever.
fn loops(server: &ServerDraft, draft: &Draft, findings: &mut Findings) {
    let address = server.address.value;
    if let Some(listener) = listener_at(draft, address) {
        findings.error(
            server.address.span,
            format!(
                "`{address}` is where listener `{}` accepts: connections would go round in a loop",
                listener.name.value
            ),
            "write the address of the machine that serves",
        );
    }
}

/// Keys that do nothing with the others.
fn of_no_use(backend: &BackendDraft, findings: &mut Findings) {
    let balance = backend.balance;
    if let (Some(factor), Some(balance)) = (&backend.hash_balance_factor, balance)
        && balance != Balance::ConsistentHash
    {
        findings.error(
            factor.span,
            format!(
                "`hash_balance_factor` does nothing with balance = \"{}\"",
                balance.word()
            ),
            "remove it, or say balance = \"consistent-hash\"",
        );
    }
    let limited = backend
        .servers
        .iter()
        .any(|server| server.max_sessions.is_some())
        || backend.names.iter().any(|one| one.max_sessions.is_some())
        || backend.has_agent();
    let queue = backend.queue.as_ref().filter(|at| at.given);
    let timeout = backend.queue_timeout.as_ref().filter(|at| at.given);
    let of_queue = [
        queue.map(|at| ("queue", at.span)),
        timeout.map(|at| ("queue_timeout", at.span)),
    ];
    for (key, span) in of_queue.into_iter().flatten().filter(|_| !limited) {
        // A server that is added at run time may have one.
        findings.warn(
            span,
            format!("`{key}` does nothing while no server has `max_sessions`"),
            "remove it, or give the servers a limit",
        );
    }
    if let Some(span) = backend.useless_tlvs {
        findings.error(
            span,
            "`tlvs` do nothing: a header of version 1 holds none",
            "remove them, or say version = \"v2\"",
        );
    }
    let backups = || {
        let servers = backend.servers.iter().map(|server| server.backup);
        servers.chain(backend.names.iter().map(|one| one.backup))
    };
    let some = backend.servers.len() + backend.names.len() > 0;
    if let Some(at) = &backend.on_marked_up
        && at.value == OnMarkedUp::CutBackups
        && some
        && !backups().any(|backup| backup)
    {
        // One may be added at run time.
        findings.warn(
            at.span,
            format!("no server of backend `{}` is a backup", backend.name.value),
            "say backup = true of one, or leave `on_marked_up` out",
        );
    }
    if some && backups().all(|backup| backup) {
        findings.warn(
            backend.name.span,
            format!(
                "every server of backend `{}` is a backup",
                backend.name.value
            ),
            "that is the same as none: leave `backup` out",
        );
    }
    if balance == Some(Balance::First) && !limited {
        findings.warn(
            backend.name.span,
            format!(
                "the first server of backend `{}` gets all sessions: none has `max_sessions`",
                backend.name.value
            ),
            "give the servers max_sessions",
        );
    }
}

/// A connection from a VIP would lose its way back when the VIP moves.
fn source(backend: &BackendDraft, draft: &Draft, findings: &mut Findings) {
    let sources = backend.source.iter().flat_map(|list| &list.value);
    for source in sources {
        let vip = draft.vips.iter().find(|vip| {
            let net = vip.address.as_ref();
            net.is_some_and(|net| net.value.addr() == source.value)
        });
        if let Some(vip) = vip {
            findings.error(
                source.span,
                format!(
                    "`{}` is VIP `{}`: connections from it would break when it moves",
                    source.value, vip.name.value
                ),
                "write addresses of the nodes themselves",
            );
        }
        let of_family =
            |server: &ServerDraft| server.address.value.is_ipv4() == source.value.is_ipv4();
        let all_known = backend.names.is_empty() && !backend.servers.is_empty();
        if all_known && !backend.servers.iter().any(of_family) {
            findings.error(
                source.span,
                format!("no server of backend `{}` can be reached from `{}`: all have the other kind of address", backend.name.value, source.value),
                "remove it",
            );
        }
    }
}

/// Both nodes carry every VIP, active or not: a connection to it never leaves the node.
fn is_vip(server: &ServerDraft, draft: &Draft, findings: &mut Findings) {
    let address = server.address.value;
    let vip = draft.vips.iter().find(|vip| {
        let net = vip.address.as_ref();
        net.is_some_and(|net| net.value.addr() == address.ip())
    });
    let listened = draft.listeners.iter().any(|listener| {
        let mut binds = listener.binds.iter();
        binds.any(|bind| bind.bind.has_port(address.port()))
    });
    if let (Some(vip), false) = (vip, listened) {
        findings.error(
            server.address.span,
            format!(
                "`{address}` is VIP `{}`, which is always on the node itself",
                vip.name.value
            ),
            "write the address of the machine that serves",
        );
    }
}
