//! What an administrator has said at run time, beside what the configuration and the probes say.

use super::{AdminState, Cell, ListenerSlot, MomentCell, ServerSlot, ServerState};
use crate::time::Moment;

/// A number that holds until it is taken back or its time is over; 0 = nothing was said.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Override {
    value: Cell,
    until: MomentCell,
}

/// What was said, and when it ends by itself (`None` = never).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<T> {
    pub value: T,
    pub until: Option<Moment>,
}

impl Override {
    /// Says something. Only the board's writer may call it.
    pub fn set(&self, value: u64, until: Option<Moment>) {
        // A writer that dies in between has said nothing, rather than something without its end.
        self.value.set(0);
        match until {
            Some(moment) => self.until.set(moment),
            None => self.until.clear(),
        }
        self.value.set(value);
    }

    /// Takes it back.
    pub fn clear(&self) {
        self.value.set(0);
        self.until.clear();
    }

    /// What holds now.
    pub fn get(&self, now: Moment) -> Option<Said<u64>> {
        let (value, until) = (self.value.get(), self.until.get());
        (value != 0 && until.is_none_or(|end| now < end)).then_some(Said { value, until })
    }

    /// Takes back what is over, and returns it. Only the board's writer may call it.
    pub fn end_if_over(&self, now: Moment) -> Option<u64> {
        let value = self.value.get();
        let over = self.end().is_some_and(|end| end <= now);
        over.then(|| {
            self.clear();
            value
        })
    }

    /// When it ends by itself, also when that is past.
    pub fn end(&self) -> Option<Moment> {
        (self.value.get() != 0).then(|| self.until.get()).flatten()
    }
}

impl ServerSlot {
    /// What an administrator says of its state.
    pub fn admin_state(&self, now: Moment) -> Option<Said<AdminState>> {
        let said = self.state_override.get(now)?;
        let value = AdminState::from_board(said.value);
        let until = said.until;
        (value != AdminState::None).then_some(Said { value, until })
    }

    /// Says of its state; `AdminState::None` takes it back.
    pub fn set_admin_state(&self, state: AdminState, until: Option<Moment>) {
        match state {
            AdminState::None => self.state_override.clear(),
            AdminState::Drain | AdminState::Maintenance => {
                self.state_override.set(state.on_board(), until);
            }
        }
    }

    /// The weight that an administrator has given it.
    pub fn admin_weight(&self, now: Moment) -> Option<Said<u16>> {
        let said = self.weight_override.get(now)?;
        let value = u16::try_from(said.value - 1).ok()?;
        let until = said.until;
        Some(Said { value, until })
    }

    /// Gives it another weight; `None` takes it back.
    pub fn set_admin_weight(&self, weight: Option<u16>, until: Option<Moment>) {
        match weight {
            Some(weight) => self.weight_override.set(u64::from(weight) + 1, until),
            None => self.weight_override.clear(),
        }
    }

    /// What the server that it follows has from an administrator.
    pub fn inherited_state(&self) -> AdminState {
        AdminState::from_board(self.inherited.get())
    }

    /// What counts of all that is said of it beside its probes.
    pub fn effective_admin(&self, now: Moment) -> AdminState {
        let said = self.admin_state(now);
        let own = said.map_or(AdminState::None, |said| said.value);
        own.or(self.inherited_state())
            .or(self.agent.effective_state())
    }

    /// What the probes say, as far as its agent lets it be up.
    pub fn verdict(&self) -> ServerState {
        if self.agent.is_down() {
            return ServerState::Down;
        }
        ServerState::from_board(self.state.get())
    }

    /// The state in which it is: what the probes say, and what is said over it.
    pub fn effective_state(&self, now: Moment) -> ServerState {
        self.effective_admin(now).over(self.verdict())
    }
}

impl ListenerSlot {
    /// Whether an administrator has paused it.
    pub fn paused(&self, now: Moment) -> Option<Said<()>> {
        let until = self.pause.get(now)?.until;
        Some(Said { value: (), until })
    }
}

impl AdminState {
    /// The stricter of both.
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Maintenance, _) | (_, Self::Maintenance) => Self::Maintenance,
            (Self::Drain, _) | (_, Self::Drain) => Self::Drain,
            (Self::None, Self::None) => Self::None,
        }
    }

    /// The state of a server of which the probes say `verdict`. One that is down stays down while it
    /// drains: that is what matters of it.
    pub const fn over(self, verdict: ServerState) -> ServerState {
        match (self, verdict) {
            (Self::Maintenance, _) => ServerState::Maintenance,
            (Self::Drain, ServerState::Down) => ServerState::Down,
            (Self::Drain, _) => ServerState::Draining,
            (Self::None, verdict) => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: u64) -> Moment {
        Moment::from_nanos(nanos)
    }

    #[test]
    fn what_was_said_holds_until_its_end_or_until_it_is_taken_back() {
        let slot = ServerSlot::default();
        assert_eq!(slot.admin_state(at(1)), None);
        slot.set_admin_state(AdminState::Drain, Some(at(100)));
        let said = slot.admin_state(at(99)).expect("it holds");
        assert_eq!((said.value, said.until), (AdminState::Drain, Some(at(100))));
        assert_eq!(slot.admin_state(at(100)), None);
        assert_eq!(slot.state_override.end(), Some(at(100)));
        assert_eq!(slot.state_override.end_if_over(at(99)), None);
        let drain = AdminState::Drain.on_board();
        assert_eq!(slot.state_override.end_if_over(at(100)), Some(drain));
        assert_eq!(slot.state_override.end(), None);
        slot.set_admin_state(AdminState::Maintenance, None);
        assert_eq!(slot.effective_state(at(u64::MAX)), ServerState::Maintenance);
        slot.set_admin_state(AdminState::None, None);
        assert_eq!(slot.effective_state(at(1)), ServerState::Unknown);
        assert_eq!(slot.state_override.end(), None);
    }

    #[test]
    fn a_weight_of_zero_is_not_nothing() {
        let slot = ServerSlot::default();
        assert_eq!(slot.admin_weight(at(1)), None);
        slot.set_admin_weight(Some(0), None);
        assert_eq!(slot.admin_weight(at(1)).map(|said| said.value), Some(0));
        slot.set_admin_weight(Some(256), Some(at(5)));
        assert_eq!(slot.admin_weight(at(4)).map(|said| said.value), Some(256));
        assert_eq!(slot.admin_weight(at(5)), None);
    }

    #[test]
    fn what_is_inherited_counts_beside_ones_own() {
        use AdminState::{Drain, Maintenance, None};
        let slot = ServerSlot::default();
        for (own, inherited, both) in [
            (None, None, None),
            (None, Drain, Drain),
            (Drain, None, Drain),
            (Drain, Maintenance, Maintenance),
            (Maintenance, Drain, Maintenance),
        ] {
            slot.set_admin_state(own, Option::None);
            slot.inherited.set(inherited.on_board());
            assert_eq!(slot.effective_admin(at(1)), both);
            assert_eq!(inherited.or(own), both);
        }
    }

    #[test]
    fn an_administrator_is_above_the_probes() {
        use ServerState::{Down, Draining, Maintenance, Unknown, Up};
        for (admin, verdict, state) in [
            (AdminState::None, Up, Up),
            (AdminState::None, Down, Down),
            (AdminState::Drain, Up, Draining),
            (AdminState::Drain, Unknown, Draining),
            (AdminState::Drain, Down, Down),
            (AdminState::Maintenance, Up, Maintenance),
            (AdminState::Maintenance, Down, Maintenance),
        ] {
            assert_eq!(admin.over(verdict), state);
        }
    }
}
