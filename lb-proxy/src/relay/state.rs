//! What the two directions of a session and its limits know of each other, and how long it may last.
//! All in one task: the atomics are never contended.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use common::time::Moment;
use tokio::time::{Instant, sleep_until};

use super::{Close, End, Meter, Side};
use crate::connect::First;
use crate::drain::Window;
use crate::rounds::ROUND;

/// Limits from here on are kept to within [`ROUND`].
const LONG: Duration = Duration::from_secs(10);
/// A session that has moved nothing for so long has nothing under way.
const QUIET: Duration = Duration::from_secs(1);
/// A session that is too old and never quiet is ended after so long, and a tenth of its lifetime.
const GRACE: Duration = Duration::from_secs(5);
/// The coarse clock is at most this far behind.
const CLOCK_STEP: Duration = Duration::from_millis(10);

/// What a session's limits are looked at for.
#[derive(Debug, PartialEq, Eq)]
enum Wake {
    Round,
    /// One side has ended its direction, and the other has a limit for that.
    HalfClosed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    One,
    Both,
}

/// What they know.
pub(crate) struct State<'a> {
    pub(super) meter: &'a Meter<'a>,
    last_activity: AtomicU64,
    /// Sides that say nothing any more: [`CLIENT`], [`SERVER`].
    ended: AtomicU8,
    /// Sides for which bytes were read that they have not taken yet: [`CLIENT`], [`SERVER`].
    waiting: AtomicU8,
    /// Writes to the server: none, one, more.
    pub(super) wrote: AtomicU8,
    /// [`Settled`]
    pub(super) settled: AtomicU8,
}

/// Whether the session has lasted so long that it needs what short ones never do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Settled {
    Not = 0,
    /// What it needs is to be set.
    Due = 1,
    Done = 2,
}

impl<'a> State<'a> {
    pub(crate) fn new(meter: &'a Meter<'a>) -> Self {
        Self {
            meter,
            last_activity: AtomicU64::new(meter.thread.clock.read().as_nanos()),
            ended: AtomicU8::new(0),
            waiting: AtomicU8::new(0),
            wrote: AtomicU8::new(u8::from(meter.first == First::Us)),
            settled: AtomicU8::new(Settled::Not as u8),
        }
    }

    fn now(&self) -> Moment {
        self.meter.thread.clock.read()
    }

    pub(crate) fn touch(&self) {
        let now = self.now().as_nanos();
        self.last_activity.store(now, Ordering::Relaxed);
    }

    /// To be awaited by a direction that has moved much and has more. All sessions that have little to
    /// say go first, and of those that have much one goes on at a time, in turn: so one that says little
    /// waits for one step of them, however many they are.
    pub(crate) async fn others_first(&self) {
        self.meter.thread.bulk.wait().await;
    }

    /// This side says nothing any more.
    pub(crate) fn end_direction(&self, source: Side) -> Ended {
        match self.ended.fetch_or(bit(source), Ordering::Relaxed) {
            0 => Ended::One,
            _ => Ended::Both,
        }
    }

    /// Once one side has ended its direction: the other one, and how long that may say nothing, where
    /// it has a limit for that.
    fn half_closed(&self) -> Option<(Side, Duration)> {
        let Meter {
            thread,
            session,
            backend,
            ..
        } = self.meter;
        let config = &thread.proxy.config;
        match self.ended.load(Ordering::Relaxed) {
            CLIENT => {
                let limit = config.backends[backend.0].server_fin_timeout?;
                Some((Side::Server, limit))
            }
            SERVER => {
                let limit = config.listeners[session.listener()].client_fin_timeout?;
                Some((Side::Client, limit))
            }
            _ => None,
        }
    }

    /// To be held while this side does not take what it is to be sent.
    pub(crate) fn waiting(&self, side: Side) -> Waiting<'_> {
        let bit = bit(side);
        self.waiting.fetch_or(bit, Ordering::Relaxed);
        Waiting(&self.waiting, bit)
    }

    /// Who does not take what it is sent, if one of the two.
    fn stuck(&self) -> Option<Side> {
        match self.waiting.load(Ordering::Relaxed) {
            0 => None,
            SERVER => Some(Side::Server),
            _ => Some(Side::Client),
        }
    }

    /// Returns when nothing was moved for the idle limit, or when the session is older than its
    /// lifetime and nothing moves. Moving a byte costs no timer: what could have passed is looked at
    /// now and then.
    ///
    /// Long limits are looked at when the thread says so, which needs no timer of the session's own;
    /// short ones have one, in a box. To be polled after the directions, by the same task: so it sees at
    /// once that one of them has ended.
    pub(crate) async fn limits(&self) -> End {
        let began = self.now();
        let meter = self.meter;
        let shortest = meter.idle.into_iter().chain(meter.lifetime).min();
        if shortest.is_some_and(|shortest| shortest < LONG) {
            return Box::pin(self.exact_limits(began)).await;
        }
        loop {
            if self.round_or_half_closed().await == Wake::HalfClosed {
                return Box::pin(self.exact_limits(began)).await;
            }
            self.has_lasted();
            if let Err(end) = self.look(began) {
                return end;
            }
        }
    }

    async fn round_or_half_closed(&self) -> Wake {
        let Meter {
            thread, session, ..
        } = self.meter;
        let mut round = pin!(thread.rounds.turn_of(session.place()));
        poll_fn(|cx| match self.half_closed() {
            Some(_) => Poll::Ready(Wake::HalfClosed),
            None => round.as_mut().poll(cx).map(|()| Wake::Round),
        })
        .await
    }

    async fn exact_limits(&self, began: Moment) -> End {
        loop {
            let (next, was) = match self.look(began) {
                Ok(next) => (next.max(CLOCK_STEP), self.half_closed()),
                Err(end) => return end,
            };
            if self.now().since(began) >= ROUND {
                self.has_lasted();
            }
            // What else it is to look at comes once in a round.
            let next = next.min(ROUND);
            let mut over = pin!(sleep_until(Instant::now() + next));
            poll_fn(|cx| match self.half_closed() == was {
                true => over.as_mut().poll(cx),
                false => Poll::Ready(()),
            })
            .await;
        }
    }

    /// It has lasted a round. The direction from the server does what is due, when it is polled in the
    /// next one.
    fn has_lasted(&self) {
        if self.settled.load(Ordering::Relaxed) == Settled::Not as u8 {
            self.settled.store(Settled::Due as u8, Ordering::Relaxed);
        }
    }

    /// How long nothing can have passed its limit.
    ///
    /// # Errors
    ///
    /// How the session ends now.
    fn look(&self, began: Moment) -> Result<Duration, End> {
        let (meter, now) = (self.meter, self.now());
        let last = Moment::from_nanos(self.last_activity.load(Ordering::Relaxed));
        let (quiet, age) = (now.since(last), now.since(began));
        let mut next = Duration::MAX;
        let drained = |window: Window| now >= window.due(meter.session.place());
        if meter.thread.drain().is_some_and(drained) && quiet >= QUIET && self.stuck().is_none() {
            return Err(End::Drained);
        }
        let (stuck, half_closed) = (self.stuck(), self.half_closed());
        if let Some((side, limit)) = half_closed {
            if stuck.is_none() && quiet >= limit {
                return Err(End::HalfClosed(side));
            }
            next = if quiet < limit { limit - quiet } else { limit };
        }
        if let Some(limit) = meter
            .idle
            .filter(|_| half_closed.is_none() || stuck.is_some())
        {
            if quiet >= limit {
                return Err(stuck.map_or(End::Idle, End::Stuck));
            }
            next = next.min(limit - quiet);
        }
        if let Some(limit) = meter.lifetime {
            if age >= limit && quiet >= QUIET && stuck.is_none() {
                return Err(End::Old(Close::InOrder));
            }
            if age >= limit + limit / 10 + GRACE {
                return Err(End::Old(Close::Abort));
            }
            next = next.min(if age >= limit { QUIET } else { limit - age });
        }
        Ok(next)
    }
}

/// In [`State::ended`] and [`State::waiting`].
const CLIENT: u8 = 1;
const SERVER: u8 = 2;

const fn bit(side: Side) -> u8 {
    match side {
        Side::Client => CLIENT,
        Side::Server => SERVER,
    }
}

/// A direction has bytes that its target does not take.
pub(crate) struct Waiting<'a>(&'a AtomicU8, u8);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_and(!self.1, Ordering::Relaxed);
    }
}
