//! `fmc-lb status`: asks the admin process of a running node and shows what it says.

mod client;
pub(crate) mod human;
mod table;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use common::status::Status;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

/// Name of the admin socket in the runtime folder.
pub(crate) const SOCKET: &str = "admin.sock";
/// How often `--watch` asks.
const WATCH: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(crate) fn run(args: &crate::cli::Status) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let shown = runtime.block_on(show(args));
    match shown {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Who reads us has seen enough (`fmc-lb status | head -1`).
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

async fn show(args: &crate::cli::Status) -> anyhow::Result<()> {
    let socket = args.runtime.runtime_dir.join(SOCKET);
    let first = client::ask(&socket).await?;
    if args.watch {
        return watch(args.json, &socket, first).await;
    }
    let text = if args.json {
        serde_json::to_string_pretty(&first).context("write JSON")? + "\n"
    } else {
        table::render(&first)
    };
    write(&text)
}

/// Until Ctrl-C. An answer that does not come is shown in its place: a node that restarts is worth watching.
async fn watch(json: bool, socket: &Path, first: Status) -> anyhow::Result<()> {
    let clear = if io::stdout().is_terminal() {
        CLEAR
    } else {
        ""
    };
    // Listens from here on, so that an interrupt during a question is not missed.
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut tick = tokio::time::interval(WATCH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let mut answer = Ok(first);
    loop {
        match &answer {
            Ok(status) if json => {
                write(&(serde_json::to_string(status).context("write JSON")? + "\n"))?;
            }
            Ok(status) => write(&format!("{clear}{}\n", table::render(status)))?,
            Err(error) if json => eprintln!("fmc-lb: {error:#}"),
            Err(error) => write(&format!("{clear}{error:#}\n"))?,
        }
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            next = next(&mut tick, socket) => answer = next,
        }
    }
}

async fn next(tick: &mut Interval, socket: &Path) -> anyhow::Result<Status> {
    tick.tick().await;
    client::ask(socket).await
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("write to standard output")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
