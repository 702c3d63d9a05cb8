//! Reloads, as the loop goes through with them: the file is read and judged on another thread
//! ([`Reader`]), and who has asked is told how it ended.

use common::board::ReloadEnd;
use common::command::Reply;
use common::config::REMEDY;
use common::task::Task;

use super::Loop;
use crate::commands::{self, ReplySocket, SUPERVISOR};
use crate::supervisor::reader::{Next, Outcome, Reader, Trouble};

/// Most lines of a reply; a difference may be longer than anybody reads.
const MOST_LINES: usize = 400;

/// The reload that is under way, if one is.
#[derive(Debug)]
pub(in crate::supervisor) struct Reload {
    reader: Reader,
    wish: Option<Wish>,
}

/// Who wants what.
#[derive(Debug)]
struct Wish {
    dry_run: bool,
    /// `None` = a signal has asked for it.
    reply: Option<ReplySocket>,
}

impl Reload {
    pub(in crate::supervisor) fn new(reader: Reader) -> Self {
        Self { reader, wish: None }
    }
}

impl Loop<'_> {
    /// Begins what admin has sent.
    pub(super) fn take_tasks(&mut self) {
        loop {
            let asked = match commands::next::<Task>(&self.with.tasks, SUPERVISOR) {
                Ok(Some(asked)) => asked,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "tasks cannot be received");
                    return;
                }
            };
            match asked.command {
                Ok(Task::Reload { dry_run }) => self.begin_reload(dry_run, Some(asked.reply)),
                Err(why) => tell(Some(asked.reply), &Reply::error(why)),
            }
        }
    }

    /// Begins a reload, unless one is under way.
    pub(super) fn begin_reload(&mut self, dry_run: bool, reply: Option<ReplySocket>) {
        let why_not = if self.stopping {
            Some("this node is stopping".to_owned())
        } else if self.with.reload.wish.is_some() {
            Some("a reload is under way on this node: try again".to_owned())
        } else {
            self.with
                .reload
                .reader
                .read()
                .err()
                .map(|error| error.to_string())
        };
        if let Some(why) = why_not {
            tracing::warn!(why, "no reload");
            return tell(reply, &Reply::error(why));
        }
        if !dry_run {
            self.notify.reloading(vrrp::now());
        }
        self.with.reload.wish = Some(Wish { dry_run, reply });
    }

    /// Goes on with the reload that is under way; to be called often.
    pub(super) fn look_at_reload(&mut self) {
        let outcome = match self.with.reload.reader.outcome() {
            Ok(None) => return,
            Ok(Some(outcome)) => outcome,
            Err(ended) => Err(Trouble::Failed(ended.to_string())),
        };
        let Some(wish) = self.with.reload.wish.take() else {
            return;
        };
        let (end, reply) = judged(outcome, wish.dry_run);
        if !wish.dry_run {
            self.note_reload(end, &reply);
            self.notify.ready();
        }
        tell(wish.reply, &reply);
    }

    /// Puts the end of a reload on the board and in the log.
    fn note_reload(&self, end: ReloadEnd, reply: &Reply) {
        let slot = &self.with.boards.supervisor.reload;
        slot.end.set(end.on_board());
        slot.ended.set(vrrp::now());
        match &reply.error {
            None => {
                slot.reason.set("");
                slot.applied.add(1);
                let what = reply.done.as_deref().unwrap_or_default();
                tracing::info!(what, "the configuration was loaded again");
            }
            Some(why) => {
                slot.reason.set(first_line(why));
                slot.failed.add(1);
                tracing::error!(why, "no reload: the node runs on as it was");
            }
        }
    }
}

/// What becomes of a file that was read.
fn judged(outcome: Outcome, dry_run: bool) -> (ReloadEnd, Reply) {
    let next = match outcome {
        Err(Trouble::Invalid(report)) => return (ReloadEnd::Invalid, Reply::invalid(report)),
        Err(Trouble::Failed(why)) => return (ReloadEnd::Invalid, Reply::error(why)),
        Ok(next) => next,
    };
    let lines = lines(&next);
    if !next.difference.obstacles.is_empty() {
        return (ReloadEnd::Refused, Reply::error(refusal(&next)));
    }
    match (dry_run, next.difference.is_empty()) {
        (_, true) => (
            ReloadEnd::Applied,
            Reply::done(with_warnings("nothing differs", &next)),
        ),
        (true, false) => (
            ReloadEnd::Applied,
            Reply::done(with_warnings(&lines, &next)),
        ),
        (false, false) => (
            ReloadEnd::Refused,
            Reply::error(format!(
                "this version shows only what differs (--dry-run); {REMEDY}:\n{lines}"
            )),
        ),
    }
}

/// What differs, a line for each.
fn lines(next: &Next) -> String {
    let changes = &next.difference.changes;
    let mut lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    if lines.len() > MOST_LINES {
        let more = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// What cannot change while the node runs, and what would.
fn refusal(next: &Next) -> String {
    let obstacles = next.difference.obstacles.iter();
    let obstacles: Vec<String> = obstacles.map(|one| format!("\n  {one}")).collect();
    let lines = lines(next);
    let differs = match lines.as_str() {
        "" => String::new(),
        lines => format!("\nall that differs:\n{lines}"),
    };
    let obstacles = obstacles.concat();
    format!("nothing was changed:{obstacles}\n  {REMEDY}{differs}")
}

fn with_warnings(said: &str, next: &Next) -> String {
    match next.warnings.trim_end() {
        "" => said.to_owned(),
        warnings => format!("{warnings}\n\n{said}"),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn tell(reply: Option<ReplySocket>, said: &Reply) {
    if let Some(reply) = reply
        && let Err(error) = reply.send_now(said)
    {
        tracing::debug!(%error, "nobody waited for a reply");
    }
}
