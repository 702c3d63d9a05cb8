//! Upgrades in place, as the loop goes through with them: [`Upgrade`] says what is next.

use std::os::fd::AsFd;

use anyhow::{Context, anyhow};
use common::board::{Child, MAX_RETIRED, UpgradeSlot, UpgradeStage};
use common::time::Moment;

use super::Loop;
use super::beside::Beside;
use crate::control::{Body, Handle, Writer};
use crate::supervisor::fallback;
use crate::supervisor::folder::Seat;
use crate::supervisor::installed::Installed;
use crate::supervisor::kit::Kit;
use crate::supervisor::process::Binary;
use crate::supervisor::prover::Prover;
use crate::supervisor::upgrade::{Action, Upgrade};

/// The upgrade that is under way.
#[derive(Debug)]
pub(super) struct Ongoing {
    upgrade: Upgrade,
    /// `None` = there is only the way back.
    installed: Option<Installed>,
    prover: Option<Prover>,
}

impl Loop<'_> {
    /// Begins to upgrade to what stands now where this process was started from. Its number.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn begin_upgrade(&mut self) -> Result<u64, String> {
        let number = self.try_begin_upgrade();
        number.map_err(|error| {
            let why = format!("{error:#}");
            tracing::warn!(why, "no upgrade");
            why
        })
    }

    fn try_begin_upgrade(&mut self) -> anyhow::Result<u64> {
        if self.stopping {
            return Err(anyhow!("this node is stopping"));
        }
        if self.is_upgrading() {
            return Err(anyhow!("an upgrade is under way on this node"));
        }
        if self.is_reloading() {
            return Err(anyhow!("a reload is under way on this node: try again"));
        }
        if self.children.iter().any(Option::is_none) {
            return Err(anyhow!(
                "not all processes of this node run: see `fmc-lb status`"
            ));
        }
        if !Kit::has_room_for_upgrade(self.with.boards.supervisor) {
            return Err(anyhow!(
                "{} proxies of earlier versions still have sessions: wait until those have ended, or restart the node",
                MAX_RETIRED - 1
            ));
        }
        let installed = Installed::open()?;
        let now = vrrp::now();
        let slot = self.upgrade_slot();
        let number = slot.number.get() + 1;
        slot.version.set("");
        slot.why.set("");
        slot.ended.clear();
        slot.began.set(now);
        slot.stage.set(UpgradeStage::Proving.on_board());
        slot.number.set(number);
        tracing::info!(number, "an upgrade begins");
        self.ongoing = Some(Ongoing {
            upgrade: Upgrade::new(now),
            installed: Some(installed),
            prover: None,
        });
        Ok(number)
    }

    pub(super) fn is_upgrading(&self) -> bool {
        self.ongoing.is_some()
    }

    /// What is next, if anything is.
    pub(super) fn next_of_upgrade(&mut self) -> Option<Action> {
        self.ongoing.as_mut()?.upgrade.poll_action()
    }

    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Say(stage) => {
                self.upgrade_slot().stage.set(stage.on_board());
                tracing::info!(stage = stage.word(), "the upgrade goes on");
            }
            Action::Prove => {
                if let Err(error) = self.start_prover() {
                    let proof = Err(format!("{error:#}"));
                    self.tell_upgrade(|upgrade, now| upgrade.handle_proof(proof, now));
                }
            }
            Action::Prepare(child) => {
                if let Err(error) = self.prepare_beside(child) {
                    self.lose(child, &format!("{error:#}"));
                }
            }
            Action::TakeOver(Child::Proxy) => match self.succeed_proxy() {
                Ok(()) => {
                    self.tell_upgrade(|upgrade, now| upgrade.handle_taken(Child::Proxy, now));
                }
                Err(error) => self.lose(Child::Proxy, &format!("{error:#}")),
            },
            Action::TakeOver(child) => {
                self.binaries[child as usize] = self.next_binary();
                if !self.lifecycle.handle_succession(child, vrrp::now()) {
                    self.lose(child, "the one before it does not run");
                }
            }
            Action::Discard => self.discard(),
            Action::Kill(child) => {
                self.binaries[child as usize] = Binary::Own;
                self.kill(child, "replaced by the old version".to_owned());
            }
            Action::Execute => self.execute(),
            Action::Fail(why) => self.fail(&why),
        }
    }

    /// The upgrade hears of it, if one is under way.
    pub(super) fn tell_upgrade(&mut self, tell: impl FnOnce(&mut Upgrade, Moment)) {
        if let Some(ongoing) = &mut self.ongoing {
            tell(&mut ongoing.upgrade, vrrp::now());
        }
    }

    /// A child died: what replaces it is of the version that is known to run.
    pub(super) fn note_death(&mut self, child: Child) {
        self.binaries[child as usize] = Binary::Own;
        self.tell_upgrade(|upgrade, now| upgrade.handle_death(child, now));
    }

    /// Hears what the new version proves.
    pub(super) fn hear_proof(&mut self) {
        let Some(prover) = self.ongoing.as_ref().and_then(|one| one.prover.as_ref()) else {
            return;
        };
        let proof = match prover.hear() {
            Ok(None) => return,
            Ok(Some(proof)) => {
                self.upgrade_slot().version.set(&proof.software);
                match self.left_behind_by(proof.oldest) {
                    0 => Ok(()),
                    count => Err(format!(
                        "version {} cannot share memory with {count} proxies of earlier versions that still have sessions: wait until those have ended, or restart the node",
                        proof.software
                    )),
                }
            }
            Err(error) => Err(format!("{error:#}")),
        };
        self.end_prover();
        self.tell_upgrade(|upgrade, now| upgrade.handle_proof(proof, now));
    }

    /// To be called with each look.
    pub(super) fn look_at_upgrade(&mut self, now: Moment) {
        self.provers.retain_mut(|prover| !prover.has_ended());
        let threads = self.with.kit.threads();
        let Some(ongoing) = &mut self.ongoing else {
            return;
        };
        let beside = self.beside.as_ref();
        let serves = beside
            .and_then(|one| one.successor.as_ref())
            .is_some_and(|one| {
                let accepting = &one.board.accepting[..threads];
                accepting.iter().all(|cell| cell.get().is_some())
            });
        if serves {
            ongoing.upgrade.handle_ready(Child::Proxy, now);
        }
        if self.with.rescue.is_running() || !self.lifecycle.all_have_beaten() {
            ongoing.upgrade.handle_not_yet(now);
        }
        ongoing.upgrade.handle_timeout(now);
    }

    fn start_prover(&mut self) -> anyhow::Result<()> {
        let binary = self.next_binary();
        let Some(ongoing) = &mut self.ongoing else {
            return Ok(());
        };
        let prover = Prover::start(&binary, &self.with.kit)?;
        let watched = self.with.events.watch_prover(&prover.channel);
        ongoing.prover = Some(prover);
        watched.context("watch its connection")
    }

    fn prepare_beside(&mut self, child: Child) -> anyhow::Result<()> {
        let binary = self.next_binary();
        let with = &self.with;
        let successor = match child {
            Child::Proxy => Some(with.kit.prepare_successor()?),
            Child::Vrrp | Child::Admin => None,
        };
        let given = with.kit.for_successor(child, successor.as_ref());
        let given = given.context("collect its descriptors")?;
        self.start_beside((child, &binary), given, successor)
    }

    /// The new proxy accepts: it is the proxy from now on, the old one has its sessions.
    fn succeed_proxy(&mut self) -> anyhow::Result<()> {
        let Beside {
            process,
            since,
            successor,
        } = self.beside.take().context("there is none")?;
        let successor = successor.context("it has no board")?;
        let board = successor.board;
        let place = self
            .with
            .kit
            .succeed(successor, self.with.boards.supervisor);
        let (place, shown) = match place {
            Ok(place) => place,
            Err(error) => {
                self.end_beside(Beside {
                    process,
                    since,
                    successor: None,
                });
                return Err(error);
            }
        };
        self.with.boards.proxy = board;
        // vrrp first: it gives its VIPs up when nobody accepts for 100 ms.
        if let Some(vrrp) = &self.children[Child::Vrrp as usize] {
            let handles = vec![Handle::Board {
                writer: Writer::Proxy,
            }];
            let told = vrrp
                .channel
                .send(Body::Boards { handles }, &[shown.as_fd()]);
            if let Err(error) = told {
                // It is dying: the next one is given this board.
                let error = anyhow::Error::from(error);
                tracing::warn!("vrrp cannot be told who serves: {error:#}");
            }
        }
        // The names before anything else: whoever is killed between, the next supervisor finds both in their places.
        let old = self.children[Child::Proxy as usize].take();
        if let Some(old) = &old {
            let retired = Seat::Retired(old.pid);
            let folder = self.with.place.folder;
            folder.rename(Seat::Of(Child::Proxy), retired);
        }
        self.binaries[Child::Proxy as usize] = self.next_binary();
        self.seat(process, since);
        if let Some(old) = old {
            old.ask_retire();
            self.depart(old, Some(place));
        }
        // What changed since it was given the files.
        self.with.files.send_all();
        Ok(())
    }

    pub(super) fn lose(&mut self, child: Child, why: &str) {
        self.tell_upgrade(|upgrade, now| upgrade.handle_lost(child, why, now));
    }

    fn discard(&mut self) {
        self.end_prover();
        self.discard_beside();
    }

    fn end_prover(&mut self) {
        let prover = self.ongoing.as_mut().and_then(|one| one.prover.take());
        self.provers.extend(prover);
    }

    fn execute(&mut self) {
        let ongoing = self.ongoing.as_ref();
        let Some(installed) = ongoing.and_then(|one| one.installed.as_ref()) else {
            return;
        };
        tracing::info!("the new version is executed in the supervisor's place");
        let failed = match fallback::pass_on() {
            Ok((_own, environment)) => installed.execute(&environment),
            Err(error) => anyhow::Error::from(error).context("pass on this version's binary"),
        };
        let why = format!("{failed:#}");
        self.tell_upgrade(|upgrade, now| upgrade.handle_not_executed(&why, now));
    }

    fn fail(&mut self, why: &str) {
        tracing::error!(why, "the upgrade has failed: the old version runs");
        self.ongoing = None;
        end(self.upgrade_slot(), UpgradeStage::Failed, why);
    }

    /// Of the version that a child is started from now.
    fn next_binary(&self) -> Binary {
        let forth = self.ongoing.as_ref();
        let forth = forth.filter(|one| one.upgrade.goes_forth());
        let installed = forth.and_then(|one| one.installed.as_ref());
        installed.map_or(Binary::Own, Installed::binary)
    }

    fn upgrade_slot(&self) -> &'static UpgradeSlot {
        &self.with.boards.supervisor.upgrade
    }

    /// vrrp writes on from here on the board of the program that is in place.
    pub(super) fn tell_program(&self) -> anyhow::Result<()> {
        let Some(vrrp) = &self.children[Child::Vrrp as usize] else {
            return Ok(());
        };
        let parts = self.with.kit.program().context("copy its descriptors")?;
        let (handles, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let parts: Vec<_> = parts.iter().map(AsFd::as_fd).collect();
        Ok(vrrp.channel.send(Body::Boards { handles }, &parts)?)
    }

    /// What this process finds of an upgrade, when it has taken over.
    pub(super) fn conclude_upgrade(&mut self) {
        let slot = self.upgrade_slot();
        if !slot.is_under_way() {
            return;
        }
        match (slot.stage(), fallback::fell_back()) {
            (UpgradeStage::Supervisor, None) => {
                tracing::info!(version = env!("CARGO_PKG_VERSION"), "the upgrade is done");
                end(slot, UpgradeStage::Done, "");
            }
            (_, Some(why)) => {
                let why = format!("the new supervisor: {why}");
                tracing::error!(
                    why,
                    "this version runs on, and takes the others' places again"
                );
                let renewed = self.children.each_ref().map(Option::is_some);
                self.ongoing = Some(Ongoing {
                    upgrade: Upgrade::back(why, renewed, vrrp::now()),
                    installed: None,
                    prover: None,
                });
            }
            (_, None) => end(
                slot,
                UpgradeStage::CutShort,
                "the supervisor died meanwhile",
            ),
        }
    }
}

fn end(slot: &UpgradeSlot, stage: UpgradeStage, why: &str) {
    slot.why.set(why);
    slot.failures.add(u64::from(stage != UpgradeStage::Done));
    slot.ended.set(vrrp::now());
    slot.stage.set(stage.on_board());
}
