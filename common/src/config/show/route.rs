//! Routes and rules that follow a VIP as TOML.

use super::{inline, quoted, shown};
use crate::config::keys;
use crate::config::{Follower, VipRoute, VipRule};

/// The value of `routes`.
pub(super) fn routes(followers: &[Follower]) -> String {
    let route = |one: &Follower| match one {
        Follower::Route(route) => Some(inline(&keys::VIP_ROUTE, |key| route_value(route, key))),
        Follower::Rule(_) => None,
    };
    list(followers.iter().filter_map(route).collect())
}

/// The value of `rules`.
pub(super) fn rules(followers: &[Follower]) -> String {
    let rule = |one: &Follower| match one {
        Follower::Rule(rule) => Some(inline(&keys::VIP_RULE, |key| rule_value(rule, key))),
        Follower::Route(_) => None,
    };
    list(followers.iter().filter_map(rule).collect())
}

fn list(tables: Vec<String>) -> String {
    format!("[{}]", tables.join(", "))
}

fn route_value(route: &VipRoute, key: &str) -> Option<String> {
    match key {
        "to" => Some(quoted(route.to)),
        "via" => route.via.map(quoted),
        "dev" => Some(quoted(&route.interface)),
        "src" => route.source.map(quoted),
        "table" => Some(route.table.to_string()),
        "metric" => shown(route.metric),
        // IPv6 has none.
        "scope" => route
            .to
            .addr()
            .is_ipv4()
            .then(|| quoted(route.scope.word())),
        "onlink" => Some(route.on_link.to_string()),
        _ => None,
    }
}

fn rule_value(rule: &VipRule, key: &str) -> Option<String> {
    match key {
        "from" => rule.from.map(quoted),
        "to" => rule.to.map(quoted),
        "iif" => rule.iif.as_ref().map(quoted),
        "fwmark" => rule.fwmark.map(|mark| format!("{mark:#x}")),
        "table" => Some(rule.table.to_string()),
        "priority" => Some(rule.priority.to_string()),
        _ => None,
    }
}
