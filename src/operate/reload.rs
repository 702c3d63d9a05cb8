//! `fmc-lb reload`.

use std::process::ExitCode;

use common::task::Task;

use super::converse;
use crate::cli::Reload;
use crate::commands::SUPERVISOR;
use crate::output;

/// The exit code is that of `fmc-lb check` where the file is not valid.
pub(crate) fn reload(args: &Reload) -> anyhow::Result<ExitCode> {
    let task = Task::Reload {
        dry_run: args.dry_run,
    };
    // Admin gives up first, and says so.
    let wait = SUPERVISOR.limit + super::WAIT;
    let reply = converse(task, &args.runtime.runtime_dir, wait)?;
    if let (true, Some(report)) = (reply.invalid, &reply.error) {
        output::complain(report);
        return Ok(ExitCode::from(2));
    }
    let done = super::done(reply)?;
    output::print(&format!("{}\n", done.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}
