//! The session log: one line for each connection at its end, where its listener wants it.
//!
//! What is to be told of a session is kept in an [`Entry`], which is empty where nothing is logged.
//! When the session ends the facts go through a bounded queue to one thread, which makes a line of
//! them and writes it. A relay thread never waits: what the queue does not take is lost, and
//! counted.

mod entry;
mod file;
mod line;
mod writer;

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use common::board::SessionLogSlot;
use common::config::{Config, Listener, LogFormat};
use common::time::Moment;

use self::line::{Line, Names};
use self::writer::{Output, Target, Writer};

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
    slot: &'static SessionLogSlot,
}

/// The writer's thread.
#[derive(Debug)]
pub(crate) struct Writing(Receiver<Infallible>);

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
    ) -> io::Result<(Self, Option<Writing>)> {
        slot.problem.set("");
        let (routes, files) = routes(&config.listeners);
        if files.is_empty() {
            return Ok((Self { writer: None, slot }, None));
        }
        let (sender, lines) = sync_channel(WAITING_LINES);
        let outputs = files.into_iter().map(|file| Output::new(file, process));
        let writer = Writer {
            lines,
            routes,
            targets: outputs.map(Target::new).collect(),
            names: Names::new(Arc::clone(config)),
            slot,
        };
        let (end, ended) = channel();
        std::thread::Builder::new()
            .name("session-log".to_owned())
            .spawn(move || {
                // Dropped with the thread, however it ends.
                let _end = end;
                writer.run();
            })?;
        let log = Self {
            writer: Some(sender),
            slot,
        };
        Ok((log, Some(Writing(ended))))
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
    pub(crate) fn wait(self, limit: Duration) {
        // Nothing is ever sent: either way the wait is over.
        let _over = self.0.recv_timeout(limit);
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
