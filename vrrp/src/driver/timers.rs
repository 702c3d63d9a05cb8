//! When the loop has to turn, which router's timer may run then, and for how long the timers' clock stood still.

use std::time::Duration;

use common::board::VipState;
use common::time::Moment;

use super::forwarding::Forwarding;
use super::pair_link::PairLink;
use super::questions::Questions;
use super::{Driver, Queues, TURN};
use crate::clock::Clocks;

impl Driver {
    /// How long the machine was suspended since the last turn. The loop is late by as much, and a lease that it had then
    /// is as much older, whatever the timers' clock says.
    pub(super) fn note_suspension(&mut self, clocks: Clocks) -> Duration {
        let suspended = self.wake.suspended(clocks);
        if !suspended.is_zero() {
            let millis = u64::try_from(suspended.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(millis, "the machine was suspended");
            for group in &mut self.groups {
                group.router.handle_suspended(suspended);
            }
        }
        suspended
    }

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
            VipState::Backup => at.max(self.listen_until).max(self.starts_until()),
            VipState::Init | VipState::Active | VipState::Fault => at,
        })
    }

    /// Until then a node that has just started takes nothing for want of another one: a switch may let nothing through yet.
    fn starts_until(&self) -> Moment {
        let started = self.supervisor.header.started.get();
        let alone = started.filter(|_| self.board.peer.heard.get().is_none());
        alone.map_or(Moment::default(), |started| {
            started + self.config.startup_delay
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
