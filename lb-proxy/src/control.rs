//! How the owner of the process speaks to the data plane.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::command::{Command, Reply};
use common::time::Moment;
use tokio::sync::{mpsc, watch};

use crate::clock;

/// Commands that wait; more are refused.
const WAITING: usize = 16;

/// Handle to a running data plane; may be used from any thread.
#[derive(Debug)]
pub struct Control {
    stop: watch::Sender<bool>,
    orders: mpsc::Sender<Order>,
    /// Until [`crate::run`] takes it.
    receiver: Mutex<Option<mpsc::Receiver<Order>>>,
}

/// A command, and where its reply goes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) command: Command,
    /// Nobody waits for it any more, and has said so to whoever gave the command.
    pub(crate) deadline: Moment,
    pub(crate) reply: SyncSender<Reply>,
}

/// Why a command was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("{WAITING} commands wait already")]
    Busy,
    #[error("the data plane does not answer")]
    Late,
    #[error("the data plane has stopped")]
    Stopped,
}

impl Control {
    /// A handle for [`crate::run`].
    pub fn new() -> Arc<Self> {
        let (orders, receiver) = mpsc::channel(WAITING);
        Arc::new(Self {
            stop: watch::Sender::new(false),
            orders,
            receiver: Mutex::new(Some(receiver)),
        })
    }

    /// No more accepting; sessions go on for at most the configured drain time, then [`crate::run`]
    /// returns. May be called before `run`, and more than once.
    pub fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Gives a command and waits for its reply, at most so long. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// There was no reply; a command that waited longer is not executed.
    pub fn command(&self, command: Command, limit: Duration) -> Result<Reply, Unanswered> {
        let (reply, answer) = sync_channel(1);
        let order = Order {
            command,
            deadline: clock::now() + limit,
            reply,
        };
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopped,
        })?;
        answer.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => Unanswered::Late,
            RecvTimeoutError::Disconnected => Unanswered::Stopped,
        })
    }

    pub(crate) fn stop_requested(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Where commands come from; `None` = somebody has it already.
    pub(crate) fn take_orders(&self) -> Option<mpsc::Receiver<Order>> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.take()
    }
}
