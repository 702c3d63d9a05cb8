//! Clients that wait for a free slot because every server of their backend is full.
//!
//! They stand in line, and the first one takes what becomes free. Whoever leaves the line, served or
//! not, wakes the one that is the first then: so slots that become free at the same time serve as
//! many clients, one after the other, and none is lost with a client that gives up. One that finds
//! only servers that it has tried already lets the next one look.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    queues: Vec<Bounded>,
}

/// A queue, and what it may grow to.
#[derive(Debug)]
struct Bounded {
    /// Stays where a reload changes the bounds.
    queue: Arc<Queue>,
    longest: usize,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

/// Since when a client waits, and a number that tells it apart.
type InLine = (u64, u64);

/// Those who wait, the first one first. Nobody comes here while no server is full.
#[derive(Debug, Default)]
struct Line {
    clients: BTreeMap<InLine, Arc<Notify>>,
    given: u64,
}

/// What a client sees that looks for a free slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It has nothing to wait for.
    Go,
    /// Every server is full.
    Full,
    /// Every server is that it has not tried: another client may go.
    FullForIt,
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
pub(crate) struct Patience<'a> {
    began: Option<(Moment, Instant)>,
    /// Kept until its slot is counted: nobody else looks for that.
    place: Option<Place<'a>>,
}

impl Patience<'_> {
    /// It has its slot, or waits for something else: the next one may look.
    pub(crate) fn leave_line(&mut self) {
        self.place = None;
    }
}

impl Waiting {
    pub(crate) fn new(config: &Config) -> Self {
        let none = Self { queues: Vec::new() };
        none.after(config)
    }

    /// The same for the configuration after this one: who waits stands in line on.
    pub(crate) fn after(&self, config: &Config) -> Self {
        let backends = config.backends.iter().enumerate();
        let queues = backends.map(|(index, backend)| Bounded {
            queue: self
                .queues
                .get(index)
                .map_or_else(Arc::default, |known| Arc::clone(&known.queue)),
            longest: backend.queue,
            timeout: backend.queue_timeout,
        });
        Self {
            queues: queues.collect(),
        }
    }

    fn queue(&self, backend: BackendIndex) -> &Queue {
        &self.queues[backend.0].queue
    }

    /// Whether somebody waits, behind whom a new client has to go.
    pub(crate) fn has_waiters(&self, backend: BackendIndex) -> bool {
        self.queue(backend).waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns when there may be a free slot, and it is this client's turn: until it leaves the line.
    ///
    /// # Errors
    ///
    /// As many wait already as may, or it took too long.
    pub(crate) async fn wait<'a>(
        &'a self,
        (backend, slot): (BackendIndex, &'static BackendSlot),
        patience: &mut Patience<'a>,
        entry: &mut Entry,
        look: impl Fn() -> Look,
    ) -> Result<(), WaitError> {
        let Bounded {
            queue,
            longest,
            timeout,
        } = &self.queues[backend.0];
        let queue: &Queue = queue;
        let Patience { began, place } = patience;
        let ahead = queue.waiting.load(Ordering::Relaxed);
        if place.is_none() && ahead >= *longest {
            slot.queue_full.add(1);
            return Err(WaitError::QueueFull);
        }
        let (since, deadline) = *began.get_or_insert_with(|| {
            slot.waited.add(1);
            (clock::now(), Instant::now() + *timeout)
        });
        let place = place.get_or_insert_with(|| Place::take((queue, slot), since));
        if place.looks_first(&look) {
            return Ok(());
        }
        entry.queues(ahead);
        let waited = timeout_at(deadline, place.turn(&look)).await;
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
            self.queue(backend).wake_first();
        }
    }

    /// Servers have changed: everybody looks again, in turn.
    pub(crate) fn look_again(&self) {
        fence(Ordering::SeqCst);
        for Bounded { queue, .. } in &self.queues {
            if queue.waiting.load(Ordering::Relaxed) > 0 {
                queue.wake_first();
            }
        }
    }
}

impl Queue {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_first(&self) {
        if let Some((_, first)) = self.line().clients.first_key_value() {
            first.notify_one();
        }
    }

    fn wake_after(&self, in_line: InLine) {
        let behind = (Bound::Excluded(in_line), Bound::Unbounded);
        if let Some((_, next)) = self.line().clients.range(behind).next() {
            next.notify_one();
        }
    }
}

impl Line {
    /// Puts on the board since when the first one waits.
    fn tell(&self, slot: &BackendSlot) {
        match self.clients.first_key_value() {
            Some(((since, _), _)) => slot.waiting_since.set(Moment::from_nanos(*since)),
            None => slot.waiting_since.clear(),
        }
    }
}

/// One that waits, until dropped.
#[derive(Debug)]
struct Place<'a> {
    queue: &'a Queue,
    slot: &'static BackendSlot,
    in_line: InLine,
    woken: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn take((queue, slot): (&'a Queue, &'static BackendSlot), since: Moment) -> Self {
        queue.waiting.fetch_add(1, Ordering::Relaxed);
        slot.queued.add(1);
        let woken = Arc::new(Notify::new());
        let mut line = queue.line();
        line.given += 1;
        let in_line = (since.as_nanos(), line.given);
        line.clients.insert(in_line, Arc::clone(&woken));
        line.tell(slot);
        drop(line);
        Self {
            queue,
            slot,
            in_line,
            woken,
        }
    }

    /// Looks once it stands in line: a slot that was freed before that has woken nobody. Those ahead
    /// have the first look at one that it finds.
    fn looks_first(&self, look: impl Fn() -> Look) -> bool {
        fence(Ordering::SeqCst);
        if look() != Look::Go {
            return false;
        }
        let line = self.queue.line();
        let first = line.clients.first_key_value();
        let is_first = first.is_some_and(|(in_line, _)| *in_line == self.in_line);
        drop(line);
        if !is_first {
            self.queue.wake_first();
        }
        is_first
    }

    async fn turn(&self, look: impl Fn() -> Look) {
        loop {
            self.woken.notified().await;
            match look() {
                Look::Go => return,
                Look::Full => {}
                Look::FullForIt => self.queue.wake_after(self.in_line),
            }
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
        line.clients.remove(&self.in_line);
        line.tell(self.slot);
        drop(line);
        self.queue.wake_first();
    }
}

#[cfg(test)]
mod tests;
