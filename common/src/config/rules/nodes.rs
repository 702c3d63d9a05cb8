//! The nodes and what they have between them.

use crate::config::diagnostic::{Findings, Span};
use crate::config::draft::{Draft, NodeDraft};
use crate::config::{MAX_NODES, Signing, SilentTakeover};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    count(draft, findings);
    addresses(&draft.nodes, findings);
    families(&draft.nodes, findings);
    key(draft, findings);
    signing(draft, findings);
    silent_takeover(draft, findings);
}

fn count(draft: &Draft, findings: &mut Findings) {
    let Some(first) = draft.nodes.first() else {
        findings.missing(
            Span::default(),
            "the file names no node",
            "add a section [nodes.NAME] for each of the two machines",
        );
        return;
    };
    if let Some(third) = draft.nodes.get(MAX_NODES) {
        findings.error(
            third.name.span,
            format!(
                "`{}` is a third node: the nodes of a pair vouch for each other, which needs exactly one other",
                third.name.value
            ),
            "name two nodes, or one for trying",
        );
    }
    if !draft.nodes.iter().any(NodeDraft::is_ours) {
        let span = first
            .runs
            .as_ref()
            .map_or(first.name.span, |runs| runs.span);
        findings.error(
            span,
            "no node runs fmc-lb",
            "leave `runs` out for the nodes that this program runs on",
        );
    }
}

fn addresses(nodes: &[NodeDraft], findings: &mut Findings) {
    for (index, node) in nodes.iter().enumerate() {
        let Some(address) = &node.address else {
            continue;
        };
        let same = nodes[..index].iter().find(|other| {
            other
                .address
                .as_ref()
                .is_some_and(|o| o.value == address.value)
        });
        if let Some(other) = same {
            findings.error(
                address.span,
                format!(
                    "`{}` is the address of node `{}` too",
                    address.value, other.name.value
                ),
                "give each node its machine's own address",
            );
        }
        if nodes.len() > 1 && address.value.is_loopback() {
            findings.error(
                address.span,
                format!("`{}` cannot be reached from the other node", address.value),
                "write the machine's address on the pair's interface",
            );
        }
    }
}

/// The pair channel is between the two addresses.
fn families(nodes: &[NodeDraft], findings: &mut Findings) {
    let [one, other] = nodes else { return };
    if let (Some(first), Some(second)) = (&one.address, &other.address)
        && first.value.is_ipv4() != second.value.is_ipv4()
    {
        findings.error(
            second.span,
            format!(
                "`{}` and `{}` are an IPv4 and an IPv6 address, which cannot reach each other",
                second.value, first.value
            ),
            "write addresses of the same kind for both nodes",
        );
    }
    if let (Some(first), Some(second)) = (&one.link_local, &other.link_local)
        && first.value == second.value
    {
        findings.error(
            second.span,
            format!(
                "`{}` is the link-local address of node `{}` too",
                second.value, one.name.value
            ),
            "write the one that `ip -6 address` shows on each machine",
        );
    }
}

fn signing(draft: &Draft, findings: &mut Findings) {
    let Some(signing) = &draft.pair.signing else {
        return;
    };
    if signing.value == Signing::Off {
        if draft.pair.key_file.is_some() {
            findings.warn(
                signing.span,
                "adverts are not signed: who can send on this network can take the VIPs",
                "leave `signing` out",
            );
        }
        return;
    }
    if draft.pair.key_file.is_none() {
        findings.error(
            signing.span,
            "there is no key to sign adverts with",
            "make one with `fmc-lb keygen` and name it in `key_file`",
        );
    }
    if draft.nodes.iter().any(|node| !node.is_ours()) {
        findings.warn(
            signing.span,
            "Keepalived before 2.4 drops signed adverts, and so both nodes would be active",
            "make sure of its version and its auth_hmac, or leave `signing` out",
        );
    }
}

fn silent_takeover(draft: &Draft, findings: &mut Findings) {
    let Some(when) = &draft.pair.silent_takeover else {
        return;
    };
    let pair = &draft.pair;
    let heartbeats = pair
        .heartbeat
        .as_ref()
        .is_some_and(|one| one.value.is_some());
    let ours = draft.nodes.iter().filter(|node| node.is_ours()).count();
    if when.value == SilentTakeover::Always
        && !(heartbeats && pair.key_file.is_some() && ours == MAX_NODES)
    {
        findings.error(
            when.span,
            "only a node whose heartbeats come can fall silent, and there is no pair channel",
            "leave it out, or give two nodes that run fmc-lb a `key_file` and a `heartbeat`",
        );
    }
}

fn key(draft: &Draft, findings: &mut Findings) {
    let ours = draft.nodes.iter().filter(|node| node.is_ours()).count();
    let heartbeat_is_on = draft
        .pair
        .heartbeat
        .as_ref()
        .is_some_and(|heartbeat| heartbeat.value.is_some());
    if ours == MAX_NODES && draft.pair.key_file.is_none() && heartbeat_is_on {
        findings.warn(
            draft.pair.header,
            "[pair] has no `key_file`, so the pair channel is off: a lost node is noticed by missing \
             adverts only, a node that can serve worse keeps its VIPs, a VIP that moves breaks its connections, \
             the clients of a lost node wait in silence, and adverts are not authenticated",
            "make a key with `fmc-lb keygen`, copy it to both nodes and name it in `key_file`; or say \
             heartbeat = \"off\"",
        );
    }
}
