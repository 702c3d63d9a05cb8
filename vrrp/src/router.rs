//! The virtual router: who should hold a VIP, decided from what was heard and when (RFC 9568,
//! section 6.4).
//!
//! Pure. The driver calls `handle_*` for what happened, then takes every [`Action`] from
//! [`VirtualRouter::poll_action`] and performs it in that order, then asks
//! [`VirtualRouter::poll_timeout`] when to call [`VirtualRouter::handle_timeout`].

mod active;
mod backup;
mod cause;
mod relief;
mod succession;
mod transition;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use common::addr::{Priority, Vrid};
use common::board::VipState;
use common::time::Moment;

pub use self::cause::Cause;
use crate::timing::Skew;

/// What a router is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    pub vrid: Vrid,
    pub priority: Priority,
    pub advert_interval: Duration,
    pub skew: Skew,
    pub preempt: bool,
    pub preempt_delay: Duration,
    /// This node's address on the VIP's interface: adverts' source, and the tie-break.
    pub own: IpAddr,
    /// The other node, if the configuration names exactly one: its resignation needs no skew time
    /// (this node is the only one who could take over, so there is nothing to arbitrate).
    pub sole_peer: Option<IpAddr>,
    /// Interval of the pair channel's heartbeats if the channel is on: the active-down interval is
    /// never below three.
    pub heartbeat: Option<Duration>,
}

/// An advert, or a heartbeat of the pair channel that counts as one, that passed every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub source: IpAddr,
    /// 0 = the sender resigns.
    pub priority: u8,
    /// The sender's advert interval.
    pub interval: Duration,
    pub via: Via,
    /// When the kernel received it.
    pub at: Moment,
}

/// How a node was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Advert,
    Heartbeat,
}

/// What the driver has to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send one advert with this priority (0 = resign).
    Advertise { priority: u8 },
    /// Install the lease with this lifetime (whole seconds).
    InstallLease { lifetime: Duration },
    /// Renew it.
    RenewLease { lifetime: Duration },
    /// Delete it.
    RemoveLease,
    /// Send one round of announcements: gratuitous ARP in both forms, or a neighbour advertisement.
    Announce,
    /// The state changed.
    Changed {
        from: VipState,
        to: VipState,
        reason: String,
    },
}

/// One virtual router. Before [`VirtualRouter::handle_start`] and after
/// [`VirtualRouter::handle_stop`] it is in Init.
///
/// The driver's part of the bargain:
/// - It reads its sockets empty, then calls [`VirtualRouter::handle_timeout`] if the time of
///   [`VirtualRouter::poll_timeout`] has come, in the same turn: what is heard makes nobody Active
///   and sends no ordinary advert by itself, it only sets times, so that the newest packet decides
///   after a stall.
/// - It performs every [`Action`] before it calls the next `handle_*`, with one exception: the
///   outcome of [`Action::InstallLease`] and [`Action::RenewLease`] is told by
///   [`VirtualRouter::handle_lease_result`] before the next action is taken.
#[derive(Debug)]
pub struct VirtualRouter {
    /// With the priority that counts now.
    params: Params,
    /// Whether it may take a VIP from somebody who serves.
    ready: bool,
    /// Whether the other node was asked to take the VIP.
    gives: bool,
    /// Whether the other node could not take it.
    peer_unable: bool,
    /// Whether the VIP came by a handover and is kept.
    pinned: bool,
    state: State,
    reason: String,
    /// Interval of the adverts that an earlier process of this node has heard, until this one is Backup.
    expected: Option<Duration>,
    /// What [`VirtualRouter::handle_fitness`] said last.
    fitness: Result<(), Cause>,
    actions: VecDeque<Action>,
    /// Who resigned last, and when.
    resigned: Option<(IpAddr, Moment)>,
    /// The last three times that somebody deleted the address, newest first.
    removals: [Option<Moment>; 3],
}

/// What the router is, with what only that state knows.
#[derive(Debug)]
enum State {
    Init,
    Backup(backup::Backup),
    Active(active::Active),
    /// Init with a cause.
    Fault {
        /// Not before; `None` = as soon as the node is fit.
        until: Option<Moment>,
    },
}

/// What happened.
#[derive(Debug)]
enum Event {
    Start,
    Stop,
    Heard(Standing, Heard),
    Fit,
    Unfit(Cause),
    /// The priority is another one.
    Reranked {
        before: Priority,
    },
    Lease(LeaseNews),
    Timer(Timer),
    /// The other node has not been heard for so long, and does not answer.
    Silent(Duration),
    /// The other node asks for it; with the priority to advertise, if it is another one.
    Take(Option<Priority>),
    /// An earlier process of this node has left the VIP to this one.
    GoOn {
        priority: Priority,
        pinned: bool,
    },
}

/// What the kernel says about the address.
#[derive(Debug)]
enum LeaseNews {
    Held,
    Refused(String),
    Removed,
}

/// A sender compared with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Priority 0.
    Resigned,
    Lower,
    /// Same priority, lower address.
    EqualLower,
    /// Same priority, higher address.
    EqualHigher,
    Higher,
}

/// A time that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// Of a Backup.
    ActiveDown,
    Holder(HolderTimer),
    /// Of a Fault.
    HoldDown,
}

/// A time that has come for an Active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HolderTimer {
    Lapsed,
    Advert,
    Assert,
    Renew,
    Reinstall,
    Announce,
}

impl Timer {
    const fn word(self) -> &'static str {
        match self {
            Self::ActiveDown => "active_down",
            Self::Holder(HolderTimer::Lapsed) => "lease_lapsed",
            Self::Holder(HolderTimer::Advert) => "advert",
            Self::Holder(HolderTimer::Assert) => "assert",
            Self::Holder(HolderTimer::Renew) => "renew",
            Self::Holder(HolderTimer::Reinstall) => "reinstall",
            Self::Holder(HolderTimer::Announce) => "announce",
            Self::HoldDown => "hold_down",
        }
    }
}

/// A heartbeat that was sent before a resignation may be read after it, from another socket: within
/// this time of the resignation it says nothing.
const REORDER: Duration = Duration::from_millis(5);

impl VirtualRouter {
    /// A router in Init. An owner of the address preempts always, and at once (RFC 9568, section 6.1,
    /// Preempt_Mode).
    pub fn new(params: Params) -> Self {
        let params = if params.priority == Priority::OWNER {
            Params {
                preempt: true,
                preempt_delay: Duration::ZERO,
                ..params
            }
        } else {
            params
        };
        Self {
            params,
            ready: true,
            gives: false,
            peer_unable: false,
            pinned: false,
            state: State::Init,
            reason: "not started".to_owned(),
            expected: None,
            fitness: Ok(()),
            actions: VecDeque::with_capacity(16),
            resigned: None,
            removals: [None; 3],
        }
    }

    /// Takes part from now on (RFC 9568, section 6.4.1); in Fault if the node is not fit.
    pub fn handle_start(&mut self, now: Moment) {
        self.step(Event::Start, now);
    }

    /// Takes no part any more: an Active gives the VIP up and resigns.
    pub fn handle_stop(&mut self, now: Moment) {
        self.step(Event::Stop, now);
    }

    /// An advert of another node that passed every check, or a heartbeat in which the other node
    /// says that it is Active for this VIP, or, with priority 0, that it is so no more (no other
    /// heartbeat may be fed in).
    pub fn handle_heard(&mut self, heard: Heard, now: Moment) {
        let heard = Heard {
            at: heard.at.min(now),
            ..heard
        };
        if heard.via == Via::Heartbeat {
            // Nobody else can send one. The file need not know this address.
            self.params.sole_peer = Some(heard.source);
        }
        if self.is_older_than_resignation(&heard) {
            return;
        }
        let standing = self.standing(&heard);
        if standing == Standing::Resigned {
            self.resigned = Some((heard.source, heard.at));
        }
        self.step(Event::Heard(standing, heard), now);
    }

    /// This node's address on the VIP's interface is another one now.
    pub fn handle_own_address(&mut self, own: IpAddr) {
        self.params.own = own;
    }

    /// Whether the node can hold the VIP; may be told at every turn.
    pub fn handle_fitness(&mut self, fitness: Result<(), Cause>, now: Moment) {
        self.fitness = fitness.clone();
        let event = match fitness {
            Ok(()) => Event::Fit,
            Err(cause) => Event::Unfit(cause),
        };
        self.step(event, now);
    }

    /// The priority that counts from now on. An Active says it at once, a Backup's timer moves by as
    /// much as its active-down interval does. That of an owner stays.
    pub fn handle_priority(&mut self, priority: Priority, now: Moment) {
        let before = self.params.priority;
        if priority == before || before == Priority::OWNER {
            return;
        }
        self.params.priority = priority;
        self.step(Event::Reranked { before }, now);
    }

    /// Whether the other node cannot hold the VIP: it has stopped, is in Fault, or its machine is dead. An Active keeps
    /// the VIP then as long as its kernel can serve: connections wait for whoever accepts them, and over there they
    /// would be refused. False unless it is told otherwise.
    pub fn handle_peer_unable(&mut self, unable: bool) {
        self.peer_unable = unable;
    }

    /// Whether the node knows enough of itself to take a VIP from a node that serves; until it does, it
    /// leaves one with a lower priority alone. True unless it is told otherwise.
    pub fn handle_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    /// The kernel's answer to [`Action::InstallLease`] or [`Action::RenewLease`].
    pub fn handle_lease_result(&mut self, result: Result<(), String>, now: Moment) {
        let news = match result {
            Ok(()) => LeaseNews::Held,
            Err(why) => LeaseNews::Refused(why),
        };
        self.step(Event::Lease(news), now);
    }

    /// The address disappeared from the interface, and not because of [`Action::RemoveLease`].
    pub fn handle_lease_removed(&mut self, now: Moment) {
        self.step(Event::Lease(LeaseNews::Removed), now);
    }

    /// The machine of the only other node has not been heard for so long, and its kernel does not answer: a Backup
    /// waits no longer.
    pub fn handle_silence(&mut self, unheard: Duration, now: Moment) {
        self.step(Event::Silent(unheard), now);
    }

    /// The machine was suspended for so long, and the clock with it: an Active's lease is as much older. One that would
    /// have lapsed has, so that the node comes back as Backup with the next that it is told.
    pub fn handle_suspended(&mut self, time: Duration) {
        if let State::Active(active) = &mut self.state {
            active.grow_older(time);
        }
    }

    /// The time of [`VirtualRouter::poll_timeout`] has come. Harmless when called early.
    pub fn handle_timeout(&mut self, now: Moment) {
        // Every timer that fires moves beyond `now` or ends with its state, so this ends.
        while let Some((at, timer)) = self.next_timer()
            && at <= now
        {
            self.step(Event::Timer(timer), now);
        }
    }

    /// The next thing to do; in this order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`VirtualRouter::handle_timeout`], and what for (for a trace).
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.next_timer().map(|(at, timer)| (at, timer.word()))
    }

    /// State by RFC 9568, section 6.4.
    pub fn state(&self) -> VipState {
        match self.state {
            State::Init => VipState::Init,
            State::Backup(_) => VipState::Backup,
            State::Active(_) => VipState::Active,
            State::Fault { .. } => VipState::Fault,
        }
    }

    /// Priority that is advertised, or would be.
    pub fn priority(&self) -> Priority {
        self.params.priority
    }

    /// What its skew time is a share of.
    pub fn skew(&self) -> Skew {
        self.params.skew
    }

    /// When somebody resigned last.
    pub fn resigned_at(&self) -> Option<Moment> {
        self.resigned.map(|(_, at)| at)
    }

    /// Why it is in this state, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn is_older_than_resignation(&self, heard: &Heard) -> bool {
        self.resigned.is_some_and(|(source, at)| {
            let says_nothing_until = match heard.via {
                Via::Advert => at,
                Via::Heartbeat => at + REORDER,
            };
            heard.priority != 0 && source == heard.source && heard.at < says_nothing_until
        })
    }

    /// RFC 9568, section 6.4.3: the address decides between equals, over IPv6 the link-local one that
    /// adverts come from.
    fn standing(&self, heard: &Heard) -> Standing {
        use std::cmp::Ordering::{Equal, Greater, Less};
        if heard.priority == 0 {
            return Standing::Resigned;
        }
        let own = self.params.own;
        // Of VIPs that move together the first one's addresses decide: another family's may say the
        // opposite, and then both nodes would leave.
        let by_address = if heard.source.is_ipv4() == own.is_ipv4() {
            heard.source.cmp(&own)
        } else {
            Less
        };
        match (
            heard.priority.cmp(&self.params.priority.value()),
            by_address,
        ) {
            (Less, Less | Equal | Greater) => Standing::Lower,
            (Equal, Less | Equal) => Standing::EqualLower,
            (Equal, Greater) => Standing::EqualHigher,
            (Greater, Less | Equal | Greater) => Standing::Higher,
        }
    }

    fn next_timer(&self) -> Option<(Moment, Timer)> {
        match &self.state {
            State::Init => None,
            State::Backup(backup) => Some((backup.active_down_at(), Timer::ActiveDown)),
            State::Active(active) => {
                let (at, timer) = active.next_timer();
                Some((at, Timer::Holder(timer)))
            }
            State::Fault { until } => until.map(|at| (at, Timer::HoldDown)),
        }
    }
}

#[cfg(test)]
mod tests;
