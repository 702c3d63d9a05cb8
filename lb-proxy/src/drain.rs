//! A stop that lets sessions go on for a while: those that have nothing under way are closed one after another, those that
//! are left at its end are reset. A process that is replaced lets them go on for as long as they last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::time::Moment;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use crate::accepting::Generations;
use crate::census::Census;
use crate::clock;
use crate::control::Want;
use crate::rounds::ROUND;
use crate::threads::ticker;

/// The time of a drain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    began: Moment,
    /// In which sessions are closed: the last of them have a round to notice.
    closing: Duration,
}

impl Window {
    pub(crate) fn new(began: Moment, length: Duration) -> Self {
        let closing = length.saturating_sub(ROUND * 2).max(length / 2);
        Self { began, closing }
    }

    /// From when on the session at `place` of its registry is closed at a quiet moment. Evenly spread, so
    /// that not all clients come back at once.
    pub(crate) fn due(self, place: u32) -> Moment {
        // Multiples of the golden ratio are spread evenly, however many there are (Knuth, 6.4).
        let share = f64::from(place.wrapping_mul(0x9e37_79b9)) / f64::from(u32::MAX);
        self.began + self.closing.mul_f64(share)
    }
}

/// The end of a relay thread that accepts no more.
pub(crate) async fn come_to_an_end(
    generations: &mut Generations,
    mut accepting: JoinSet<()>,
    mut wants: watch::Receiver<Want>,
) {
    let retires = *wants.borrow() == Want::Retire;
    if retires && retire(generations, &mut accepting, &mut wants).await == Left::Nothing {
        return;
    }
    accepting.shutdown().await;
    let drain = match *wants.borrow() {
        Want::Stop { drain } => drain,
        Want::Serve | Want::Retire => None,
    };
    drain_sessions(generations, drain).await;
}

/// What a thread has that retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// They are to come to their end now.
    Sessions,
}

/// Lets sessions go on for as long as they last. Clients that accept loops hold back are served first.
async fn retire(
    generations: &mut Generations,
    accepting: &mut JoinSet<()>,
    wants: &mut watch::Receiver<Want>,
) -> Left {
    let thread = std::sync::Arc::clone(&generations.current);
    let mut ticker = ticker();
    let mut census = Census::default();
    loop {
        tokio::select! {
            biased;
            _ = ticker.tick() => {
                let now = clock::now();
                generations.tick(now);
                census.tick(&thread, now);
            }
            _ = wants.wait_for(|want| *want != Want::Retire) => return Left::Sessions,
            Some(_) = accepting.join_next() => {}
            () = thread.sessions.empty(), if accepting.is_empty() => break,
        }
    }
    generations.tick(clock::now());
    Left::Nothing
}

/// Lets the sessions of a thread go on for as long as the stop or else the configuration says, and resets what is
/// left then with the thread's runtime.
async fn drain_sessions(generations: &mut Generations, drain: Option<Duration>) {
    let now = clock::now();
    let thread = std::sync::Arc::clone(&generations.current);
    let limit = drain.unwrap_or(thread.proxy.config.proxy.drain);
    thread.proxy.board.drain.until.set(now + limit);
    thread.begin_drain(Window::new(now, limit));
    let mut ticker = ticker();
    let mut census = Census::default();
    let deadline = Instant::now() + limit;
    loop {
        tokio::select! {
            biased;
            _ = ticker.tick() => {
                let now = clock::now();
                generations.tick(now);
                census.tick(&thread, now);
            }
            () = thread.sessions.empty() => break,
            () = sleep_until(deadline) => break,
        }
    }
    generations.tick(clock::now());
    let left = thread.sessions.alive();
    if left > 0 {
        thread.proxy.board.drain_reset.add(left as u64);
        info!(
            thread = thread.index,
            left, "sessions are reset at the end of the drain"
        );
    }
}

/// Knows how many sessions of a thread are alive.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    alive: AtomicUsize,
    ended: Notify,
}

impl Tracker {
    /// Counts a session until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Entered(self)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Returns when no session is alive.
    pub(crate) async fn empty(&self) {
        loop {
            let ended = self.ended.notified();
            if self.alive() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// A session that is alive.
#[derive(Debug)]
pub(crate) struct Entered<'a>(&'a Tracker);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.0.alive.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_nanos(1_000_000_000);

    #[test]
    fn sessions_are_closed_all_over_the_time_and_the_last_in_time() {
        let window = Window::new(START, Duration::from_secs(30));
        let mut tenths = [0; 10];
        for place in 0..1_000 {
            let after = window.due(place).since(START);
            assert!(after <= Duration::from_secs(26), "{place}: {after:?}");
            tenths[(after.as_millis() / 2_601) as usize] += 1;
        }
        assert!(
            tenths.iter().all(|count| (95..=105).contains(count)),
            "{tenths:?}"
        );
    }

    #[test]
    fn a_short_drain_has_room_for_them_too() {
        let window = Window::new(START, Duration::from_secs(2));
        assert!((0..100).all(|place| window.due(place).since(START) <= Duration::from_secs(1)));
        assert_eq!(Window::new(START, Duration::ZERO).due(7), START);
    }
}
