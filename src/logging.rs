//! Where log lines go: text on a terminal, lines with priorities to the journal, JSON otherwise.
//!
//! Levels: ERROR = we stop, WARN = a human should look, INFO = a state that a user sees changed, DEBUG = a branch was
//! taken, TRACE = each packet. `FMC_LB_LOG` takes tracing's filter syntax ("debug", "vrrp=trace,info").
//!
//! Nothing waits for its log: lines go through a bounded queue to a thread of their own, and are dropped when it is full.
//! That is why the journal gets lines with a priority (sd-daemon(3)) on stderr, and not records on its socket: the
//! client for that writes from the thread that logs, and a journal that stands still would stop the real-time loop.

mod journal;

use std::env::{self, VarError};
use std::io::{self, IsTerminal, Write};

use nix::sys::stat::fstat;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use self::journal::Lines;

/// The filter, in tracing's syntax of targets and levels.
const FILTER: &str = "FMC_LB_LOG";
const DEFAULT_FILTER: LevelFilter = LevelFilter::INFO;
/// Lines that wait for a slow reader of stderr; more are dropped.
const WAITING_LINES: usize = 8_192;

/// Starts logging for the process; lines are written until the guard is dropped.
pub(crate) fn start() -> WorkerGuard {
    let (writer, guard) = writer(io::stderr());
    let (filter, complaint) = filter(env::var(FILTER));
    let registry = tracing_subscriber::registry().with(filter);
    if io::stderr().is_terminal() {
        registry
            .with(tracing_subscriber::fmt::layer().with_writer(writer))
            .init();
    } else if stderr_is_journal() {
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines)
            .with_writer(writer);
        registry.with(layer.with_ansi(false)).init();
    } else {
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
        registry.with(layer.with_writer(writer)).init();
    }
    if let Some(error) = complaint {
        tracing::warn!(
            variable = FILTER,
            error,
            "is not a filter: \"{DEFAULT_FILTER}\" is used"
        );
    }
    guard
}

/// Writes whole lines of the session log to where the process logs, as they are: under systemd with a priority, which
/// the journal takes off again. Waits for whoever reads them.
///
/// # Errors
/// Standard error takes nothing.
pub(crate) fn write_lines(lines: &[u8]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    if !stderr_is_journal() {
        return out.write_all(lines);
    }
    out.write_all(&journal::with_priority(lines))
}

/// A writer that takes lines without waiting for `target`.
fn writer(target: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .finish(target)
}

/// The filter that was asked for, or the default and what is wrong.
fn filter(asked: Result<String, VarError>) -> (Targets, Option<String>) {
    let default = || Targets::new().with_default(DEFAULT_FILTER);
    let text = match asked {
        Ok(text) => text,
        Err(VarError::NotPresent) => return (default(), None),
        Err(error) => return (default(), Some(error.to_string())),
    };
    match text.parse() {
        Ok(filter) => (filter, None),
        Err(error) => (default(), Some(format!("{text}: {error}"))),
    }
}

/// Whether stderr is the stream that systemd connected to the journal: the variable is inherited by everything that
/// a service starts, so it is compared with stderr itself (systemd.exec(5), $JOURNAL_STREAM).
fn stderr_is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// A log that stands still.
    struct Stuck(mpsc::Receiver<()>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Returns when the test is over.
            let _over = self.0.recv_timeout(Duration::from_secs(60));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_log_that_stands_still() {
        let (over, wait) = mpsc::channel();
        let (mut writer, guard) = writer(Stuck(wait));
        let (done, finished) = mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..3 * WAITING_LINES {
                writer
                    .write_all(b"a line\n")
                    .expect("a dropped line is no error");
            }
            done.send(writer.error_counter().dropped_lines())
                .expect("the test waits");
        });
        let dropped = finished
            .recv_timeout(Duration::from_secs(20))
            .expect("writing never waits");
        assert!(dropped >= WAITING_LINES, "{dropped}");
        drop(over);
        drop(guard);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        assert_eq!(filter(Err(VarError::NotPresent)).1, None);
        assert_eq!(filter(Ok("vrrp=trace,info".to_owned())).1, None);
        let (_, complaint) = filter(Ok("vrrp=loud".to_owned()));
        assert!(complaint.expect("it is no level").starts_with("vrrp=loud"));
    }
}
