//! The server with the fewest sessions in proportion to its weight.

use super::Slate;

/// The index of the server that has the fewest sessions for its weight, the new one counted; `None`
/// if none may serve.
///
/// `first` is where the search begins, so that servers which are equal take turns.
pub fn least_connections(slate: &Slate<'_, impl Fn(usize) -> u64>, first: usize) -> Option<usize> {
    let weight = |index: usize| u128::from(slate.candidate(index).ramped_weight());
    let mut best: Option<(usize, u128)> = None;
    for step in 0..slate.len() {
        let index = (first % slate.len() + step) % slate.len();
        if !slate.may_serve(index) {
            continue;
        }
        let load = u128::from(slate.sessions(index)) + 1;
        // load / weight < best load / best weight, without division.
        let better = best
            .is_none_or(|(other, other_load)| load * weight(other) < other_load * weight(index));
        if better {
            best = Some((index, load));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenario::scenarios;
    use super::super::{Tried, candidates};
    use super::*;

    fn fill(weights: &[u16], sessions: usize) -> Vec<u64> {
        let mut load = vec![0; weights.len()];
        for first in 0..sessions {
            let picked = least_connections(
                &Slate::new(&candidates(weights), &Tried::default(), |index| load[index]),
                first,
            );
            if let Some(index) = picked {
                load[index] += 1;
            }
        }
        load
    }

    #[test]
    fn a_burst_spreads_evenly() {
        assert_eq!(fill(&[1, 1, 1], 300), [100, 100, 100]);
    }

    #[test]
    fn sessions_are_in_proportion_to_the_weights() {
        assert_eq!(fill(&[3, 1, 0], 400), [300, 100, 0]);
    }

    #[test]
    fn the_emptiest_server_gets_the_next_session() {
        let load = [5, 2, 9];
        for first in 0..3 {
            let picked = least_connections(
                &Slate::new(&candidates(&[1, 1, 1]), &Tried::default(), |i| load[i]),
                first,
            );
            assert_eq!(picked, Some(1));
        }
    }

    #[test]
    fn equal_servers_take_turns() {
        let picks: Vec<_> = (0..6)
            .map(|first| {
                least_connections(
                    &Slate::new(&candidates(&[1, 1, 1]), &Tried::default(), |_| 0),
                    first,
                )
            })
            .collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2].map(Some));
    }

    #[test]
    fn no_usable_server_is_none() {
        let mut servers = candidates(&[1, 1]);
        servers[0].usable = false;
        let mut tried = Tried::default();
        tried.insert(1);
        assert_eq!(
            least_connections(&Slate::new(&servers, &tried, |_| 0), 0),
            None
        );
        assert_eq!(least_connections(&Slate::new(&[], &tried, |_| 0), 7), None);
    }

    proptest! {
        #[test]
        fn the_pick_may_serve_and_is_none_exactly_if_none_may(
            scenario in scenarios(),
            first in any::<usize>(),
        ) {
            scenario.check(|slate| least_connections(slate, first))?;
        }

        #[test]
        fn no_server_is_ever_more_than_one_session_ahead_of_its_share(
            weights in prop::collection::vec(1_u16..=16, 1..10),
            sessions in 0_usize..500,
        ) {
            let load = fill(&weights, sessions);
            for (i, wi) in weights.iter().enumerate() {
                for (j, wj) in weights.iter().enumerate() {
                    prop_assert!(
                        load[i] * u64::from(*wj) <= (load[j] + 1) * u64::from(*wi),
                        "{:?} for {:?}", load, weights
                    );
                }
            }
        }
    }
}
