//! fmc-lb: one binary that owns the virtual IPs of a cluster by VRRP and relays TCP to its servers.
//!
//! This file only dispatches; each subcommand has a file of its own. Exit codes: 0 done, 1 failed, 2 wrong usage or
//! configuration. ARCHITECTURE.md shows the way through the rest.

mod admin;
mod admin_key;
mod bpf;
mod check;
mod child;
mod cli;
mod commands;
mod control;
mod doctor;
mod keygen;
mod logging;
mod memory;
mod operate;
mod output;
mod program;
mod prove;
mod release;
mod rescue;
mod rights;
mod schema;
mod session_log;
mod status;
mod supervisor;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => supervisor::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Keygen => keygen::run(),
        Command::Status(args) => status::run(&args),
        Command::Server(args) => operate::server(&args),
        Command::Listener(args) => operate::listener(&args),
        Command::Sessions(args) => operate::sessions(&args),
        Command::Handover(args) => operate::moves::handover(&args),
        Command::Maintenance(args) => operate::moves::maintenance(&args),
        Command::Reload(args) => operate::reload::reload(&args),
        Command::Apply(args) => operate::reload::apply(&args),
        Command::Upgrade(args) => operate::upgrade::upgrade(&args),
        Command::Stop(args) => operate::stop::stop(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Child(args) => child::run(args.kind),
        Command::Prove(args) => prove::run(&args),
        Command::Rescue(args) => rescue::run(&args),
    };
    result.unwrap_or_else(|error| {
        output::complain(&format!("fmc-lb: {error:#}\n"));
        ExitCode::from(1)
    })
}
