//! What a failed wait shows, so that its reason can be read without running it again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::output_within;

/// Lines of each log that are shown.
const TAIL: usize = 25;
/// A command that hangs is itself evidence; it is given this long.
const COMMAND_LIMIT: Duration = Duration::from_secs(2);

/// Logs and commands to show.
#[derive(Debug, Default)]
pub struct Evidence {
    logs: Vec<(String, PathBuf)>,
    commands: Vec<(String, Vec<String>)>,
}

impl Evidence {
    /// Adds a log file.
    pub fn log(&mut self, name: impl Into<String>, path: impl Into<PathBuf>) {
        self.logs.push((name.into(), path.into()));
    }

    /// Adds a command, e.g. `fmc-lb status`.
    pub fn command(&mut self, name: impl Into<String>, line: Vec<String>) {
        self.commands.push((name.into(), line));
    }

    /// Everything as text.
    pub fn show(&self) -> String {
        let mut text = String::from("evidence:\n");
        for (name, path) in &self.logs {
            text.push_str(&format!(
                "--- {name}: end of its log\n{}\n",
                tail(path, TAIL)
            ));
        }
        for (name, line) in &self.commands {
            text.push_str(&format!("--- {name}\n{}\n", answer(line)));
        }
        text
    }

    /// Every log as (name, path).
    pub fn logs(&self) -> &[(String, PathBuf)] {
        &self.logs
    }
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return format!("(no log: {error})"),
    };
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn answer(line: &[String]) -> String {
    let Some((program, arguments)) = line.split_first() else {
        return "(an empty command)".to_owned();
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    match output_within(&mut command, COMMAND_LIMIT) {
        Ok(output) => format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => format!("({error:#})"),
    }
}
