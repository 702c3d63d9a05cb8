//! What the agent of a server says, apart from what probes find and an administrator says.

use super::{AdminState, Cell, MomentCell, Text};

board_enum! {
    /// Whether the service runs, in the agent's words.
    AgentWord {
        /// It has not said.
        None = 0 => "",
        Up = 1 => "up",
        Down = 2 => "down",
        Stopped = 3 => "stopped",
        Failed = 4 => "failed",
    }
}

impl AgentWord {
    /// Whether it keeps sessions away.
    pub const fn is_down(self) -> bool {
        match self {
            Self::None | Self::Up => false,
            Self::Down | Self::Stopped | Self::Failed => true,
        }
    }
}

/// What the agent of a server has said; what it does not speak of stays. Outlives the proxy.
#[repr(C)]
#[derive(Debug, Default)]
pub struct AgentSlot {
    /// [`AgentWord`]
    pub word: Cell,
    /// [`AdminState`]
    pub state: Cell,
    /// Percent of the configured weight, and one more; 0 = it has not said.
    percent: Cell,
    /// Sessions at the same time and one more (1 = no limit); 0 = it has not said.
    max_sessions: Cell,
    /// Times that it was asked.
    pub asked: Cell,
    /// Times that it gave no answer, or one without a word.
    pub failures: Cell,
    /// When it said something the last time.
    pub heard: MomentCell,
    /// The line that it said last.
    pub said: Text,
    /// What is wrong with it now; empty = nothing.
    pub problem: Text,
    /// [`AgentWord`] of the agent of a server that this one follows, if that is down.
    pub inherited_word: Cell,
    /// [`AdminState`] that the agents of those say.
    pub inherited_state: Cell,
}

impl AgentSlot {
    pub fn word(&self) -> AgentWord {
        AgentWord::from_board(self.word.get())
    }

    pub fn state(&self) -> AdminState {
        AdminState::from_board(self.state.get())
    }

    /// What it says of sessions, or that of a server that is followed: the stricter of both.
    pub fn effective_state(&self) -> AdminState {
        let inherited = AdminState::from_board(self.inherited_state.get());
        self.state().or(inherited)
    }

    /// Percent of the configured weight.
    pub fn percent(&self) -> Option<u16> {
        let percent = self.percent.get().checked_sub(1)?;
        u16::try_from(percent).ok()
    }

    /// Sessions at the same time; 0 = no limit.
    pub fn max_sessions(&self) -> Option<u32> {
        let most = self.max_sessions.get().checked_sub(1)?;
        u32::try_from(most).ok()
    }

    pub fn set_percent(&self, percent: u16) {
        self.percent.set(u64::from(percent) + 1);
    }

    pub fn set_max_sessions(&self, most: u32) {
        self.max_sessions.set(u64::from(most) + 1);
    }

    /// Whether it, or that of a server that is followed, keeps sessions away.
    pub fn is_down(&self) -> bool {
        self.word().is_down() || AgentWord::from_board(self.inherited_word.get()).is_down()
    }

    /// Takes back all that it has said: the next one is another server's, or there is none.
    pub fn forget(&self) {
        let cells = [
            &self.word,
            &self.state,
            &self.percent,
            &self.max_sessions,
            &self.asked,
            &self.failures,
            &self.inherited_word,
            &self.inherited_state,
        ];
        for cell in cells {
            cell.set(0);
        }
        self.heard.clear();
        self.said.set("");
        self.problem.set("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_not_zero() {
        let slot = AgentSlot::default();
        assert_eq!((slot.percent(), slot.max_sessions()), (None, None));
        slot.set_percent(0);
        slot.set_max_sessions(0);
        assert_eq!((slot.percent(), slot.max_sessions()), (Some(0), Some(0)));
        slot.set_percent(25_600);
        slot.set_max_sessions(u32::MAX);
        assert_eq!(slot.percent(), Some(25_600));
        assert_eq!(slot.max_sessions(), Some(u32::MAX));
        slot.word.set(AgentWord::Stopped.on_board());
        assert!(slot.is_down());
        slot.forget();
        assert_eq!((slot.percent(), slot.max_sessions()), (None, None));
        assert!(!slot.is_down());
        slot.inherited_word.set(AgentWord::Failed.on_board());
        assert!(slot.is_down());
        assert_eq!(slot.effective_state(), AdminState::None);
        slot.inherited_state.set(AdminState::Drain.on_board());
        assert_eq!(slot.effective_state(), AdminState::Drain);
    }
}
