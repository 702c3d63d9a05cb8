//! Planned moves: make before break. Not the RFC's.
//!
//! The node that takes installs its lease, announces and only then advertises; the node that gives
//! deletes its own when it hears that, whatever the priorities are. So for a moment both serve.

use common::addr::Priority;
use common::board::VipState;
use common::time::Moment;

use super::active::Active;
use super::backup::Backup;
use super::{Action, Event, Heard, State, VirtualRouter};
use crate::router::Cause;

impl VirtualRouter {
    /// The other node asks this one to take the VIP, and it may: a Backup becomes Active. `pin` is the
    /// priority that it advertises from then on, until it gives the VIP up; `None` = its own. The caller
    /// has read its sockets empty.
    pub fn handle_take(&mut self, pin: Option<Priority>, now: Moment) {
        self.step(Event::Take(pin), now);
    }

    /// Whether the other node was asked to take the VIP: while it is so an Active leaves as soon as
    /// it hears that one, also with a lower priority.
    pub fn handle_giving(&mut self, gives: bool) {
        self.gives = gives;
    }

    /// Whether it holds the VIP since a handover, and keeps it against preemption.
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// What [`VirtualRouter::handle_fitness`] said last.
    ///
    /// # Errors
    /// Why this node cannot hold the VIP.
    pub fn fitness(&self) -> Result<(), &Cause> {
        self.fitness.as_ref().copied()
    }

    /// Keeps the VIP against preemption, if it is to. An owner needs nothing for that.
    pub(super) fn pin(&mut self, pin: Option<Priority>) {
        if let Some(pin) = pin
            && self.params.priority != Priority::OWNER
        {
            self.params.priority = pin;
            self.pinned = true;
        }
    }

    pub(super) fn take(&mut self, pin: Option<Priority>, now: Moment) -> State {
        self.pin(pin);
        let active = Active::relieving(&self.params, now);
        self.actions.push_back(Action::InstallLease {
            lifetime: active.lifetime(),
        });
        let reason = "handover: the other node asked for it".to_owned();
        self.changed(VipState::Backup, VipState::Active, reason);
        State::Active(active)
    }

    /// It was Active before it was asked.
    pub(super) fn keep(&mut self, mut active: Active, pin: Option<Priority>, now: Moment) -> State {
        self.pin(pin);
        active.speak(now);
        State::Active(active)
    }

    /// A node with a higher priority, or a higher address, is Active as well.
    pub(super) fn hear_better(&mut self, active: Active, heard: &Heard) -> State {
        if self.gives_to(heard) {
            return self.hand_over(heard);
        }
        if active.is_relieving(heard.at) {
            // The one that has asked for this, and has not heard that it is done; or had not when it said so.
            return State::Active(active);
        }
        self.yield_to(heard)
    }

    /// A node with a lower priority, or a lower address, is Active as well.
    pub(super) fn hear_worse(&mut self, active: Active, heard: &Heard, now: Moment) -> State {
        if self.gives_to(heard) {
            return self.hand_over(heard);
        }
        Self::answer_lower(active, now)
    }

    fn gives_to(&self, heard: &Heard) -> bool {
        self.gives && self.params.sole_peer == Some(heard.source)
    }

    /// The address first. A farewell with priority 0 and not with its own: that may be as high as the
    /// new Active's.
    fn hand_over(&mut self, heard: &Heard) -> State {
        self.withdraw();
        self.actions
            .extend([Action::RemoveLease, Action::Advertise { priority: 0 }]);
        let reason = format!("handed over to {}", heard.source);
        self.changed(VipState::Active, VipState::Backup, reason);
        State::Backup(Backup::behind(&self.params, heard))
    }
}
