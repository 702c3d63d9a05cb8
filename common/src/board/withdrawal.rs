//! Servers that were taken from their sessions: what a proxy says, so that those before it do the same.

use super::{Cell, MomentCell};
use crate::time::Moment;

/// When a server was taken from its sessions the last time. Since layout 16.
#[repr(C)]
#[derive(Debug, Default)]
pub struct WithdrawalSlot {
    at: MomentCell,
    /// Why, as the proxy numbers it.
    why: Cell,
}

impl WithdrawalSlot {
    /// It is taken from them now. Only the board's writer may call it.
    pub fn say(&self, why: u64, now: Moment) {
        self.why.set(why);
        self.at.set(now);
    }

    /// Why, if another proxy has said so later than this one, or than this one has heard of. From then on this one has.
    pub fn hear(&self, other: &Self) -> Option<u64> {
        let at = other.at.get()?;
        (Some(at) > self.at.get()).then(|| {
            let why = other.why.get();
            self.say(why, at);
            why
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_one_says_is_heard_once() {
        let (own, other) = (WithdrawalSlot::default(), WithdrawalSlot::default());
        assert_eq!(own.hear(&other), None);
        other.say(2, Moment::from_nanos(5));
        assert_eq!((own.hear(&other), own.hear(&other)), (Some(2), None));
        own.say(1, Moment::from_nanos(7));
        other.say(2, Moment::from_nanos(6));
        assert_eq!(own.hear(&other), None);
        other.say(3, Moment::from_nanos(8));
        assert_eq!(own.hear(&other), Some(3));
    }
}
