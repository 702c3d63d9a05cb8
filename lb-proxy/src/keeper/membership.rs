//! Servers that come and go at run time, as the keeper does it: on the board first, which is what a
//! killed proxy's successor reads, then in all that is made of it.

use std::sync::Arc;
use std::time::Duration;

use common::board::{Entrant, Presence};
use common::config::InitialState;
use common::roster::{Member, Roster};
use common::time::Moment;
use tracing::info;

use super::{Followers, Keeper, Kept, first_state, state_of};
use crate::context::Proxy;
use crate::health::{Health, usable};

/// A place is not given away sooner after its server has left: a thread may be about to connect to
/// it.
const REST: Duration = Duration::from_secs(1);

impl Kept {
    /// At a place where nobody is.
    pub(super) const NOBODY: Self = Self {
        health: Health::NOBODY,
        probed: true,
        came_up: None,
        warned: false,
        judged: 0,
    };

    /// From what stands on the board; `initial` stands above what the file says of a server that was
    /// not probed yet.
    pub(super) fn of(proxy: &Proxy, member: &Member, initial: Option<InitialState>) -> Self {
        let slot = &proxy.board.servers[member.place];
        let probe = proxy.config.backends[member.backend.0].probe.as_ref();
        // A verdict of an earlier proxy was a probe of this node.
        let probed = probe.is_none() || slot.probed.get().is_some();
        let health = match probe {
            Some(probe) if !probed => {
                let initial = initial.unwrap_or(probe.initial_state);
                Health::unproven(initial, probe.rise, probe.fall)
            }
            Some(probe) => Health::new(state_of(slot), probe.rise, probe.fall),
            None => Health::new(state_of(slot), 1, 1),
        };
        Self {
            health,
            probed,
            came_up: None,
            warned: false,
            judged: slot.error_limits.get(),
        }
    }
}

impl Keeper {
    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    /// Sessions that the proxies before this one have with the server at a place.
    pub(crate) fn elder_sessions(&self, place: usize) -> u64 {
        self.kin.borrow().elder_sessions(place)
    }

    /// A server comes to a spare place; `initial` is its state before its first probe, if that is
    /// not the configured one.
    pub(crate) fn enter(
        &mut self,
        (place, who): (usize, &Entrant),
        initial: Option<InitialState>,
        (now, until): (Moment, Option<Moment>),
    ) {
        let proxy = self.proxy();
        proxy.board.servers[place].forget();
        proxy.board.roster[place].enter(who, (now, until));
        self.read_roster();
        self.begin(place, initial, now);
    }

    /// A server that has left, or is about to, comes back; one at a spare place as `who` says.
    pub(crate) fn come_back(
        &mut self,
        (place, who): (usize, Option<&Entrant>),
        (now, until): (Moment, Option<Moment>),
    ) {
        let proxy = self.proxy();
        match who {
            Some(who) => proxy.board.roster[place].enter(who, (now, until)),
            None => proxy.board.roster[place].say(Presence::Configured, (now, until)),
        }
        let slot = &proxy.board.servers[place];
        // What was found of it may be long past, and what was said of it was said of one that left.
        slot.probed.clear();
        // But a name of the DNS may be away for an answer, which is no administrator's word.
        if who.is_none_or(|who| who.name.is_none()) {
            slot.state_override.clear();
            slot.weight_override.clear();
        }
        slot.agent.forget();
        self.read_roster();
        self.begin(place, Some(InitialState::Down), now);
    }

    /// A server gets no session any more; its last ones go on. Who follows it follows the one that it
    /// was there for, and leaves with it otherwise: nobody would tell how it is.
    pub(crate) fn leave(&mut self, place: usize, (now, until): (Moment, Option<Moment>)) {
        let proxy = self.proxy();
        proxy.board.roster[place].say(Presence::Leaving, (now, until));
        self.read_roster();
        let roster = self.roster();
        let returns = roster.at(place).and_then(|one| one.replaces);
        let returns = returns.filter(|back| roster.at(*back).is_some_and(Member::is_present));
        if let Some(back) = returns {
            self.hand_over_followers(place, back);
        }
        let roster = self.roster();
        for follower in roster.all().filter(|one| one.follows == Some(place)) {
            // Those of the configuration follow its servers, which come back.
            if follower.is_present() && !follower.is_configured(&proxy.config) {
                let backend = &proxy.config.backends[follower.backend.0].name;
                let server = follower.server.address;
                info!(backend, %server, "the server that it follows has left, it leaves");
                self.leave(follower.place, (now, None));
            }
        }
        self.follow_anew(now);
        self.publish(now);
    }

    /// What an administrator has said of a server is so of the one in its place.
    pub(crate) fn pass_on_words(&mut self, from: usize, to: usize, now: Moment) {
        let servers = &self.proxy.board.servers;
        if let Some(said) = servers[from].admin_state(now) {
            servers[to].set_admin_state(said.value, said.until);
        }
        if let Some(said) = servers[from].admin_weight(now) {
            servers[to].set_admin_weight(Some(said.value), said.until);
        }
        self.publish(now);
    }

    /// Those who follow the server at a spare place follow the one that comes for it.
    pub(crate) fn hand_over_followers(&mut self, from: usize, to: usize) {
        let config = &self.proxy.config;
        for (place, slot) in self.proxy.board.roster.iter().enumerate() {
            if !config.has_server_at(place) && slot.entrant().follows == Some(from) {
                slot.follow(Some(to));
            }
        }
        self.read_roster();
    }

    /// What is known of a server at its beginning.
    pub(super) fn begin(&mut self, place: usize, initial: Option<InitialState>, now: Moment) {
        let proxy = self.proxy();
        let Some(member) = self.roster.at(place).copied() else {
            return;
        };
        let slot = &proxy.board.servers[place];
        let probe = proxy.config.backends[member.backend.0].probe.as_ref();
        if member.follows.is_none() {
            let initial = probe.map(|probe| initial.unwrap_or(probe.initial_state));
            first_state(slot, initial, now);
        }
        self.servers[place] = Kept::of(&proxy, &member, initial);
        self.follow_anew(now);
        let state = self.servers[place].health.state();
        slot.state.set(state.on_board());
        self.servers[place].came_up = usable(state).then_some(now);
        self.publish(now);
    }

    /// Ends what was said of servers for a time.
    pub(super) fn end_memberships(&mut self, now: Moment) {
        let proxy = self.proxy();
        let roster = self.roster();
        for member in roster.all() {
            if member.until.is_none_or(|end| now < end) {
                continue;
            }
            let backend = &proxy.config.backends[member.backend.0].name;
            let server = member.server.address;
            if member.is_present() {
                info!(backend, %server, "the time of a server that was added is over");
                self.leave(member.place, (now, None));
            } else {
                info!(backend, %server, "a server is there again: the time of its removal is over");
                self.come_back((member.place, None), (now, None));
            }
        }
    }

    /// Gives away the places of servers that have left and whose last session has ended.
    pub(super) fn sweep(&mut self, now: Moment) {
        let Some(first) = self.leaving_since else {
            return;
        };
        if now < first + REST {
            return;
        }
        let proxy = self.proxy();
        let roster = self.roster();
        let mut some = false;
        for member in roster.all() {
            let (slot, place) = (&proxy.board.roster[member.place], member.place);
            let rested = slot.since().is_none_or(|since| now >= since + REST);
            // What is said of a server by name waits with its place for the name to come back.
            let said = proxy.board.servers[place].admin_state(now);
            let is_over = member.presence == Presence::Leaving
                && rested
                && proxy.board.servers[place].sessions.get() == 0
                && self.elder_sessions(place) == 0
                && (member.name.is_none() || said.is_none());
            if is_over {
                some = true;
                let left = match member.is_configured(&proxy.config) {
                    true => Presence::Removed,
                    false => Presence::Configured,
                };
                slot.say(left, (now, member.until));
                let backend = &proxy.config.backends[member.backend.0].name;
                info!(backend, server = %member.server.address, "a server has left");
            }
        }
        if some {
            self.read_roster();
        }
    }

    /// Takes over what stands on the board.
    pub(super) fn read_roster(&mut self) {
        let proxy = self.proxy();
        let roster = Arc::new(Roster::read(&proxy.config, proxy.board));
        self.leaving_since = leaving_since(&proxy, &roster);
        self.followers = Followers::of(&proxy.config, &roster);
        proxy.roster.store(Arc::clone(&roster));
        self.roster = roster;
    }
}

/// Since when the first one is leaving.
pub(super) fn leaving_since(proxy: &Proxy, roster: &Roster) -> Option<Moment> {
    let leaving = roster.all().filter(|one| one.presence == Presence::Leaving);
    let since = leaving.map(|one| proxy.board.roster[one.place].since());
    since.map(Option::unwrap_or_default).min()
}
