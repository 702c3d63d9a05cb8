//! `fmc-lb status`: asks the admin process of a running node and shows what it says.

pub(crate) mod client;
pub(crate) mod human;
mod table;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use common::status::Status;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use crate::output::{self, Printed};

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
    runtime.block_on(show(args))?;
    Ok(ExitCode::SUCCESS)
}

/// What the node with this runtime folder says of itself now.
pub(crate) fn ask(runtime_dir: &Path) -> anyhow::Result<Status> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(client::ask(&runtime_dir.join(SOCKET)))
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
    output::print(&text)?;
    Ok(())
}

/// Until Ctrl-C, or until nobody reads any more. An answer that does not come is shown in its place: a node that restarts is worth watching.
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
        let text = match &answer {
            Ok(status) if json => serde_json::to_string(status).context("write JSON")? + "\n",
            Ok(status) => format!("{clear}{}\n", table::render(status)),
            Err(error) if json => {
                output::complain(&format!("fmc-lb: {error:#}\n"));
                String::new()
            }
            Err(error) => format!("{clear}{error:#}\n"),
        };
        if output::print(&text)? == Printed::ReaderGone {
            return Ok(());
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
