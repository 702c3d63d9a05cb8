//! How the owner of the process speaks to the data plane.

use std::sync::Arc;

use tokio::sync::watch;

/// Handle to a running data plane; may be used from any thread.
#[derive(Debug)]
pub struct Control {
    stop: watch::Sender<bool>,
}

impl Control {
    /// A handle for [`crate::run`].
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            stop: watch::Sender::new(false),
        })
    }

    /// No more accepting; sessions go on for at most the configured drain time, then [`crate::run`]
    /// returns. May be called before `run`, and more than once.
    pub fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn stop_requested(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}
