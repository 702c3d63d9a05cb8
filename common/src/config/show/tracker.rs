//! Trackers as TOML.

use super::{array, path, quoted};
use crate::config::kind::show_duration;
use crate::config::{Config, Tracker, TrackerEffect, TrackerKind};

pub(super) fn tracker_value(tracker: &Tracker, config: &Config, key: &str) -> Option<String> {
    match key {
        "kind" => Some(quoted(tracker.kind.word())),
        "interval" => Some(quoted(show_duration(tracker.interval))),
        // It has no timeout of its own where vrrp looks.
        "timeout" => (!tracker.kind.is_of_vrrp()).then(|| quoted(show_duration(tracker.timeout))),
        "rise" => Some(tracker.rise.to_string()),
        "fall" => Some(tracker.fall.to_string()),
        "weight" => match tracker.effect {
            TrackerEffect::Fault => None,
            TrackerEffect::Lower(taken) => Some(format!("-{taken}")),
        },
        "vips" => {
            let vips = tracker.vips.iter();
            Some(array(vips.map(|vip| &config.vips[vip.0].name)))
        }
        _ => of_kind(&tracker.kind, key),
    }
}

fn of_kind(kind: &TrackerKind, key: &str) -> Option<String> {
    match (kind, key) {
        (
            TrackerKind::Interface { interface } | TrackerKind::Gateway { interface, .. },
            "interface",
        ) => Some(quoted(interface)),
        (TrackerKind::Gateway { address, .. }, "address") => Some(quoted(address)),
        (TrackerKind::File { path: file }, "path") => path(Some(file)),
        (TrackerKind::Process { process }, "process") => Some(quoted(process)),
        (TrackerKind::Script { program, .. }, "program") => path(Some(program)),
        (TrackerKind::Script { arguments, .. }, "arguments") if !arguments.is_empty() => {
            Some(array(arguments.iter()))
        }
        (TrackerKind::Servers { min_share }, "min_share") => Some(min_share.to_string()),
        (
            TrackerKind::Interface { .. }
            | TrackerKind::Gateway { .. }
            | TrackerKind::File { .. }
            | TrackerKind::Process { .. }
            | TrackerKind::Script { .. }
            | TrackerKind::Servers { .. },
            _,
        ) => None,
    }
}
