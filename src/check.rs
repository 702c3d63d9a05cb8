//! `fmc-lb check`

use std::process::ExitCode;

pub(crate) fn run(_args: &crate::cli::Check) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not written yet")
}
