//! What the supervisor can be told: the words of the command line and the admin socket. The answer is a
//! [`crate::command::Reply`].

use serde::{Deserialize, Serialize};

/// A task, by its word in `command`; unknown fields are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Task {
    /// The node is to run by what its configuration file says now.
    Reload {
        /// Only say what would change, and whether it can.
        #[serde(default)]
        dry_run: bool,
        /// Only where the effective configuration of the file has this hash; `None` = whatever it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<u64>,
    },
    /// The version that is installed now is to take the running one's place.
    Upgrade {
        /// Nothing is to be done where that is what runs.
        #[serde(default)]
        if_replaced: bool,
    },
    /// The node is to stop.
    Stop {
        /// How long its sessions may go on; `None` = as long as its configuration says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_ms: Option<u64>,
    },
}

impl Task {
    /// The words of all tasks.
    pub const WORDS: &[&str] = &["reload", "upgrade", "stop"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_comes_back_as_it_was_said_under_its_word() {
        let tasks = [
            Task::Reload {
                dry_run: true,
                only: Some(u64::MAX),
            },
            Task::Upgrade { if_replaced: true },
            Task::Stop {
                drain_ms: Some(600_000),
            },
        ];
        for (task, word) in tasks.into_iter().zip(Task::WORDS) {
            let text = serde_json::to_string(&task).expect("JSON");
            assert!(text.contains(&format!("\"command\":\"{word}\"")), "{text}");
            assert_eq!(serde_json::from_str::<Task>(&text).ok(), Some(task));
        }
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let text = r#"{"version":2,"command":"reload","why":"x"}"#;
        let task: Task = serde_json::from_str(text).expect("a task");
        assert_eq!(
            task,
            Task::Reload {
                dry_run: false,
                only: None,
            }
        );
    }
}
