//! `fmc-lb stop`.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use common::status::Status;
use common::task::Task;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::converse;
use crate::cli::Stop;
use crate::commands::SUPERVISOR;
use crate::output;
use crate::status;

/// Returns when the node has stopped: whoever reboots the machine next relies on that.
pub(crate) fn stop(args: &Stop) -> anyhow::Result<ExitCode> {
    let folder = &args.runtime.runtime_dir;
    let before = status::ask(folder)?;
    // Opened while it lives: its number may be another process's by the time that it has ended.
    let supervisor = supervisor_of(&before)?;
    let drain_ms = args.drain.map(|drain| drain.as_millis());
    let task = Task::Stop {
        drain_ms: drain_ms.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
    };
    // Admin gives up first, and says so.
    let wait = SUPERVISOR.limit + super::WAIT;
    let said = super::done(converse(task, folder, wait)?)?;
    output::print(&format!("{said}\n"))?;
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    wait_for(&supervisor).context("wait for the end of the supervisor")?;
    judge_end(folder)?;
    output::print(&format!("{} has stopped\n", before.node))?;
    Ok(ExitCode::SUCCESS)
}

fn supervisor_of(status: &Status) -> anyhow::Result<OwnedFd> {
    let mut processes = status.processes.iter();
    let supervisor = processes.find(|one| one.name == "supervisor");
    let pid = supervisor.and_then(|one| i32::try_from(one.pid).ok());
    let pid = pid.and_then(Pid::from_raw);
    let pid = pid.context("the node has no supervisor: its processes have lost it")?;
    pidfd_open(pid, PidfdFlags::empty()).context("find the supervisor: it does not run")
}

fn wait_for(process: &OwnedFd) -> rustix::io::Result<()> {
    loop {
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut ended, None) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// One that was killed has stopped nothing: the others go on, and wait for the next one.
fn judge_end(folder: &Path) -> anyhow::Result<()> {
    match status::ask(folder) {
        Ok(_) => bail!("the supervisor has ended before the stop: see `fmc-lb status`"),
        Err(_) => Ok(()),
    }
}
