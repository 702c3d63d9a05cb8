//! What must hold between the values of a file, over both nodes. Each rule reports the text that
//! breaks it and a remedy.

mod agents;
mod backends;
pub(super) mod capacity;
mod client_ports;
mod election;
mod external;
mod listeners;
mod lists;
mod names;
mod nodes;
mod policy;
mod probes;
mod routes;
mod session_logs;
mod steps;
mod tls;
mod together;
mod trackers;
mod vips;

pub(super) use vips::FAST_BELOW;

use super::diagnostic::{Findings, Span};
use super::draft::Draft;
use super::value::At;
use super::{
    Config, MAX_LISTENERS, MAX_NAMES, MAX_ROUTES, MAX_SERVERS, MAX_TRACKERS, MAX_VIPS, MAX_WATCHED,
};

/// Runs every rule.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    limits(draft, findings);
    nodes::check(draft, findings);
    vips::check(draft, findings);
    routes::check(draft, findings);
    together::check(draft, findings);
    trackers::check(draft, findings);
    listeners::check(draft, findings);
    lists::check(draft, findings);
    tls::check(draft, findings);
    backends::check(draft, findings);
    client_ports::check(draft, findings);
    names::check(draft, findings);
    probes::check(draft, findings);
    agents::check(draft, findings);
    policy::check(draft, findings);
    capacity::check(draft, findings);
    session_logs::check(draft, findings);
}

/// All files that are watched, over all sections.
pub(super) fn watched(config: &Config, findings: &mut Findings) {
    let count = config.watched().len();
    if count > MAX_WATCHED {
        findings.error(
            Span::default(),
            format!(
                "there are {count} lists, certificates and authorities in files, and {MAX_WATCHED} \
                 is the most"
            ),
            format!(
                "remove {}, or put several into one file",
                count - MAX_WATCHED
            ),
        );
    }
}

fn limits(draft: &Draft, findings: &mut Findings) {
    let mut over = |what: &str, most: usize, names: Vec<Span>| {
        if let Some(span) = names.get(most) {
            findings.error(
                *span,
                format!("there are {} {what}, and {most} is the most", names.len()),
                format!("remove {}", names.len() - most),
            );
        }
    };
    let spans = |names: Vec<&At<String>>| names.into_iter().map(|name| name.span).collect();
    over(
        "VIPs",
        MAX_VIPS,
        spans(draft.vips.iter().map(|v| &v.name).collect()),
    );
    over(
        "trackers",
        MAX_TRACKERS,
        spans(draft.trackers.iter().map(|one| &one.name).collect()),
    );
    over(
        "routes and rules",
        MAX_ROUTES,
        draft
            .vips
            .iter()
            .flat_map(|vip| vip.routes.spans())
            .collect(),
    );
    over(
        "listeners",
        MAX_LISTENERS,
        spans(draft.listeners.iter().map(|l| &l.name).collect()),
    );
    let servers = draft.backends.iter().flat_map(|backend| &backend.servers);
    over(
        "servers",
        MAX_SERVERS,
        servers.map(|server| server.address.span).collect(),
    );
    let names = draft.backends.iter().flat_map(|backend| &backend.names);
    over(
        "servers by name",
        MAX_NAMES,
        names.map(|one| one.name.span).collect(),
    );
    if draft.vips.is_empty() && draft.listeners.is_empty() {
        findings.missing(
            Span::default(),
            "there is nothing to do: the file has no VIP and no listener",
            "add [vips.NAME] and [listeners.NAME]",
        );
    }
}
