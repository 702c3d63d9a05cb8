//! The first server with a free slot: the others stay empty until those before them are full, so
//! that they can be switched off (HAProxy's `first`). Without per-server limits the first server
//! gets everything.

use super::Slate;

/// The index of the first server, in the order of the configuration, that may serve; `None` if none
/// may.
pub fn first(slate: &Slate<'_, impl Fn(usize) -> u64>) -> Option<usize> {
    (0..slate.len()).find(|index| slate.may_serve(*index))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenario::scenarios;
    use super::super::{Tried, candidates};
    use super::*;

    #[test]
    fn servers_fill_up_one_after_another() {
        let mut servers = candidates(&[1, 5, 0, 1]);
        for server in &mut servers {
            server.limit = Some(100);
        }
        let (mut load, none) = ([0_u64; 4], Tried::default());
        let mut order = Vec::new();
        while let Some(index) = first(&Slate::new(&servers, &none, |index| load[index])) {
            load[index] += 1;
            order.push(index);
        }
        assert_eq!(load, [100, 100, 0, 100]);
        assert!(order.is_sorted());
    }

    #[test]
    fn a_slot_that_comes_free_in_front_is_taken_first() {
        let mut servers = candidates(&[1, 1]);
        servers[0].limit = Some(10);
        let none = Tried::default();
        assert_eq!(first(&Slate::new(&servers, &none, |_| 10)), Some(1));
        assert_eq!(first(&Slate::new(&servers, &none, |_| 9)), Some(0));
    }

    proptest! {
        #[test]
        fn the_pick_is_the_lowest_index_that_may_serve(scenario in scenarios()) {
            #[expect(clippy::redundant_closure, reason = "the function itself is not general enough")]
            let picked = scenario.check(|slate| first(slate))?;
            prop_assert_eq!(picked, scenario.may_serve().first().copied());
        }
    }
}
