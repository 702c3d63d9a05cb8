//! `fmc-lb run`: the supervisor.

use std::process::ExitCode;

pub(crate) fn run(_args: &crate::cli::Run) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not written yet")
}
