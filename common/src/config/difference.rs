//! What a reload would change: two configurations, compared key by key as [`Config::to_toml`] writes
//! them, and what of it a running node cannot take over. Pure.

mod obstacle;
mod walk;

use std::fmt;

use toml::{Table, Value};

pub use self::obstacle::{Obstacle, REMEDY};
use super::Config;

/// Longest value in words, in characters.
const LONGEST: usize = 160;

/// The difference between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// In the order of the sections and keys by name.
    pub changes: Vec<Change>,
    /// What of it a running node cannot take over; empty = it can take all of it.
    pub obstacles: Vec<Obstacle>,
}

/// Something that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Section, name, key, and the keys below it; an element of a list of tables is `[ADDRESS]`.
    pub path: Vec<String>,
    pub what: What,
}

/// How it differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A whole section, or an element of a list; its value in words, if that is short.
    Added(String),
    Removed(String),
    /// A key has another value, which may be "not set".
    Changed {
        from: String,
        to: String,
    },
}

impl Difference {
    /// From the running configuration to the next one, both as their files say it.
    pub fn between(running: &Config, next: &Config) -> Self {
        let (old, new) = (table_of(running), table_of(next));
        let changes = walk::sections(&old, &new);
        let obstacles = obstacle::all(&changes, running, next);
        Self { changes, obstacles }
    }

    /// Nothing that a configuration can say is different.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What is written for people is read back: so every key is compared, and compared as people see it.
fn table_of(config: &Config) -> Table {
    let text = config.to_toml();
    text.parse().expect("an effective configuration is TOML")
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = path_text(&self.path);
        match &self.what {
            What::Added(value) => write!(f, "+ {path}{}", described(value)),
            What::Removed(value) => write!(f, "- {path}{}", described(value)),
            What::Changed { from, to } => write!(f, "~ {path}: {from} -> {to}"),
        }
    }
}

/// A line for each change.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes
            .iter()
            .try_for_each(|change| writeln!(f, "{change}"))
    }
}

fn described(value: &str) -> String {
    match value {
        "" => String::new(),
        value => format!(": {value}"),
    }
}

/// `backends.api.servers[10.0.0.1:6443].weight`
fn path_text(path: &[String]) -> String {
    path.iter().fold(String::new(), |text, part| {
        let dot = if text.is_empty() || part.starts_with('[') {
            ""
        } else {
            "."
        };
        text + dot + part
    })
}

/// A value as the file would have it; secrets are not shown.
fn words(path: &[String], value: Option<&Value>) -> String {
    if path.last().is_some_and(|key| key == "auth_pass") {
        return "(not shown)".to_owned();
    }
    let Some(value) = value else {
        return "not set".to_owned();
    };
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
