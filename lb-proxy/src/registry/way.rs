//! How far a session has come with a server: one atomic, so that a server that is taken away is taken
//! from a session that has it, or that is about to.

use std::sync::atomic::{AtomicU32, Ordering};

/// The place of a server on the board in the lower half, a [`Step`] or [`WITHDRAWN`] in the upper one;
/// 0 = none.
#[derive(Debug, Default)]
pub(super) struct Way(AtomicU32);

/// What a session has of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Connecting = 1,
    Reached = 2,
}

/// The server was taken away while the session was connecting to it.
const WITHDRAWN: u32 = 3 << 16;

impl Step {
    const fn at(self, place: u16) -> u32 {
        (self as u32) << 16 | place as u32
    }
}

impl Way {
    pub(super) fn server(&self) -> Option<usize> {
        let now = self.0.load(Ordering::Relaxed);
        match now & WITHDRAWN {
            0 | WITHDRAWN => None,
            _ => Some(place_of(now).into()),
        }
    }

    pub(super) fn go(&self, place: u16) {
        self.0.store(Step::Connecting.at(place), Ordering::Relaxed);
    }

    pub(super) fn turn_back(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether it is still to have the server that it has connected to.
    pub(super) fn arrive(&self) -> bool {
        let now = self.0.load(Ordering::Relaxed);
        let arrived = Step::Reached.at(place_of(now));
        now & WITHDRAWN != WITHDRAWN && self.replace(now, arrived)
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WITHDRAWN == WITHDRAWN
    }

    /// What it had of the server at a place; one that was connecting has it no more.
    pub(super) fn withdraw(&self, place: usize) -> Option<Step> {
        let place = u16::try_from(place).ok()?;
        let connecting = Step::Connecting.at(place);
        if self.replace(connecting, WITHDRAWN) {
            return Some(Step::Connecting);
        }
        let has = self.0.load(Ordering::Relaxed) == Step::Reached.at(place);
        has.then_some(Step::Reached)
    }

    fn replace(&self, old: u32, new: u32) -> bool {
        let done = self
            .0
            .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        done.is_ok()
    }
}

fn place_of(way: u32) -> u16 {
    (way & 0xffff) as u16
}
