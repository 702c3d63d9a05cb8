//! Servers that follow another one (`track`) instead of being probed themselves: what is found of
//! that one, and what an administrator says of it, is so of them.

use common::board::{AdminState, ProbeStatus, ProxyBoard, ServerState};
use common::config::{BackendIndex, Config, Track};
use common::time::Moment;

use super::{Keeper, state_of};

/// Who follows whom.
#[derive(Debug)]
pub(super) struct Followers(Vec<Follower>);

/// A server that follows another one.
#[derive(Debug, Clone)]
struct Follower {
    server: Track,
    place: usize,
    /// The places on its way to the one that is probed.
    way: Vec<usize>,
    /// The place of that one.
    probed: usize,
    /// What it is called.
    name: String,
}

impl Followers {
    pub(super) fn of(config: &Config) -> Self {
        let mut followers = Vec::new();
        for (index, backend) in config.backends.iter().enumerate() {
            for (server, member) in backend.servers.iter().enumerate() {
                let Some(first) = member.track else {
                    continue;
                };
                let backend = BackendIndex(index);
                let server = Track { backend, server };
                let probed = config.probed_as(server);
                let of = &config.backends[probed.backend.0];
                let address = of.servers[probed.server].address;
                let next = |at: &Track| config.backends[at.backend.0].servers[at.server].track;
                followers.push(Follower {
                    server,
                    place: place(config, server),
                    way: std::iter::successors(Some(first), next)
                        .map(|at| place(config, at))
                        .collect(),
                    probed: place(config, probed),
                    name: format!("{}/{address}", of.name),
                });
            }
        }
        Self(followers)
    }

    /// The places of those who follow the server at a place, also by way of others.
    pub(super) fn of_place(&self, followed: usize) -> impl Iterator<Item = usize> {
        let all = self.0.iter();
        all.filter(move |one| one.way.contains(&followed))
            .map(|one| one.place)
    }

    /// Puts on the board what an administrator says of the servers that are followed.
    pub(super) fn inherit(&self, board: &ProxyBoard, now: Moment) {
        for follower in &self.0 {
            let way = follower.way.iter();
            let said = way.filter_map(|place| board.servers[*place].admin_state(now));
            let all = said.fold(AdminState::None, |all, one| all.or(one.value));
            board.servers[follower.place].inherited.set(all.on_board());
        }
    }
}

/// Gives those who follow a server its state, as it stands on the board.
pub(super) fn first_states(config: &Config, board: &ProxyBoard, now: Moment) {
    for follower in Followers::of(config).0 {
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

    /// Tells those who follow the server at a place what was found of it.
    pub(super) fn pass_on(&mut self, place: usize, now: Moment) {
        let all = self.followers.0.iter();
        let followers: Vec<_> = all.filter(|one| one.probed == place).cloned().collect();
        for follower in followers {
            let before = self.take_over(&follower);
            let Track { backend, server } = follower.server;
            self.tell((backend, server), before, now);
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

fn place(config: &Config, server: Track) -> usize {
    config.backends[server.backend.0].first_server + server.server
}
