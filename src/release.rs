//! `fmc-lb release`

use std::process::ExitCode;

pub(crate) fn run(_args: &crate::cli::Release) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not written yet")
}
