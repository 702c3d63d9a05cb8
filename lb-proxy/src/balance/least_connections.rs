//! The server with the fewest sessions in proportion to its weight.

use super::{Candidate, Tried};

/// The index of the server that has the fewest sessions for its weight, the new one counted; `None`
/// if none may serve.
///
/// `sessions` gives the sessions of the server at an index; `first` is where the search begins, so
/// that servers which are equal take turns.
pub(crate) fn least_connections(
    candidates: &[Candidate],
    tried: &Tried,
    sessions: impl Fn(usize) -> u64,
    first: usize,
) -> Option<usize> {
    let mut best: Option<(usize, u128)> = None;
    for step in 0..candidates.len() {
        let index = (first % candidates.len() + step) % candidates.len();
        let candidate = &candidates[index];
        if !candidate.may_serve(index, tried) {
            continue;
        }
        let load = u128::from(sessions(index)) + 1;
        // load / weight < best load / best weight, without division.
        let better = best.is_none_or(|(other, other_load)| {
            load * u128::from(candidates[other].weight) < other_load * u128::from(candidate.weight)
        });
        if better {
            best = Some((index, load));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::candidates;
    use super::*;

    fn fill(weights: &[u16], sessions: usize) -> Vec<u64> {
        let mut load = vec![0; weights.len()];
        for first in 0..sessions {
            let picked = least_connections(
                &candidates(weights),
                &Tried::default(),
                |index| load[index],
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
                &candidates(&[1, 1, 1]),
                &Tried::default(),
                |i| load[i],
                first,
            );
            assert_eq!(picked, Some(1));
        }
    }

    #[test]
    fn equal_servers_take_turns() {
        let picks: Vec<_> = (0..6)
            .map(|first| {
                least_connections(&candidates(&[1, 1, 1]), &Tried::default(), |_| 0, first)
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
        assert_eq!(least_connections(&servers, &tried, |_| 0, 0), None);
        assert_eq!(least_connections(&[], &tried, |_| 0, 7), None);
    }

    proptest! {
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
