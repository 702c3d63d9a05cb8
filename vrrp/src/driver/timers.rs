//! When the loop has to turn, which router's timer may run then, and for how long the timers' clock stood still.

use std::time::Duration;

use common::board::VipState;
use common::time::Moment;

use super::forwarding::Forwarding;
use super::pair_link::PairLink;
use super::questions::Questions;
use super::{Driver, Queues, TURN};
use crate::clock::Clocks;

impl Queues {
    /// Whether a timer of `at` may run: its time has come, and nothing that arrived before it is still unread.
    fn let_run(self, at: Moment, now: Moment) -> bool {
        at <= now && self.are_read_until(at)
    }
}

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
        if self
            .timer_due(group)
            .is_some_and(|at| queues.let_run(at, now))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_runs_when_its_time_has_come_and_what_arrived_before_it_was_read() {
        let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
        let read_until = |millis: u64| Queues {
            read_until: Some(at(millis)),
            failed: false,
        };
        let empty = Queues::default();
        assert!(!empty.let_run(at(100), at(99)));
        assert!(empty.let_run(at(100), at(100)));
        // A turn reads so much and no more: what is left may be older than the timer.
        assert!(!read_until(99).let_run(at(100), at(130)));
        assert!(read_until(100).let_run(at(100), at(130)));
        assert!(read_until(120).let_run(at(100), at(130)));
        assert!(!read_until(120).let_run(at(140), at(130)));
        // Of several queues the one that was read least decides.
        let mut both = read_until(120);
        both.add(read_until(99));
        both.add(empty);
        assert!(!both.let_run(at(100), at(130)));
    }
}
