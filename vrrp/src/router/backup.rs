//! What a Backup knows: who is Active, and when it will be taken for gone.

use std::net::IpAddr;
use std::time::Duration;

use common::addr::Priority;
use common::time::Moment;

use super::{Heard, Params};
use crate::timing::active_down_interval;

/// The state Backup (RFC 9568, section 6.4.2).
#[derive(Debug)]
pub(super) struct Backup {
    active_down_at: Moment,
    /// Active_Adver_Interval: that of the Active, not our own.
    interval: Duration,
    /// When the newest packet that moved the timer was received.
    heard_at: Moment,
    /// Until then an Active with a lower priority is left alone; `None` = there was none.
    preempt_at: Option<Moment>,
    /// The last one that was better or equal, and its priority.
    followed: Option<(IpAddr, u8)>,
    pub(super) why: Why,
}

/// Why the active-down timer will fire, if nothing else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Nobody was heard yet.
    Alone,
    /// This one falls silent.
    Silent { source: IpAddr, priority: u8 },
    /// This one falls silent. Until then it is left alone although its priority is lower: until
    /// preempt_delay has passed, or, if not `ready`, until this node knows itself.
    Lower {
        source: IpAddr,
        priority: u8,
        ready: bool,
    },
    /// This one resigned.
    Resigned { source: IpAddr },
    /// This one has a lower priority and is not listened to.
    Preempt { source: IpAddr, priority: u8 },
}

impl Backup {
    /// Backup from `now` on, with a whole active-down interval before it.
    pub(super) fn new(params: &Params, now: Moment) -> Self {
        let interval = params.advert_interval;
        Self {
            active_down_at: now + down(params, interval),
            interval,
            heard_at: now,
            preempt_at: None,
            followed: None,
            why: Why::Alone,
        }
    }

    /// Somebody is Active whose adverts have this interval.
    pub(super) fn expect(&mut self, params: &Params, interval: Duration, now: Moment) {
        self.interval = self.interval.max(interval);
        self.active_down_at = now + down(params, self.interval);
    }

    /// Backup of a sender that is better.
    pub(super) fn behind(params: &Params, heard: &Heard) -> Self {
        let mut backup = Self::new(params, heard.at);
        backup.follow(params, heard);
        backup
    }

    pub(super) const fn active_down_at(&self) -> Moment {
        self.active_down_at
    }

    /// A better (or equal) sender: its interval is learned, the timer starts anew.
    pub(super) fn follow(&mut self, params: &Params, heard: &Heard) {
        self.preempt_at = None;
        self.followed = Some((heard.source, heard.priority));
        self.listen(params, heard);
    }

    /// A lower sender, RFC 9568 section 6.4.2: with preemption it is not listened to, so that the
    /// timer fires; a preempt_delay, counted from the first such packet, postpones that. No delay for
    /// one that was better and has lowered itself since: it wants to be relieved. A node that does not
    /// know itself yet (`ready`) relieves nobody.
    pub(super) fn hear_lower(&mut self, (params, ready): (&Params, bool), heard: &Heard) {
        if !params.preempt {
            self.follow(params, heard);
            return;
        }
        let delay = if self.has_lowered_itself(heard) {
            Duration::ZERO
        } else {
            params.preempt_delay
        };
        let preempt_at = *self.preempt_at.get_or_insert(heard.at + delay);
        if ready && heard.at >= preempt_at {
            self.why = Why::Preempt {
                source: heard.source,
                priority: heard.priority,
            };
        } else {
            self.listen(params, heard);
            self.why = Why::Lower {
                source: heard.source,
                priority: heard.priority,
                ready,
            };
        }
    }

    fn has_lowered_itself(&self, heard: &Heard) -> bool {
        self.followed
            .is_some_and(|(source, priority)| source == heard.source && heard.priority < priority)
    }

    /// Our own priority is another one: the timer moves by as much as the active-down interval does.
    /// Nothing moves where the only other node has resigned: that leaves no skew time.
    pub(super) fn rerank(&mut self, params: &Params, before: Priority) {
        if let Why::Resigned { source } = self.why
            && params.sole_peer == Some(source)
        {
            return;
        }
        let now = down(params, self.interval);
        let before = active_down_interval((before, params.skew), self.interval, params.heartbeat);
        self.active_down_at = self.active_down_at + now - before;
    }

    /// A resignation: after the skew time the best Backup takes over. Of two nodes the other one is
    /// the best.
    pub(super) fn hear_resignation(&mut self, params: &Params, heard: &Heard) {
        if heard.at < self.heard_at {
            return;
        }
        let skew = match params.sole_peer {
            Some(peer) if peer == heard.source => Duration::ZERO,
            Some(_) | None => params.skew.time(params.priority, self.interval),
        };
        self.heard_at = heard.at;
        self.active_down_at = heard.at + skew;
        self.why = Why::Resigned {
            source: heard.source,
        };
    }

    fn listen(&mut self, params: &Params, heard: &Heard) {
        let down_at = heard.at + down(params, heard.interval);
        // Two sockets are read one after the other: an older packet may come later and must not
        // shorten the timer.
        if heard.at >= self.heard_at {
            self.heard_at = heard.at;
            self.interval = heard.interval;
            self.active_down_at = down_at;
        } else {
            self.active_down_at = self.active_down_at.max(down_at);
        }
        self.why = Why::Silent {
            source: heard.source,
            priority: heard.priority,
        };
    }
}

fn down(params: &Params, interval: Duration) -> Duration {
    active_down_interval((params.priority, params.skew), interval, params.heartbeat)
}
