//! The shadows of the VIPs and the kernel settings that they need; what was found is kept in the
//! runtime folder until it is restored, also across a crash.

use std::io;
use std::time::Duration;

use anyhow::Context;
use common::config::Config;
use common::time::Moment;
use vrrp::shadow::{self, Look, SavedSettings};

use super::folder::Folder;

/// While a setting is wrong both nodes answer ARP for the VIPs: it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// The addresses of `lo` are asked of the kernel, which may make us wait.
const CLOSE_LOOK: Duration = Duration::from_secs(10);

/// Sets shadows and settings; what is there already stays. Gives warnings for a human.
pub(super) fn install(config: &Config, folder: &Folder) -> anyhow::Result<Vec<String>> {
    if config.vips.is_empty() {
        return Ok(Vec::new());
    }
    let installed = put(config, folder);
    if installed.is_err()
        && let Err(error) = remove(Some(config), folder)
    {
        tracing::warn!("some of the shadows stay: {error:#}");
    }
    installed
}

/// Sets what a reload adds, and leaves what it takes away: until [`replace`] somebody holds it.
pub(super) fn add(config: &Config, folder: &Folder) -> anyhow::Result<Vec<String>> {
    let saved = shadow::record(config, read(folder)?);
    write(folder, &saved)?;
    shadow::add(config).context("set the shadows of the VIPs")
}

/// Takes away what a reload has taken out of the configuration.
pub(super) fn replace(config: &Config, folder: &Folder) {
    if let Err(error) = put(config, folder) {
        tracing::warn!("the shadows of the VIPs: {error:#}");
    }
}

fn put(config: &Config, folder: &Folder) -> anyhow::Result<Vec<String>> {
    let saved = shadow::record(config, read(folder)?);
    write(folder, &saved)?;
    shadow::install(config).context("set the shadows of the VIPs")
}

/// Keeps shadows and settings as they must be while the node runs.
#[derive(Debug)]
pub(super) struct Keeper {
    looked: Moment,
    looked_closely: Moment,
}

impl Keeper {
    /// They were set at this moment.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            looked: now,
            looked_closely: now,
        }
    }

    /// Looks now and then, and sets again what somebody has undone.
    pub(super) fn look(&mut self, (config, folder): (&Config, &Folder), now: Moment) {
        if config.vips.is_empty() || now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let closely = now.since(self.looked_closely) >= CLOSE_LOOK;
        let depth = if closely {
            self.looked_closely = now;
            Look::SettingsAndShadows
        } else {
            Look::Settings
        };
        let mended = shadow::lapses(config, depth)
            .context("look at the shadows of the VIPs")
            .and_then(|lapses| {
                if !lapses.is_empty() {
                    put(config, folder)?;
                    let what = lapses.join(", ");
                    tracing::warn!(what, "somebody undid what the VIPs need; it is set again");
                }
                Ok(())
            });
        if let Err(error) = mended {
            tracing::warn!("the shadows of the VIPs: {error:#}");
        }
    }
}

/// Removes the shadows that are remembered and those of `config` (`None` = it cannot be read), and
/// restores the settings.
pub(crate) fn remove(config: Option<&Config>, folder: &Folder) -> anyhow::Result<()> {
    let saved = read(folder)?.unwrap_or_default();
    shadow::remove(config, &saved).context("remove the shadows of the VIPs")?;
    match std::fs::remove_file(folder.sysctls()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.sysctls().display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether this version can read what is kept of the kernel settings.
pub(crate) fn read_settings(folder: &Folder) -> anyhow::Result<()> {
    read(folder).map(drop)
}

fn read(folder: &Folder) -> anyhow::Result<Option<SavedSettings>> {
    let path = folder.sysctls();
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("read the kernel settings in {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Whole or not at all: what was found must not be lost to a crash in between.
fn write(folder: &Folder, saved: &SavedSettings) -> anyhow::Result<()> {
    let path = folder.sysctls();
    let new = path.with_extension("new");
    let text = serde_json::to_vec(saved).context("write the kernel settings as JSON")?;
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, &path))
        .with_context(|| format!("keep the kernel settings in {}", path.display()))
}
