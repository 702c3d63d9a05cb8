//! `fmc-lb prove`: a new version tries all that an upgrade in place needs, with what runs, and says what
//! it cannot do. It changes nothing. Only a supervisor starts this command.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;
use common::board::{AdminBoard, LAYOUT, OLDEST, ProxyBoard, SupervisorBoard, VrrpBoard};
use common::roster::Roster;
use forward::Program;
use nix::sys::signal::SigSet;

use crate::cli::{self, Cli, Command};
use crate::control::{Body, Channel, Given, Handle, Proof, Setup, Writer};
use crate::memory;
use crate::supervisor::{self, Folder};

/// What runs, as its supervisor hands it over.
type Handles = Vec<(Handle, OwnedFd)>;

pub(crate) fn run(args: &cli::Prove) -> anyhow::Result<ExitCode> {
    SigSet::all().thread_unblock().context("unblock signals")?;
    let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
    let (setup, handles) = channel
        .receive_setup()
        .context("receive what runs (only `fmc-lb run` starts this command)")?;
    let tried = [
        command_line(args),
        state(&setup, &handles),
        kernel_settings(&setup),
        program(&handles),
    ];
    let failed = tried.into_iter().filter_map(Result::err);
    let proof = Proof {
        software: env!("CARGO_PKG_VERSION").to_owned(),
        layout: LAYOUT,
        oldest: OLDEST,
        obstacles: failed.map(|error| format!("{error:#}")).collect(),
    };
    channel.send(Body::Proof(proof), &[])?;
    Ok(ExitCode::SUCCESS)
}

/// The supervisor's own: it is executed with the same.
fn command_line(args: &cli::Prove) -> anyhow::Result<()> {
    let line =
        std::iter::once(OsStr::new("fmc-lb")).chain(args.line.iter().map(OsString::as_os_str));
    match Cli::try_parse_from(line) {
        Ok(Cli {
            command: Command::Run(_),
        }) => Ok(()),
        Ok(_) => Err(anyhow!(
            "the supervisor's command line means something else"
        )),
        Err(error) => {
            let first = error.to_string();
            let first = first.lines().next().unwrap_or_default().to_owned();
            Err(anyhow!("understand the supervisor's command line: {first}"))
        }
    }
}

/// The running configuration, the boards, and what is said there of the servers.
fn state(setup: &Setup, handles: &Handles) -> anyhow::Result<()> {
    let config = Given::read(handles, None)?.config;
    if !config.nodes.iter().any(|node| node.name == setup.node) {
        return Err(anyhow!(
            "the running configuration has no node {}",
            setup.node
        ));
    }
    let board = |writer| found(handles, &Handle::Board { writer });
    let map = || -> anyhow::Result<&'static ProxyBoard> {
        memory::map_read_only::<SupervisorBoard>(board(Writer::Supervisor)?)?;
        memory::map_read_only::<VrrpBoard>(board(Writer::Vrrp)?)?;
        memory::map_read_only::<AdminBoard>(board(Writer::Admin)?)?;
        Ok(memory::map_read_only(board(Writer::Proxy)?)?)
    };
    let proxy = map().context("map the boards")?;
    // It passes over what it does not understand: there is nothing that could fail but the reading.
    Roster::read(&config, proxy);
    for watched in config.watched() {
        let text = |path: &std::path::PathBuf| -> anyhow::Result<String> {
            let handle = Handle::File { path: path.clone() };
            Ok(String::from_utf8(memory::read_text(found(
                handles, &handle,
            )?)?)?)
        };
        let texts = watched.paths.iter().map(text);
        texts
            .collect::<anyhow::Result<Vec<_>>>()
            .and_then(|texts| supervisor::judge(&watched, &texts, None).map_err(anyhow::Error::msg))
            .with_context(|| format!("use {}", watched.names()))?;
    }
    Ok(())
}

/// What is to be restored when the node stops.
fn kernel_settings(setup: &Setup) -> anyhow::Result<()> {
    supervisor::read_settings(&Folder::new(&setup.runtime_dir))
}

/// The TC program: the kernel's verifier takes this version's, where one is in use.
fn program(handles: &Handles) -> anyhow::Result<()> {
    let uses = |(handle, _): &(Handle, OwnedFd)| matches!(handle, Handle::Forward { .. });
    if handles.iter().any(uses) {
        Program::load().context("load the TC program")?;
    }
    Ok(())
}

fn found<'a>(handles: &'a Handles, wanted: &Handle) -> anyhow::Result<&'a OwnedFd> {
    let mut all = handles.iter();
    let found = all.find(|(handle, _)| handle == wanted);
    let (_, descriptor) = found.with_context(|| format!("{wanted:?} was not handed over"))?;
    Ok(descriptor)
}
