//! One process of a node after another: what the old one leaves, and how the new one goes on. Not
//! the RFC's, for which nothing happens.

use std::mem;
use std::time::Duration;

use common::addr::Priority;
use common::board::VipState;
use common::time::Moment;

use super::active::Active;
use super::{Action, Event, State, VirtualRouter};

impl VirtualRouter {
    /// This process leaves, and its successor goes on: an Active renews the lease and speaks once more.
    /// It is told nothing after this.
    pub fn handle_leave(&mut self, now: Moment) {
        let mut state = mem::replace(&mut self.state, State::Init);
        if let State::Active(active) = &mut state
            && active.is_leased()
            && !active.is_lapsed(now)
        {
            self.push_renewal(active, now);
            self.advert();
        }
        self.state = state;
    }

    /// An earlier process of this node has heard adverts at this interval: the first Backup waits so long for the next
    /// ones.
    pub fn handle_expected(&mut self, interval: Duration) {
        self.expected = Some(interval);
    }

    /// An earlier process of this node was Active, with this priority, pinned or not, and has left its
    /// lease, which lives: a router in Init is Active from now on.
    pub fn handle_go_on(&mut self, (priority, pinned): (Priority, bool), now: Moment) {
        self.step(Event::GoOn { priority, pinned }, now);
    }

    /// The lease first: without it there is no advert.
    pub(super) fn go_on(&mut self, (priority, pinned): (Priority, bool), now: Moment) -> State {
        // Who is an owner only from now on, or has been one, is what the configuration says.
        if self.params.priority != Priority::OWNER && priority != Priority::OWNER {
            self.params.priority = priority;
        }
        self.pinned = pinned;
        let active = Active::new(&self.params, now);
        self.actions.push_back(Action::RenewLease {
            lifetime: active.lifetime(),
        });
        self.advert();
        let reason = "goes on for an earlier process of this node".to_owned();
        // For everybody else it has been so all the time.
        self.changed(VipState::Active, VipState::Active, reason);
        State::Active(active)
    }
}
