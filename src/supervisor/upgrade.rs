//! An upgrade in place: what is done after what, and what when it fails.
//!
//! Pure. The event loop calls `handle_*` for what happened, and [`Upgrade::handle_timeout`] with each
//! look, then performs every [`Action`] of [`Upgrade::poll_action`] in that order.
//!
//! The new version proves itself, then takes one child's place after another: the proxy first, because
//! it runs beside the old one as long as it takes; admin; vrrp, which is the only one that hands something
//! over in an instant. When all three have lived for a moment, the supervisor is replaced by execution.
//! Whatever fails until then makes all that were replaced be replaced again, by the old version.

use std::collections::VecDeque;
use std::time::Duration;

use common::board::{Child, UpgradeStage};
use common::time::Moment;

/// In which the children are replaced.
const ORDER: [Child; 3] = [Child::Proxy, Child::Admin, Child::Vrrp];
/// Limit for the new version to prove itself: it loads a program into the kernel's verifier.
const PROOF: Duration = Duration::from_secs(20);
/// Limit for a child that is started beside another one to be ready to take its place.
const READY: Duration = Duration::from_secs(10);
/// Limit for it to have taken it.
const TAKEN: Duration = Duration::from_secs(5);
/// How long all three have to live before there is no way back.
const TRIAL: Duration = Duration::from_secs(2);

/// What the event loop has to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Say how far it has come.
    Say(UpgradeStage),
    /// Have the new version prove itself.
    Prove,
    /// Start a child beside the one that runs.
    Prepare(Child),
    /// Put it in that one's place. Admin is started then.
    TakeOver(Child),
    /// Kill who was started beside a child, or proves itself, and has taken no place.
    Discard,
    /// Kill a child of the new version, which cannot be replaced otherwise.
    Kill(Child),
    /// Execute the new version in the supervisor's place.
    Execute,
    /// It is over, and the old version runs.
    Fail(String),
}

/// Which way it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Forth,
    /// Because of this.
    Back(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Proving,
    Preparing(Child),
    TakingOver(Child),
    Trial,
    Executing,
    Over,
}

/// One upgrade.
#[derive(Debug)]
pub(super) struct Upgrade {
    way: Way,
    step: Step,
    until: Moment,
    /// Of the new version, by [`Child`].
    renewed: [bool; 3],
    actions: VecDeque<Action>,
}

impl Upgrade {
    /// The new version is to prove itself.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            way: Way::Forth,
            step: Step::Proving,
            until: now + PROOF,
            renewed: [false; 3],
            actions: [Action::Say(UpgradeStage::Proving), Action::Prove].into(),
        }
    }

    /// The new version was executed and could not take over: those of its children that live are replaced.
    pub(super) fn back(why: String, renewed: [bool; 3], now: Moment) -> Self {
        let mut this = Self {
            way: Way::Back(why),
            step: Step::Over,
            until: now,
            renewed,
            actions: [Action::Say(UpgradeStage::RollingBack)].into(),
        };
        this.replace_next(now);
        this
    }

    /// It has, or says what it cannot do.
    pub(super) fn handle_proof(&mut self, proof: Result<(), String>, now: Moment) {
        if self.step != Step::Proving {
            return;
        }
        match proof {
            Ok(()) => self.replace_next(now),
            Err(why) => self.turn_back(why, now),
        }
    }

    /// Who was started beside a child can take its place.
    pub(super) fn handle_ready(&mut self, child: Child, now: Moment) {
        if self.step == Step::Preparing(child) {
            self.take_over(child, now);
        }
    }

    /// It has taken it.
    pub(super) fn handle_taken(&mut self, child: Child, now: Moment) {
        if self.step == Step::TakingOver(child) {
            let forth = self.way == Way::Forth;
            self.renewed[child as usize] = forth;
            if child == Child::Proxy {
                // Admin reads the board of the one before: another one has to come, of whichever version it is.
                self.renewed[Child::Admin as usize] = !forth;
            }
            self.replace_next(now);
        }
    }

    /// Who was started beside a child is dead, could not be started, or cannot take its place.
    pub(super) fn handle_lost(&mut self, child: Child, why: &str, now: Moment) {
        if self.step != Step::Preparing(child) && self.step != Step::TakingOver(child) {
            return;
        }
        match self.way {
            Way::Forth => self.turn_back(format!("the new {}: {why}", child.word()), now),
            Way::Back(_) => {
                // Its death is replaced from the old version, as any.
                self.actions.extend([Action::Discard, Action::Kill(child)]);
                self.renewed[child as usize] = false;
                self.replace_next(now);
            }
        }
    }

    /// A child in charge is dead; it is replaced from the old version.
    pub(super) fn handle_death(&mut self, child: Child, now: Moment) {
        let was_new = std::mem::take(&mut self.renewed[child as usize]);
        match (self.step, &self.way) {
            (Step::Over, _) => {}
            (Step::Proving | Step::Executing, Way::Forth) => {
                let why = format!("{} died meanwhile", child.word());
                self.turn_back(why, now);
            }
            (_, Way::Forth) => {
                let which = if was_new { "the new" } else { "the old" };
                self.turn_back(format!("{which} {} died", child.word()), now);
            }
            (Step::Preparing(of) | Step::TakingOver(of), Way::Back(_)) if of == child => {
                self.actions.push_back(Action::Discard);
                self.replace_next(now);
            }
            (_, Way::Back(_)) => {}
        }
    }

    /// The new version could not be executed.
    pub(super) fn handle_not_executed(&mut self, why: &str, now: Moment) {
        self.turn_back(format!("execute the new version: {why}"), now);
    }

    /// The node stops: whoever runs goes with it.
    pub(super) fn handle_stop(&mut self) {
        if self.step != Step::Over {
            self.step = Step::Over;
            self.actions.extend([
                Action::Discard,
                Action::Fail("the node was stopped".to_owned()),
            ]);
        }
    }

    /// Not all children have given a heartbeat yet; or the clients of a dead machine are being told, and who
    /// does it has to have a supervisor that looks after it.
    pub(super) fn handle_not_yet(&mut self, now: Moment) {
        if self.step == Step::Trial {
            self.until = now + TRIAL;
        }
    }

    /// To be called often.
    pub(super) fn handle_timeout(&mut self, now: Moment) {
        if now < self.until {
            return;
        }
        match self.step {
            Step::Proving => {
                let why = format!("the new version says nothing within {} s", PROOF.as_secs());
                self.turn_back(why, now);
            }
            Step::Preparing(child) => {
                let why = format!("it is not ready within {} s", READY.as_secs());
                self.handle_lost(child, &why, now);
            }
            Step::TakingOver(child) => {
                self.handle_lost(child, "it does not get the old one's place", now);
            }
            Step::Trial => {
                self.step = Step::Executing;
                self.actions
                    .push_back(Action::Say(UpgradeStage::Supervisor));
                self.actions.push_back(Action::Execute);
            }
            Step::Executing | Step::Over => {}
        }
    }

    /// The next thing to do.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether a child that is started now is of the new version.
    pub(super) fn goes_forth(&self) -> bool {
        self.way == Way::Forth
    }

    fn replace_next(&mut self, now: Moment) {
        let wanted = self.way == Way::Forth;
        let mut order = ORDER.into_iter();
        match order.find(|child| self.renewed[*child as usize] != wanted) {
            // There is one admin socket: the new one comes when the old one has gone.
            Some(Child::Admin) => {
                self.say(UpgradeStage::Admin);
                self.take_over(Child::Admin, now);
            }
            Some(child) => {
                self.say(match child {
                    Child::Proxy => UpgradeStage::Proxy,
                    Child::Admin => UpgradeStage::Admin,
                    Child::Vrrp => UpgradeStage::Vrrp,
                });
                self.step = Step::Preparing(child);
                self.until = now + READY;
                self.actions.push_back(Action::Prepare(child));
            }
            None => match &self.way {
                Way::Forth => {
                    self.say(UpgradeStage::Trial);
                    self.step = Step::Trial;
                    self.until = now + TRIAL;
                }
                Way::Back(why) => {
                    self.actions.push_back(Action::Fail(why.clone()));
                    self.step = Step::Over;
                }
            },
        }
    }

    fn take_over(&mut self, child: Child, now: Moment) {
        self.step = Step::TakingOver(child);
        self.until = now + TAKEN;
        self.actions.push_back(Action::TakeOver(child));
    }

    fn turn_back(&mut self, why: String, now: Moment) {
        self.actions.push_back(Action::Discard);
        self.way = Way::Back(why);
        self.actions
            .push_back(Action::Say(UpgradeStage::RollingBack));
        self.replace_next(now);
    }

    /// On the way back it is said once that this is the way.
    fn say(&mut self, stage: UpgradeStage) {
        if self.way == Way::Forth {
            self.actions.push_back(Action::Say(stage));
        }
    }
}

#[cfg(test)]
mod tests;
