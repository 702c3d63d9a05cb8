//! What follows from probes, and what tells of a server beside them.

use crate::config::diagnostic::Findings;
use crate::config::draft::{BackendDraft, Draft, ServerDraft};
use crate::config::nearest::list;
use crate::config::{AllDown, OnMarkedDown};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for backend in &draft.backends {
        if backend.is_unwatched() {
            without_probe(backend, findings);
        }
        observe(backend, findings);
        followers(backend, findings);
        for server in &backend.servers {
            chain(server, draft, findings);
        }
    }
}

/// Only a probe marks a server down, and up again.
fn without_probe(backend: &BackendDraft, findings: &mut Findings) {
    let on_marked_down = backend.on_marked_down.as_ref();
    let all_down = backend.all_down.as_ref();
    let observe = backend.observe.as_ref();
    let never = "no server is ever marked down";
    // An agent marks servers down too. `on_marked_up` and `slow_start` are left: an administrator makes
    // a server ready again.
    let by_probes = !backend.has_agent();
    let named = [
        on_marked_down
            .filter(|at| at.value == OnMarkedDown::Cut && by_probes)
            .map(|at| ("on_marked_down", at.span, never)),
        all_down
            .filter(|at| at.value == AllDown::TryAll && by_probes)
            .map(|at| ("all_down", at.span, never)),
        observe.filter(|at| at.value).map(|at| {
            let why = "nothing would bring a server up again";
            ("observe", at.span, why)
        }),
    ];
    for (key, span, why) in named.into_iter().flatten() {
        findings.error(
            span,
            format!("`{key}` does nothing with probe = \"off\": {why}"),
            "remove it, or probe the servers",
        );
    }
}

fn observe(backend: &BackendDraft, findings: &mut Findings) {
    if backend.observe.as_ref().is_none_or(|observe| observe.value) {
        return;
    }
    let limit = backend.error_limit.as_ref().filter(|at| at.given);
    let action = backend.on_error.as_ref().filter(|at| at.given);
    let named = [
        limit.map(|at| ("error_limit", at.span)),
        action.map(|at| ("on_error", at.span)),
    ];
    for (key, span) in named.into_iter().flatten() {
        findings.error(
            span,
            format!("`{key}` does nothing without `observe`"),
            "add observe = \"connect\", or remove it",
        );
    }
}

/// Keys of probes do nothing for servers that are not probed.
fn followers(backend: &BackendDraft, findings: &mut Findings) {
    for server in &backend.servers {
        if let (Some(at), Some(_)) = (&server.probe_address, &server.followed) {
            findings.error(
                at.span,
                "`probe_address` does nothing: the server follows another one",
                "remove it, or `track`",
            );
        }
    }
    if !backend.follows_all() {
        return;
    }
    let probe = match &backend.probe {
        Some(Some(probe)) if !probe.given.is_empty() => Some(("probe", probe.span)),
        Some(_) | None => None,
    };
    let observe = backend.observe.as_ref().filter(|at| at.value);
    let named = [probe, observe.map(|at| ("observe", at.span))];
    for (key, span) in named.into_iter().flatten() {
        findings.error(
            span,
            format!(
                "`{key}` does nothing: every server of backend `{}` follows another one",
                backend.name.value
            ),
            "remove it, or `track`",
        );
    }
}

/// Whom a server follows is probed, or follows somebody who is.
fn chain(server: &ServerDraft, draft: &Draft, findings: &mut Findings) {
    let Some(first) = &server.followed else {
        return;
    };
    let of = |(backend, index): (usize, usize)| &draft.backends[backend].servers[index];
    let name = |(backend, index): (usize, usize)| {
        let backend = &draft.backends[backend];
        let address = backend.servers[index].address.value;
        format!("{}/{address}", backend.name.value)
    };
    let mut way = vec![first.value];
    loop {
        let last = way[way.len() - 1];
        match of(last).followed.as_ref().map(|next| next.value) {
            // A loop is told at each of its servers, and at nobody else.
            _ if std::ptr::eq(of(last), server) => {
                let names: Vec<_> = way.iter().map(|one| name(*one)).collect();
                findings.error(
                    first.span,
                    format!(
                        "`{}` follows itself, by way of {}: none of them is probed",
                        server.address.value,
                        list(names.iter().map(String::as_str))
                    ),
                    "let one of them be probed itself",
                );
                return;
            }
            Some(next) if way.contains(&next) => return,
            Some(next) => way.push(next),
            None => {
                let backend = &draft.backends[last.0];
                let unprobed = matches!(backend.probe, Some(None)) && of(last).track.is_none();
                if unprobed && backend.track.is_none() {
                    findings.error(
                        first.span,
                        format!(
                            "`{}` is followed and not probed: backend `{}` has probe = \"off\"",
                            name(last),
                            backend.name.value
                        ),
                        "probe it, or follow another one",
                    );
                }
                return;
            }
        }
    }
}
