//! The configuration in a set-up: its text, and which place everything in it has.

use std::os::fd::OwnedFd;

use anyhow::Context;
use common::config::{Arrangement, Config};

use super::Handle;
use crate::memory;

/// What a process runs by.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) text: String,
    /// With everything at its place.
    pub(crate) config: Config,
    /// Of the configuration as its file has it.
    pub(crate) hash: u64,
}

impl Given {
    /// Reads it; `before` is what this process ran by until now.
    pub(crate) fn read(
        handles: &[(Handle, OwnedFd)],
        before: Option<&Config>,
    ) -> anyhow::Result<Self> {
        let text = text_of(handles, &Handle::Config)?.context("no configuration in the set-up")?;
        let config = Config::from_running(&text).context("parse the configuration")?;
        let hash = config.effective_hash();
        // An earlier version says none: everything is where the file has it.
        let config = match text_of(handles, &Handle::Arrangement)? {
            None => config,
            Some(arrangement) => {
                let arrangement: Arrangement =
                    serde_json::from_str(&arrangement).context("read the arrangement")?;
                let arranged = config.arranged(&arrangement, before);
                arranged.map_err(|why| anyhow::anyhow!("arrange the configuration: {why}"))?
            }
        };
        Ok(Self { text, config, hash })
    }
}

fn text_of(handles: &[(Handle, OwnedFd)], wanted: &Handle) -> anyhow::Result<Option<String>> {
    let found = handles.iter().find(|(handle, _)| handle == wanted);
    let text = found.map(|(_, text)| {
        let text = memory::read_text(text).context("read the configuration")?;
        String::from_utf8(text).context("the configuration is no text")
    });
    text.transpose()
}
