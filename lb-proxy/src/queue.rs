//! Who waits for a free slot of a backend: the longest waiting is served first, and nobody waits
//! longer than the queue's timeout. Pure: the caller wakes, and tells the time.
//!
//! Every waiter leaves in exactly one way: [`Queue::release`] hands it a slot, [`Queue::expire`]
//! gives it up, or [`Queue::cancel`] takes it out because its client went away. All three are
//! O(log n), and so is [`Queue::push`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::time::Moment;

/// The waiters of one backend.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    /// In the order of arrival: tickets ascend.
    waiting: BTreeMap<Ticket, Moment>,
    /// Of their own order, since a reload may shorten the timeout.
    deadlines: BTreeSet<(Moment, Ticket)>,
    next: u64,
}

/// How many may wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most waiters at a time; 0 = nobody waits.
    pub(crate) length: usize,
    pub(crate) timeout: Duration,
}

/// A place in the queue; no two waiters of a queue ever have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// As many wait already as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("waiting for a free slot with {length} others")]
pub(crate) struct Full {
    length: usize,
}

impl Queue {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next: 0,
        }
    }

    /// Changes the limits; who waits already stays, with the deadline that it has.
    pub(crate) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Waiters now.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Joins the queue at its end.
    ///
    /// # Errors
    ///
    /// [`Full`] if as many wait as may. Who has waited too long counts until [`Self::expire`].
    pub(crate) fn push(&mut self, now: Moment) -> Result<Ticket, Full> {
        let length = self.len();
        if length >= self.limits.length {
            return Err(Full { length });
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        let deadline = now + self.limits.timeout;
        self.waiting.insert(ticket, deadline);
        self.deadlines.insert((deadline, ticket));
        Ok(ticket)
    }

    /// Hands a free slot to the waiter that came first. Its time may just be over: what it waited
    /// for is there.
    pub(crate) fn release(&mut self) -> Option<Ticket> {
        let (ticket, deadline) = self.waiting.pop_first()?;
        self.deadlines.remove(&(deadline, ticket));
        Some(ticket)
    }

    /// Gives up those whose time is over, the earliest deadline first. Whoever the iterator was not
    /// asked for stays.
    pub(crate) fn expire(&mut self, now: Moment) -> impl Iterator<Item = Ticket> {
        std::iter::from_fn(move || {
            let (deadline, ticket) = self.deadlines.first().copied()?;
            if deadline > now {
                return None;
            }
            self.deadlines.pop_first();
            self.waiting.remove(&ticket);
            Some(ticket)
        })
    }

    /// The earliest deadline: when to call [`Self::expire`] next.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a waiter out; `false` if it waits no longer. A waiter that goes away and finds itself
    /// released meanwhile holds a slot, which it must pass on by [`Self::release`].
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> bool {
        let Some(deadline) = self.waiting.remove(&ticket) else {
            return false;
        };
        self.deadlines.remove(&(deadline, ticket))
    }
}

#[cfg(test)]
mod tests;
