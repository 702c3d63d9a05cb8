//! How the owner of the process speaks to the data plane.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::command::{Command, Reply};
use common::time::Moment;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::context::Proxy;

/// Commands that wait; more are refused.
const WAITING: usize = 16;

/// Handle to a running data plane; may be used from any thread.
#[derive(Debug)]
pub struct Control {
    stop: watch::Sender<bool>,
    orders: mpsc::Sender<Order>,
    /// Until [`crate::run`] takes it.
    receiver: Mutex<Option<mpsc::Receiver<Order>>>,
    files: Mutex<Files>,
}

/// Where new contents of files go.
#[derive(Debug)]
enum Files {
    /// [`crate::run`] has not come so far: what it will find changed already.
    Early(BTreeMap<PathBuf, Vec<u8>>),
    Running(Arc<Proxy>),
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
            files: Mutex::new(Files::Early(BTreeMap::new())),
        })
    }

    /// No more accepting; sessions go on for at most the configured drain time, then [`crate::run`]
    /// returns. May be called before `run`, and more than once.
    pub fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Uses new contents of files that [`crate::Inputs::files`] has: for every connection that is
    /// accepted from now on; what is going on is not touched. Contents that cannot be used change
    /// nothing. Takes its time for long lists, on the calling thread. May be called before `run`.
    pub fn replace_files(&self, files: BTreeMap<PathBuf, Vec<u8>>) {
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Files::Early(early) => early.extend(files),
            Files::Running(proxy) => proxy.replace_files(&files),
        }
    }

    /// From now on new contents go to this proxy; it is given those that came before it.
    pub(crate) fn attach(&self, proxy: &Arc<Proxy>) {
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Files::Early(early) = &*known {
            proxy.replace_files(early);
        }
        *known = Files::Running(Arc::clone(proxy));
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
