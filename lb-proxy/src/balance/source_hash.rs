//! The client's address decides: the same client meets the same server, on both nodes and after a
//! restart (HAProxy's `source` with a map).
//!
//! The map is over all servers with a weight, in the order of the configuration, whatever their
//! state. A client whose server may not serve is hashed again, over those that may. So a server that
//! goes down moves its own clients only, evenly over the others, and has them back afterwards. A
//! change of weights, or of the number of servers, moves clients of all servers; where that matters,
//! Maglev is the better choice.

use std::net::IpAddr;

use super::Slate;
use super::draw::draw;
use crate::hash;

/// The index of the client's server; `None` if none may serve. An IPv4-mapped address counts as
/// IPv4.
///
/// A server in slow start takes a growing part of its clients, the rest goes elsewhere meanwhile.
pub fn source_hash(slate: &Slate<'_, impl Fn(usize) -> u64>, client: IpAddr) -> Option<usize> {
    let key = hash::of_address(client);
    let home = draw(key, slate.len(), |index| match slate.has_part(index) {
        true => u32::from(slate.candidate(index).weight),
        false => 0,
    })?;
    if slate.may_serve(home) && slate.candidate(home).admits(key) {
        return Some(home);
    }
    // With the key itself all clients of a server would go to the one that took its part of the map.
    let serving = slate.serving();
    draw(hash::mix(key), slate.len(), |index| {
        match serving.contains(index) {
            true => slate.candidate(index).ramped_weight(),
            false => 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::super::scenario::scenarios;
    use super::super::{Candidate, Tried, candidates, slow_start};
    use super::*;

    /// 65,536 clients, neighbours of each other.
    fn clients() -> impl Iterator<Item = IpAddr> {
        (0..=u16::MAX).map(|low| {
            let [high, low] = low.to_be_bytes();
            Ipv4Addr::new(192, 168, high, low).into()
        })
    }

    fn homes(servers: &[Candidate]) -> Vec<usize> {
        let none = Tried::default();
        let slate = Slate::new(servers, &none, |_| 0);
        clients()
            .map(|client| source_hash(&slate, client).expect("one may serve"))
            .collect()
    }

    fn shares(homes: &[usize], servers: usize) -> Vec<usize> {
        let of = |server| homes.iter().filter(|home| **home == server).count();
        (0..servers).map(of).collect()
    }

    #[track_caller]
    fn assert_within_3_percent(shares: &[usize], wanted: &[usize]) {
        for (share, wanted) in shares.iter().zip(wanted) {
            assert!(share.abs_diff(*wanted) * 100 <= wanted * 3, "{shares:?}");
        }
    }

    #[test]
    fn clients_are_shared_by_weight() {
        let homes = homes(&candidates(&[1, 2, 0, 5]));
        assert_within_3_percent(&shares(&homes, 4), &[8_192, 16_384, 0, 40_960]);
    }

    #[test]
    fn a_client_keeps_its_server_in_either_form_of_its_address() {
        let (servers, none) = (candidates(&[1; 7]), Tried::default());
        let slate = Slate::new(&servers, &none, |_| 0);
        for client in clients().step_by(97) {
            let IpAddr::V4(v4) = client else {
                panic!("clients are IPv4")
            };
            let mapped = IpAddr::V6(v4.to_ipv6_mapped());
            assert_eq!(source_hash(&slate, mapped), source_hash(&slate, client));
        }
    }

    #[test]
    fn a_server_that_goes_down_moves_its_own_clients_only_and_evenly() {
        let mut servers = candidates(&[1, 1, 2]);
        let before = homes(&servers);
        servers[0].usable = false;
        let after = homes(&servers);
        let moved: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
        assert!(moved.iter().all(|(before, _)| **before == 0));
        let to: Vec<_> = moved.iter().map(|(_, after)| **after).collect();
        let third = moved.len() / 3;
        assert_within_3_percent(&shares(&to, 3), &[0, third, 2 * third]);
    }

    #[test]
    fn a_retry_gets_every_other_server_once() {
        let servers = candidates(&[1, 3, 1, 9]);
        let client = IpAddr::from([192, 168, 0, 40]);
        let mut tried = Tried::default();
        for _ in 0..4 {
            let slate = Slate::new(&servers, &tried, |_| 0);
            let index = source_hash(&slate, client).expect("one is left");
            assert!(!tried.contains(index));
            tried.insert(index);
        }
        assert_eq!(
            source_hash(&Slate::new(&servers, &tried, |_| 0), client),
            None
        );
    }

    #[test]
    fn slow_start_moves_clients_home_only() {
        let mut servers = candidates(&[1, 1, 1]);
        let home = homes(&servers);
        servers[1].ramp = slow_start::FULL / 4;
        let quarter = homes(&servers);
        let at_home = quarter.iter().filter(|server| **server == 1).count();
        // A quarter of its own, and a part of those that it does not admit: it has weight among
        // those that they are spread over.
        let own = home.iter().filter(|server| **server == 1).count();
        let wanted = own / 4 + own * 3 / 4 / 9;
        assert!(at_home.abs_diff(wanted) * 100 <= wanted * 4, "{at_home}");
        for (home, now) in home.iter().zip(&quarter) {
            assert!(home == now || *home == 1);
        }
    }

    proptest! {
        #[test]
        fn the_pick_may_serve_and_is_none_exactly_if_none_may(
            scenario in scenarios(),
            client in any::<IpAddr>(),
        ) {
            scenario.check(|slate| source_hash(slate, client))?;
        }
    }
}
