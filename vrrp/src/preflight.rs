//! Whether frames to a second hardware address come through to this machine: many hypervisors and some switches
//! deliver none, and a VIP at the address of its virtual router would be there for nobody. Pure.
//!
//! The other node is asked from an address that is nobody's, five times. It fails only when the other node was heard
//! after the last question and has answered none: a machine that was lost meanwhile says nothing of the network.

use std::time::Duration;

use common::board::MacPreflight;
use common::time::Moment;

/// Questions of one series, and the time between them.
const QUESTIONS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(100);
/// The other node must have been heard within this before the first one, and must be heard again within this after
/// the last one, else the series says nothing.
const PATIENCE: Duration = Duration::from_secs(4);
/// It may be another switch tomorrow.
const AGAIN: Duration = Duration::from_secs(60);
/// Somebody may be about to mend it.
const AGAIN_FAILED: Duration = Duration::from_secs(10);

/// What is known of the network.
#[derive(Debug)]
pub struct Preflight {
    verdict: MacPreflight,
    /// Questions of this series, none of them answered.
    asked: u32,
    last: Moment,
    next: Moment,
}

impl Preflight {
    /// Nothing was asked yet.
    pub fn new(now: Moment) -> Self {
        Self {
            verdict: MacPreflight::Unknown,
            asked: 0,
            last: now,
            next: now,
        }
    }

    /// An earlier process has found this.
    pub fn going_on(verdict: MacPreflight, now: Moment) -> Self {
        Self {
            verdict,
            ..Self::new(now)
        }
    }

    /// Whether to ask now. `heard` = when the other node was heard last.
    pub fn turn(&mut self, heard: Option<Moment>, now: Moment) -> bool {
        let is_heard = heard.is_some_and(|heard| now.since(heard) < PATIENCE);
        if now < self.next || (self.asked == 0 && !is_heard) {
            return false;
        }
        if self.asked < QUESTIONS {
            self.asked += 1;
            self.last = now;
            self.next = now + BETWEEN;
            return true;
        }
        if heard.is_some_and(|heard| heard > self.last) {
            self.end(MacPreflight::Failed, now + AGAIN_FAILED);
        } else if now.since(self.last) > PATIENCE {
            self.end(self.verdict, now);
        }
        false
    }

    /// An answer came, to the address that is nobody's.
    pub fn hear_answer(&mut self, now: Moment) {
        self.end(MacPreflight::Passed, now + AGAIN);
    }

    /// As far as it is known.
    pub const fn verdict(&self) -> MacPreflight {
        self.verdict
    }

    fn end(&mut self, verdict: MacPreflight, next: Moment) {
        self.verdict = verdict;
        self.asked = 0;
        self.next = next;
    }
}

/// The address that questions come from: that of the interface with two bits changed, so that it is locally
/// administered (IEEE 802, section 8.2) and no machine's.
pub const fn probe_mac(own: [u8; 6]) -> [u8; 6] {
    let [first, rest @ ..] = own;
    let [b, c, d, e, f] = rest;
    [(first | 0x02) ^ 0x04, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos((1000 + millis) * 1_000_000)
    }

    /// Turns each 10 ms from `from` to `to`; when it asked.
    fn turns(preflight: &mut Preflight, heard: Option<u64>, from: u64, to: u64) -> Vec<u64> {
        let turns = (from..to).step_by(10);
        turns
            .filter(|now| preflight.turn(heard.map(at), at(*now)))
            .collect()
    }

    #[test]
    fn an_answer_passes_it_and_it_is_asked_again_after_a_minute() {
        let mut preflight = Preflight::new(at(0));
        assert!(turns(&mut preflight, None, 0, 1000).is_empty());
        let mut preflight = Preflight::new(at(0));
        assert_eq!(turns(&mut preflight, Some(0), 0, 150), [0, 100]);
        preflight.hear_answer(at(150));
        assert_eq!(preflight.verdict(), MacPreflight::Passed);
        assert_eq!(turns(&mut preflight, Some(60_000), 150, 60_160), [60_150]);
    }

    #[test]
    fn five_questions_without_an_answer_fail_it_if_the_other_node_lives() {
        let mut preflight = Preflight::new(at(0));
        let asked = turns(&mut preflight, Some(390), 0, 600);
        assert_eq!(asked, [0, 100, 200, 300, 400]);
        assert_eq!(preflight.verdict(), MacPreflight::Unknown);
        assert!(turns(&mut preflight, Some(401), 600, 10_600).is_empty());
        assert_eq!(preflight.verdict(), MacPreflight::Failed);
        let heard = Some(10_500);
        assert_eq!(turns(&mut preflight, heard, 10_600, 10_610), [10_600]);
        preflight.hear_answer(at(10_620));
        assert_eq!(preflight.verdict(), MacPreflight::Passed);
    }

    #[test]
    fn a_machine_that_is_lost_meanwhile_says_nothing_of_the_network() {
        let mut preflight = Preflight::new(at(0));
        turns(&mut preflight, Some(100), 0, 10);
        preflight.hear_answer(at(10));
        let asked = turns(&mut preflight, Some(60_300), 10, 70_000);
        assert_eq!(asked.len(), 5, "{asked:?}");
        assert_eq!(preflight.verdict(), MacPreflight::Passed);
    }

    #[test]
    fn the_address_of_the_questions_is_nobodys_and_no_groups() {
        let own = [0x52, 0x54, 0, 0xab, 0, 1];
        assert_eq!(probe_mac(own), [0x56, 0x54, 0, 0xab, 0, 1]);
        for first in 0..=u8::MAX {
            let probe = probe_mac([first & 0xfe, 0, 0, 0, 0, 0])[0];
            assert_eq!(probe & 0x03, 0x02);
            assert_ne!(probe, first & 0xfe);
        }
    }
}
