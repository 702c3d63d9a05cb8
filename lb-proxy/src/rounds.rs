//! Now and then every session looks whether it has lasted too long: a few of them at each turn of the
//! thread's loop, so that thousands of idle ones hold up nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::time::Moment;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Each session's turn comes once in so long: limits of ten seconds and more are kept to within it.
pub(crate) const ROUND: Duration = Duration::from_secs(2);
/// Groups of sessions that have their turn one after another: about one at each tick of 10 ms.
const PARTS: u16 = 200;
const STEP: Duration = Duration::from_nanos(ROUND.as_nanos() as u64 / PARTS as u64);

/// The sessions of one thread that wait for their turn.
#[derive(Debug)]
pub(crate) struct Rounds {
    parts: Vec<Notify>,
    began: Moment,
    /// Steps since then whose part had its turn.
    done: AtomicU64,
}

impl Rounds {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            parts: std::iter::repeat_with(Notify::new)
                .take(PARTS.into())
                .collect(),
            began: now,
            done: AtomicU64::new(0),
        }
    }

    /// The next turn of the session at `place` of the registry.
    pub(crate) fn turn_of(&self, place: u32) -> Notified<'_> {
        self.parts[place as usize % self.parts.len()].notified()
    }

    /// Wakes the parts that are due. After a long pause that is everybody, once.
    pub(crate) fn turn(&self, now: Moment) {
        let due = now.since(self.began).as_nanos() / STEP.as_nanos();
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let done = self.done.swap(due, Ordering::Relaxed);
        for step in done.max(due.saturating_sub(PARTS.into()))..due {
            self.parts[(step % u64::from(PARTS)) as usize].notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const START: Moment = Moment::from_nanos(1_000_000_000);

    /// Which of so many sessions have their turn at `now`.
    fn woken(rounds: &Rounds, sessions: u32, now: Moment) -> Vec<u32> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> = (0..sessions)
            .map(|place| Box::pin(rounds.turn_of(place)))
            .collect();
        for one in &mut waiting {
            assert!(one.as_mut().poll(&mut cx).is_pending());
        }
        rounds.turn(now);
        let mut woken = Vec::new();
        for (place, mut one) in (0..).zip(waiting) {
            if pin!(one.as_mut()).poll(&mut cx).is_ready() {
                woken.push(place);
            }
        }
        woken
    }

    #[test]
    fn each_has_one_turn_in_a_round_and_few_have_it_together() {
        let rounds = Rounds::new(START);
        let mut all = Vec::new();
        for tick in 1..=200 {
            let now = START + Duration::from_millis(10) * tick;
            let part = woken(&rounds, 9_000, now);
            assert_eq!(part.len(), 45, "at tick {tick}");
            all.extend(part);
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..9_000));
    }

    #[test]
    fn a_late_tick_wakes_all_that_were_due_and_nobody_twice() {
        let rounds = Rounds::new(START);
        assert!(woken(&rounds, 400, START + STEP / 2).is_empty());
        assert_eq!(
            woken(&rounds, 400, START + STEP * 3),
            [0, 1, 2, 200, 201, 202]
        );
        assert_eq!(woken(&rounds, 400, START + ROUND * 5).len(), 400);
        assert!(woken(&rounds, 400, START + ROUND * 5).is_empty());
    }
}
