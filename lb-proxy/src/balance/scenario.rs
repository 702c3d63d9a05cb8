//! Random backends for the properties that every algorithm has, with the rules told once more.

use std::cell::Cell;

use proptest::prelude::*;

use super::{Candidate, Slate, Tried, candidates};

/// A backend at the moment of a pick.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) servers: Vec<Candidate>,
    pub(crate) tried: Tried,
    pub(crate) sessions: Vec<u64>,
}

impl Scenario {
    /// Who may serve, by the rules alone.
    pub(crate) fn may_serve(&self) -> Vec<usize> {
        let alive = |server: &Candidate| server.usable && server.weight > 0;
        let actives = self.servers.iter().any(|s| alive(s) && !s.backup);
        let mut serving = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            let right_kind = if actives {
                !server.backup
            } else {
                server.backup
            };
            let slots = server.limit.map_or(u64::MAX, |limit| {
                let part = u64::from(limit) * u64::from(server.ramp) / 256;
                if limit > 0 { part.max(1) } else { 0 }
            });
            let free = self.sessions[index] < slots;
            if alive(server) && right_kind && free && !self.tried.contains(index) {
                serving.push(index);
            }
        }
        serving
    }

    /// What `pick` finds; fails if that is a server that may not serve, or nobody while one may.
    pub(crate) fn check(
        &self,
        pick: impl FnOnce(&Slate<'_, &dyn Fn(usize) -> u64>) -> Option<usize>,
    ) -> Result<Option<usize>, TestCaseError> {
        let asked = Cell::new(0_usize);
        let sessions = |index: usize| {
            asked.set(asked.get() + 1);
            self.sessions[index]
        };
        let sessions: &dyn Fn(usize) -> u64 = &sessions;
        let picked = pick(&Slate::new(&self.servers, &self.tried, sessions));
        let serving = self.may_serve();
        match picked {
            Some(index) => prop_assert!(serving.contains(&index), "{index} of {serving:?}"),
            None => prop_assert!(serving.is_empty(), "none of {serving:?}"),
        }
        // A pick looks at each server a few times, never at a server for each table entry.
        prop_assert!(asked.get() <= 5 * self.servers.len());
        Ok(picked)
    }
}

/// Backends of up to 20 servers in any state.
pub(crate) fn scenarios() -> impl Strategy<Value = Scenario> {
    let server = (
        prop_oneof![0_u16..=3, 0_u16..=256],
        prop_oneof![Just(256_u16), 1_u16..=256],
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.3),
        prop::option::of(0_u32..12),
        (prop::bool::weighted(0.3), 0_u64..10),
    );
    prop::collection::vec(server, 0..20).prop_map(|drawn| {
        let mut servers = candidates(&vec![0; drawn.len()]);
        let (mut tried, mut sessions) = (Tried::default(), Vec::new());
        for (index, (weight, ramp, usable, backup, limit, (was_tried, load))) in
            drawn.into_iter().enumerate()
        {
            servers[index] = Candidate {
                weight,
                ramp,
                usable,
                backup,
                limit,
                ..servers[index]
            };
            if was_tried {
                tried.insert(index);
            }
            sessions.push(load);
        }
        Scenario {
            servers,
            tried,
            sessions,
        }
    })
}
