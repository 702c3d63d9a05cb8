//! Counts the sessions of a relay thread by age, once it accepts no more: what is left is to be seen.

use common::board::Ages;
use common::time::Moment;

use crate::context::Thread;

/// Sessions that are looked at in a tick, so that nobody waits for many.
const AT_ONCE: usize = 256;
/// Ticks from one count to the next: half a second.
const REST: usize = 50;

/// A count that goes on from tick to tick.
#[derive(Debug, Default)]
pub(crate) struct Census {
    next: usize,
    ages: Ages,
    /// Ticks until it begins anew.
    rest: usize,
}

impl Census {
    /// To be called with each tick.
    pub(crate) fn tick(&mut self, thread: &Thread, now: Moment) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let Self { next, ages, .. } = self;
        let registry = &thread.proxy.registries[thread.index];
        let more = registry.visit((*next, AT_ONCE), |one| ages.count(one.started, now));
        *next += AT_ONCE;
        if !more {
            thread.proxy.board.ages[thread.index].set(ages);
            *self = Self {
                rest: REST,
                ..Self::default()
            };
        }
    }
}
