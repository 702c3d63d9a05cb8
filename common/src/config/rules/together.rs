//! VIPs that move together are one to the election: it has one priority for each node, one interval.

use crate::config::diagnostic::{Findings, Span};
use crate::config::draft::{Draft, VipDraft};
use crate::config::kind::show_duration;
use crate::config::value::At;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let (true, Some((first, others))) = (draft.together, draft.vips.split_first()) else {
        return;
    };
    keepalived(draft, findings);
    for vip in others {
        for (index, node) in draft.nodes.iter().enumerate() {
            let priority = |vip: &VipDraft| vip.priorities.get(index).cloned().flatten();
            differ(
                (vip, first),
                (priority(vip), priority(first)),
                &format!("priority {{}} for node `{}`", node.name.value),
                findings,
            );
        }
        let millis = |at: &Option<At<_>>| at.as_ref().map(|at| at.with(show_duration(at.value)));
        let pairs = [
            (
                &vip.advert_interval,
                &first.advert_interval,
                "advert_interval",
            ),
            (&vip.preempt_delay, &first.preempt_delay, "preempt_delay"),
        ];
        for (own, other, key) in pairs {
            let found = (millis(own), millis(other));
            differ((vip, first), found, &format!("{key} \"{{}}\""), findings);
        }
        let found = (vip.preempt.clone(), first.preempt.clone());
        differ((vip, first), found, "preempt = {}", findings);
        let found = (vip.version.clone(), first.version.clone());
        differ((vip, first), found, "version = {}", findings);
    }
}

/// What a Keepalived does with one of the VIPs it does with one, unless it is told otherwise too.
fn keepalived(draft: &Draft, findings: &mut Findings) {
    let mut nodes = draft.nodes.iter();
    if let Some(node) = nodes.find(|node| !node.is_ours()) {
        findings.warn(
            node.runs.as_ref().map_or(node.name.span, |runs| runs.span),
            format!(
                "the VIPs move together here, and whether they do on node `{}` is a matter of its keepalived.conf",
                node.name.value
            ),
            "put their vrrp_instances into one vrrp_sync_group there",
        );
    }
}

/// `what` with the value in place of its braces.
fn differ<T: PartialEq + ToString>(
    (vip, first): (&VipDraft, &VipDraft),
    (own, other): (Option<At<T>>, Option<At<T>>),
    what: &str,
    findings: &mut Findings,
) {
    let (Some(own), Some(other)) = (own, other) else {
        return;
    };
    if own.value == other.value {
        return;
    }
    let said = |at: &At<T>| what.replace("{}", &at.value.to_string());
    findings.error(
        place(&own, &other, vip.name.span),
        format!(
            "VIP `{}` has {}, VIP `{}` has {}, and they move together",
            vip.name.value,
            said(&own),
            first.name.value,
            said(&other)
        ),
        "say the same for all VIPs, best once in [nodes.NAME] and [vrrp], or leave `together` out",
    );
}

/// Where the difference was written.
fn place<T>(own: &At<T>, other: &At<T>, name: Span) -> Span {
    [own, other]
        .into_iter()
        .find(|at| at.given)
        .map_or(name, |at| at.span)
}
