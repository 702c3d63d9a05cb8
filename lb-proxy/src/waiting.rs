//! Clients that wait for a free slot because every server of their backend is full.
//!
//! Whoever waits longest is woken first (tokio's `Notify` is fair), and a client that comes while
//! others wait goes behind them. A wake that nobody needs any more goes to the next one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::board::BackendSlot;
use common::config::{BackendIndex, Config};
use common::time::Moment;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::session_log::Entry;

/// The queues of all backends.
#[derive(Debug)]
pub(crate) struct Waiting {
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    free: Notify,
    waiting: AtomicUsize,
    longest: usize,
    timeout: Duration,
    line: Mutex<Line>,
}

/// Since when each client waits that does so now, told apart by numbers. Nobody comes here while no
/// server is full.
#[derive(Debug, Default)]
struct Line {
    since: BTreeSet<(u64, u64)>,
    given: u64,
}

/// Why a client waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WaitError {
    #[error("as many clients wait for a full backend as may")]
    QueueFull,
    #[error("no server had a free slot in time")]
    TimedOut,
}

/// The wait of one client: its beginning and its limit are those of all its waits together.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<(Moment, Instant)>);

impl Waiting {
    pub(crate) fn new(config: &Config) -> Self {
        let queue = |backend: &common::config::Backend| Queue {
            free: Notify::new(),
            waiting: AtomicUsize::new(0),
            longest: backend.queue,
            timeout: backend.queue_timeout,
            line: Mutex::default(),
        };
        Self {
            queues: config.backends.iter().map(queue).collect(),
        }
    }

    /// Whether somebody waits, behind whom a new client has to go.
    pub(crate) fn has_waiters(&self, backend: BackendIndex) -> bool {
        self.queues[backend.0].waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns when there may be a free slot. `is_full` looks once more when the client stands in line:
    /// a slot that was freed before that has woken nobody.
    ///
    /// # Errors
    ///
    /// As many wait already as may, or it took too long.
    pub(crate) async fn wait(
        &self,
        (backend, slot): (BackendIndex, &'static BackendSlot),
        patience: &mut Patience,
        entry: &mut Entry,
        is_full: impl Fn() -> bool,
    ) -> Result<(), WaitError> {
        let queue = &self.queues[backend.0];
        let ahead = queue.waiting.load(Ordering::Relaxed);
        if ahead >= queue.longest {
            slot.queue_full.add(1);
            return Err(WaitError::QueueFull);
        }
        let (since, deadline) = *patience.0.get_or_insert_with(|| {
            slot.waited.add(1);
            (clock::now(), Instant::now() + queue.timeout)
        });
        let _place = Place::take((queue, slot), since);
        // Those ahead are woken for it.
        fence(Ordering::SeqCst);
        if ahead == 0 && !is_full() {
            return Ok(());
        }
        entry.queues(ahead);
        let waited = timeout_at(deadline, queue.free.notified()).await;
        entry.leaves_queue();
        match waited {
            Ok(()) => Ok(()),
            Err(_) => {
                slot.queue_timeouts.add(1);
                Err(WaitError::TimedOut)
            }
        }
    }

    /// A slot of the backend is free.
    pub(crate) fn release(&self, backend: BackendIndex) {
        // Either this sees the one that waits, or that one sees the free slot.
        fence(Ordering::SeqCst);
        if self.has_waiters(backend) {
            self.queues[backend.0].free.notify_one();
        }
    }

    /// Servers have changed: everybody looks again.
    pub(crate) fn look_again(&self) {
        for queue in &self.queues {
            if queue.waiting.load(Ordering::Relaxed) > 0 {
                queue.free.notify_waiters();
            }
        }
    }
}

impl Queue {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Puts on the board since when the first one waits.
    fn tell(&self, slot: &BackendSlot) {
        match self.since.first() {
            Some((since, _)) => slot.waiting_since.set(Moment::from_nanos(*since)),
            None => slot.waiting_since.clear(),
        }
    }
}

/// One that waits, until dropped.
struct Place<'a> {
    queue: &'a Queue,
    slot: &'static BackendSlot,
    in_line: (u64, u64),
}

impl<'a> Place<'a> {
    fn take((queue, slot): (&'a Queue, &'static BackendSlot), since: Moment) -> Self {
        queue.waiting.fetch_add(1, Ordering::Relaxed);
        slot.queued.add(1);
        let mut line = queue.line();
        line.given += 1;
        let in_line = (since.as_nanos(), line.given);
        line.since.insert(in_line);
        line.tell(slot);
        Self {
            queue,
            slot,
            in_line,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        self.slot.queued.sub(1);
        let waited = clock::now().since(Moment::from_nanos(self.in_line.0));
        let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.slot.longest_wait.raise(waited);
        let mut line = self.queue.line();
        line.since.remove(&self.in_line);
        line.tell(self.slot);
    }
}
