//! What sessions are left where none is accepted any more, by age, listener and server: as this node's status shows it,
//! and the other node's, which is told each second.

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::board::{AGES, Ages, ProxyBoard};
use common::roster::Roster;
use common::status::{RemainingOf, RemainingOfAge, RemainingStatus, RetiredStatus};
use common::time::Moment;
use serde::{Deserialize, Serialize};

use super::drain::Stop;
use super::succession;
use super::view::{View, millis};

/// Listeners and servers that the other node is told of, those with most sessions: what is told has a bound.
const TOLD: usize = 10;

/// What a node tells of what is left there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Left {
    /// Of all sessions; `None` = the node does not stop.
    pub(crate) stopping: Option<RemainingStatus>,
    /// Of its proxies that have retired.
    pub(crate) retired: Vec<RetiredStatus>,
}

impl Left {
    pub(crate) fn of(view: &View, now: Moment) -> Self {
        let stops = Stop::of(view).is_some();
        let mut left = Self {
            stopping: stops.then(|| status(view, view.boards.proxy, now)),
            retired: succession::retired(view, now),
        };
        let retired = left.retired.iter_mut().map(|one| &mut one.left);
        retired.chain(&mut left.stopping).for_each(shorten);
        left
    }
}

fn shorten(left: &mut RemainingStatus) {
    for all in [&mut left.listeners, &mut left.servers] {
        all.sort_by_key(|one| std::cmp::Reverse(one.sessions));
        all.truncate(TOLD);
    }
}

/// What a node has to tell of itself.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// `None` = it does not stop.
    pub(crate) stop: Option<Stop>,
    /// All but admin have ended: it is its last word.
    pub(crate) has_stopped: bool,
    pub(crate) left: Left,
}

impl Own {
    pub(crate) fn of(view: &View, now: Moment) -> Self {
        Self {
            stop: Stop::of(view),
            has_stopped: false,
            left: Left::of(view, now),
        }
    }
}

/// Where it stands, of both nodes.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    own: Mutex<Own>,
    /// As it was told last; nothing while it tells nothing.
    peer: Mutex<Left>,
}

impl Exchange {
    pub(crate) fn own(&self) -> MutexGuard<'_, Own> {
        // Whole after every statement.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn peer(&self) -> MutexGuard<'_, Left> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that a board counts: of one proxy, or of several together.
pub(super) fn status(view: &View, board: &ProxyBoard, now: Moment) -> RemainingStatus {
    let of = |name: String, sessions: u64| RemainingOf { name, sessions };
    let listeners = view.config.listeners.iter().zip(&board.listeners);
    let listeners = listeners.map(|(one, slot)| of(one.name.clone(), slot.sessions.get()));
    let listeners: Vec<_> = listeners.filter(|one| one.sessions > 0).collect();
    // A place is that server's for as long as anybody has sessions there.
    let roster = Roster::read(&view.config, view.boards.proxy);
    let servers = roster.all().map(|one| {
        let backend = &view.config.backends[one.backend.0].name;
        let name = format!("{backend}/{}", one.server.address);
        of(name, board.servers[one.place].sessions.get())
    });
    let servers: Vec<_> = servers.filter(|one| one.sessions > 0).collect();
    let mut ages = Ages::default();
    board.ages.iter().for_each(|slot| ages.add(slot));
    RemainingStatus {
        sessions: listeners.iter().map(|one| one.sessions).sum(),
        oldest_ms: ages.oldest.map(|began| millis(now, began)),
        ages: by_age(&ages),
        listeners,
        servers,
    }
}

fn by_age(ages: &Ages) -> Vec<RemainingOfAge> {
    let bound = |place: Option<usize>| {
        let bound = AGES.get(place?)?;
        Some(bound.1.to_owned())
    };
    let counted = ages.counts.iter().enumerate();
    let counted = counted.map(|(place, sessions)| RemainingOfAge {
        from: bound(place.checked_sub(1)),
        below: bound(Some(place)),
        sessions: *sessions,
    });
    counted.filter(|one| one.sessions > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::{self, CLOCKS};

    #[test]
    fn what_the_other_node_is_told_has_a_bound() {
        let view = fixture::healthy();
        assert_eq!(Left::of(&view, CLOCKS.now), Left::default());
        view.boards.proxy.drain.until.set(CLOCKS.now);
        view.boards.proxy.servers[4].sessions.set(9_999);
        let left = Left::of(&view, CLOCKS.now).stopping.expect("it stops");
        assert_eq!(left.servers[0].name, "traefik-https/10.17.4.25:443");
        let of = |sessions| RemainingOf {
            name: String::new(),
            sessions,
        };
        let mut many = RemainingStatus {
            servers: (0..100).map(of).collect(),
            ..RemainingStatus::default()
        };
        shorten(&mut many);
        let counts: Vec<u64> = many.servers.iter().map(|one| one.sessions).collect();
        assert_eq!(counts, (90..100).rev().collect::<Vec<_>>());
    }
}
