//! Who the servers are now: those of the configuration, and what came and went at run time. Pure.
//!
//! The configuration's servers have places on the proxy's board, at the start the first ones. What comes
//! at run time, or stays after a reload for its last sessions, has a spare place, one that the
//! configuration has nobody at; there are [`MAX_SERVERS`] in all. One that leaves keeps
//! its place until its last session has ended. Another address is another server: the old one
//! leaves, a new one comes. So a place means one server, whatever happens to the backend.
//!
//! All that is on the board, and the proxy is its only writer: a killed one's successor, and admin,
//! read the same.

use std::net::SocketAddr;

use crate::board::{Entrant, Presence, ProxyBoard, RosterSlot};
use crate::config::{BackendIndex, Config, MAX_SERVERS, Server, Track};
use crate::time::Moment;

/// The servers of all backends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// By backend, in the order of their places.
    members: Vec<Vec<Member>>,
    /// By place: where in `members`.
    places: Vec<Option<(usize, usize)>>,
}

/// A server of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub place: usize,
    pub backend: BackendIndex,
    pub server: Server,
    pub presence: Presence,
    /// When the presence ends by itself.
    pub until: Option<Moment>,
    /// The place of the server that it follows.
    pub follows: Option<usize>,
    /// The place of the server that has left for it.
    pub replaces: Option<usize>,
    /// Index of the name that it comes from, over all backends.
    pub name: Option<usize>,
}

impl Member {
    /// Whether it may have new sessions, as far as the roster goes.
    pub fn is_present(&self) -> bool {
        match self.presence {
            Presence::Configured | Presence::Added => true,
            Presence::Leaving | Presence::Removed => false,
        }
    }

    /// Whether the configuration has it.
    pub fn is_configured(&self, config: &Config) -> bool {
        config.has_server_at(self.place)
    }
}

impl Roster {
    /// As it stands on the board.
    pub fn read(config: &Config, board: &ProxyBoard) -> Self {
        Self::of_slots(config, &board.roster)
    }

    /// The configuration's servers alone.
    pub fn configured(config: &Config) -> Self {
        Self::of_slots(config, &[])
    }

    fn of_slots(config: &Config, slots: &[RosterSlot]) -> Self {
        let mut members: Vec<Vec<Member>> = vec![Vec::new(); config.backends.len()];
        for (index, backend) in config.backends.iter().enumerate() {
            for (server, place) in backend.servers.iter().zip(&backend.places) {
                let place = *place;
                let slot = slots.get(place);
                members[index].push(Member {
                    place,
                    backend: BackendIndex(index),
                    server: *server,
                    presence: slot.map_or(Presence::Configured, RosterSlot::presence),
                    until: slot.and_then(RosterSlot::until),
                    follows: server.track.map(|track| place_of(config, track)),
                    replaces: None,
                    name: None,
                });
            }
        }
        let spare = slots.iter().enumerate();
        let spare = spare.filter(|(place, _)| !config.has_server_at(*place));
        for member in spare.filter_map(|(place, slot)| entered(place, slot)) {
            if let Some(backend) = members.get_mut(member.backend.0) {
                backend.push(member);
            }
        }
        let mut roster = Self {
            places: vec![None; MAX_SERVERS],
            members,
        };
        for (index, backend) in roster.members.iter().enumerate() {
            for (number, member) in backend.iter().enumerate() {
                roster.places[member.place] = Some((index, number));
            }
        }
        roster.follow_successors();
        roster
    }

    /// Who follows a server that has left for another one follows that one.
    fn follow_successors(&mut self) {
        let successors: Vec<_> = self
            .all()
            .filter(|one| one.is_present())
            .filter_map(|one| Some((one.replaces?, one.place)))
            .collect();
        for (left, successor) in successors {
            if self.at(left).is_some_and(Member::is_present) {
                continue;
            }
            let members = self.members.iter_mut().flatten();
            for member in members.filter(|one| one.follows == Some(left)) {
                member.follows = Some(successor);
            }
        }
    }

    /// Everybody, also who is leaving or has left.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten()
    }

    /// The same of one backend.
    pub fn of(&self, backend: BackendIndex) -> &[Member] {
        self.members.get(backend.0).map_or(&[], Vec::as_slice)
    }

    /// Who may have new sessions.
    pub fn present(&self, backend: BackendIndex) -> impl Iterator<Item = &Member> {
        self.of(backend).iter().filter(|one| one.is_present())
    }

    /// Who is at a place.
    pub fn at(&self, place: usize) -> Option<&Member> {
        let (backend, number) = (*self.places.get(place)?)?;
        self.members.get(backend)?.get(number)
    }

    /// The server with an address, whether it may have new sessions or not.
    pub fn find(&self, backend: BackendIndex, address: SocketAddr) -> Option<&Member> {
        let mut members = self.of(backend).iter();
        members.find(|one| one.server.address == address)
    }

    /// A place where nobody is, and that is not kept for somebody.
    pub fn spare_place(&self, config: &Config, kept: &[usize]) -> Option<usize> {
        let is_spare = |place: &usize| {
            let is_of_file = config.has_server_at(*place);
            self.at(*place).is_none() && !is_of_file && !kept.contains(place)
        };
        (0..MAX_SERVERS).find(is_spare)
    }

    /// The place of the server whose probes count for one: its own, or the end of what it follows.
    pub fn probed_as(&self, place: usize) -> usize {
        let next = |at: &usize| self.at(*at).and_then(|one| one.follows);
        // The rules have seen to it that this ends; a board that is spoilt shall not hang anybody.
        let way = std::iter::successors(Some(place), next);
        way.take(MAX_SERVERS).last().unwrap_or(place)
    }

    /// Whose probes count for the servers of a backend that follow others: those of a server with
    /// the same IP address, as in the configuration. `None` = there is none, or more than one.
    pub fn counterpart(&self, followed: BackendIndex, address: SocketAddr) -> Option<&Member> {
        let mut same = self
            .present(followed)
            .filter(|one| one.server.address.ip() == address.ip());
        match (same.next(), same.next()) {
            (Some(one), None) => Some(one),
            (None, _) | (Some(_), Some(_)) => None,
        }
    }
}

/// Who is at a spare place.
fn entered(place: usize, slot: &RosterSlot) -> Option<Member> {
    let presence = slot.presence();
    match presence {
        Presence::Configured | Presence::Removed => return None,
        Presence::Added | Presence::Leaving => {}
    }
    let Entrant {
        backend,
        address,
        weight,
        backup,
        max_sessions,
        follows,
        replaces,
        name,
    } = slot.entrant();
    Some(Member {
        place,
        backend: BackendIndex(backend),
        server: Server {
            address: address.parse().ok()?,
            port_offset: None,
            weight,
            backup,
            max_sessions,
            probe_address: None,
            track: None,
        },
        presence,
        until: slot.until(),
        follows,
        replaces,
        name,
    })
}

fn place_of(config: &Config, track: Track) -> usize {
    config.backends[track.backend.0].places[track.server]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[backends.one]
servers = ["10.0.0.1:1", "10.0.0.2:1"]
[backends.two]
servers = ["10.0.0.1:2"]
track = "one"
[listeners.one]
bind = ["127.0.0.1:6"]
backend = "one"
[listeners.two]
bind = ["127.0.0.1:7"]
backend = "two"
"#;

    fn slots() -> Vec<RosterSlot> {
        std::iter::repeat_with(RosterSlot::default)
            .take(MAX_SERVERS)
            .collect()
    }

    fn entrant(address: &str) -> Entrant {
        Entrant {
            backend: 0,
            address: address.to_owned(),
            weight: 1,
            backup: false,
            max_sessions: None,
            follows: None,
            replaces: None,
            name: None,
        }
    }

    fn addresses(roster: &Roster, backend: usize) -> Vec<String> {
        let present = roster.present(BackendIndex(backend));
        present.map(|one| one.server.address.to_string()).collect()
    }

    #[test]
    fn who_came_is_behind_the_servers_of_the_file_and_who_leaves_is_still_named() {
        let (config, slots) = (Config::from_running(CONFIG).expect("valid"), slots());
        let now = (Moment::from_nanos(1), None);
        let at = |roster: &Roster, place| roster.at(place).map(|one| one.server.address);
        slots[4].enter(&entrant("[fd00::1]:1"), now);
        let roster = Roster::of_slots(&config, &slots);
        assert_eq!(
            addresses(&roster, 0),
            ["10.0.0.1:1", "10.0.0.2:1", "[fd00::1]:1"]
        );
        assert_eq!(roster.spare_place(&config, &[]), Some(3));
        assert_eq!(roster.spare_place(&config, &[3]), Some(5));
        slots[0].say(Presence::Leaving, now);
        slots[1].say(Presence::Removed, now);
        slots[4].say(Presence::Leaving, now);
        let roster = Roster::of_slots(&config, &slots);
        assert_eq!(addresses(&roster, 0), Vec::<String>::new());
        assert_eq!(addresses(&roster, 1), ["10.0.0.1:2"]);
        assert_eq!(roster.all().count(), 4);
        assert_eq!(at(&roster, 4), "[fd00::1]:1".parse().ok());
        assert_eq!((at(&roster, 3), at(&roster, MAX_SERVERS)), (None, None));
    }

    #[test]
    fn what_is_no_server_of_this_configuration_is_nobody() {
        let (config, slots) = (Config::from_running(CONFIG).expect("valid"), slots());
        let now = (Moment::from_nanos(1), None);
        for (place, wrong) in [
            (
                3,
                Entrant {
                    backend: 7,
                    ..entrant("10.0.0.9:1")
                },
            ),
            (4, entrant("10.0.0.9")),
        ] {
            slots[place].enter(&wrong, now);
        }
        slots[5].say(Presence::Removed, now);
        assert_eq!(
            Roster::of_slots(&config, &slots),
            Roster::configured(&config)
        );
    }

    #[test]
    fn followers_follow_the_successor_while_there_is_one() {
        let (config, slots) = (Config::from_running(CONFIG).expect("valid"), slots());
        let now = (Moment::from_nanos(1), None);
        assert_eq!(Roster::configured(&config).probed_as(2), 0);
        slots[0].say(Presence::Leaving, now);
        let next = Entrant {
            replaces: Some(0),
            ..entrant("10.0.0.3:1")
        };
        slots[3].enter(&next, now);
        assert_eq!(Roster::of_slots(&config, &slots).probed_as(2), 3);
        slots[0].say(Presence::Configured, now);
        slots[3].say(Presence::Leaving, now);
        assert_eq!(Roster::of_slots(&config, &slots).probed_as(2), 0);
        // Whatever a spoilt board says, this ends.
        slots[4].enter(
            &Entrant {
                follows: Some(4),
                ..entrant("10.0.0.4:1")
            },
            now,
        );
        assert_eq!(Roster::of_slots(&config, &slots).probed_as(4), 4);
    }

    #[test]
    fn a_counterpart_is_the_one_server_with_the_address() {
        let (config, slots) = (Config::from_running(CONFIG).expect("valid"), slots());
        let of = |roster: &Roster, address: &str| {
            let address = address.parse().expect("an address");
            let found = roster.counterpart(BackendIndex(0), address);
            found.map(|one| one.place)
        };
        let roster = Roster::of_slots(&config, &slots);
        assert_eq!(of(&roster, "10.0.0.2:9"), Some(1));
        assert_eq!(of(&roster, "10.0.0.3:1"), None);
        slots[3].enter(&entrant("10.0.0.2:5"), (Moment::from_nanos(1), None));
        assert_eq!(of(&Roster::of_slots(&config, &slots), "10.0.0.2:9"), None);
    }
}
