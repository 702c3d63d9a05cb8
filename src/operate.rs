//! `fmc-lb server`, `listener`, `sessions`, `handover`, `maintenance`, `reload` and `stop`: tells a running node something,
//! and shows what it says.

pub(crate) mod moves;
pub(crate) mod reload;
pub(crate) mod stop;
mod table;
pub(crate) mod upgrade;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use common::command::{Command, Remaining, Reply, VERSION, Wish};
use serde::Serialize;

use crate::cli::{KillSessions, Listener, Server, Sessions, Time, Which};
use crate::status::{SOCKET, client};
use crate::{admin, output};

/// A handover takes as long as three heartbeats, of a second at most, and one and a half more.
const WAIT: Duration = Duration::from_secs(6);

/// A command, or an order, as it stands on the admin socket.
#[derive(Debug, Serialize)]
struct Request<T> {
    version: u32,
    #[serde(flatten)]
    command: T,
}

pub(crate) fn server(args: &Server) -> anyhow::Result<ExitCode> {
    let state = |server, state, time: Option<&Time>| Command::ServerState {
        server,
        state,
        for_ms: time.and_then(millis),
    };
    let (command, runtime) = match args {
        Server::Drain(args) => (
            state(args.server.clone(), Wish::Drain, Some(&args.time)),
            &args.runtime,
        ),
        Server::Maintenance(args) => (
            state(args.server.clone(), Wish::Maintenance, Some(&args.time)),
            &args.runtime,
        ),
        Server::Ready(args) => (state(args.server.clone(), Wish::Ready, None), &args.runtime),
        Server::Weight(args) => (
            Command::ServerWeight {
                server: args.server.clone(),
                weight: args.weight.0,
                for_ms: millis(&args.time),
            },
            &args.runtime,
        ),
        Server::Add(args) => (
            Command::ServerAdd {
                server: args.server.clone(),
                weight: args.weight,
                backup: args.backup,
                max_sessions: args.max_sessions,
                for_ms: millis(&args.time),
            },
            &args.runtime,
        ),
        Server::Address(args) => (
            Command::ServerAddress {
                server: args.server.clone(),
                address: args.address,
                for_ms: millis(&args.time),
            },
            &args.runtime,
        ),
        Server::Remove(args) => (
            Command::ServerRemove {
                server: args.server.clone(),
                sessions: match (args.drain, args.force) {
                    (_, true) => Remaining::Cut,
                    (true, false) => Remaining::Drain,
                    (false, false) => Remaining::Refuse,
                },
            },
            &args.runtime,
        ),
    };
    act(command, &runtime.runtime_dir)
}

pub(crate) fn listener(args: &Listener) -> anyhow::Result<ExitCode> {
    let (command, runtime) = match args {
        Listener::Pause(args) => (
            Command::ListenerPause {
                listener: args.name.clone(),
                for_ms: millis(&args.time),
            },
            &args.runtime,
        ),
        Listener::Resume(args) => (
            Command::ListenerResume {
                listener: args.name.clone(),
            },
            &args.runtime,
        ),
    };
    act(command, &runtime.runtime_dir)
}

pub(crate) fn sessions(args: &Sessions) -> anyhow::Result<ExitCode> {
    if let Some(KillSessions::Kill(kill)) = &args.kill {
        let command = match &kill.which {
            Which { id: Some(id), .. } => Command::KillSession { id: id.clone() },
            Which {
                server: Some(server),
                ..
            } => Command::KillServerSessions {
                server: server.clone(),
            },
            Which {
                listener: Some(listener),
                ..
            } => Command::KillListenerSessions {
                listener: listener.clone(),
            },
            Which { .. } => bail!("say which sessions"),
        };
        return act(command, &kill.runtime.runtime_dir);
    }
    let command = Command::Sessions {
        listener: args.listener.clone(),
        server: args.server,
    };
    let reply = ask(command, &args.runtime.runtime_dir)?;
    let list = reply.sessions.context("the proxy answers without a list")?;
    let text = if args.json {
        serde_json::to_string_pretty(&list).context("write JSON")? + "\n"
    } else {
        table::render(&list)
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn millis(time: &Time) -> Option<u64> {
    let whole = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    time.time.map(whole)
}

fn act<T: Serialize>(command: T, runtime_dir: &Path) -> anyhow::Result<ExitCode> {
    let done = done(ask(command, runtime_dir)?)?;
    output::print(&format!("{done}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// What was done; that nothing was is an error.
fn done(reply: Reply) -> anyhow::Result<String> {
    match reply.error {
        Some(error) => bail!("{error}"),
        None => Ok(reply.done.unwrap_or_default()),
    }
}

fn ask<T: Serialize>(command: T, runtime_dir: &Path) -> anyhow::Result<Reply> {
    let reply = converse(command, runtime_dir, WAIT)?;
    match reply.error {
        Some(error) => bail!("{error}"),
        None => Ok(reply),
    }
}

/// The reply, whatever it says.
fn converse<T: Serialize>(command: T, runtime_dir: &Path, wait: Duration) -> anyhow::Result<Reply> {
    let request = admin::wire::line(&Request {
        version: VERSION,
        command,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let answer = runtime.block_on(client::ask_line_within(
        wait,
        &runtime_dir.join(SOCKET),
        &request,
    ))?;
    serde_json::from_slice(&answer).context("read the answer")
}
