//! `fmc-lb upgrade`.

#![expect(
    clippy::disallowed_methods,
    reason = "waits until an upgrade has ended, with a limit"
)]

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::bail;
use common::board::UpgradeStage;
use common::status::UpgradeStatus;
use common::task::Task;

use super::converse;
use crate::cli::Upgrade;
use crate::commands::SUPERVISOR;
use crate::output;
use crate::status;

/// How often it is asked how far the upgrade has come.
const LOOK: Duration = Duration::from_millis(100);
/// Proof, three successions, a trial and the way back take less.
const LIMIT: Duration = Duration::from_secs(120);

/// Returns when the upgrade has ended. Admin is replaced meanwhile, so a question may get no answer.
pub(crate) fn upgrade(args: &Upgrade) -> anyhow::Result<ExitCode> {
    in_place(&args.runtime.runtime_dir, args.if_replaced)
}

/// Where what is installed is not what runs.
pub(super) fn if_replaced(folder: &Path) -> anyhow::Result<ExitCode> {
    in_place(folder, true)
}

fn in_place(folder: &Path, if_replaced: bool) -> anyhow::Result<ExitCode> {
    let before = number(folder)?;
    // Admin gives up first, and says so.
    let wait = SUPERVISOR.limit + super::WAIT;
    let task = Task::Upgrade { if_replaced };
    let said = super::done(converse(task, folder, wait)?)?;
    if number(folder)? == before {
        output::print(&format!("{said}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let ended = end_of(folder, before)?;
    if ended.why.is_empty() {
        output::print(&format!("all processes run version {}\n", ended.version))?;
        return Ok(ExitCode::SUCCESS);
    }
    if ended.stage == UpgradeStage::CutShort.word() {
        bail!(
            "the upgrade was cut short, and processes may be of two versions until this node is restarted: {}",
            ended.why
        );
    }
    bail!(
        "the upgrade has failed, and the version before it runs: {}",
        ended.why
    )
}

/// Of the last one.
fn number(folder: &Path) -> anyhow::Result<u64> {
    let upgrade = status::ask(folder)?.upgrade;
    Ok(upgrade.map_or(0, |upgrade| upgrade.number))
}

fn end_of(folder: &Path, before: u64) -> anyhow::Result<UpgradeStatus> {
    let mut stage = String::new();
    for _ in 0..LIMIT.as_millis() / LOOK.as_millis() {
        sleep(LOOK);
        let Some(upgrade) = status::ask(folder).ok().and_then(|status| status.upgrade) else {
            continue;
        };
        if upgrade.number <= before {
            continue;
        }
        if upgrade.ended_ms_ago.is_some() {
            return Ok(upgrade);
        }
        if upgrade.stage != stage {
            output::print(&format!("{}\n", upgrade.stage))?;
            stage = upgrade.stage;
        }
    }
    bail!(
        "the upgrade has not ended within {} s: see `fmc-lb status`",
        LIMIT.as_secs()
    )
}
