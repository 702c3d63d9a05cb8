//! What an Active knows: its lease, and when it speaks next.

use std::time::Duration;

use common::time::Moment;

use super::{HolderTimer, Params};
use crate::announce::Schedule;
use crate::timing::{active_down_interval, lease_lifetime};

/// Least time between two adverts that only answer another node's.
const ASSERT_GAP: Duration = Duration::from_millis(100);

/// Who has asked for a handover hears within this time that it is done, or not in time; and what it said before that
/// does not arrive later.
const RELIEF: Duration = Duration::from_secs(1);

/// A renewal that the kernel did not take is tried again after so long: the address is still there, and the kernel may only have
/// had no memory for its answer.
const AGAIN: Duration = Duration::from_millis(50);
/// After so many refusals in a row the kernel means it. All of them fit into what is left of the lease.
const REFUSALS: u32 = 3;

/// The state Active (RFC 9568, section 6.4.3).
#[derive(Debug)]
pub(super) struct Active {
    lease: Lease,
    lifetime: Duration,
    /// When it was asked for, or first asked for again: a renewal that came late does not move the next ones from the adverts.
    phase: Moment,
    /// Renewals in a row that the kernel did not take, and when the next one is due.
    refused: Option<(u32, Moment)>,
    interval: Duration,
    next_advert: Moment,
    /// When the lease is asked for again, if somebody deletes it over and over now.
    reinstall_at: Option<Moment>,
    /// One more advert, because a lower one was heard.
    assert_at: Option<Moment>,
    /// When the last such advert went out, or will.
    asserted_at: Moment,
    /// From the first announcement on.
    announcements: Option<Schedule>,
    /// Another node has asked for this: until then it may be better and is not heeded.
    relieving_until: Option<Moment>,
    /// The first advert waits for the lease.
    owes_first_advert: bool,
}

/// The address on the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    /// Asked for, the kernel has not answered.
    Asked(Moment),
    /// Installed or last renewed then.
    Held(Moment),
    /// The same, and asked for again.
    Renewing { since: Moment, asked: Moment },
}

impl Lease {
    const fn since(self) -> Moment {
        match self {
            Self::Asked(since) | Self::Held(since) | Self::Renewing { since, .. } => since,
        }
    }
}

impl Active {
    /// Active from `now` on; the first advert goes out now, by the caller.
    pub(super) fn new(params: &Params, now: Moment) -> Self {
        let interval = params.advert_interval;
        let down = active_down_interval((params.priority, params.skew), interval, params.heartbeat);
        Self {
            lease: Lease::Asked(now),
            lifetime: lease_lifetime(down),
            phase: now,
            refused: None,
            interval,
            next_advert: now + interval,
            reinstall_at: None,
            assert_at: None,
            asserted_at: now,
            announcements: None,
            relieving_until: None,
            owes_first_advert: false,
        }
    }

    /// The same because the other node has asked for it: the first advert goes out when the lease is there.
    pub(super) fn relieving(params: &Params, now: Moment) -> Self {
        Self {
            relieving_until: Some(now + RELIEF),
            owes_first_advert: true,
            ..Self::new(params, now)
        }
    }

    /// Whether a better node, heard at `at`, is only the one that has asked for this.
    pub(super) fn is_relieving(&self, at: Moment) -> bool {
        self.relieving_until.is_some_and(|until| at < until)
    }

    /// Whether the first advert is due now that the lease is there; true once.
    pub(super) const fn owes_first_advert(&mut self) -> bool {
        std::mem::replace(&mut self.owes_first_advert, false)
    }

    /// Lifetime of the lease, whole seconds.
    pub(super) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The kernel has the address, as far as we were told.
    pub(super) const fn is_leased(&self) -> bool {
        matches!(self.lease, Lease::Held(_) | Lease::Renewing { .. })
    }

    /// The kernel has dropped the address by itself, or will in a moment.
    pub(super) fn is_lapsed(&self, now: Moment) -> bool {
        now >= self.lapses_at()
    }

    /// The lease is asked for (again).
    pub(super) const fn ask(&mut self, now: Moment) {
        self.lease = Lease::Asked(now);
        self.phase = now;
        self.refused = None;
        self.reinstall_at = None;
    }

    /// It will be, not before `at`.
    pub(super) const fn ask_later(&mut self, at: Moment, now: Moment) {
        self.ask(now);
        self.reinstall_at = Some(at);
    }

    /// The kernel agreed. True if the address is new on the interface and has to be announced.
    pub(super) fn agree(&mut self, seed: u64, now: Moment) -> bool {
        match self.lease {
            Lease::Held(_) => false,
            Lease::Renewing { asked, .. } => {
                self.lease = Lease::Held(asked);
                self.refused = None;
                if asked >= self.phase + self.lifetime / 3 {
                    self.phase = asked;
                }
                false
            }
            Lease::Asked(since) => {
                self.lease = Lease::Held(since);
                self.announcements = Some(Schedule::new(now, seed));
                true
            }
        }
    }

    /// The lease is being renewed.
    pub(super) const fn renew(&mut self, now: Moment) {
        let since = self.lease.since();
        self.lease = Lease::Renewing { since, asked: now };
        if self.refused.is_none() {
            self.phase = now;
        }
    }

    /// The kernel did not agree. True if that was a renewal which is worth another try: the lease is as old as it was.
    pub(super) fn tries_again(&mut self, now: Moment) -> bool {
        let Lease::Renewing { since, .. } = self.lease else {
            return false;
        };
        self.lease = Lease::Held(since);
        let refusals = self.refused.map_or(1, |(before, _)| before + 1);
        self.refused = Some((refusals, now + AGAIN));
        refusals < REFUSALS
    }

    /// A third of the lease has passed, and the kernel is not being asked already.
    pub(super) fn wants_renewal(&self, now: Moment) -> bool {
        let third = self.phase + self.lifetime / 3;
        let from = self.refused.map_or(third, |(_, again)| again);
        matches!(self.lease, Lease::Held(_)) && now >= from
    }

    /// The clock stood still for so long.
    pub(super) fn grow_older(&mut self, time: Duration) {
        self.phase = self.phase - time;
        self.lease = match self.lease {
            Lease::Asked(since) => Lease::Asked(since - time),
            Lease::Held(since) => Lease::Held(since - time),
            Lease::Renewing { since, asked } => Lease::Renewing {
                since: since - time,
                asked: asked - time,
            },
        };
    }

    /// An advert of the grid is due: the grid goes on where it was, what was missed is missed.
    pub(super) fn advance(&mut self, now: Moment) {
        let missed = now.since(self.next_advert).as_nanos() / self.interval.as_nanos().max(1);
        let steps = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        self.next_advert = self.next_advert + self.interval.saturating_mul(steps);
        self.assert_at = self.assert_at.filter(|at| *at > now);
    }

    /// The advert of [`Self::assert`] goes out.
    pub(super) const fn asserted(&mut self) {
        self.assert_at = None;
    }

    /// A round of announcements goes out.
    pub(super) fn announced(&mut self, now: Moment) {
        if let Some(schedule) = &mut self.announcements {
            schedule.advance(now);
        }
    }

    /// Somebody lower spoke: one advert and one announcement, at most one in max(interval, 100 ms),
    /// and off the grid.
    pub(super) fn assert(&mut self, now: Moment) {
        if self.assert_at.is_none() {
            let at = self.answer_at(now);
            self.assert_at = Some(at);
        }
    }

    /// One advert off the grid in this turn, once the queue was read.
    pub(super) const fn speak(&mut self, now: Moment) {
        self.assert_at = Some(now);
    }

    /// Somebody resigned: the same, and the grid starts anew with it.
    pub(super) fn restart_grid(&mut self, now: Moment) {
        self.next_advert = self.answer_at(now).min(self.next_advert);
    }

    /// The first of what is due next.
    pub(super) fn next_timer(&self) -> (Moment, HolderTimer) {
        let mut first = (self.lapses_at(), HolderTimer::Lapsed);
        let announce_at = self.announcements.as_ref().map(Schedule::next_at);
        for (at, timer) in [
            (Some(self.next_advert), HolderTimer::Advert),
            (self.assert_at, HolderTimer::Assert),
            (self.renew_at(), HolderTimer::Renew),
            (self.reinstall_at, HolderTimer::Reinstall),
            (announce_at, HolderTimer::Announce),
        ] {
            if let Some(at) = at
                && at < first.0
            {
                first = (at, timer);
            }
        }
        first
    }

    fn lapses_at(&self) -> Moment {
        self.lease.since() + self.lifetime
    }

    /// Renewals go out before adverts, so that a dead node's lease ends a fixed time after its last
    /// advert. Only when adverts are too rare for that, the lease has a timer of its own. It still
    /// ends before the other node's active-down interval does: at most one interval and one
    /// lifetime after the last advert, and a lifetime is less than two intervals then.
    fn renew_at(&self) -> Option<Moment> {
        if !matches!(self.lease, Lease::Held(_)) {
            return None;
        }
        if let Some((_, again)) = self.refused {
            return Some(again);
        }
        let too_late = self.next_advert > self.phase + self.lifetime / 2;
        too_late.then(|| self.phase + self.lifetime / 3)
    }

    fn answer_at(&mut self, now: Moment) -> Moment {
        if self.asserted_at > now {
            return self.asserted_at;
        }
        let at = now.max(self.asserted_at + self.interval.max(ASSERT_GAP));
        self.asserted_at = at;
        if let Some(schedule) = &mut self.announcements {
            schedule.add(at);
        }
        at
    }
}
