//! Which signed adverts are new. The rules and their reasons stand in [`super`].

use std::time::Duration;

use common::addr::{Family, Vrid};
use common::time::Moment;

use super::Stamp;

/// What the sender's heartbeat said of its clock counts for so long.
const TOLD: Duration = Duration::from_secs(10);
/// An advert may be older or younger by this, or by three intervals.
const WINDOW: Duration = Duration::from_secs(5);

/// What the receiver knows of the time.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    pub now: Moment,
    /// Time since 1970; `None` = the clock is not known to be right.
    pub wall: Option<Duration>,
}

/// The sender's clock, as a heartbeat told it.
#[derive(Debug, Clone, Copy)]
struct Told {
    stamp: Stamp,
    at: Moment,
}

/// What was heard of the one other sender that has the key.
#[derive(Debug)]
pub struct Fresh {
    /// By family and VRID: adverts of the two families come by two sockets, which are read one after
    /// the other.
    newest: Box<[[Stamp; 256]; 2]>,
    told: Option<Told>,
}

impl Default for Fresh {
    fn default() -> Self {
        Self {
            newest: Box::new([[Stamp::default(); 256]; 2]),
            told: None,
        }
    }
}

impl Fresh {
    /// A heartbeat said what the sender would stamp an advert with.
    pub fn tell(&mut self, stamp: Stamp, at: Moment) {
        if self.told.is_some_and(|told| stamp < told.stamp) {
            // Its clock was set back, and it has signed nothing before that: what it signs now is new.
            let before = stamp.before();
            let newest = self.newest.as_flattened_mut().iter_mut();
            newest.for_each(|newest| *newest = before.min(*newest));
        }
        self.told = Some(Told { stamp, at });
    }

    /// The sender has started anew, as a heartbeat proves: its clock may be another one. It signs with `next` or later,
    /// so what was recorded before is not new; `None` = it does not sign.
    pub fn restart(&mut self, next: Option<Stamp>) {
        let before = next.map(Stamp::before).unwrap_or_default();
        self.newest.fill([before; 256]);
        self.told = None;
    }

    /// Whether an advert of this interval was signed now, give or take.
    pub fn is_of_now(&self, stamp: Stamp, interval: Duration, sight: Sight) -> bool {
        let told = self.told.map(|told| (told, sight.now.since(told.at)));
        let sender = match told {
            Some((told, age)) if age <= TOLD => Some(told.stamp.wall() + age),
            Some(_) | None => sight.wall,
        };
        sender.is_none_or(|sender| stamp.wall().abs_diff(sender) <= WINDOW.max(interval * 3))
    }

    /// Whether an authentic advert is newer than those before it; then it is the newest.
    pub fn admit(&mut self, (family, vrid): (Family, Vrid), stamp: Stamp) -> bool {
        let newest = &mut self.newest[family as usize][usize::from(vrid.value())];
        let rises = stamp > *newest;
        if rises {
            *newest = stamp;
        }
        rises
    }
}
