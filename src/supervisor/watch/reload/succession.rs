//! Another vrrp for what a reload changes of what it is told at its start.
//!
//! It prepares beside the one that runs, with the next configuration, before anybody goes over. When the others
//! have, the old one gives up what the next configuration has no more and leaves the rest, and the new one goes on.

use anyhow::{Context, bail};
use common::board::Child;
use common::time::Moment;
use vrrp::release::Will;

use super::{GO_OVER, Ready, Stage};
use crate::supervisor::kit::{Kit, Place};
use crate::supervisor::watch::{LEAVE, Loop};
use crate::supervisor::{forwarding, prepare_will, shadows};

/// What holds as soon as vrrp runs by the next configuration: until then it is the old one's.
#[derive(Debug)]
pub(in crate::supervisor::watch) struct Unsettled {
    will: Option<Will>,
}

impl Unsettled {
    pub(super) fn prepare(
        (running, place): (&Place<'_>, &Place<'_>),
        kit: &Kit,
    ) -> anyhow::Result<Self> {
        let obstacle = |place: &Place<'_>| forwarding::obstacle(&place.config, place.node);
        match (obstacle(running), obstacle(place)) {
            (None, Some(why)) => {
                bail!("segments could not be sent to the other node any more: {why}")
            }
            (Some(_), None) => {
                bail!("flow forwarding would begin, for which the node has to be restarted")
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        Ok(Self {
            will: prepare_will(place, kit)?,
        })
    }
}

impl Loop<'_> {
    /// Starts who is to take vrrp's place, if another one is needed.
    pub(super) fn start_successor(&mut self, ready: &Ready) -> anyhow::Result<()> {
        if ready.succession.is_none() {
            return Ok(());
        }
        let given = ready.kit.for_successor(Child::Vrrp, None);
        let given = given.context("collect the descriptors of another vrrp")?;
        let binary = self.binaries[Child::Vrrp as usize].clone();
        self.start_beside((Child::Vrrp, &binary), given, None)
            .context("start another vrrp")
    }

    /// It is ready.
    pub(in crate::supervisor::watch) fn successor_waits(&mut self) {
        let Stage::Preparing(_, waiting, _) = &mut self.with.reload.stage else {
            return;
        };
        waiting.successor = false;
        if waiting.is_over() {
            self.go_over();
        }
    }

    /// It is dead.
    pub(in crate::supervisor::watch) fn successor_lost(&mut self) {
        match &self.with.reload.stage {
            Stage::Preparing(..) => {
                self.abandon("vrrp cannot run by it: see the log".to_owned());
            }
            // What is started next begins with what runs now.
            Stage::GoingOver(..) => {
                self.kill(Child::Vrrp, "its successor died, killed".to_owned());
            }
            Stage::Rest | Stage::Reading(_) => {}
        }
    }

    /// Sets the shadows of what will run, before anybody holds it.
    pub(super) fn add_shadows(&self) -> anyhow::Result<()> {
        let Stage::Preparing(_, _, ready) = &self.with.reload.stage else {
            return Ok(());
        };
        if ready.succession.is_none() {
            return Ok(());
        }
        let running = &self.with.place;
        match shadows::add(&ready.config, running.folder) {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                Ok(())
            }
            Err(error) => {
                shadows::replace(&running.config, running.folder);
                Err(error)
            }
        }
    }

    /// The others have gone over: vrrp makes way.
    pub(super) fn have_vrrp_succeeded(&mut self) {
        let now = vrrp::now();
        if self.beside.is_none() || self.stopping {
            return;
        }
        if let Stage::GoingOver(_, waiting, _) = &mut self.with.reload.stage {
            waiting.until = now + GO_OVER;
        }
        if !self.lifecycle.handle_succession(Child::Vrrp, now) {
            // It has died meanwhile: the next one begins with what runs now.
            self.discard_beside();
            self.note_gone_over(Child::Vrrp);
        }
    }

    /// vrrp runs by what a reload has brought.
    pub(in crate::supervisor::watch) fn settle(&mut self, now: Moment) {
        if let Some(unsettled) = self.unsettled.take() {
            self.with.will = unsettled.will;
            // Its frames may still be on their way here.
            self.clear_at = Some(now + LEAVE);
        }
    }
}
