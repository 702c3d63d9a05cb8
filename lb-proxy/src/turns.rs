//! One after another: what many sessions of a thread want to do at the same moment.
//!
//! The runtime polls what was woken in its order. Thousands of sessions that are woken at once would
//! hold up all others, and the thread's heartbeat, by the sum of what they do. In turns they hold up
//! nobody by more than one of them.

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl Turns {
    /// Does `work` when it is its turn. After it the runtime looks at its sockets, its timers and the
    /// heartbeat before the next one may.
    pub(crate) async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.0.acquire().await.expect("it is never closed");
        let done = work.await;
        // The runtime goes on with this task when it has looked at everything else.
        yield_now().await;
        drop(turn);
        done
    }

    /// Waits for a turn; what the caller does next, up to its next wait, is its own.
    pub(crate) async fn wait(&self) {
        self.take(std::future::ready(())).await;
    }
}
