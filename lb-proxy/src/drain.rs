//! Waiting for sessions to end.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Knows how many sessions of a thread are alive.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    alive: AtomicUsize,
    ended: Notify,
}

impl Tracker {
    /// Counts a session until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Entered(self)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Returns when no session is alive.
    pub(crate) async fn empty(&self) {
        loop {
            let ended = self.ended.notified();
            if self.alive() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// A session that is alive.
#[derive(Debug)]
pub(crate) struct Entered<'a>(&'a Tracker);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.0.alive.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}
