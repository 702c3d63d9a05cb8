//! Whether what is taken from a priority can make the other node the better one. Pure arithmetic.

use crate::config::draft::{Draft, VipDraft};

/// Priority of an address owner, from which nothing is taken.
const OWNER: u8 = 255;

/// The two nodes of an election, the better one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidates {
    better: (String, u8),
    other: (String, u8),
}

/// A weight, and those that may come to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) weight: u64,
    pub(super) others: Vec<u64>,
}

/// Why a weight changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Futile {
    /// Nothing is taken from an owner's priority.
    Owner,
    /// No priority falls below the other node's.
    LowestAlready,
    /// This is left when as much is taken as may be without it, and then it; so much is needed.
    Left { priority: u64, needed: u64 },
}

impl Candidates {
    /// `None` unless both nodes have a priority, and not the same one.
    pub(super) fn of(vip: &VipDraft, draft: &Draft) -> Option<Self> {
        let nodes = draft.nodes.iter().zip(&vip.priorities);
        let mut found = nodes
            .map(|(node, priority)| Some((node.name.value.clone(), priority.as_ref()?.value)))
            .collect::<Option<Vec<_>>>()?;
        found.sort_by_key(|(_, priority)| *priority);
        let better = found.pop()?;
        let other = found.pop()?;
        (better.1 != other.1).then_some(Self { better, other })
    }
}

impl Trial {
    /// Whether there is a moment at which this weight decides: with some of the others the better
    /// node is still not the lower one, and with this one too it is. An equal priority moves nothing:
    /// a Backup follows an equal.
    pub(super) fn flips(&self, candidates: &Candidates) -> Result<(), Futile> {
        let (better, other) = (candidates.better.1, candidates.other.1);
        if better == OWNER {
            return Err(Futile::Owner);
        }
        // Taking away ends at 1.
        if other <= 1 {
            return Err(Futile::LowestAlready);
        }
        let gap = usize::from(better - other);
        let before = largest_sum(&self.others, gap);
        let needed = (gap - before) as u64 + 1;
        if self.weight >= needed {
            return Ok(());
        }
        Err(Futile::Left {
            priority: u64::from(better) - before as u64 - self.weight,
            needed,
        })
    }
}

/// The largest sum of some of the numbers that is not above the limit.
fn largest_sum(numbers: &[u64], limit: usize) -> usize {
    let mut reachable = vec![false; limit + 1];
    reachable[0] = true;
    for number in numbers {
        let Ok(number) = usize::try_from(*number) else {
            continue;
        };
        // Each number once: from the top.
        for sum in (number..=limit).rev() {
            reachable[sum] |= reachable[sum - number];
        }
    }
    reachable.iter().rposition(|is| *is).unwrap_or(0)
}

impl Futile {
    pub(super) fn words(self, candidates: &Candidates) -> String {
        let (better, other) = (&candidates.better, &candidates.other);
        match self {
            Self::Owner => format!("node `{}` is its owner, and 255 stays 255", better.0),
            Self::LowestAlready => format!(
                "no priority falls below that of node `{}`, which is {}",
                other.0, other.1
            ),
            Self::Left { priority, .. } => format!(
                "node `{}` still has {priority} then, and `{}` has {}",
                better.0, other.0, other.1
            ),
        }
    }

    pub(super) fn remedy(self, candidates: &Candidates) -> String {
        match self {
            Self::Owner => {
                "leave `weight` out: then the VIPs are in fault while the tracker is down"
                    .to_owned()
            }
            Self::LowestAlready => format!("give node `{}` a priority above 1", candidates.other.0),
            Self::Left { needed, .. } => format!(
                "say weight = -{needed} or lower, or leave it out: then the VIPs are in fault while the \
                 tracker is down"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(better: u8, other: u8) -> Candidates {
        Candidates {
            better: ("lb1".into(), better),
            other: ("lb2".into(), other),
        }
    }

    fn trial(weight: u64, others: &[u64]) -> Trial {
        Trial {
            weight,
            others: others.to_vec(),
        }
    }

    /// By trying every combination.
    fn by_force(trial: &Trial, better: u8, other: u8) -> bool {
        let left = |taken: u64| u64::from(better).saturating_sub(taken).max(1);
        (0..1_u32 << trial.others.len()).any(|chosen| {
            let others = trial.others.iter().enumerate();
            let sum: u64 = others
                .filter(|(index, _)| chosen & (1 << index) != 0)
                .map(|(_, weight)| *weight)
                .sum();
            left(sum) >= u64::from(other) && left(sum + trial.weight) < u64::from(other)
        })
    }

    #[test]
    fn a_weight_has_to_bring_the_better_node_below_the_other() {
        let pair = candidates(250, 240);
        assert_eq!(trial(11, &[]).flips(&pair), Ok(()));
        let futile = Futile::Left {
            priority: 240,
            needed: 11,
        };
        assert_eq!(trial(10, &[]).flips(&pair), Err(futile));
        assert_eq!(trial(6, &[5]).flips(&pair), Ok(()));
        assert_eq!(
            trial(5, &[5]).flips(&pair),
            Err(Futile::Left {
                priority: 240,
                needed: 6
            })
        );
        // Another one that moves it by itself leaves nothing to decide.
        assert!(trial(5, &[20]).flips(&pair).is_err());
        assert_eq!(
            trial(253, &[]).flips(&candidates(255, 1)),
            Err(Futile::Owner)
        );
        let lowest = trial(253, &[253]).flips(&candidates(250, 1));
        assert_eq!(lowest, Err(Futile::LowestAlready));
    }

    #[test]
    fn it_agrees_with_trying_every_combination() {
        let weights = [1_u64, 3, 7, 10, 11, 40, 253];
        for better in [2_u8, 20, 100, 250] {
            for other in (1..better).step_by(3) {
                for weight in weights {
                    for chosen in 0..1_usize << weights.len() {
                        let others = (0..weights.len()).filter(|one| chosen & (1 << one) != 0);
                        let others: Vec<u64> = others.map(|one| weights[one]).collect();
                        let trial = trial(weight, &others);
                        assert_eq!(
                            trial.flips(&candidates(better, other)).is_ok(),
                            by_force(&trial, better, other),
                            "{trial:?} {better} {other}"
                        );
                    }
                }
            }
        }
    }
}
