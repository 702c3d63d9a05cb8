//! Servers by name.

use crate::config::MAX_SERVERS;
use crate::config::diagnostic::Findings;
use crate::config::draft::{BackendDraft, Draft};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    places(draft, findings);
    for backend in &draft.backends {
        names(backend, findings);
        addresses(backend, findings);
    }
    let dns = &draft.dns;
    if let (Some(min), Some(max)) = (&dns.min_ttl, &dns.max_ttl)
        && min.value > max.value
    {
        let wrong = if max.given { max } else { min };
        findings.error(
            wrong.span,
            "`min_ttl` is more than `max_ttl`",
            "names are asked for again between the two: make max_ttl the greater one",
        );
    }
}

/// Each server that a name may stand for has a place on the boards.
fn places(draft: &Draft, findings: &mut Findings) {
    let fixed: usize = draft.backends.iter().map(|one| one.servers.len()).sum();
    let names = || draft.backends.iter().flat_map(|backend| &backend.names);
    let by_name: u64 = names().map(|one| one.max_addresses.value).sum();
    let most = MAX_SERVERS.saturating_sub(fixed) as u64;
    if let Some(widest) = names().max_by_key(|one| one.max_addresses.value)
        && by_name > most
        && fixed <= MAX_SERVERS
    {
        findings.error(
            widest.max_addresses.span,
            format!(
                "names may stand for {by_name} servers, and {most} is the most beside {fixed} addresses"
            ),
            "say smaller `max_addresses`",
        );
    }
}

fn names(backend: &BackendDraft, findings: &mut Findings) {
    for (place, one) in backend.names.iter().enumerate() {
        let name = &one.name;
        if backend.names[..place]
            .iter()
            .any(|other| other.name.value == name.value)
        {
            findings.error(
                name.span,
                format!(
                    "`{}` is in backend `{}` twice",
                    name.value, backend.name.value
                ),
                "remove one of the two",
            );
        }
        if name.value.is_service() && one.weight.given {
            findings.error(
                one.weight.span,
                format!(
                    "the weights of `{}` are those of its SRV records",
                    name.value
                ),
                "remove `weight`, or name a host with a port",
            );
        }
        for key in &one.of_addresses {
            findings.error(
                key.span,
                format!("`{}` does nothing for servers by name", key.value),
                "remove it, or write the address of the server",
            );
        }
        if let Some(track) = &backend.track {
            findings.error(
                name.span,
                format!(
                    "`{}` cannot follow a server of backend `{}`: its addresses are not known here",
                    name.value, track.value
                ),
                "write the addresses, or probe these servers themselves: leave `track` out",
            );
        }
    }
}

fn addresses(backend: &BackendDraft, findings: &mut Findings) {
    for server in &backend.servers {
        if let Some(most) = &server.max_addresses {
            findings.error(
                most.span,
                format!(
                    "`max_addresses` does nothing: `{}` is one address",
                    server.address.value
                ),
                "remove it",
            );
        }
    }
}
