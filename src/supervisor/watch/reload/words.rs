//! What is said of a reload. Pure.

use common::config::REMEDY;

use crate::supervisor::reader::Next;

/// Most lines of a reply; a difference may be longer than anybody reads.
const MOST_LINES: usize = 400;

/// What would change.
pub(super) fn differs(next: &Next) -> String {
    match lines(next) {
        lines if lines.is_empty() => "nothing differs".to_owned(),
        lines => lines,
    }
}

/// What has changed, to be said once it has.
pub(super) fn changed(next: &Next) -> String {
    match lines(next) {
        lines if lines.is_empty() => "the node runs by this file now; nothing differs".to_owned(),
        lines => format!("the node runs by this file now:\n{lines}"),
    }
}

/// What cannot change while the node runs, and what would.
pub(super) fn refusal(next: &Next) -> String {
    let obstacles = next.difference.obstacles.iter();
    let obstacles: Vec<String> = obstacles.map(|one| format!("\n  {one}")).collect();
    let obstacles = obstacles.concat();
    let differs = match lines(next) {
        lines if lines.is_empty() => String::new(),
        lines => format!("\nall that differs:\n{lines}"),
    };
    format!("nothing was changed:{obstacles}\n  {REMEDY}{differs}")
}

/// For a place that has room for one line.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What differs, a line for each.
fn lines(next: &Next) -> String {
    let changes = &next.difference.changes;
    let changes = changes.iter().map(ToString::to_string);
    let mut lines: Vec<String> = changes.chain(next.keys.clone()).collect();
    if lines.len() > MOST_LINES {
        let more = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// The same behind what `check` warns of; the log has only what changed.
pub(super) fn with_warnings(said: &str, warnings: &str) -> String {
    match warnings.trim_end() {
        "" => said.to_owned(),
        warnings => format!("{warnings}\n\n{said}"),
    }
}
