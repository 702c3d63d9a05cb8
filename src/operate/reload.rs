//! `fmc-lb reload` and `fmc-lb apply`.

use std::path::Path;
use std::process::ExitCode;

use common::order::Order;
use common::task::Task;

use super::{converse, upgrade};
use crate::cli::{Apply, Reload};
use crate::commands::SUPERVISOR;
use crate::output;

/// The exit code is that of `fmc-lb check` where the file is not valid.
pub(crate) fn reload(args: &Reload) -> anyhow::Result<ExitCode> {
    let folder = &args.runtime.runtime_dir;
    if !args.upgrade {
        return of_this_node(args.dry_run, folder);
    }
    // One that fails leaves the version that runs, which can load the file all the same. The failure is told last.
    let upgraded = upgrade::if_replaced(folder);
    match of_this_node(false, folder) {
        Ok(code) if code == ExitCode::SUCCESS => upgraded,
        failed => {
            if let Err(error) = upgraded {
                output::complain(&format!("fmc-lb: {error:#}\n"));
            }
            failed
        }
    }
}

/// With the other node: both check first, then go over, one after the other.
pub(crate) fn apply(args: &Apply) -> anyhow::Result<ExitCode> {
    let (dry_run, folder) = (args.dry_run, &args.runtime.runtime_dir);
    if !args.pair {
        return of_this_node(dry_run, folder);
    }
    let wait = SUPERVISOR.limit * 3 + super::WAIT;
    let done = super::done(converse(Order::Apply { dry_run }, folder, wait)?)?;
    output::print(&format!("{}\n", done.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}

fn of_this_node(dry_run: bool, folder: &Path) -> anyhow::Result<ExitCode> {
    let task = Task::Reload {
        dry_run,
        only: None,
    };
    // Admin gives up first, and says so.
    let wait = SUPERVISOR.limit + super::WAIT;
    let reply = converse(task, folder, wait)?;
    if let (true, Some(report)) = (reply.invalid, &reply.error) {
        output::complain(report);
        return Ok(ExitCode::from(2));
    }
    let done = super::done(reply)?;
    output::print(&format!("{}\n", done.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}
