//! What one admin asks of the other: to load its configuration file anew, and nothing else. Who may ask is decided by the
//! handshake alone; what is asked was asked of this node by its root.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use common::board::LinkSlot;
use common::command::Reply;
use common::task::Task;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::frame::{Kind, frame};
use super::message::{Asked, Told};
use crate::commands::{Asker, SUPERVISOR};

/// The other node's supervisor has its own limit, and the way takes a moment.
const PATIENCE: Duration = SUPERVISOR.limit.saturating_add(Duration::from_secs(2));
/// Longest sentence of a reply that is passed on, in bytes: a frame has room for it however much of it is escaped.
const LONGEST_WORDS: usize = 8 * 1024;
/// Tasks that wait for the connection.
const WAITING: usize = 4;

/// A task on its way to the connection that this node made.
#[derive(Debug)]
pub(super) struct Ask {
    task: Task,
    reply: oneshot::Sender<Reply>,
}

/// Where tasks for the other node come from.
pub(super) type Asks = mpsc::Receiver<Ask>;

/// The other node's admin, for who wants something of it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    asks: mpsc::Sender<Ask>,
    slot: &'static LinkSlot,
    /// Held once more for each task that waits for its reply.
    pub(super) waiting: Arc<()>,
}

impl Peer {
    pub(super) fn new(name: String, slot: &'static LinkSlot) -> (Self, Asks) {
        let (asks, received) = mpsc::channel(WAITING);
        let peer = Self {
            name,
            asks,
            slot,
            waiting: Arc::default(),
        };
        (peer, received)
    }

    /// What became of a task there.
    ///
    /// # Errors
    /// It is not reached, or gives no reply; it may have done what it was asked to.
    pub(crate) async fn ask(&self, task: Task) -> anyhow::Result<Reply> {
        if self.slot.telling.get().is_none() {
            bail!(
                "its admin process is not reached: {}",
                self.slot.problem.get()
            );
        }
        let _waiting = Arc::clone(&self.waiting);
        let (reply, replied) = oneshot::channel();
        self.asks
            .try_send(Ask { task, reply })
            .context("too many tasks wait for it")?;
        match timeout(PATIENCE, replied).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => bail!("the connection to its admin process has ended meanwhile"),
            Err(_) => bail!("no reply within {} s", PATIENCE.as_secs()),
        }
    }
}

/// Tasks of one connection that have no reply yet.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    last: Mutex<(u64, BTreeMap<u64, oneshot::Sender<Reply>>)>,
}

impl Unanswered {
    /// The frame that asks; `None` = who wanted it has stopped waiting while there was no connection.
    pub(super) fn ask(&self, ask: Ask) -> anyhow::Result<Option<Vec<u8>>> {
        if ask.reply.is_closed() {
            return Ok(None);
        }
        let mut last = self.lock();
        let number = last.0 + 1;
        let task = serde_json::to_value(&ask.task).context("write a task")?;
        let body = serde_json::to_vec(&Asked { number, task }).context("write a task")?;
        // Who waits no longer is not missed.
        last.1.retain(|_, waiting| !waiting.is_closed());
        last.1.insert(number, ask.reply);
        last.0 = number;
        Ok(Some(frame(Kind::Task, &body)))
    }

    /// A reply has come.
    pub(super) fn reply(&self, body: &[u8]) -> anyhow::Result<()> {
        let told: Told = serde_json::from_slice(body).context("understand its reply")?;
        if let Some(waiting) = self.lock().1.remove(&told.number) {
            // Who asked may have stopped waiting.
            drop(waiting.send(told.reply));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, oneshot::Sender<Reply>>)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has done what the other node asks, one task at a time.
#[derive(Debug)]
pub(super) struct Servant {
    supervisor: Option<Arc<Asker>>,
    place: Arc<Semaphore>,
}

impl Servant {
    pub(super) fn new(supervisor: Option<Arc<Asker>>) -> Self {
        Self {
            supervisor,
            place: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether the other node waits for something.
    pub(super) fn is_busy(&self) -> bool {
        self.place.available_permits() == 0
    }

    /// Begins what was asked, and writes the reply when there is one.
    pub(super) fn serve<W>(&self, body: &[u8], to: Arc<tokio::sync::Mutex<W>>) -> anyhow::Result<()>
    where
        W: AsyncWriteExt + Unpin + Send + 'static,
    {
        let asked: Asked = serde_json::from_slice(body).context("understand a task")?;
        let supervisor = self.supervisor.clone();
        let place = Arc::clone(&self.place).try_acquire_owned();
        tokio::spawn(async move {
            let done = match place {
                Ok(_place) => follow(supervisor, asked.task).await,
                Err(_) => Err(anyhow!(
                    "it does something else for this node now: try again"
                )),
            };
            let mut reply = done.unwrap_or_else(|error| Reply::error(format!("{error:#}")));
            for words in [&mut reply.done, &mut reply.error].into_iter().flatten() {
                shorten(words);
            }
            let number = asked.number;
            let told = serde_json::to_vec(&Told { number, reply }).expect("a reply is valid JSON");
            let mut to = to.lock().await;
            let sent = match to.write_all(&frame(Kind::Reply, &told)).await {
                Ok(()) => to.flush().await,
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                tracing::debug!(%error, "the other node gets no reply");
            }
        });
        Ok(())
    }
}

async fn follow(supervisor: Option<Arc<Asker>>, task: serde_json::Value) -> anyhow::Result<Reply> {
    let task = serde_json::from_value(task).context("this version does not know the task")?;
    match task {
        Task::Reload { .. } => {}
        Task::Upgrade { .. } | Task::Stop { .. } => bail!("the other node may not ask for this"),
    }
    tracing::info!(?task, "the other node asks for something");
    let supervisor = supervisor.context("there is no channel to the supervisor")?;
    Ok(supervisor.ask(task).await?)
}

fn shorten(words: &mut String) {
    if words.len() > LONGEST_WORDS {
        let end = words.floor_char_boundary(LONGEST_WORDS);
        words.truncate(end);
        words.push_str(" …\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_report_is_cut_and_fits_into_a_frame() {
        let mut words = "\u{1}ä".repeat(10_000);
        shorten(&mut words);
        assert!(words.ends_with(" …\n") && words.len() <= LONGEST_WORDS + 5);
        let told = Told {
            number: u64::MAX,
            reply: Reply {
                done: Some(words.clone()),
                ..Reply::error(words)
            },
        };
        let body = serde_json::to_vec(&told).expect("JSON");
        assert!(u16::try_from(body.len()).is_ok(), "{}", body.len());
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_asked() {
        let unanswered = Unanswered::default();
        let ask = || {
            let (reply, replied) = oneshot::channel();
            let task = Task::Reload {
                dry_run: false,
                only: Some(1),
            };
            (Ask { task, reply }, replied)
        };
        let (wanted, _replied) = ask();
        assert!(unanswered.ask(wanted).expect("JSON").is_some());
        let (late, replied) = ask();
        drop(replied);
        assert!(unanswered.ask(late).expect("JSON").is_none());
    }

    #[tokio::test]
    async fn the_other_node_may_ask_for_a_reload_only() {
        let refused = follow(None, serde_json::json!({"command": "upgrade"})).await;
        assert!(format!("{:#}", refused.expect_err("refused")).contains("may not ask"));
        let unknown = follow(None, serde_json::json!({"command": "explode"})).await;
        assert!(format!("{:#}", unknown.expect_err("refused")).contains("does not know"));
    }
}
