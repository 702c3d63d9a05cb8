//! Random of two: two servers are drawn, the less loaded one serves (HAProxy's `random(2)`).
//! Almost as even as least-connections, but a server that has just come up, or whose count is out of
//! date, does not get every session of a burst.

use super::Slate;
use super::draw::draw;

/// The index of the server with fewer sessions for its weight, of two different ones that were drawn
/// by weight; `None` if none may serve.
///
/// `random` is a fresh random number for each pick; its halves are the two draws. Of two equally
/// loaded servers the first drawn wins, so idle servers share by weight. (With the new session
/// counted in, as least-connections does, the heavier one of two idle servers would always win.)
pub fn random_of_two(slate: &Slate<'_, impl Fn(usize) -> u64>, random: u64) -> Option<usize> {
    let serving = slate.serving();
    let weight = |index: usize| match serving.contains(index) {
        true => slate.candidate(index).ramped_weight(),
        false => 0,
    };
    let one = draw(random & UPPER_HALF, slate.len(), weight)?;
    let others = |index: usize| if index == one { 0 } else { weight(index) };
    let Some(other) = draw(random << 32, slate.len(), others) else {
        return Some(one);
    };
    let load = |server: usize, weighed_by: usize| {
        u128::from(slate.sessions(server)) * u128::from(weight(weighed_by))
    };
    // sessions / weight of the other < sessions / weight of the one, without division.
    let other_is_better = load(other, one) < load(one, other);
    Some(if other_is_better { other } else { one })
}

const UPPER_HALF: u64 = 0xffff_ffff_0000_0000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenario::scenarios;
    use super::super::{Candidate, Tried, candidates};
    use super::*;

    /// Picks with every pair of `steps` evenly spaced draws.
    fn shares(servers: &[Candidate], sessions: &[u64], steps: u64) -> Vec<u64> {
        let none = Tried::default();
        let slate = Slate::new(servers, &none, |index| sessions[index]);
        let spaced = |step: u64| ((step * 2 + 1) << 31) / steps;
        let mut shares = vec![0; servers.len()];
        for one in 0..steps {
            for other in 0..steps {
                let random = spaced(one) << 32 | spaced(other);
                shares[random_of_two(&slate, random).expect("all may serve")] += 1;
            }
        }
        shares
    }

    #[test]
    fn idle_servers_share_by_weight_exactly() {
        let servers = candidates(&[3, 1, 0, 2]);
        assert_eq!(shares(&servers, &[0; 4], 60), [1_800, 600, 0, 1_200]);
    }

    #[test]
    fn the_most_loaded_server_gets_nothing_and_the_least_loaded_most() {
        // Of six equally likely ordered pairs, server 1 wins its four, server 0 the two with 2.
        let servers = candidates(&[1, 1, 1]);
        assert_eq!(shares(&servers, &[4, 1, 9], 60), [1_200, 2_400, 0]);
    }

    #[test]
    fn load_is_judged_in_proportion_to_the_weight() {
        let servers = candidates(&[3, 1]);
        assert_eq!(shares(&servers, &[8, 3], 4), [16, 0]);
        assert_eq!(shares(&servers, &[10, 3], 4), [0, 16]);
        assert_eq!(shares(&servers, &[9, 3], 4), [12, 4]);
    }

    #[test]
    fn ten_thousand_sessions_fill_ten_servers_almost_evenly() {
        let (servers, none) = (candidates(&[1; 10]), Tried::default());
        let mut load = [0_u64; 10];
        for round in 0..10_000_u64 {
            let random = crate::hash::mix(round);
            let slate = Slate::new(&servers, &none, |index| load[index]);
            let picked = random_of_two(&slate, random).expect("all may serve");
            load[picked] += 1;
        }
        // One draw alone would leave about 1,000 ± 50.
        assert!(
            load.iter().all(|load| (995..=1_005).contains(load)),
            "{load:?}"
        );
    }

    proptest! {
        #[test]
        fn the_pick_may_serve_and_is_none_exactly_if_none_may(
            scenario in scenarios(),
            random in any::<u64>(),
        ) {
            scenario.check(|slate| random_of_two(slate, random))?;
        }

        #[test]
        fn the_worst_of_several_servers_is_never_picked(random in any::<u64>()) {
            let (servers, none) = (candidates(&[1, 2, 3]), Tried::default());
            let slate = Slate::new(&servers, &none, |index| [9, 4, 5][index]);
            prop_assert_ne!(random_of_two(&slate, random), Some(0));
        }
    }
}
