//! Planned moves of VIPs: one node asks the other one over the pair channel to take them. Pure.
//!
//! The node that is active asks ([`Giving`]): its request stands in each of its heartbeats until the
//! other one holds the VIPs, has refused, or the time is over. The other one ([`Taking`]) decides at the first
//! heartbeat that brings the request, and takes all of them or none; its answer stands in all its heartbeats
//! from then on. So neither a lost nor a repeated datagram matters. It installs the leases, announces and
//! advertises; the one that asked deletes its own when it hears that
//! ([`crate::router::VirtualRouter::handle_giving`]). Nothing of this is remembered on the node that
//! gave: while it takes longer than a heartbeat is on its way, both nodes serve.

use std::time::Duration;

use common::addr::Priority;
use common::board::{HandoverEnd, Refusal};
use common::time::Moment;

use crate::router::Cause;

/// What a node on maintenance is told to have down beside its trackers: more than any node can.
pub const MAINTENANCE_FAULTS: u8 = 128;
/// How long a request stands, and three heartbeats more.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a node asks the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Another one for each request; not 0.
    pub id: u64,
    /// Bit n: the VIP of the n-th record of the datagram.
    pub vips: u16,
    /// The VIPs are held against preemption.
    pub pins: bool,
    /// Also where it may go badly.
    pub forced: bool,
}

/// What the other one says to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Of the request.
    pub id: u64,
    /// Why not, and for which of the request's records.
    pub verdict: Result<(), (Refusal, u8)>,
}

/// The side that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Giving {
    request: Request,
    since: Moment,
    until: Moment,
    answer: Option<Result<(), (Refusal, u8)>>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub end: HandoverEnd,
    /// Why, and for which VIP, where it was refused.
    pub refusal: Option<(Refusal, u8)>,
    pub took: Duration,
}

impl Giving {
    /// Asks from `now` on.
    pub fn new(request: Request, heartbeat: Duration, now: Moment) -> Self {
        Self {
            request,
            since: now,
            until: now + PATIENCE + heartbeat * 3,
            answer: None,
        }
    }

    /// What each heartbeat carries meanwhile.
    pub fn request(&self) -> Request {
        self.request
    }

    /// An answer of the other node. That to an earlier request says nothing.
    pub fn handle_answer(&mut self, answer: Answer) {
        if answer.id == self.request.id {
            self.answer = Some(answer.verdict);
        }
    }

    /// Whether it has ended: `here` and `there` are the VIPs for which this node and the other one are active.
    pub fn poll(&self, (here, there): (u16, u16), now: Moment) -> Option<Ended> {
        let asked = self.request.vips;
        let (end, refusal) = match self.answer {
            _ if here & asked == 0 && there & asked == asked => (HandoverEnd::Done, None),
            Some(Err(refusal)) => (HandoverEnd::Refused, Some(refusal)),
            _ if now < self.until => return None,
            Some(Ok(())) => (HandoverEnd::NotTaken, None),
            None => (HandoverEnd::Unanswered, None),
        };
        Some(Ended {
            end,
            refusal,
            took: now.since(self.since),
        })
    }
}

/// The side that is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taking {
    answer: Option<Answer>,
}

impl Taking {
    /// A request in a heartbeat of the other node. `judge` is asked once for each request; true = the VIPs
    /// are to be taken now.
    pub fn handle_request(
        &mut self,
        request: &Request,
        judge: impl FnOnce() -> Result<(), (Refusal, u8)>,
    ) -> bool {
        if self.answer.is_some_and(|answer| answer.id == request.id) {
            return false;
        }
        let verdict = judge();
        self.answer = Some(Answer {
            id: request.id,
            verdict,
        });
        verdict.is_ok()
    }

    /// What each heartbeat carries from then on.
    pub fn answer(&self) -> Option<Answer> {
        self.answer
    }
}

/// What a node that is asked knows of itself, and of the one that asks, for VIPs that are elected as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Whether its router takes part in the election.
    pub takes_part: bool,
    /// Whether it can hold the VIPs.
    pub fitness: Result<(), &'a Cause>,
    pub maintenance: bool,
    /// This node's health byte, for sure; `None` = it has not probed all servers yet.
    pub health: Option<u8>,
    /// The other node's; `None` = it does not know.
    pub asker_health: Option<u8>,
    /// Whether it has looked at all its trackers.
    pub knows_trackers: bool,
    /// Trackers without a weight that are down.
    pub faults: u8,
    pub asker_faults: u8,
    /// With which it would hold them.
    pub priority: Priority,
    /// With which the other one would take them back, if it would.
    pub preempted_by: Option<Priority>,
}

impl Candidate<'_> {
    /// Whether it takes the VIPs.
    ///
    /// # Errors
    /// Why not: first what force does not help against.
    pub fn judge(&self, forced: bool) -> Result<(), Refusal> {
        if self.maintenance {
            return Err(Refusal::Maintenance);
        }
        self.fitness.map_err(|cause| cause.refusal())?;
        if !self.takes_part {
            return Err(Refusal::NotStarted);
        }
        if forced {
            return Ok(());
        }
        let health = self.health.ok_or(Refusal::Unprobed)?;
        let trouble = [
            (!self.knows_trackers, Refusal::TrackersUnknown),
            (
                self.asker_health.is_some_and(|theirs| health < theirs),
                Refusal::WorseHealth,
            ),
            (self.faults > self.asker_faults, Refusal::MoreTrackers),
            (
                self.preempted_by.is_some_and(|by| by >= self.priority),
                Refusal::LowPriority,
            ),
        ];
        let first = trouble.into_iter().find(|(is_so, _)| *is_so);
        first.map_or(Ok(()), |(_, refusal)| Err(refusal))
    }
}

impl Cause {
    /// What the other node is told of it.
    fn refusal(&self) -> Refusal {
        match self {
            Self::ProxyHung => Refusal::ProxyHung,
            Self::ProxyCrashLoop => Refusal::ProxyCrashLoop,
            Self::ProxyNotReady => Refusal::ProxyNotReady,
            Self::NoUsableServer => Refusal::NoUsableServer,
            Self::Interface(_) => Refusal::Interface,
            Self::LeaseRefused(_) => Refusal::LeaseRefused,
            Self::LeaseDisputed => Refusal::LeaseDisputed,
            Self::SupervisorGone => Refusal::SupervisorGone,
            Self::Tracker { .. } => Refusal::Tracker,
            Self::Together { cause, .. } => cause.refusal(),
        }
    }
}

#[cfg(test)]
mod tests;
