//! What a child runs by, and what it would go over to.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use common::config::Config;

use super::Work;
use crate::control::{Handle, Setup};

/// Reading a configuration needs more of a stack than the control thread has; it is given back at once.
const READING_STACK: usize = 2 * 1024 * 1024;

/// The configurations of a child.
#[derive(Debug)]
pub(super) struct Reload {
    running: Arc<Config>,
    /// What was prepared, and its hash.
    pub(super) next: Option<(Arc<Config>, u64)>,
}

impl Reload {
    pub(super) fn new(running: Arc<Config>) -> Self {
        Self {
            running,
            next: None,
        }
    }

    /// Reads what a reload brings.
    pub(super) fn read(
        &self,
        setup: Setup,
        handles: Vec<(Handle, OwnedFd)>,
    ) -> anyhow::Result<Work> {
        let running = Arc::clone(&self.running);
        std::thread::Builder::new()
            .name("reload".to_owned())
            .stack_size(READING_STACK)
            .spawn(move || Work::read(setup, handles, Some(&running)))
            .context("start a thread to read the configuration")?
            .join()
            .map_err(|_| anyhow!("the configuration could not be read"))?
    }

    /// For anything else the supervisor has vrrp succeeded by another process.
    pub(super) fn is_for_this_vrrp(&self) -> anyhow::Result<()> {
        let next = self.next.as_ref().map(|(config, _)| config);
        ensure!(
            next.is_none_or(|next| next.elects_like(&self.running)),
            "vrrp cannot change nodes, pair, VIPs and trackers while it runs"
        );
        Ok(())
    }

    /// What was prepared is what runs from now on.
    pub(super) fn go_over(&mut self) -> anyhow::Result<(Arc<Config>, u64)> {
        let (config, hash) = self.next.take().context("nothing was prepared")?;
        self.running = Arc::clone(&config);
        Ok((config, hash))
    }
}
