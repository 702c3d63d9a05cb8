//! Servers that follow another one (`track`) instead of being probed themselves: what is found of
//! that one, and what an administrator says of it, is so of them.

use common::board::{AdminState, AgentWord, ProbeStatus, ProxyBoard, ServerState};
use common::config::{Config, MAX_SERVERS};
use common::roster::Roster;
use common::time::Moment;

use super::{Keeper, state_of};

/// Who follows whom.
#[derive(Debug)]
pub(super) struct Followers(Vec<Follower>);

/// A server that follows another one.
#[derive(Debug, Clone)]
struct Follower {
    place: usize,
    /// The places on its way to the one that is probed.
    way: Vec<usize>,
    /// The place of that one.
    probed: usize,
    /// What it is called.
    name: String,
}

impl Followers {
    pub(super) fn of(config: &Config, roster: &Roster) -> Self {
        let next = |at: &usize| roster.at(*at).and_then(|one| one.follows);
        let followers = roster.all().filter_map(|member| {
            let first = member.follows?;
            let probed = roster.probed_as(member.place);
            let of = roster.at(probed)?;
            let backend = &config.backends[of.backend.0].name;
            Some(Follower {
                place: member.place,
                way: std::iter::successors(Some(first), next)
                    .take(MAX_SERVERS)
                    .collect(),
                probed,
                name: format!("{backend}/{}", of.server.address),
            })
        });
        Self(followers.collect())
    }

    /// The places of those who follow the server at a place, also by way of others.
    pub(super) fn of_place(&self, followed: usize) -> impl Iterator<Item = usize> {
        let all = self.0.iter();
        all.filter(move |one| one.way.contains(&followed))
            .map(|one| one.place)
    }

    /// Puts on the board what administrators and agents say of the servers that are followed.
    pub(super) fn inherit(&self, board: &ProxyBoard, now: Moment) {
        for follower in &self.0 {
            let way = || follower.way.iter().map(|place| &board.servers[*place]);
            let said = way().filter_map(|one| one.admin_state(now));
            let all = said.fold(AdminState::None, |all, one| all.or(one.value));
            let slot = &board.servers[follower.place];
            slot.inherited.set(all.on_board());
            let state = way().map(|one| one.agent.state());
            let state = state.fold(AdminState::None, AdminState::or);
            slot.agent.inherited_state.set(state.on_board());
            let mut words = way().map(|one| one.agent.word());
            let down = words.find(|word| word.is_down());
            let down = down.unwrap_or(AgentWord::None);
            slot.agent.inherited_word.set(down.on_board());
        }
    }
}

/// Gives those who follow a server its state, as it stands on the board.
pub(super) fn first_states((config, roster): (&Config, &Roster), board: &ProxyBoard, now: Moment) {
    for follower in Followers::of(config, roster).0 {
        let (slot, of) = (
            &board.servers[follower.place],
            &board.servers[follower.probed],
        );
        let state = state_of(of);
        if slot.since.get().is_none() || state_of(slot) != state {
            slot.since.set(now);
        }
        slot.state.set(state.on_board());
        slot.reason
            .set(&format!("as {}: {}", follower.name, of.reason.get()));
        slot.probe_status.set(ProbeStatus::Unk.on_board());
        slot.probe_code.set(0);
    }
}

impl Keeper {
    /// Gives everybody who follows a server what is known of it.
    pub(super) fn follow_all(&mut self) {
        for follower in self.followers.0.clone() {
            self.take_over(&follower);
        }
    }

    /// The same after somebody has come or gone, and tells what it changes.
    pub(super) fn follow_anew(&mut self, now: Moment) {
        for follower in self.followers.0.clone() {
            let before = self.take_over(&follower);
            self.tell(follower.place, before, now);
        }
    }

    /// Tells those who follow the server at a place what was found of it.
    pub(super) fn pass_on(&mut self, place: usize, now: Moment) {
        let all = self.followers.0.iter();
        let followers: Vec<_> = all.filter(|one| one.probed == place).cloned().collect();
        for follower in followers {
            let before = self.take_over(&follower);
            self.tell(follower.place, before, now);
        }
    }

    fn take_over(&mut self, follower: &Follower) -> Option<ServerState> {
        let followed = &self.servers[follower.probed];
        let (health, probed) = (followed.health.clone(), followed.probed);
        let kept = &mut self.servers[follower.place];
        kept.probed = probed;
        kept.health.follow(&health, &follower.name)
    }
}
