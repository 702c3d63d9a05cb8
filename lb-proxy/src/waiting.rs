//! Clients that wait for a free slot because every server of their backend is full.
//!
//! Whoever waits longest is woken first (tokio's `Notify` is fair), and a client that comes while
//! others wait goes behind them. A wake that nobody needs any more goes to the next one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::board::{BackendSlot, Cell};
use common::config::{BackendIndex, Config};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

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
}

/// Why a client waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WaitError {
    #[error("as many clients wait for a full backend as may")]
    QueueFull,
    #[error("no server had a free slot in time")]
    TimedOut,
}

/// The wait of one client: its limit is for all its waits together.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Instant>);

impl Waiting {
    pub(crate) fn new(config: &Config) -> Self {
        let queue = |backend: &common::config::Backend| Queue {
            free: Notify::new(),
            waiting: AtomicUsize::new(0),
            longest: backend.queue,
            timeout: backend.queue_timeout,
        };
        Self {
            queues: config.backends.iter().map(queue).collect(),
        }
    }

    /// Whether somebody waits, behind whom a new client has to go.
    pub(crate) fn has_waiters(&self, backend: BackendIndex) -> bool {
        self.queues[backend.0].waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns when there may be a free slot.
    ///
    /// # Errors
    ///
    /// As many wait already as may, or it took too long.
    pub(crate) async fn wait(
        &self,
        backend: BackendIndex,
        patience: &mut Patience,
        slot: &'static BackendSlot,
    ) -> Result<(), WaitError> {
        let queue = &self.queues[backend.0];
        if queue.waiting.load(Ordering::Relaxed) >= queue.longest {
            slot.queue_full.add(1);
            return Err(WaitError::QueueFull);
        }
        let _place = Place::take(queue, &slot.queued);
        let deadline = *patience.0.get_or_insert_with(|| {
            slot.waited.add(1);
            Instant::now() + queue.timeout
        });
        match timeout_at(deadline, queue.free.notified()).await {
            Ok(()) => Ok(()),
            Err(_) => {
                slot.queue_timeouts.add(1);
                Err(WaitError::TimedOut)
            }
        }
    }

    /// A slot of the backend is free.
    pub(crate) fn release(&self, backend: BackendIndex) {
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

/// One that waits, until dropped.
struct Place<'a> {
    queue: &'a Queue,
    gauge: &'static Cell,
}

impl<'a> Place<'a> {
    fn take(queue: &'a Queue, gauge: &'static Cell) -> Self {
        queue.waiting.fetch_add(1, Ordering::Relaxed);
        gauge.add(1);
        Self { queue, gauge }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        self.gauge.sub(1);
    }
}
