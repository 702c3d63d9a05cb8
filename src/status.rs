//! `fmc-lb status`

use std::process::ExitCode;

pub(crate) fn run(_args: &crate::cli::Status) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not written yet")
}
