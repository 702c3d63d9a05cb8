//! Rise and fall: from the outcomes of probes to the state of a server. Pure.

use common::board::ServerState;
use common::config::{InitialState, OnError};

use crate::finding::Finding;

/// What one probe's finding means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It serves.
    Good(Finding),
    /// It answers that it is not ready: it has said so itself, so one answer is enough.
    NotReady(Finding),
    /// No answer, or none that makes sense: counted towards `fall`.
    Failed(Finding),
    /// It could not be asked, for want of something on this machine: says nothing of the server.
    NotAsked(Finding),
}

impl Verdict {
    pub(crate) fn finding(&self) -> &Finding {
        match self {
            Self::Good(finding)
            | Self::NotReady(finding)
            | Self::Failed(finding)
            | Self::NotAsked(finding) => finding,
        }
    }
}

/// The state of one server and how near it is to the next.
///
/// From [`ServerState::Unknown`] one probe decides: nobody knows better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    state: ServerState,
    reason: String,
    rise: u32,
    fall: u32,
    /// Good probes in a row since the last other one.
    good: u32,
    /// Failed probes in a row since the last other one.
    failed: u32,
    /// What the last probe found: it serves. `None` = there was none.
    last_good: Option<bool>,
    /// Something else than a probe has found an error since the last one.
    hurried: bool,
}

/// How soon the next probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nothing is about to change.
    Steady,
    /// It is on its way up or down, or was not probed yet.
    Fast,
    /// It is down.
    Down,
}

impl Health {
    /// Of no server.
    pub(crate) const NOBODY: Self = Self {
        state: ServerState::Down,
        reason: String::new(),
        rise: 1,
        fall: 1,
        good: 0,
        failed: 0,
        last_good: None,
        hurried: false,
    };

    /// A server that was not probed yet.
    pub(crate) fn unproven(initial: InitialState, rise: u32, fall: u32) -> Self {
        let mut health = Self::new(state_before(initial), rise, fall);
        if initial == InitialState::Down {
            health.good = rise.saturating_sub(1);
        }
        health
    }

    /// A server in the state that an earlier proxy left behind, or in [`ServerState::Unknown`].
    pub(crate) fn new(state: ServerState, rise: u32, fall: u32) -> Self {
        Self {
            state,
            reason: String::new(),
            rise,
            fall,
            good: 0,
            failed: 0,
            last_good: None,
            hurried: false,
        }
    }

    /// Takes over what was found of another server, which is called so; the state before, if it has
    /// changed.
    pub(crate) fn follow(&mut self, other: &Self, name: &str) -> Option<ServerState> {
        let before = self.state;
        *self = Self {
            reason: format!("as {name}: {}", other.reason),
            ..other.clone()
        };
        (before != self.state).then_some(before)
    }

    /// Whether it gets new sessions and nothing speaks against that.
    pub(crate) fn is_sure(&self) -> bool {
        usable(self.state) && self.last_good != Some(false)
    }

    /// Whether it gets new sessions, or may soon.
    pub(crate) fn is_hoped_for(&self) -> bool {
        usable(self.state) || self.last_good == Some(true)
    }

    pub(crate) fn state(&self) -> ServerState {
        self.state
    }

    pub(crate) fn pace(&self) -> Pace {
        if self.last_good.is_none() || self.hurried {
            return Pace::Fast;
        }
        match self.state {
            ServerState::Up if self.failed == 0 => Pace::Steady,
            ServerState::Down if self.good == 0 => Pace::Down,
            // It has said so itself: nothing needs to be made sure of.
            ServerState::Draining if self.failed == 0 && self.good == 0 => Pace::Steady,
            ServerState::Unknown | ServerState::Up | ServerState::Down | ServerState::Draining => {
                Pace::Fast
            }
            ServerState::Maintenance => Pace::Steady,
        }
    }

    /// Why the server is in its state, or what speaks against it.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// Takes that as many connections in a row have failed as may; the state before, if it has
    /// changed.
    ///
    /// What is promised of the server remains ([`Self::is_hoped_for`]): the other node has no such
    /// connections, or others, and a VIP would follow them to and fro.
    pub(crate) fn handle_errors(&mut self, action: OnError, reason: String) -> Option<ServerState> {
        match self.state {
            ServerState::Unknown | ServerState::Up => {}
            // Nobody is sent there, and only probes bring it back.
            ServerState::Down | ServerState::Draining | ServerState::Maintenance => return None,
        }
        self.hurried = true;
        match action {
            OnError::FastProbe => None,
            OnError::FailProbe => self.fail(reason),
            OnError::SuddenDeath => {
                // As if all but two were missing, and this is one of them.
                self.failed = self.failed.max(self.fall.saturating_sub(2));
                self.fail(reason)
            }
            OnError::MarkDown => self.enter(ServerState::Down, reason),
        }
    }

    /// Takes what a probe found; the state before, if it has changed.
    pub(crate) fn handle_probe(&mut self, verdict: Verdict) -> Option<ServerState> {
        self.hurried = false;
        match &verdict {
            Verdict::Good(_) => self.last_good = Some(true),
            Verdict::NotReady(_) | Verdict::Failed(_) => self.last_good = Some(false),
            Verdict::NotAsked(_) => {}
        }
        match verdict {
            Verdict::Good(finding) => self.handle_good(&finding),
            Verdict::NotReady(finding) => self.handle_not_ready(&finding),
            Verdict::Failed(finding) => self.fail(finding.to_string()),
            Verdict::NotAsked(_) => None,
        }
    }

    fn handle_good(&mut self, finding: &Finding) -> Option<ServerState> {
        let reason = finding.to_string();
        self.failed = 0;
        self.good = self.good.saturating_add(1);
        match self.state {
            ServerState::Unknown => self.enter(ServerState::Up, reason),
            ServerState::Up => {
                self.reason = reason;
                None
            }
            ServerState::Down | ServerState::Draining if self.good >= self.rise => {
                self.enter(ServerState::Up, reason)
            }
            ServerState::Down | ServerState::Draining => {
                self.reason = format!("{} of {} good: {reason}", self.good, self.rise);
                None
            }
            ServerState::Maintenance => None,
        }
    }

    fn handle_not_ready(&mut self, finding: &Finding) -> Option<ServerState> {
        let reason = finding.to_string();
        (self.good, self.failed) = (0, 0);
        match self.state {
            ServerState::Unknown | ServerState::Up | ServerState::Down => {
                self.enter(ServerState::Draining, reason)
            }
            ServerState::Draining => {
                self.reason = reason;
                None
            }
            ServerState::Maintenance => None,
        }
    }

    fn fail(&mut self, reason: String) -> Option<ServerState> {
        self.good = 0;
        self.failed = self.failed.saturating_add(1);
        match self.state {
            ServerState::Unknown => self.enter(ServerState::Down, reason),
            ServerState::Up | ServerState::Draining if self.failed >= self.fall => {
                self.enter(ServerState::Down, reason)
            }
            ServerState::Up | ServerState::Draining => {
                self.reason = format!("{} of {} failed: {reason}", self.failed, self.fall);
                None
            }
            ServerState::Down => {
                self.reason = reason;
                None
            }
            ServerState::Maintenance => None,
        }
    }

    fn enter(&mut self, state: ServerState, reason: String) -> Option<ServerState> {
        self.reason = reason;
        (self.good, self.failed) = (0, 0);
        Some(std::mem::replace(&mut self.state, state))
    }
}

/// What a server is before its first probe has ended.
pub(crate) const fn state_before(initial: InitialState) -> ServerState {
    match initial {
        InitialState::Up => ServerState::Unknown,
        InitialState::FullyUp => ServerState::Up,
        InitialState::Down | InitialState::FullyDown => ServerState::Down,
    }
}

/// Whether a server in this state gets new sessions.
pub(crate) const fn usable(state: ServerState) -> bool {
    match state {
        ServerState::Unknown | ServerState::Up => true,
        ServerState::Down | ServerState::Draining | ServerState::Maintenance => false,
    }
}

#[cfg(test)]
mod tests;
