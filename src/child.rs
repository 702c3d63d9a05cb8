//! `fmc-lb child`: the entry of each process that the supervisor starts.

use std::process::ExitCode;

pub(crate) fn run(_kind: crate::cli::ChildKind) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not written yet")
}
