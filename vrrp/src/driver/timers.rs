//! When the loop has to turn, and which router's timer may run then.

use common::board::VipState;
use common::time::Moment;

use super::forwarding::Forwarding;
use super::pair_link::PairLink;
use super::questions::Questions;
use super::{Driver, Queues, TURN};

impl Driver {
    /// Lets a router's timer run, unless something that arrived before its time is still unread.
    pub(super) fn run_timer(&mut self, group: usize, now: Moment, queues: Queues) {
        if let Some(at) = self.timer_due(group)
            && at <= now
            && queues.are_read_until(at)
        {
            self.groups[group].router.handle_timeout(now);
            self.perform(group, now);
        }
    }

    /// When a router's timer may run. After a pause of the whole machine the queue may be empty although the other node
    /// lives, since what waited for it outside comes later than the loop wakes.
    fn timer_due(&self, group: usize) -> Option<Moment> {
        let router = &self.groups[group].router;
        let (at, _) = router.poll_timeout()?;
        Some(match router.state() {
            VipState::Backup => at.max(self.listen_until),
            VipState::Init | VipState::Active | VipState::Fault => at,
        })
    }

    /// When the next turn is due.
    pub(super) fn next_due(&self, now: Moment) -> Moment {
        (0..self.groups.len())
            .filter_map(|group| self.timer_due(group))
            .chain(self.pair.as_ref().map(PairLink::due))
            .chain(self.trackers.due())
            .chain(
                [
                    self.questions.as_ref().and_then(Questions::due),
                    self.forwarding.as_ref().and_then(Forwarding::due),
                ]
                .into_iter()
                .flatten()
                .filter(|due| *due > now),
            )
            .fold(now + TURN, Moment::min)
    }
}
