//! Commands about sessions are for every proxy that has some: the one that accepts, and those that have retired. What they
//! reply is made one reply here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::board::OBEY_RETIRED;
use common::command::{Command, MOST_SESSIONS, Reply};
use tokio::task::JoinSet;

use super::Boards;
use crate::commands::{AskError, Asker};

/// Proxies that have retired, each by its place on the supervisor's board.
#[derive(Debug, Default)]
pub(crate) struct Elders(Vec<(usize, Arc<Asker>)>);

/// What one of them says, or why it does not.
type Said = (u64, Result<Reply, String>);

impl Elders {
    pub(crate) fn new(askers: Vec<(usize, Asker)>) -> Self {
        let shared = |(place, asker)| (place, Arc::new(asker));
        Self(askers.into_iter().map(shared).collect())
    }

    /// Asks all that live, at one time; `own` is asked of the one that accepts.
    pub(crate) async fn ask_too(
        &self,
        command: &Command,
        boards: &Boards,
        own: impl Future<Output = Result<Reply, AskError>>,
    ) -> Result<Reply, AskError> {
        let mut asking: JoinSet<Said> = JoinSet::new();
        for (place, board) in boards.retired {
            let pid = boards.supervisor.retired[*place].pid.get();
            if pid == 0 {
                continue;
            }
            let obeys = board.header.layout.load(Ordering::Acquire) >= OBEY_RETIRED;
            let known = self.0.iter().find(|(of, _)| of == place);
            let known = known.filter(|_| obeys).map(|(_, asker)| Arc::clone(asker));
            let command = command.clone();
            asking.spawn(async move {
                let Some(asker) = known else {
                    return (pid, Err("its version obeys no command then".to_owned()));
                };
                let said = asker.ask(command).await;
                (
                    pid,
                    said.map_err(|error| format!("{:#}", anyhow::Error::from(error))),
                )
            });
        }
        let own = own.await;
        let said = asking.join_all().await;
        own.map(|own| together(command, own, said))
    }
}

/// One reply of all. Who says that it knows no such listener, server or session has none to kill or to show.
fn together(command: &Command, own: Reply, others: Vec<Said>) -> Reply {
    let (mut silent, mut replies) = (Vec::new(), vec![own]);
    for (pid, said) in others {
        match said {
            Ok(reply) => replies.push(reply),
            Err(why) => silent.push(format!("process {pid}, which has retired: {why}")),
        }
    }
    silent.sort_unstable();
    if matches!(command, Command::Sessions { .. }) {
        return listed(replies, silent);
    }
    let killed = replies.iter().filter_map(|one| one.killed);
    if let Some(count) = killed.reduce(|sum, one| sum + one) {
        return with(Reply::killed(count), &silent);
    }
    // Of one session by its name: one of them has it.
    match replies.iter().position(|one| one.done.is_some()) {
        Some(done) => replies.swap_remove(done),
        None => with(replies.swap_remove(0), &silent),
    }
}

/// The oldest of all.
fn listed(mut replies: Vec<Reply>, silent: Vec<String>) -> Reply {
    let mut lists: Vec<_> = replies
        .iter_mut()
        .filter_map(|one| one.sessions.take())
        .collect();
    let Some(mut all) = lists.pop() else {
        return with(replies.swap_remove(0), &silent);
    };
    for list in lists {
        all.more += list.more;
        all.sessions.extend(list.sessions);
    }
    all.sessions
        .sort_by_key(|one| std::cmp::Reverse(one.age_ms));
    all.more += all.sessions.len().saturating_sub(MOST_SESSIONS) as u64;
    all.sessions.truncate(MOST_SESSIONS);
    all.silent = silent;
    Reply::sessions(all)
}

/// Who was not reached stands behind what is said.
fn with(mut reply: Reply, silent: &[String]) -> Reply {
    let text = reply.done.as_mut().or(reply.error.as_mut());
    if let Some(text) = text.filter(|_| !silent.is_empty()) {
        *text += &format!("; not reached: {}", silent.join("; "));
    }
    reply
}

#[cfg(test)]
mod tests {
    use common::command::{SessionList, SessionStatus};

    use super::*;

    fn list(ages: &[u64], more: u64) -> Reply {
        let session = |age: &u64| SessionStatus {
            age_ms: *age,
            ..SessionStatus::default()
        };
        Reply::sessions(SessionList {
            sessions: ages.iter().map(session).collect(),
            more,
            silent: Vec::new(),
        })
    }

    fn sessions() -> Command {
        Command::Sessions {
            listener: None,
            server: None,
        }
    }

    #[test]
    fn the_oldest_sessions_of_all_are_listed_and_the_rest_is_counted() {
        let old: Vec<u64> = (0..MOST_SESSIONS as u64).map(|at| 5_000 + at).collect();
        let said = vec![(7, Ok(list(&old, 3))), (9, Err("it hangs".to_owned()))];
        let reply = together(&sessions(), list(&[9_000, 1], 10), said);
        let all = reply.sessions.expect("a list");
        assert_eq!((all.sessions.len(), all.more), (MOST_SESSIONS, 15));
        assert_eq!(all.sessions[0].age_ms, 9_000);
        assert!(
            all.sessions
                .is_sorted_by_key(|one| std::cmp::Reverse(one.age_ms))
        );
        assert_eq!(all.silent, ["process 9, which has retired: it hangs"]);
    }

    #[test]
    fn who_knows_no_such_listener_has_none_to_show() {
        let unknown = || Reply::error("there is no listener `x`");
        let reply = together(&sessions(), unknown(), vec![(7, Ok(list(&[1], 0)))]);
        assert_eq!(reply.sessions.map(|all| all.sessions.len()), Some(1));
        let reply = together(&sessions(), list(&[], 0), vec![(7, Ok(unknown()))]);
        assert_eq!(reply.error, None);
        let reply = together(&sessions(), unknown(), vec![(7, Ok(unknown()))]);
        assert_eq!(reply.error.as_deref(), Some("there is no listener `x`"));
    }

    #[test]
    fn what_was_killed_counts_together_and_who_was_not_reached_is_named() {
        let kill = Command::KillListenerSessions {
            listener: "x".to_owned(),
        };
        let said = |last| vec![(7, Ok(Reply::killed(2))), (8, last)];
        let unknown = || Reply::error("there is no listener `x`");
        let reply = together(&kill, Reply::killed(1), said(Ok(unknown())));
        assert_eq!(reply.done.as_deref(), Some("3 sessions were killed"));
        let reply = together(&kill, unknown(), said(Err("late".to_owned())));
        let words = "2 sessions were killed; not reached: process 8, which has retired: late";
        assert_eq!(reply.done.as_deref(), Some(words));
        let one = Command::KillSession {
            id: "1f".to_owned(),
        };
        let none = || Reply::error("there is no session 1f");
        let reply = together(
            &one,
            none(),
            vec![(7, Ok(Reply::done("session 1f was killed")))],
        );
        assert_eq!(reply.done.as_deref(), Some("session 1f was killed"));
        let reply = together(&one, none(), vec![(7, Ok(none()))]);
        assert_eq!(reply.error, none().error);
    }
}
