//! The servers of a backend as one pick sees them: who is in question, and who may serve now.
//!
//! A server **stands** if its state and its weight allow sessions and it is of the right kind:
//! backup servers stand only while no other server does, and then all of them share the sessions
//! (HAProxy's `allbackups`). Only state and weight call the backups in: a full server is waited
//! for, and one that refused a single connection may still be the right one. A server **may serve**
//! if it stands, this session has not tried it, and it is below its limit.

use super::{Candidate, ServerSet, Tried};

/// The servers of one backend for one pick. `S` gives the sessions of the server at an index.
#[derive(Debug, Clone, Copy)]
pub struct Slate<'a, S> {
    candidates: &'a [Candidate],
    tried: &'a Tried,
    sessions: S,
    /// Which kind stands: the backups, or the others.
    backups: bool,
}

/// Why no server may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vacancy {
    /// No server's state and weight allow sessions.
    NoneStands,
    /// This session has tried every server that stands.
    AllTried,
    /// Every server that it has not tried is at its limit: worth waiting for.
    Full,
}

impl<'a, S: Fn(usize) -> u64> Slate<'a, S> {
    pub fn new(candidates: &'a [Candidate], tried: &'a Tried, sessions: S) -> Self {
        let backups = !candidates
            .iter()
            .any(|server| server.usable && server.weight > 0 && !server.backup);
        Self {
            candidates,
            tried,
            sessions,
            backups,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.candidates.len()
    }

    pub(super) fn candidate(&self, index: usize) -> &Candidate {
        &self.candidates[index]
    }

    pub(super) fn sessions(&self, index: usize) -> u64 {
        (self.sessions)(index)
    }

    /// Whether the server has a part in the backend now, whatever its state: a weight, and it is a
    /// backup only while these stand.
    pub(super) fn has_part(&self, index: usize) -> bool {
        let server = self.candidate(index);
        server.weight > 0 && server.backup == self.backups
    }

    pub(super) fn stands(&self, index: usize) -> bool {
        self.has_part(index) && self.candidate(index).usable
    }

    pub(super) fn may_serve(&self, index: usize) -> bool {
        self.stands(index) && !self.was_tried(index) && !self.is_full(index)
    }

    pub(super) fn serving(&self) -> ServerSet {
        (0..self.len())
            .filter(|index| self.may_serve(*index))
            .collect()
    }

    /// Why a pick found nobody.
    pub fn vacancy(&self) -> Vacancy {
        let mut standing = (0..self.len())
            .filter(|index| self.stands(*index))
            .peekable();
        if standing.peek().is_none() {
            Vacancy::NoneStands
        } else if standing.all(|index| self.was_tried(index)) {
            Vacancy::AllTried
        } else {
            Vacancy::Full
        }
    }

    fn was_tried(&self, index: usize) -> bool {
        self.tried.contains(self.candidate(index).place)
    }

    fn is_full(&self, index: usize) -> bool {
        self.candidate(index)
            .ramped_limit()
            .is_some_and(|limit| self.sessions(index) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::candidates;
    use super::super::scenario::{Scenario, scenarios};
    use super::*;

    fn serving(servers: &[Candidate], tried: &Tried, sessions: &[u64]) -> Vec<usize> {
        let slate = Slate::new(servers, tried, |index| sessions[index]);
        (0..servers.len())
            .filter(|index| slate.may_serve(*index))
            .collect()
    }

    fn vacancy(servers: &[Candidate], tried: &Tried, sessions: &[u64]) -> Vacancy {
        Slate::new(servers, tried, |index| sessions[index]).vacancy()
    }

    #[test]
    fn backups_serve_all_together_and_only_while_no_other_server_can() {
        let mut servers = candidates(&[1, 1, 1, 1]);
        (servers[1].backup, servers[3].backup) = (true, true);
        let none = Tried::default();
        assert_eq!(serving(&servers, &none, &[0; 4]), [0, 2]);
        servers[0].usable = false;
        assert_eq!(serving(&servers, &none, &[0; 4]), [2]);
        servers[2].weight = 0;
        assert_eq!(serving(&servers, &none, &[0; 4]), [1, 3]);
        servers[0].usable = true;
        assert_eq!(serving(&servers, &none, &[0; 4]), [0]);
    }

    #[test]
    fn neither_a_full_server_nor_a_failed_connection_calls_the_backups_in() {
        let mut servers = candidates(&[1, 1]);
        (servers[0].limit, servers[1].backup) = (Some(5), true);
        assert!(serving(&servers, &Tried::default(), &[5, 0]).is_empty());
        let tried = Tried::from_iter([0]);
        assert!(serving(&servers, &tried, &[0, 0]).is_empty());
    }

    #[test]
    fn a_server_serves_below_its_limit_and_not_at_it() {
        let mut servers = candidates(&[1, 1]);
        servers[0].limit = Some(2);
        let none = Tried::default();
        assert_eq!(serving(&servers, &none, &[1, 9]), [0, 1]);
        assert_eq!(serving(&servers, &none, &[2, 9]), [1]);
    }

    #[test]
    fn a_vacancy_has_its_reason() {
        let mut servers = candidates(&[1, 1]);
        servers[0].limit = Some(2);
        servers[1].limit = Some(2);
        let none = Tried::default();
        assert_eq!(vacancy(&servers, &none, &[2, 3]), Vacancy::Full);
        assert_eq!(
            vacancy(&servers, &Tried::from_iter([0]), &[0, 2]),
            Vacancy::Full
        );
        assert_eq!(
            vacancy(&servers, &Tried::from_iter([0, 1]), &[0, 0]),
            Vacancy::AllTried
        );
        servers[0].usable = false;
        servers[1].weight = 0;
        assert_eq!(vacancy(&servers, &none, &[0, 0]), Vacancy::NoneStands);
        assert_eq!(vacancy(&[], &none, &[]), Vacancy::NoneStands);
    }

    proptest! {
        #[test]
        fn who_may_serve_is_who_the_rules_name(scenario in scenarios()) {
            let Scenario { servers, tried, sessions } = &scenario;
            prop_assert_eq!(serving(servers, tried, sessions), scenario.may_serve());
        }
    }
}
