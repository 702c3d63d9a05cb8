//! What a running node cannot take over, and why.

use std::fmt;

use super::{Change, path_text};
use crate::config::{Config, NodeIndex};

/// What to do about every obstacle.
pub const REMEDY: &str = "restart this node with it instead: a clean stop hands its VIPs over to the other node \
                          without a broken connection";

/// Something that keeps a reload from being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The key, or what is meant in words.
    pub what: String,
    pub why: &'static str,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cannot change while the node runs: {}",
            self.what, self.why
        )
    }
}

/// Options that a listening socket has from before it was bound.
const SOCKET_OPTIONS: &[&str] = &["interface", "defer_accept", "fast_open", "mss", "mark"];

pub(super) fn all(changes: &[Change], running: &Config, next: &Config) -> Vec<Obstacle> {
    let of_keys = changes.iter().filter_map(|change| {
        Some(Obstacle {
            what: path_text(&change.path),
            why: why_not(&change.path)?,
        })
    });
    let mut found: Vec<Obstacle> = of_keys.collect();
    let mut by_order = |differ: bool, sections: &str, prefix: &str| {
        let is_told = found.iter().any(|one| one.what.starts_with(prefix));
        if differ && !is_told {
            found.push(Obstacle {
                what: format!("the order of the sections [{sections}]"),
                why: "it says which place each of them has in what the processes share",
            });
        }
    };
    by_order(running.nodes != next.nodes, "nodes.NAME", "nodes.");
    if found.is_empty() {
        found.extend(of_the_whole(running, next));
    }
    found
}

/// What begins or ends with a node, however the keys say it.
fn of_the_whole(running: &Config, next: &Config) -> Option<Obstacle> {
    let is_other = |of: fn(&Config) -> bool| of(running) != of(next);
    let (what, why) = if is_other(|config| config.live_vips().next().is_none()) {
        (
            "the first VIP, or the last one,",
            "a node without VIPs is started with fewer rights",
        )
    } else if is_other(|config| config.has_pair_channel(NodeIndex(0))) {
        (
            "whether there is a pair channel (pair.key_file, pair.heartbeat)",
            "what the nodes tell each other is set up at the start",
        )
    } else {
        return None;
    };
    Some(Obstacle {
        what: what.to_owned(),
        why,
    })
}

fn why_not(path: &[String]) -> Option<&'static str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["nodes", _, "priority"] => None,
        ["nodes", ..] => Some("the processes know from the start who the nodes are"),
        ["pair", "interface" | "port"] => Some(
            "the sockets between the nodes are bound at the start, and the other node knows them",
        ),
        ["proxy", "threads"] => Some("each relay thread has its own sockets from the start"),
        ["admin", "http"] => Some("the sockets of the HTTP server are bound at the start"),
        ["listeners", _, key, ..] if SOCKET_OPTIONS.contains(key) => {
            Some("its sockets have it from before they were bound; another listener can have it")
        }
        _ => None,
    }
}
