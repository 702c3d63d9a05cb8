//! A server drawn by weight, from a number that the caller brings.

/// The index, below `servers`, on whose part of the line the number falls: the line from 0 to 2^64
/// is divided in proportion to `weight`. `None` if all weights are 0.
///
/// `weight` is asked twice for each server and must answer the same.
pub(super) fn draw(number: u64, servers: usize, weight: impl Fn(usize) -> u32) -> Option<usize> {
    let total: u64 = (0..servers).map(|index| u64::from(weight(index))).sum();
    let mut rest = (u128::from(number) * u128::from(total)) >> 64;
    (0..servers).find(|index| {
        let weight = u128::from(weight(*index));
        let falls_here = rest < weight;
        if !falls_here {
            rest -= weight;
        }
        falls_here
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_weight_nobody_is_drawn() {
        assert_eq!(draw(7, 0, |_| 1), None);
        assert_eq!(draw(u64::MAX, 3, |_| 0), None);
    }

    proptest! {
        #[test]
        fn evenly_spaced_numbers_give_every_server_exactly_its_weight(
            weights in prop::collection::vec(0_u32..=40, 1..20),
        ) {
            let total: u32 = weights.iter().sum();
            let mut shares = vec![0; weights.len()];
            for step in 0..u64::from(total) {
                // The middle of the step-th of `total` equal parts of the line.
                let number = ((u128::from(step) * 2 + 1) << 63) / u128::from(total);
                let number = u64::try_from(number).expect("below 2^64");
                shares[draw(number, weights.len(), |i| weights[i]).expect("has weight")] += 1;
            }
            prop_assert_eq!(shares, weights);
        }
    }
}
