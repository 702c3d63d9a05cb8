//! Trackers: each has what its kind needs and nothing else, and each weight can move a VIP.

use std::net::{IpAddr, Ipv4Addr};

use super::election::{Candidates, Trial};
use crate::config::MAX_NODES;
use crate::config::diagnostic::{Findings, Span};
use crate::config::draft::{Draft, TrackerDraft, VipDraft};
use crate::config::kind::show_duration;
use crate::config::nearest::list;

/// The keys that only some kinds know.
const OF_SOME_KINDS: &[(&str, &[&str])] = &[
    ("interface", &["interface", "gateway"]),
    ("address", &["gateway"]),
    ("path", &["file"]),
    ("process", &["process"]),
    ("program", &["script"]),
    ("arguments", &["script"]),
    ("min_share", &["servers"]),
    ("timeout", &["file", "process", "script"]),
];

/// The key without which a kind has nothing to look at, and an example.
const NEEDED: &[(&str, &str, &str)] = &[
    ("interface", "interface", "interface = \"eth1\""),
    ("gateway", "address", "address = \"192.168.0.1\""),
    ("file", "path", "path = \"/run/fmc-lb/maintenance\""),
    ("process", "process", "process = \"named\""),
    ("script", "program", "program = \"/usr/local/bin/is-well\""),
    ("servers", "min_share", "min_share = 50"),
];

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for tracker in &draft.trackers {
        let Some(kind) = tracker.kind.as_ref().map(|kind| kind.value) else {
            continue;
        };
        of_other_kinds(tracker, kind, findings);
        needed((tracker, kind), draft, findings);
        timeout(tracker, findings);
        interface(tracker, draft, findings);
        gateway(tracker, draft, findings);
        arguments(tracker, findings);
        nobody(tracker, draft, findings);
        weight(tracker, draft, findings);
    }
}

fn of_other_kinds(tracker: &TrackerDraft, kind: &str, findings: &mut Findings) {
    for key in &tracker.given {
        let known = OF_SOME_KINDS.iter().find(|(name, _)| *name == key.value);
        let Some((name, kinds)) = known.filter(|(_, kinds)| !kinds.contains(&kind)) else {
            continue;
        };
        let quoted: Vec<String> = kinds.iter().map(|kind| format!("\"{kind}\"")).collect();
        findings.error(
            key.span,
            format!("`{name}` does nothing in a tracker of kind \"{kind}\""),
            format!("say kind = {}, or remove it", quoted.join(" or ")),
        );
    }
}

fn needed((tracker, kind): (&TrackerDraft, &str), draft: &Draft, findings: &mut Findings) {
    let Some((_, key, example)) = NEEDED.iter().find(|(of, _, _)| *of == kind) else {
        return;
    };
    let is_there = tracker.given.iter().any(|given| given.value == *key);
    // One that could not be read has been reported.
    if !is_there && !findings.has_errors_in(section(tracker, draft)) {
        findings.error(
            tracker
                .kind
                .as_ref()
                .map_or(tracker.name.span, |at| at.span),
            format!(
                "tracker `{}` of kind \"{kind}\" has no `{key}`",
                tracker.name.value
            ),
            format!("add `{key}`, for example {example}"),
        );
    }
}

/// From its name to that of the next tracker.
fn section(tracker: &TrackerDraft, draft: &Draft) -> Span {
    let start = tracker.name.span.start;
    let starts = draft.trackers.iter().map(|other| other.name.span.start);
    let end = starts.filter(|other| *other > start).min();
    Span {
        start,
        end: end.unwrap_or(usize::MAX),
    }
}

fn timeout(tracker: &TrackerDraft, findings: &mut Findings) {
    if let (Some(timeout), Some(interval)) = (&tracker.timeout, &tracker.interval)
        && timeout.value > interval.value
    {
        findings.error(
            timeout.span,
            format!(
                "a timeout of {} is longer than the interval of {}, so looks would pile up",
                show_duration(timeout.value),
                show_duration(interval.value)
            ),
            format!("use at most \"{}\"", show_duration(interval.value)),
        );
    }
}

/// The interface of a VIP is looked at anyway.
fn interface(tracker: &TrackerDraft, draft: &Draft, findings: &mut Findings) {
    let Some(at) = tracker
        .interface
        .as_ref()
        .filter(|_| tracker.is("interface"))
    else {
        return;
    };
    let concerned = tracker.concerns(draft.vips.len());
    let carried = concerned.into_iter().filter_map(|place| {
        let vip = draft.vips.get(place)?;
        let own = vip.interface.as_ref()?;
        (own.value == at.value).then_some(vip.name.value.as_str())
    });
    let carried: Vec<&str> = carried.collect();
    if !carried.is_empty() {
        findings.error(
            at.span,
            format!(
                "`{}` carries VIP `{}`, which is in fault anyway while it is down",
                at.value,
                carried.join("`, `")
            ),
            "remove the tracker, or let it concern other VIPs only: vips = […]",
        );
    }
}

/// A node would answer itself, or nobody.
fn gateway(tracker: &TrackerDraft, draft: &Draft, findings: &mut Findings) {
    let Some(at) = tracker.address.as_ref().filter(|_| tracker.is("gateway")) else {
        return;
    };
    let node = draft.nodes.iter().find(|node| {
        let address = node.address.as_ref().map(|address| address.value);
        let link_local = node.link_local.as_ref();
        let link_local = link_local.map(|address| IpAddr::V6(address.value));
        [address, link_local].contains(&Some(at.value))
    });
    let vip = draft.vips.iter().find(|vip| {
        let address = vip.address.as_ref();
        address.is_some_and(|address| address.value.addr() == at.value)
    });
    let what = match (node, vip) {
        (Some(node), _) => format!("node `{}`'s own address", node.name.value),
        (None, Some(vip)) => format!("VIP `{}`", vip.name.value),
        (None, None) if at.value.is_multicast() || at.value == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            "not the address of one machine".to_owned()
        }
        (None, None) if at.value.is_loopback() || at.value.is_unspecified() => {
            "this machine itself".to_owned()
        }
        (None, None) => return,
    };
    findings.error(
        at.span,
        format!("`{}` is {what}: no gateway answers there", at.value),
        "use the address of a router or switch on the interface's network",
    );
}

fn arguments(tracker: &TrackerDraft, findings: &mut Findings) {
    for argument in tracker.arguments.iter().flat_map(|list| &list.value) {
        if argument.value.contains('\0') {
            findings.error(
                argument.span,
                "an argument of a program cannot have a zero byte",
                "remove it",
            );
        }
    }
}

fn nobody(tracker: &TrackerDraft, draft: &Draft, findings: &mut Findings) {
    let unknown = tracker
        .vips
        .as_ref()
        .is_some_and(|vips| findings.has_errors_in(vips.span));
    if tracker.concerns(draft.vips.len()).is_empty() && !unknown {
        findings.error(
            tracker
                .vips
                .as_ref()
                .map_or(tracker.name.span, |at| at.span),
            format!("tracker `{}` concerns no VIP", tracker.name.value),
            "remove it, or name the VIPs that it concerns",
        );
    }
}

/// A weight that cannot flip an election looks like protection and is none.
fn weight(tracker: &TrackerDraft, draft: &Draft, findings: &mut Findings) {
    let Some(weight) = &tracker.weight else {
        return;
    };
    if draft.nodes.len() != MAX_NODES {
        findings.error(
            weight.span,
            "there is no other node that could have a higher priority",
            "leave `weight` out: then the VIPs are in fault while the tracker is down",
        );
        return;
    }
    let places = tracker.concerns(draft.vips.len());
    let vips = places.iter().filter_map(|place| draft.vips.get(*place));
    let mut objections = places
        .iter()
        .zip(vips)
        .filter_map(|(place, vip)| objection(tracker, (*place, vip), draft));
    // One for a weight is enough.
    if let Some((message, help)) = objections.next() {
        findings.error(weight.span, message, help);
    }
}

/// Why a weight never moves a VIP, and what to do.
fn objection(
    tracker: &TrackerDraft,
    (place, vip): (usize, &VipDraft),
    draft: &Draft,
) -> Option<(String, String)> {
    let name = &vip.name.value;
    let weight = tracker.weight.as_ref()?.value;
    if vip.preempt.as_ref().is_some_and(|preempt| !preempt.value) {
        return Some((
            format!(
                "without preemption no node takes VIP `{name}` from one with a lower priority, so this weight \
                 never moves it"
            ),
            "say preempt = true, or leave `weight` out: then the VIPs are in fault while the tracker is down"
                .to_owned(),
        ));
    }
    let candidates = Candidates::of(vip, draft)?;
    let others = others(tracker, place, draft);
    let taken = |one: &&TrackerDraft| one.weight.as_ref().map(|at| at.value);
    let trial = Trial {
        weight,
        others: others.iter().filter_map(taken).collect(),
    };
    let futile = trial.flips(&candidates).err()?;
    let with = match others.as_slice() {
        [] => String::new(),
        others => {
            let names = others.iter().map(|one| one.name.value.as_str());
            format!(", whether {} is down too or not", list(names))
        }
    };
    Some((
        format!(
            "weight -{weight} cannot move VIP `{name}`{with}: {}",
            futile.words(&candidates)
        ),
        futile.remedy(&candidates),
    ))
}

/// Other trackers that take from the same priority.
fn others<'a>(tracker: &TrackerDraft, place: usize, draft: &'a Draft) -> Vec<&'a TrackerDraft> {
    let shares =
        |one: &&TrackerDraft| draft.together || one.concerns(draft.vips.len()).contains(&place);
    let all = draft.trackers.iter();
    all.filter(|one| one.name.value != tracker.name.value && one.weight.is_some())
        .filter(shares)
        .collect()
}
