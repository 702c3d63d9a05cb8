//! Whom servers follow: names → places.

use std::net::SocketAddr;

use super::backend::{BackendDraft, ServerDraft};
use crate::config::diagnostic::Findings;
use crate::config::nearest::{list, remedy_for_name};
use crate::config::value::At;

/// Finds the server that each server follows; names that lead nowhere are reported.
pub(super) fn resolve(backends: &mut [BackendDraft], findings: &mut Findings) {
    for index in 0..backends.len() {
        let of_all = backends[index].track.clone();
        let followed = of_all
            .as_ref()
            .and_then(|name| find(name, backends, findings));
        backends[index].followed = followed;
        for server in 0..backends[index].servers.len() {
            let draft = &backends[index].servers[server];
            let found = match (&draft.track, &of_all, followed) {
                (Some(own), _, _) => named(own, backends, findings),
                (None, Some(name), Some(backend)) => {
                    counterpart(draft, (name, &backends[backend], backend), findings)
                }
                (None, _, _) => None,
            };
            backends[index].servers[server].followed = found;
        }
    }
}

fn find(name: &At<String>, backends: &[BackendDraft], findings: &mut Findings) -> Option<usize> {
    let found = backends.iter().position(|one| one.name.value == name.value);
    if found.is_none() {
        let names = backends.iter().map(|one| one.name.value.as_str());
        findings.error(
            name.span,
            format!("there is no backend `{}`", name.value),
            remedy_for_name("backends", &name.value, names),
        );
    }
    found
}

/// The server that a server names itself.
fn named(
    own: &At<(String, SocketAddr)>,
    backends: &[BackendDraft],
    findings: &mut Findings,
) -> Option<At<(usize, usize)>> {
    let (name, address) = &own.value;
    let backend = find(&own.with(name.clone()), backends, findings)?;
    let servers = &backends[backend].servers;
    let found = servers.iter().position(|one| one.address.value == *address);
    if found.is_none() {
        let known: Vec<_> = servers
            .iter()
            .map(|one| one.address.value.to_string())
            .collect();
        findings.error(
            own.span,
            format!("backend `{name}` has no server `{address}`"),
            format!("its servers are {}", list(known.iter().map(String::as_str))),
        );
    }
    found.map(|server| own.with((backend, server)))
}

/// The server of the followed backend with the same address.
fn counterpart(
    draft: &ServerDraft,
    (name, followed, backend): (&At<String>, &BackendDraft, usize),
    findings: &mut Findings,
) -> Option<At<(usize, usize)>> {
    let (own, of) = (draft.address.value, &name.value);
    let servers = followed.servers.iter().enumerate();
    let mut same = servers.filter(|(_, one)| one.address.value.ip() == own.ip());
    match (same.next(), same.next()) {
        (Some((server, _)), None) => Some(name.with((backend, server))),
        (None, _) => {
            findings.error(
                draft.address.span,
                format!(
                    "backend `{of}` has no server at {} for `{own}` to follow",
                    own.ip()
                ),
                "add it there, or say here which one is meant: track = \"BACKEND/ADDRESS:PORT\"",
            );
            None
        }
        (Some((_, first)), Some((_, second))) => {
            let (first, second) = (first.address.value, second.address.value);
            findings.error(
                draft.address.span,
                format!("`{own}` could follow `{first}` or `{second}` of backend `{of}`"),
                format!("say here which one is meant: track = \"{of}/{first}\""),
            );
            None
        }
    }
}
