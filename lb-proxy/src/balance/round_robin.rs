//! Smooth weighted round-robin: in each turn every server gains its weight, the richest one is
//! chosen and pays what all gained together. Over any full round each server is chosen exactly as
//! often as its weight says, and a heavy one is not chosen in a burst.

use super::Slate;

/// Whose turn it is in one backend.
#[derive(Debug, Default)]
pub struct RoundRobin {
    /// What each server has gained, by its index in the backend.
    credit: Vec<i64>,
}

impl RoundRobin {
    /// The index of the server whose turn it is; `None` if none may serve.
    ///
    /// A server that does not stand loses its credit: it comes back without a claim on the turns
    /// that it missed. One that is full, or was tried, is passed over and keeps it.
    pub fn pick(&mut self, slate: &Slate<'_, impl Fn(usize) -> u64>) -> Option<usize> {
        self.credit.resize(slate.len(), 0);
        let mut total = 0;
        let mut richest: Option<usize> = None;
        for index in 0..slate.len() {
            if !slate.stands(index) {
                self.credit[index] = 0;
                continue;
            }
            if !slate.may_serve(index) {
                continue;
            }
            let weight = i64::from(slate.candidate(index).ramped_weight());
            self.credit[index] += weight;
            total += weight;
            if richest.is_none_or(|best| self.credit[index] > self.credit[best]) {
                richest = Some(index);
            }
        }
        if let Some(index) = richest {
            self.credit[index] -= total;
        }
        richest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenario::scenarios;
    use super::super::{Tried, candidates};
    use super::*;

    fn shares(weights: &[u16], picks: usize) -> Vec<usize> {
        let mut turns = RoundRobin::default();
        let mut shares = vec![0; weights.len()];
        for _ in 0..picks {
            if let Some(index) =
                turns.pick(&Slate::new(&candidates(weights), &Tried::default(), |_| 0))
            {
                shares[index] += 1;
            }
        }
        shares
    }

    #[test]
    fn equal_weights_share_3000_sessions_exactly() {
        assert_eq!(shares(&[1, 1, 1], 3_000), [1_000, 1_000, 1_000]);
    }

    #[test]
    fn a_heavy_server_is_not_chosen_in_a_burst() {
        let mut turns = RoundRobin::default();
        let order: Vec<_> = (0..7)
            .filter_map(|_| {
                turns.pick(&Slate::new(
                    &candidates(&[5, 1, 1]),
                    &Tried::default(),
                    |_| 0,
                ))
            })
            .collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn weight_zero_gets_no_session() {
        assert_eq!(shares(&[0, 2, 1], 300), [0, 200, 100]);
        assert_eq!(shares(&[0, 0], 10), [0, 0]);
    }

    #[test]
    fn a_server_that_was_away_gets_no_burst_when_it_returns() {
        let mut turns = RoundRobin::default();
        let mut servers = candidates(&[1, 1, 1]);
        servers[1].usable = false;
        for _ in 0..1_000 {
            assert_ne!(
                turns.pick(&Slate::new(&servers, &Tried::default(), |_| 0)),
                Some(1)
            );
        }
        servers[1].usable = true;
        let mut shares = [0; 3];
        for _ in 0..9 {
            shares[turns
                .pick(&Slate::new(&servers, &Tried::default(), |_| 0))
                .expect("all are usable")] += 1;
        }
        assert_eq!(shares, [3, 3, 3]);
    }

    #[test]
    fn a_retry_gets_another_server() {
        let mut turns = RoundRobin::default();
        let servers = candidates(&[1, 1, 1]);
        let mut tried = Tried::default();
        for _ in 0..3 {
            let index = turns
                .pick(&Slate::new(&servers, &tried, |_| 0))
                .expect("one is left");
            assert!(!tried.contains(index));
            tried.insert(index);
        }
        assert_eq!(turns.pick(&Slate::new(&servers, &tried, |_| 0)), None);
    }

    proptest! {
        #[test]
        fn the_pick_may_serve_and_is_none_exactly_if_none_may(
            backends in prop::collection::vec(scenarios(), 1..5),
        ) {
            // One memory through several states and sizes, as after reloads.
            let mut turns = RoundRobin::default();
            for backend in backends {
                backend.check(|slate| turns.pick(slate))?;
            }
        }

        #[test]
        fn over_full_rounds_every_share_is_its_weight(weights in prop::collection::vec(0_u16..=256, 1..20)) {
            let round: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            let wanted: Vec<_> = weights.iter().map(|weight| usize::from(*weight) * 2).collect();
            prop_assert_eq!(shares(&weights, 2 * round), wanted);
        }
    }
}
