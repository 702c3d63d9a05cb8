//! What a reload changes of the servers: who goes, who comes, and what is known of those that stay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use common::board::{Entrant, Presence};
use common::config::{BackendIndex, Config, InitialState, MAX_SERVERS};
use common::roster::{Member, Roster};
use common::time::Moment;
use tracing::info;

use super::{Keeper, Kept, first_state, state_of};
use crate::context::Proxy;
use crate::health::usable;

/// What the keeper is told of a reload. Whoever tells it may have stopped waiting for the reply.
#[derive(Debug)]
pub(crate) enum KeeperTurn {
    /// Keep the places free that the configuration has for new servers; the reply is a server whose place
    /// is not free.
    Reserve {
        config: Arc<Config>,
        reply: SyncSender<Option<String>>,
    },
    GoOver {
        proxy: Arc<Proxy>,
        done: SyncSender<()>,
    },
    Abandon {
        done: SyncSender<()>,
    },
}

impl KeeperTurn {
    pub(crate) fn take(self, keeper: &mut Keeper, now: Moment) {
        match self {
            Self::Reserve { config, reply } => {
                let _nobody_waits = reply.try_send(keeper.reserve(&config));
            }
            Self::GoOver { proxy, done } => {
                keeper.go_over(proxy, now);
                let _nobody_waits = done.try_send(());
            }
            Self::Abandon { done } => {
                keeper.reserved.clear();
                let _nobody_waits = done.try_send(());
            }
        }
    }
}

impl Keeper {
    /// A place where nobody is, and nobody is about to be.
    pub(crate) fn spare_place(&self) -> Option<usize> {
        let config = &self.proxy.config;
        self.roster.spare_place(config, &self.reserved)
    }

    fn reserve(&mut self, next: &Config) -> Option<String> {
        self.reserved.clear();
        let mut places = Vec::new();
        for (backend, address, place) in servers(next) {
            if self.proxy.config.has_server_at(place) {
                continue;
            }
            let is_it = |one: &Member| one.backend == backend && one.server.address == address;
            if self.roster.at(place).is_some_and(|one| !is_it(one)) {
                let name = &next.backends[backend.0].name;
                return Some(format!("the place of server {name}/{address}"));
            }
            places.push(place);
        }
        self.reserved = places;
        None
    }

    fn go_over(&mut self, next: Arc<Proxy>, now: Moment) {
        let before = self.proxy();
        let roster = self.roster();
        self.reserved.clear();
        self.change_names((&before, &next), &roster, now);
        let coming = arrive(&before, &next, &roster, now);
        depart(&before, &next, &roster, now);
        for (place, listener) in next.config.listeners.iter().enumerate() {
            let old = before.config.listeners.get(place);
            if old.is_none_or(|old| old.name != listener.name) {
                next.board.listeners[place].forget();
            }
        }
        next.pool.reconfigure(&next.config, now.as_nanos());
        self.proxy = next;
        self.read_roster();
        self.keep_what_is_known(&before, &roster, now);
        for place in coming {
            self.begin(place, None, now);
        }
        self.follow_anew(now);
        self.publish(now);
    }

    /// Servers that are asked as before are judged on as before; for the others it begins with the state
    /// that they have.
    fn keep_what_is_known(&mut self, before: &Proxy, old: &Roster, now: Moment) {
        let (proxy, roster) = (self.proxy(), self.roster());
        for place in 0..MAX_SERVERS {
            let (Some(member), Some(was)) = (roster.at(place), old.at(place)) else {
                continue;
            };
            let judged = |proxy: &Proxy, member: &Member| {
                let probe = proxy.config.backends[member.backend.0].probe.as_ref();
                probe.map(|probe| (probe.rise, probe.fall))
            };
            let (wanted, had) = (judged(&proxy, member), judged(before, was));
            if wanted == had && member.follows == was.follows {
                continue;
            }
            let slot = &proxy.board.servers[place];
            let came_up = self.servers[place].came_up;
            if wanted.is_none() && member.follows.is_none() {
                first_state(slot, None, now);
            }
            // Who serves goes on until its first probe says something else.
            let initial = match usable(state_of(slot)) {
                true => InitialState::Up,
                false => InitialState::Down,
            };
            self.servers[place] = Kept {
                came_up,
                ..Kept::of(&proxy, member, Some(initial))
            };
        }
    }
}

/// Gives those their places who come; the places of those of whom nothing is known.
fn arrive(before: &Proxy, next: &Proxy, roster: &Roster, now: Moment) -> Vec<usize> {
    let mut unknown = Vec::new();
    for (backend, address, place) in servers(&next.config) {
        if before.config.has_server_at(place) {
            continue;
        }
        let (slot, presence) = (&next.board.servers[place], &next.board.roster[place]);
        let name = &next.config.backends[backend.0].name;
        match roster.at(place).map(Member::is_present) {
            // It came at run time, and is of the file now.
            Some(true) => {}
            Some(false) => {
                slot.probed.clear();
                slot.state_override.clear();
                slot.weight_override.clear();
                slot.agent.forget();
                unknown.push(place);
            }
            None => {
                slot.forget();
                unknown.push(place);
            }
        }
        presence.say(Presence::Configured, (now, None));
        // One that came meanwhile makes room for it.
        let other = roster.find(backend, address);
        if let Some(other) = other.filter(|one| one.place != place && one.is_present()) {
            next.board.roster[other.place].say(Presence::Leaving, (now, None));
        }
        info!(backend = name, server = %address, "a server of the new configuration");
    }
    unknown
}

/// Those leave whom the file has no more: their last sessions go on.
fn depart(before: &Proxy, next: &Proxy, roster: &Roster, now: Moment) {
    for member in roster.all() {
        let place = member.place;
        let slot = &next.board.roster[place];
        let was_of_file = member.is_configured(&before.config);
        let is_gone = next.config.backends[member.backend.0].retired;
        if next.config.has_server_at(place) || !(was_of_file || is_gone) {
            continue;
        }
        let backend = &before.config.backends[member.backend.0].name;
        let server = member.server.address;
        match (was_of_file, member.presence) {
            (true, Presence::Removed) => slot.say(Presence::Configured, (now, None)),
            (true, Presence::Configured | Presence::Added | Presence::Leaving) => {
                slot.enter(&leaver(member), (now, None));
                slot.say(Presence::Leaving, (now, None));
                info!(backend, %server, "a server that the configuration has no more leaves");
            }
            (false, _) if member.is_present() => {
                slot.say(Presence::Leaving, (now, None));
                info!(backend, %server, "its backend is gone, a server leaves");
            }
            (false, _) => {}
        }
    }
}

/// What stands of a server of the file at its place while its last sessions go on.
fn leaver(member: &Member) -> Entrant {
    Entrant {
        backend: member.backend.0,
        address: member.server.address.to_string(),
        weight: member.server.weight,
        backup: member.server.backup,
        max_sessions: member.server.max_sessions,
        follows: None,
        replaces: None,
        name: None,
    }
}

/// The servers of a file, each with its backend and its place.
fn servers(config: &Config) -> impl Iterator<Item = (BackendIndex, SocketAddr, usize)> {
    let backends = config.backends.iter().enumerate();
    backends.flat_map(|(index, backend)| {
        let servers = backend.servers.iter().zip(&backend.places);
        servers.map(move |(server, place)| (BackendIndex(index), server.address, *place))
    })
}
