//! What follows from trackers that are down. Pure.
//!
//! A tracker without a weight keeps a node from its VIPs. With the pair channel it does so only while
//! the other node can hold them and fewer trackers keep it away: if both nodes are in the same
//! trouble, the VIP stays where it is, since going would serve nobody better. Without the channel it
//! is plain VRRP: the node is in Fault, whatever the other one is.

use std::time::Duration;

use common::addr::Priority;
use common::time::Moment;

/// What is known at this turn of the loop, for VIPs that are elected as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Findings {
    pub now: Moment,
    /// Trackers without a weight that are down.
    pub faults: u8,
    /// How much later the other node may find what they have found.
    pub out_of_step: Duration,
    /// What the others take from the priority.
    pub taken: u32,
    pub peer: Peer,
    /// A handover has given it the VIPs, to keep.
    pub pinned: bool,
    /// An administrator wants it to serve only for want of another node.
    pub maintenance: bool,
}

/// What is known of the other node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// There is no pair channel, so nothing will ever be known.
    NoChannel,
    /// Its heartbeats do not come.
    Silent,
    /// It cannot hold the VIPs.
    Unable,
    /// It could, and so many trackers speak against it.
    Faults(u8),
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes part in the election with this priority.
    TakesPart(Priority),
    /// It cannot hold the VIPs.
    Fault,
}

/// Heartbeats and the turns of both loops, with room.
const NEWS: Duration = Duration::from_millis(50);

/// Judges VIPs that are elected as one from turn to turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    base: Priority,
    /// Since when more speaks against this node than against the other one.
    worse_since: Option<Moment>,
}

impl Trial {
    /// With the node's own priority.
    pub fn new(base: Priority) -> Self {
        Self {
            base,
            worse_since: None,
        }
    }

    /// Call it at every turn of the loop with that turn's findings.
    pub fn judge(&mut self, findings: &Findings) -> Verdict {
        if findings.faults == 0 {
            self.worse_since = None;
            return Verdict::TakesPart(self.priority(findings));
        }
        let worse = match findings.peer {
            Peer::NoChannel => return Verdict::Fault,
            // It may have died. If it lives it takes the VIPs by its higher priority; if not, there is
            // nobody but us.
            Peer::Silent => {
                self.worse_since = None;
                return Verdict::TakesPart(self.lowered(self.base, u32::MAX));
            }
            Peer::Unable => false,
            Peer::Faults(faults) => faults < findings.faults,
        };
        if !worse {
            self.worse_since = None;
            return Verdict::TakesPart(self.priority(findings));
        }
        // What both will see moves nothing.
        let since = *self.worse_since.get_or_insert(findings.now);
        if findings.now.since(since) < patience(findings.out_of_step) {
            return Verdict::TakesPart(self.priority(findings));
        }
        Verdict::Fault
    }

    /// The priority with which it takes part.
    pub fn priority(&self, findings: &Findings) -> Priority {
        if findings.maintenance {
            return self.lowered(self.base, u32::MAX);
        }
        let base = if findings.pinned {
            Priority::PINNED
        } else {
            self.base
        };
        self.lowered(base, findings.taken)
    }

    /// Never below 1; nothing is taken from an owner, and nothing given to it.
    fn lowered(&self, base: Priority, taken: u32) -> Priority {
        if self.base == Priority::OWNER {
            return self.base;
        }
        let left = u32::from(base.value()).saturating_sub(taken).max(1);
        u8::try_from(left)
            .ok()
            .and_then(Priority::new)
            .unwrap_or(base)
    }
}

fn patience(out_of_step: Duration) -> Duration {
    out_of_step * 105 / 100 + NEWS
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u8 = 250;

    fn priority(value: u8) -> Priority {
        Priority::new(value).expect("not zero")
    }

    fn trial() -> Trial {
        Trial::new(priority(BASE))
    }

    fn findings(millis: u64, faults: u8, peer: Peer) -> Findings {
        Findings {
            now: Moment::from_nanos(1_000_000_000 + millis * 1_000_000),
            faults,
            out_of_step: Duration::ZERO,
            taken: 0,
            peer,
            pinned: false,
            maintenance: false,
        }
    }

    fn takes_part(value: u8) -> Verdict {
        Verdict::TakesPart(priority(value))
    }

    #[test]
    fn weights_are_taken_and_never_reach_zero() {
        for (taken, left) in [(0, 250), (20, 230), (249, 1), (250, 1), (700, 1)] {
            let findings = Findings {
                taken,
                ..findings(0, 0, Peer::NoChannel)
            };
            assert_eq!(trial().judge(&findings), takes_part(left), "{taken}");
            let owner = Trial::new(Priority::OWNER).judge(&findings);
            assert_eq!(owner, Verdict::TakesPart(Priority::OWNER));
        }
    }

    #[test]
    fn a_handover_raises_it_to_254_and_trackers_take_from_that() {
        for (taken, left) in [(0, 254), (20, 234), (254, 1)] {
            let findings = Findings {
                taken,
                pinned: true,
                ..findings(0, 0, Peer::Faults(0))
            };
            assert_eq!(trial().judge(&findings), takes_part(left), "{taken}");
            let owner = Trial::new(Priority::OWNER).judge(&findings);
            assert_eq!(owner, Verdict::TakesPart(Priority::OWNER));
        }
    }

    #[test]
    fn a_node_on_maintenance_takes_part_for_want_of_another_one_only() {
        for peer in [Peer::NoChannel, Peer::Silent, Peer::Faults(0)] {
            let findings = Findings {
                pinned: true,
                maintenance: true,
                ..findings(0, 0, peer)
            };
            assert_eq!(trial().judge(&findings), takes_part(1), "{peer:?}");
        }
    }

    #[test]
    fn without_a_channel_a_fault_is_a_fault() {
        let verdict = trial().judge(&findings(0, 1, Peer::NoChannel));
        assert_eq!(verdict, Verdict::Fault);
    }

    #[test]
    fn it_goes_only_to_a_node_that_fewer_trackers_speak_against() {
        for (own, peer, verdict) in [
            (1, Peer::Faults(0), Verdict::Fault),
            (2, Peer::Faults(1), Verdict::Fault),
            (1, Peer::Faults(1), takes_part(BASE)),
            (1, Peer::Faults(2), takes_part(BASE)),
            (1, Peer::Unable, takes_part(BASE)),
            (0, Peer::Faults(0), takes_part(BASE)),
        ] {
            let mut trial = trial();
            let first = trial.judge(&findings(0, own, peer));
            assert_eq!(first, takes_part(BASE), "news take their time");
            let found = trial.judge(&findings(50, own, peer));
            assert_eq!(found, verdict, "{own} {peer:?}");
        }
    }

    #[test]
    fn while_the_other_is_silent_it_has_the_lowest_priority() {
        let verdict = trial().judge(&findings(0, 1, Peer::Silent));
        assert_eq!(verdict, takes_part(1));
        let verdict = trial().judge(&findings(0, 0, Peer::Silent));
        assert_eq!(verdict, takes_part(BASE));
    }

    #[test]
    fn what_both_nodes_are_about_to_see_moves_nothing() {
        let mut trial = trial();
        let mut judge = |millis, faults, peer| {
            trial.judge(&Findings {
                out_of_step: Duration::from_secs(1),
                ..findings(millis, faults, peer)
            })
        };
        assert_eq!(judge(0, 1, Peer::Faults(0)), takes_part(BASE));
        assert_eq!(judge(1099, 1, Peer::Faults(0)), takes_part(BASE));
        // The other one has found it, too; then it recovers first.
        assert_eq!(judge(1099, 1, Peer::Faults(1)), takes_part(BASE));
        assert_eq!(judge(1100, 1, Peer::Faults(0)), takes_part(BASE));
        assert_eq!(judge(2200, 1, Peer::Faults(0)), Verdict::Fault);
        assert_eq!(judge(2201, 0, Peer::Faults(0)), takes_part(BASE));
    }
}
