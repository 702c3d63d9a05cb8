//! Whether a foreign machine answers for a VIP: a DHCP lease on it, a static address, a stale node. Pure.
//!
//! Whoever names a VIP as its own address claims it, by ARP or by neighbour discovery. The other node may, when it holds the VIP; and both may, for
//! a moment, when the VIP moves. Everybody else is a *rival*: named in status, and answered with an announcement while
//! this node holds the VIP, as RFC 5227, section 2.4, defends an address. Nothing else changes: who holds a VIP is
//! decided by the election, not by who claims it loudest.

use std::time::Duration;

use common::addr::Mac;
use common::time::Moment;

/// Both nodes may claim a VIP for so long when it moves: the longest lease, and what the kernel needs to end it.
const OVERLAP: Duration = Duration::from_secs(6);
/// Claims further apart than this are not of one series.
const SERIES: Duration = Duration::from_secs(60);
/// An address is not defended more often (RFC 5227 permits one defence in ten seconds for hosts that must give way
/// otherwise; a router that must not, one a second).
const DEFENCE: Duration = Duration::from_secs(1);

/// What is known when a claim is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who sent it; never this node.
    pub sender: Mac,
    pub at: Moment,
    /// The other node's hardware address, once it has answered.
    pub peer: Option<Mac>,
    /// This node holds the VIP.
    pub held: bool,
}

/// Who claims one VIP.
#[derive(Debug, Default)]
pub struct Rivals {
    /// The claimant of the last series, its first and its last claim.
    series: Option<(Mac, Moment, Moment)>,
    defended: Option<Moment>,
    /// A claim waits for its answer.
    unanswered: bool,
}

impl Rivals {
    /// One claim; says whether it is a rival's.
    pub fn hear(&mut self, claim: Claim) -> bool {
        let Claim { sender, at, .. } = claim;
        let is_peer = claim.peer.map(|peer| peer == sender);
        if is_peer == Some(true) && !claim.held {
            self.series = None;
            return false;
        }
        let first = match self.series {
            Some((mac, first, last)) if mac == sender && at.since(last) < SERIES => first,
            Some(_) | None => at,
        };
        self.series = Some((sender, first, at));
        // It may be the other node, from which the VIP has just come or to which it goes.
        let excused = is_peer != Some(false) && at.since(first) < OVERLAP;
        if excused {
            return false;
        }
        self.unanswered |= claim.held;
        true
    }

    /// Whether the VIP has to be announced now, which this node holds or not.
    pub fn defends(&mut self, held: bool, now: Moment) -> bool {
        let may = self.defended.is_none_or(|last| now.since(last) >= DEFENCE);
        if !(self.unanswered && may) {
            return false;
        }
        self.unanswered = false;
        if held {
            self.defended = Some(now);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const RIVAL: Mac = Mac([2, 0, 0, 0, 0, 9]);
    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1 + millis * 1_000_000)
    }

    fn claim(sender: Mac, millis: u64, held: bool) -> Claim {
        Claim {
            sender,
            at: at(millis),
            peer: Some(PEER),
            held,
        }
    }

    #[test]
    fn a_foreign_machine_is_a_rival_at_once_and_answered_once_a_second() {
        let mut rivals = Rivals::default();
        let mut defended = Vec::new();
        for millis in 0..2_500 {
            if [0, 10, 500, 1_200].contains(&millis) {
                assert!(rivals.hear(claim(RIVAL, millis, true)));
            }
            if rivals.defends(true, at(millis)) {
                defended.push(millis);
            }
        }
        // The claims at 10 and 500 ms are answered together, when it may be.
        assert_eq!(defended, [0, 1_000, 2_000]);
    }

    #[test]
    fn a_backup_names_a_rival_and_defends_nothing() {
        let mut rivals = Rivals::default();
        assert!(rivals.hear(claim(RIVAL, 0, false)));
        assert!(!rivals.defends(false, at(0)));
        // Nor does a node that has lost the VIP before it could answer.
        assert!(rivals.hear(claim(RIVAL, 1, true)));
        assert!(!rivals.defends(false, at(2)));
        assert!(!rivals.defends(true, at(3)));
    }

    #[test]
    fn the_other_node_may_claim_what_it_holds_and_both_in_the_overlap_of_a_move() {
        let mut rivals = Rivals::default();
        for millis in (0..60_000).step_by(1_000) {
            assert!(!rivals.hear(claim(PEER, millis, false)));
        }
        for millis in (60_000..66_000).step_by(100) {
            assert!(!rivals.hear(claim(PEER, millis, true)));
        }
        assert!(!rivals.defends(true, at(66_000)));
        assert!(rivals.hear(claim(PEER, 66_000, true)));
        assert!(rivals.defends(true, at(66_000)));
    }

    #[test]
    fn a_claimant_that_may_be_the_other_node_has_the_time_of_an_overlap() {
        let mut rivals = Rivals::default();
        let unknown = |millis| Claim {
            peer: None,
            ..claim(RIVAL, millis, true)
        };
        assert!(!rivals.hear(unknown(0)));
        assert!(!rivals.hear(unknown(5_999)));
        assert!(rivals.hear(unknown(6_000)));
        // A series that is over begins anew.
        assert!(!rivals.hear(unknown(70_000)));
    }
}
