//! Servers by name: from what the DNS says of a name to what becomes of its servers. Pure; the
//! questions are put by [`resolver`], the roster is kept by the keeper.
//!
//! An answer that says nothing takes nobody away: no such name, a failure of the DNS and no answer
//! in time leave the servers as they are. Who is not named any more by an answer that names others
//! leaves: its sessions go on.

mod resolv_conf;
pub(crate) mod resolver;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use common::config::MAX_WEIGHT;

/// A server that the DNS names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) address: SocketAddr,
    /// `None` = the file says it.
    pub(crate) weight: Option<u16>,
    /// A record of a higher priority number than the lowest.
    pub(crate) backup: bool,
}

/// What was found of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) servers: Vec<Found>,
    /// What could not be found, in words; who is missing because of that stays.
    pub(crate) missing: Option<String>,
    /// Of whom nothing is known because of that.
    pub(crate) unknown: Unknown,
}

/// Whose absence from an answer says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Unknown {
    #[default]
    Nobody,
    V4,
    V6,
    All,
}

impl Unknown {
    pub(crate) fn covers(self, address: IpAddr) -> bool {
        match self {
            Self::Nobody => false,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::All => true,
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nobody, other) => other,
            (one, Self::Nobody) => one,
            (one, other) if one == other => one,
            (_, _) => Self::All,
        }
    }
}

/// One SRV record; the best ones are the least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Service {
    pub(crate) priority: u16,
    /// The heaviest first.
    pub(crate) weight: Reverse<u16>,
    pub(crate) target: String,
    pub(crate) port: u16,
}

/// The weights of servers: those of their records where they fit, otherwise in proportion to the
/// greatest. 0 is a small share in a record (RFC 2782), and none at all of a server.
pub(crate) fn weights(records: &[Service]) -> Vec<u16> {
    let greatest = records.iter().map(|one| u64::from(one.weight.0)).max();
    let greatest = greatest.unwrap_or(0).max(MAX_WEIGHT);
    let weight = |one: &Service| {
        let scaled = u64::from(one.weight.0) * MAX_WEIGHT / greatest;
        u16::try_from(scaled).unwrap_or(1).max(1)
    };
    records.iter().map(weight).collect()
}

/// What is to be done with the servers of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Those that are there, or come; with what is to be so of them.
    pub(crate) stay: Vec<Found>,
    pub(crate) leave: Vec<SocketAddr>,
    /// More than there may be.
    pub(crate) left_out: Vec<SocketAddr>,
}

/// From the servers that a name has now to those that an answer wants, at most `most`. Who is there
/// has its place before who comes; of those who come the heaviest, then in the order of the addresses.
pub(crate) fn plan(now: &[SocketAddr], answer: &Answer, most: usize) -> Plan {
    let mut plan = Plan::default();
    if answer.servers.is_empty() {
        return plan;
    }
    let wanted = |address: &SocketAddr| answer.servers.iter().find(|one| one.address == *address);
    let mut unknown = 0;
    for address in now {
        match wanted(address) {
            Some(found) => plan.stay.push(*found),
            None if answer.unknown.covers(address.ip()) => unknown += 1,
            None => plan.leave.push(*address),
        }
    }
    let mut newcomers: Vec<Found> = answer
        .servers
        .iter()
        .filter(|one| !now.contains(&one.address))
        .copied()
        .collect();
    newcomers.sort_by_key(|one| (one.backup, Reverse(one.weight), one.address));
    let mut seen = BTreeSet::new();
    newcomers.retain(|one| seen.insert(one.address));
    for found in newcomers {
        if plan.stay.len() + unknown < most {
            plan.stay.push(found);
        } else {
            plan.left_out.push(found.address);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    fn v6() -> SocketAddr {
        "[fd00::1]:80".parse().expect("an address")
    }

    fn answer(servers: &[SocketAddr], unknown: Unknown) -> Answer {
        let found = |address: &SocketAddr| Found {
            address: *address,
            weight: None,
            backup: false,
        };
        Answer {
            servers: servers.iter().map(found).collect(),
            missing: None,
            unknown,
        }
    }

    fn stay(plan: &Plan) -> Vec<SocketAddr> {
        plan.stay.iter().map(|one| one.address).collect()
    }

    #[test]
    fn who_is_named_stays_or_comes_and_who_is_not_leaves() {
        let plan = plan(
            &[at(1), at(2)],
            &answer(&[at(3), at(2)], Unknown::Nobody),
            8,
        );
        assert_eq!((stay(&plan), plan.leave), (vec![at(2), at(3)], vec![at(1)]));
    }

    #[test]
    fn an_answer_that_names_nobody_takes_nobody_away() {
        for unknown in [Unknown::Nobody, Unknown::All] {
            assert_eq!(plan(&[at(1)], &answer(&[], unknown), 8), Plan::default());
        }
    }

    #[test]
    fn who_is_missing_because_a_question_failed_stays() {
        let now = [at(1), v6()];
        let plan = |unknown| plan(&now, &answer(&[at(2)], unknown), 8).leave;
        assert_eq!(plan(Unknown::V6), [at(1)]);
        assert_eq!(plan(Unknown::V4), [v6()]);
        assert_eq!(plan(Unknown::All), []);
        assert_eq!(plan(Unknown::Nobody), now);
    }

    #[test]
    fn who_is_there_has_its_place_before_who_comes() {
        let all = [at(5), at(4), at(3), at(2), at(1)];
        let plan = plan(&[at(4)], &answer(&all, Unknown::Nobody), 3);
        assert_eq!(stay(&plan), [at(4), at(1), at(2)]);
        assert_eq!(plan.left_out, [at(3), at(5)]);
    }

    #[test]
    fn of_those_who_come_the_heaviest_are_taken_and_each_address_once() {
        let found = |n, weight, backup| Found {
            address: at(n),
            weight: Some(weight),
            backup,
        };
        let servers = vec![
            found(1, 1, false),
            found(2, 9, false),
            found(3, 200, true),
            found(2, 5, false),
            found(4, 5, false),
        ];
        let answer = Answer {
            servers,
            ..Answer::default()
        };
        let plan = super::plan(&[], &answer, 3);
        assert_eq!(stay(&plan), [at(2), at(4), at(1)]);
        assert_eq!(plan.left_out, [at(3)]);
    }

    #[test]
    fn the_best_records_come_first() {
        let record = |priority, weight| Service {
            priority,
            weight: Reverse(weight),
            target: "a".to_owned(),
            port: 1,
        };
        let mut all = [record(1, 9), record(0, 1), record(0, 5)];
        all.sort();
        assert_eq!(all, [record(0, 5), record(0, 1), record(1, 9)]);
    }

    #[test]
    fn weights_fit_and_keep_their_proportion() {
        let of = |all: &[u16]| {
            let record = |weight: &u16| Service {
                priority: 0,
                weight: Reverse(*weight),
                target: String::new(),
                port: 1,
            };
            weights(&all.iter().map(record).collect::<Vec<_>>())
        };
        assert_eq!(of(&[0, 1, 256]), [1, 1, 256]);
        assert_eq!(of(&[65_535, 32_768, 0]), [256, 128, 1]);
        assert_eq!(of(&[]), [] as [u16; 0]);
    }

    #[test]
    fn what_is_unknown_adds_up() {
        assert_eq!(Unknown::V4.and(Unknown::V6), Unknown::All);
        assert_eq!(Unknown::V4.and(Unknown::V4), Unknown::V4);
        assert_eq!(Unknown::Nobody.and(Unknown::V6), Unknown::V6);
        assert!(!Unknown::V4.covers(v6().ip()) && Unknown::All.covers(v6().ip()));
    }
}
