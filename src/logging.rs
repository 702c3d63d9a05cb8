//! Where log lines go: text on a terminal, the journal under systemd, JSON otherwise.
//!
//! Levels: ERROR = we stop, WARN = a human should look, INFO = a state that a user sees changed, DEBUG = a branch was
//! taken, TRACE = each packet. `FMC_LB_LOG` takes tracing's filter syntax ("debug", "vrrp=trace,info").

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Lines that wait for a slow reader of stderr; more are dropped, so that no process ever blocks on its log.
const WAITING_LINES: usize = 8_192;

/// Starts logging for the process; lines are written until the guard is dropped.
pub(crate) fn start() -> WorkerGuard {
    let (writer, guard): (NonBlocking, WorkerGuard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .finish(io::stderr());
    let filter = EnvFilter::try_from_env("FMC_LB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // systemd sets JOURNAL_STREAM when stderr is the journal: then fields go there as fields.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    if let Some(journal) = journal {
        registry.with(journal).init();
    } else if io::stderr().is_terminal() {
        registry
            .with(tracing_subscriber::fmt::layer().with_writer(writer))
            .init();
    } else {
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(writer),
            )
            .init();
    }
    guard
}
