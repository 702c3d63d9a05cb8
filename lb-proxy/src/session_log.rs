//! The session log: one line for each connection at its end, where its listener wants it.
//!
//! What is to be told of a session is kept in an [`Entry`], which is empty where nothing is logged.
//! When the session ends the facts go through a bounded queue to one thread, which makes a line of
//! them and writes it. A relay thread never waits: what the queue does not take is lost, and
//! counted. A reload changes what the thread writes by ([`Plan`]); it is the same thread on.

mod entry;
mod file;
mod line;
mod writer;

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::board::SessionLogSlot;
use common::config::{Config, Listener, LogFormat};
use common::time::Moment;

use self::line::{Line, Names};
use self::writer::Writer;

pub(crate) use self::entry::{Entry, refuse};

/// Lines that wait for the writer; more are lost.
const WAITING_LINES: usize = 8_192;

/// Takes whole lines, each with its line feed, to where the process logs; may wait for that.
pub type ProcessLog = fn(&[u8]) -> io::Result<()>;

/// Where closed entries go.
#[derive(Debug)]
pub(crate) struct SessionLog {
    /// `None` = no listener has a log.
    writer: Option<SyncSender<Box<Line>>>,
    /// What the writer writes by.
    plan: Arc<ArcSwap<Plan>>,
    /// What it is to write by once this log is in force.
    next: Arc<Plan>,
    slot: &'static SessionLogSlot,
    process: ProcessLog,
    writing: Arc<Writing>,
}

/// What lines are written by.
#[derive(Debug)]
struct Plan {
    /// By listener.
    routes: Vec<Route>,
    /// `None` = where the process logs.
    files: Vec<Option<PathBuf>>,
    names: Names,
}

/// The writer's thread, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Writing(Mutex<Option<Receiver<Infallible>>>);

impl SessionLog {
    /// Starts the writer's thread if a listener has a log. It ends when the log is dropped and all
    /// is written.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn start(
        config: &Arc<Config>,
        slot: &'static SessionLogSlot,
        process: ProcessLog,
    ) -> io::Result<Self> {
        slot.problem.set("");
        let next = Arc::new(Plan::new(config));
        let log = Self {
            writer: None,
            plan: Arc::new(ArcSwap::new(Arc::clone(&next))),
            next,
            slot,
            process,
            writing: Arc::default(),
        };
        log.with_writer()
    }

    /// That of the configuration after this one, in force from [`SessionLog::take_over`] on.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn after(&self, config: &Arc<Config>) -> io::Result<Self> {
        let log = Self {
            writer: self.writer.clone(),
            plan: Arc::clone(&self.plan),
            next: Arc::new(Plan::new(config)),
            slot: self.slot,
            process: self.process,
            writing: Arc::clone(&self.writing),
        };
        log.with_writer()
    }

    /// From now on lines are written as its configuration says, also those of sessions that began before.
    pub(crate) fn take_over(&self) {
        self.plan.store(Arc::clone(&self.next));
    }

    /// The writer's thread, of all logs after each other.
    pub(crate) fn writing(&self) -> Arc<Writing> {
        Arc::clone(&self.writing)
    }

    fn with_writer(mut self) -> io::Result<Self> {
        if self.writer.is_some() || self.next.files.is_empty() {
            return Ok(self);
        }
        let (sender, lines) = sync_channel(WAITING_LINES);
        let writer = Writer::new(lines, Arc::clone(&self.plan), (self.slot, self.process));
        let (end, ended) = channel();
        std::thread::Builder::new()
            .name("session-log".to_owned())
            .spawn(move || {
                // Dropped with the thread, however it ends.
                let _end = end;
                writer.run();
            })?;
        *self.writing.thread() = Some(ended);
        self.writer = Some(sender);
        Ok(self)
    }

    fn write(&self, line: Box<Line>, now: Moment) {
        let writer = self.writer.as_ref();
        if writer.is_none_or(|writer| writer.try_send(line).is_err()) {
            lose(self.slot, 1, now);
        }
    }
}

impl Writing {
    /// Returns when the thread has ended, at the latest after `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        if let Some(ended) = self.thread().take() {
            // Nothing is ever sent: either way the wait is over.
            let _over = ended.recv_timeout(limit);
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<Receiver<Infallible>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn new(config: &Arc<Config>) -> Self {
        let (routes, files) = routes(&config.listeners);
        Self {
            routes,
            files,
            names: Names::new(Arc::clone(config)),
        }
    }
}

/// Form of a listener's lines, and the index of their target; `None` = it has no log.
type Route = Option<(LogFormat, usize)>;

/// The routes of the listeners, and what the targets are: a file, or `None` where the process logs.
fn routes(listeners: &[Listener]) -> (Vec<Route>, Vec<Option<PathBuf>>) {
    let mut files: Vec<Option<PathBuf>> = Vec::new();
    let routes = listeners.iter().map(|listener| {
        let log = listener.session_log.as_ref()?;
        let known = files.iter().position(|file| *file == log.file);
        let target = known.unwrap_or_else(|| {
            files.push(log.file.clone());
            files.len() - 1
        });
        Some((log.format, target))
    });
    (routes.collect(), files)
}

fn lose(slot: &SessionLogSlot, lines: u64, now: Moment) {
    slot.lost.add(lines);
    slot.lost_at.set(now);
}
