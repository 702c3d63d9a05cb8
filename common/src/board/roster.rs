//! Servers that came or went at run time: what the boards hold of them beside a server's state.

use super::{Cell, MomentCell, ServerSlot, Text};
use crate::time::Moment;

board_enum! {
    /// Whether there is a server at a place.
    Presence {
        /// As the configuration says: the server that it has there; nobody at a spare place.
        Configured = 0 => "configured",
        /// One that came at run time, at a spare place.
        Added = 1 => "added",
        /// It gets no session any more, and its last ones go on.
        Leaving = 2 => "leaving",
        /// One of the configuration that has left.
        Removed = 3 => "removed",
    }
}

/// Who is at a place. Only the board's writer may change it.
///
/// [`RosterSlot::presence`] is written last, and taken away first: a writer that dies in between has
/// said nothing.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RosterSlot {
    /// [`Presence`]
    presence: Cell,
    /// Since when it is so.
    since: MomentCell,
    /// When it ends by itself; "never" = it does not.
    until: MomentCell,
    /// The place of the server that has left for this one, and one more; 0 = for none.
    replaces: Cell,
    // What a server of the configuration has there; of one at a spare place it stands here.
    /// Index of its backend.
    backend: Cell,
    address: Text,
    weight: Cell,
    /// 1 = it is a backup.
    backup: Cell,
    /// 0 = no limit.
    max_sessions: Cell,
    /// The place of the server that it follows, and one more; 0 = none.
    follows: Cell,
    /// Index of the name that it comes from, over all backends, and one more; 0 = an administrator has
    /// added it.
    name: Cell,
}

/// A server at a spare place, as it stands on the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    pub backend: usize,
    pub address: String,
    pub weight: u16,
    pub backup: bool,
    pub max_sessions: Option<u32>,
    pub follows: Option<usize>,
    /// Index of the name that it comes from, over all backends.
    pub name: Option<usize>,
    /// The place of the server that has left for it.
    pub replaces: Option<usize>,
}

impl RosterSlot {
    pub fn presence(&self) -> Presence {
        Presence::from_board(self.presence.get())
    }

    /// Since when the presence is what it is.
    pub fn since(&self) -> Option<Moment> {
        self.since.get()
    }

    /// When it ends by itself.
    pub fn until(&self) -> Option<Moment> {
        self.until.get()
    }

    /// Who is at a spare place.
    pub fn entrant(&self) -> Entrant {
        Entrant {
            backend: usize::try_from(self.backend.get()).unwrap_or(usize::MAX),
            address: self.address.get(),
            weight: u16::try_from(self.weight.get()).unwrap_or(0),
            backup: self.backup.get() != 0,
            max_sessions: u32::try_from(self.max_sessions.get())
                .ok()
                .filter(|limit| *limit != 0),
            follows: place(&self.follows),
            replaces: place(&self.replaces),
            name: place(&self.name),
        }
    }

    /// Somebody comes to a spare place.
    pub fn enter(&self, who: &Entrant, (now, until): (Moment, Option<Moment>)) {
        self.presence.set(0);
        self.backend.set(who.backend as u64);
        self.address.set(&who.address);
        self.weight.set(who.weight.into());
        self.backup.set(who.backup.into());
        self.max_sessions.set(who.max_sessions.unwrap_or(0).into());
        self.follow(who.follows);
        self.replaces.set(number(who.replaces));
        self.name.set(number(who.name));
        self.say(Presence::Added, (now, until));
    }

    /// It is there, or not, from now on.
    pub fn say(&self, presence: Presence, (now, until): (Moment, Option<Moment>)) {
        self.since.set(now);
        match until {
            Some(end) => self.until.set(end),
            None => self.until.clear(),
        }
        self.presence.set(presence.on_board());
    }

    /// The name that it comes from has this index now; `None` = it is gone.
    pub fn rename(&self, name: Option<usize>) {
        self.name.set(number(name));
    }

    /// It follows the server at this place.
    pub fn follow(&self, place: Option<usize>) {
        self.follows.set(number(place));
    }
}

fn number(place: Option<usize>) -> u64 {
    place.map_or(0, |at| at as u64 + 1)
}

fn place(cell: &Cell) -> Option<usize> {
    usize::try_from(cell.get()).ok()?.checked_sub(1)
}

impl ServerSlot {
    /// Forgets the server that was at this place: another one comes.
    pub fn forget(&self) {
        let Self {
            state,
            since,
            reason,
            sessions,
            connected,
            connect_errors,
            probes,
            probe_failures,
            probed,
            probe_time,
            downs,
            ramp,
            cut,
            state_override,
            weight_override,
            probe_status,
            probe_code,
            errors_in_row,
            last_error,
            error_limits,
            certificate_not_after,
            inherited,
            agent,
        } = self;
        agent.forget();
        for cell in [
            state,
            sessions,
            connected,
            connect_errors,
            probes,
            probe_failures,
            probe_time,
            downs,
            ramp,
            cut,
            probe_status,
            probe_code,
            errors_in_row,
            last_error,
            error_limits,
            certificate_not_after,
            inherited,
        ] {
            cell.set(0);
        }
        since.clear();
        probed.clear();
        reason.set("");
        state_override.clear();
        weight_override.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_stands_on_the_board_until_another_one_comes() {
        let slot = RosterSlot::default();
        assert_eq!(slot.presence(), Presence::Configured);
        let (now, end) = (Moment::from_nanos(5), Moment::from_nanos(9));
        let who = Entrant {
            backend: 3,
            address: "[fd00::1]:6443".to_owned(),
            weight: 256,
            backup: true,
            max_sessions: Some(7),
            follows: Some(0),
            replaces: Some(0),
            name: Some(2),
        };
        slot.enter(&who, (now, Some(end)));
        assert_eq!(slot.entrant(), who);
        assert_eq!((slot.since(), slot.until()), (Some(now), Some(end)));
        assert_eq!(slot.presence(), Presence::Added);
        slot.say(Presence::Leaving, (end, None));
        assert_eq!((slot.since(), slot.until()), (Some(end), None));
        let next = Entrant {
            max_sessions: None,
            follows: None,
            replaces: None,
            ..who
        };
        slot.enter(&next, (end, None));
        assert_eq!(slot.entrant(), next);
    }
}
