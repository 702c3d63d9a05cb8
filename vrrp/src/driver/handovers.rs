//! Planned moves in the loop: what an administrator wants, what the other node asks, a node on maintenance that holds
//! VIPs, and one that stops.

use std::time::Duration;

use common::addr::Priority;
use common::board::{HandoverEnd, HandoverResult, HandoverWish, Refusal, VipState};
use common::config::MAX_VIPS;
use common::time::Moment;

use super::judging::own_health;
use super::places::{Places, Units};
use super::{Driver, Queues};
use crate::handover::{Answer, Candidate, Ended, Giving, Request, Taking};
use crate::pair::{Handover, Summary};
use crate::tracking::Findings;

/// An older wish is none any more: whoever had it has been answered, or has gone.
const WISH: Duration = Duration::from_secs(1);
/// How long a node that has given its VIPs for maintenance waits for admin to say that it is so.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// How long a node that stops waits for the other one to take its VIPs: a few heartbeats may be lost. It serves meanwhile.
const STEP_DOWN: Duration = Duration::from_millis(50);
/// How often a node on maintenance asks the other one again.
const RETRY: Duration = Duration::from_secs(1);

/// Planned moves.
#[derive(Debug, Default)]
pub(super) struct Moves {
    giving: Option<(Giving, Purpose)>,
    taking: Taking,
    /// Of the last request; the first one is drawn.
    request_id: u64,
    /// Of the last wish that was looked at.
    wish_id: u64,
    /// On maintenance until then, if admin does not say otherwise before.
    confirm_until: Option<Moment>,
    /// A node on maintenance does not ask before.
    retry_at: Moment,
    /// A node that stops waits no longer.
    step_down_until: Option<Moment>,
}

/// Who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Wish(HandoverWish),
    /// The node is on maintenance, and the other one could not take the VIPs before.
    Maintenance,
    /// The node stops.
    Stop,
}

/// What the last heartbeat said of handovers.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeardHandover {
    handover: Handover,
    /// The sender's VIPs by their places here.
    places: [Option<usize>; MAX_VIPS],
}

impl HeardHandover {
    pub(super) fn of(summary: &Summary, units: &Units) -> Self {
        let mut places = [None; MAX_VIPS];
        for (place, record) in places.iter_mut().zip(summary.records()) {
            *place = record.as_ref().and_then(|record| {
                let router = (record.family, record.vrid);
                units.position(|unit| unit.router_id() == router)
            });
        }
        Self {
            handover: summary.handover,
            places,
        }
    }
}

impl Moves {
    /// `seed` is random; `last_wish` is what an earlier process has answered.
    pub(super) fn new(seed: u64, last_wish: u64) -> Self {
        Self {
            request_id: seed,
            wish_id: last_wish,
            ..Self::default()
        }
    }

    /// What a heartbeat says of it, which has a record for each of `all` VIPs.
    pub(super) fn told(&self, maintenance: bool, all: Places) -> Handover {
        let request = self.giving.as_ref().map(|(giving, _)| giving.request());
        Handover {
            is_understood: true,
            maintenance,
            request: request.map(|request| Request {
                vips: Places::from(request.vips).numbered(all),
                ..request
            }),
            answer: self.taking.answer(),
        }
    }

    fn next_id(&mut self) -> u64 {
        self.request_id = self.request_id.wrapping_add(1).max(1);
        self.request_id
    }
}

impl Driver {
    /// Whether this node is on maintenance.
    pub(super) fn on_maintenance(&self, now: Moment) -> bool {
        let pending = self.moves.confirm_until.is_some_and(|until| now < until);
        pending || self.admin.maintenance.get(now).is_some()
    }

    /// Goes on with planned moves, once everything was read that has arrived.
    pub(super) fn move_vips(&mut self, now: Moment, queues: Queues) {
        if !queues.are_read_until(now) {
            return;
        }
        if let Some(heard) = self.pair.as_mut().and_then(|pair| pair.handover.take()) {
            self.hear_handover(&heard, now);
        }
        self.look_at_wish(now);
        self.leave_for_maintenance(now);
        self.end_giving(now);
    }

    fn hear_handover(&mut self, heard: &HeardHandover, now: Moment) {
        if let Some(answer) = heard.handover.answer
            && let Some((giving, _)) = &mut self.moves.giving
        {
            let all = self.units.places();
            let place = |number: u8| all.nth(number).and_then(|place| u8::try_from(place).ok());
            giving.handle_answer(Answer {
                verdict: answer
                    .verdict
                    .map_err(|(refusal, number)| (refusal, place(number).unwrap_or(u8::MAX))),
                ..answer
            });
        }
        let Some(request) = heard.handover.request else {
            return;
        };
        let mut taking = std::mem::take(&mut self.moves.taking);
        let known = taking.answer();
        let takes = taking.handle_request(&request, || self.judge_request(&request, heard, now));
        let answer = taking.answer();
        self.moves.taking = taking;
        if answer == known {
            return;
        }
        self.heartbeat_at_once = true;
        if takes {
            self.board.handovers_taken.add(1);
            self.take(&request, heard, now);
        } else if let Some(Err((refusal, _))) = answer.map(|answer| answer.verdict) {
            self.board.handovers_declined.add(1);
            let reason = refusal.word();
            tracing::info!(reason, "the other node's request for a handover is refused");
        }
    }

    fn judge_request(
        &self,
        request: &Request,
        heard: &HeardHandover,
        now: Moment,
    ) -> Result<(), (Refusal, u8)> {
        for (index, place) in asked(request, heard) {
            let verdict = place.map_or(Err(Refusal::UnknownVip), |place| {
                self.judge_candidate(place, request, now)
            });
            verdict.map_err(|refusal| (refusal, index))?;
        }
        Ok(())
    }

    fn judge_candidate(&self, place: usize, request: &Request, now: Moment) -> Result<(), Refusal> {
        let group = &self.groups[self.units[place].group];
        let (vip, peer) = (&self.config.vips[place], &self.board.peer);
        let asker = self.config.peer_of(self.node);
        let asker = asker.map(|node| vip.priorities[node.0]);
        let findings = group.findings.ok_or(Refusal::NotStarted)?;
        let held_with = group.trial.priority(&Findings {
            pinned: request.pins,
            ..findings
        });
        let health = own_health(self.proxy, &self.proxy.vip_sure[place]);
        let candidate = Candidate {
            takes_part: matches!(group.router.state(), VipState::Backup | VipState::Active),
            fitness: group.router.fitness(),
            maintenance: self.on_maintenance(now),
            health,
            asker_health: u8::try_from(peer.vip_health[place].get())
                .ok()
                .filter(|health| *health <= 100),
            knows_trackers: group.knows_trackers,
            faults: findings.faults,
            asker_faults: u8::try_from(self.board.peer_faults[place].get()).unwrap_or(0),
            priority: held_with,
            preempted_by: asker.filter(|_| request.pins && vip.preempt),
        };
        candidate.judge(request.forced)
    }

    fn take(&mut self, request: &Request, heard: &HeardHandover, now: Moment) {
        let places = asked(request, heard).filter_map(|(_, place)| place);
        let places: Vec<usize> = places.collect();
        for group in 0..self.groups.len() {
            let one = &mut self.groups[group];
            if !places.iter().any(|place| one.members.contains(*place)) {
                continue;
            }
            let pin = one.findings.filter(|_| request.pins).map(|findings| {
                one.trial.priority(&Findings {
                    pinned: true,
                    ..findings
                })
            });
            one.router.handle_take(pin, now);
            self.perform(group, now);
        }
    }

    /// An administrator's wish, looked at once.
    fn look_at_wish(&mut self, now: Moment) {
        let wish = self.admin.handover.get();
        let Some(wish) = wish.filter(|wish| wish.id != self.moves.wish_id) else {
            return;
        };
        self.moves.wish_id = wish.id;
        if now.since(wish.at) > WISH {
            return;
        }
        match self.consider(&wish, now) {
            Ok(0) => {
                let done = Ended {
                    end: HandoverEnd::Done,
                    refusal: None,
                    took: Duration::ZERO,
                };
                self.report((&wish, 0), done, now);
            }
            Ok(vips) => self.give(vips, Purpose::Wish(wish), now),
            Err((refusal, vip)) => {
                let refused = Ended {
                    end: HandoverEnd::Refused,
                    refusal: Some((refusal, vip.unwrap_or(u8::MAX))),
                    took: Duration::ZERO,
                };
                self.report((&wish, wish.vips), refused, now);
            }
        }
    }

    /// The VIPs that have to go, none for a node on its way to maintenance that holds none.
    fn consider(&self, wish: &HandoverWish, now: Moment) -> Result<u16, (Refusal, Option<u8>)> {
        let mut vips = 0;
        for group in &self.groups {
            let members = group.members.bits();
            let is_named = wish.vips & members != 0;
            let is_active = group.router.state() == VipState::Active;
            let first = u8::try_from(group.members.first()).ok();
            if is_named && !is_active {
                let named = (wish.vips & members).trailing_zeros();
                return Err((Refusal::NotActive, u8::try_from(named).ok()));
            }
            let concerned = is_active && (is_named || wish.vips == 0);
            let owner = group.router.priority() == Priority::OWNER;
            if owner && (concerned || wish.maintenance) {
                return Err((Refusal::Owner, first));
            }
            vips |= if concerned { members } else { 0 };
        }
        match vips {
            0 if wish.maintenance => Ok(0),
            0 => Err((Refusal::NotActive, None)),
            _ if self.is_giving_for_wish() => Err((Refusal::Busy, None)),
            _ => self
                .peer_hears(now)
                .map(|()| vips)
                .map_err(|refusal| (refusal, None)),
        }
    }

    fn is_giving_for_wish(&self) -> bool {
        matches!(self.moves.giving, Some((_, Purpose::Wish(_))))
    }

    fn peer_hears(&self, now: Moment) -> Result<(), Refusal> {
        let pair = self.pair.as_ref().ok_or(Refusal::NoPeer)?;
        if !pair.is_fresh(&self.board.peer, now) {
            Err(Refusal::Silent)
        } else if !pair.peer_understands {
            Err(Refusal::TooOld)
        } else {
            Ok(())
        }
    }

    fn give(&mut self, vips: u16, purpose: Purpose, now: Moment) {
        let Some(heartbeat) = self.config.pair.heartbeat else {
            return;
        };
        let (pins, forced) = match purpose {
            Purpose::Wish(wish) => (!wish.maintenance, wish.forced),
            Purpose::Maintenance => (false, false),
            // In a moment nobody else has them, so nothing can go worse there.
            Purpose::Stop => (false, true),
        };
        let request = Request {
            id: self.moves.next_id(),
            vips,
            pins,
            forced,
        };
        self.moves.giving = Some((Giving::new(request, heartbeat, now), purpose));
        self.tell_giving(vips);
        self.heartbeat_at_once = true;
    }

    /// Which routers let go when they hear the other node.
    fn tell_giving(&mut self, vips: u16) {
        for group in &mut self.groups {
            let gives = group.members.bits() & vips != 0;
            group.router.handle_giving(gives);
        }
    }

    /// A node on maintenance that holds VIPs asks the other one again and again.
    fn leave_for_maintenance(&mut self, now: Moment) {
        if self.admin.maintenance.get(now).is_some() {
            // From here on admin decides how long.
            self.moves.confirm_until = None;
        }
        if self.moves.giving.is_some() || now < self.moves.retry_at || !self.on_maintenance(now) {
            return;
        }
        self.moves.retry_at = now + RETRY;
        let vips = self.active_here();
        if vips != 0 && self.peer_hears(now).is_ok() {
            self.give(vips, Purpose::Maintenance, now);
        }
    }

    /// A stop is requested: make before break, where the other node can be asked. Until when the loop has to go on for that;
    /// `None` = it ends, whatever is still held is given up without more ado.
    pub(super) fn step_down(&mut self, now: Moment) -> Option<Moment> {
        let held = self.movable();
        let Some(until) = self.moves.step_down_until else {
            self.moves.step_down_until = Some(now + STEP_DOWN);
            if held == 0 || self.peer_hears(now).is_err() {
                return None;
            }
            // One that is under way is waited for as well.
            if self.moves.giving.is_none() {
                self.give(held, Purpose::Stop, now);
            }
            // A turn at once, which asks.
            return Some(now);
        };
        let waits = held != 0 && self.moves.giving.is_some() && now < until;
        waits.then_some(until)
    }

    fn end_giving(&mut self, now: Moment) {
        let Some((giving, purpose)) = &self.moves.giving else {
            return;
        };
        let there = self.active_there(now);
        let Some(ended) = giving.poll((self.active_here(), there), now) else {
            return;
        };
        let (vips, purpose) = (giving.request().vips, *purpose);
        self.moves.giving = None;
        self.tell_giving(0);
        match purpose {
            Purpose::Wish(wish) => self.report((&wish, vips), ended, now),
            // Asked again in a moment; a line for each refusal would be one each second.
            Purpose::Maintenance => {
                tracing::debug!(end = ended.end.word(), "the VIPs of a node on maintenance");
            }
            Purpose::Stop => {
                tracing::info!(end = ended.end.word(), "the VIPs of a node that stops");
            }
        }
    }

    fn active_here(&self) -> u16 {
        let active = self.groups.iter();
        let active = active.filter(|group| group.router.state() == VipState::Active);
        active.fold(0, |vips, group| vips | group.members.bits())
    }

    /// Those of them that the other node can be asked to take: nobody can be active beside the address owner.
    fn movable(&self) -> u16 {
        let active = self.groups.iter().filter(|group| {
            let router = &group.router;
            router.state() == VipState::Active && router.priority() != Priority::OWNER
        });
        active.fold(0, |vips, group| vips | group.members.bits())
    }

    fn active_there(&self, now: Moment) -> u16 {
        let peer = &self.board.peer;
        let fresh = self
            .pair
            .as_ref()
            .is_some_and(|pair| pair.is_fresh(peer, now));
        let is_active =
            |place: &usize| VipState::from_board(peer.vip_state[*place].get()) == VipState::Active;
        let all = self.units.places();
        let active: Places = all
            .iter()
            .filter(|place| fresh && is_active(place))
            .collect();
        active.bits()
    }

    /// Tells admin how it ended.
    fn report(&mut self, (wish, vips): (&HandoverWish, u16), ended: Ended, now: Moment) {
        if ended.end == HandoverEnd::Done && wish.maintenance {
            self.moves.confirm_until = Some(now + CONFIRMATION);
        }
        let (refusal, vip) = ended.refusal.unzip();
        let refusal = refusal.unwrap_or(Refusal::Unknown);
        self.board.handovers[ended.end as usize].add(1);
        self.board.handover.set(&HandoverResult {
            id: wish.id,
            end: ended.end,
            refusal,
            vip: vip.map(usize::from),
            vips,
            took: u64::try_from(ended.took.as_nanos()).unwrap_or(u64::MAX),
        });
        let reason = match ended.end {
            HandoverEnd::Refused => refusal.word(),
            HandoverEnd::None
            | HandoverEnd::Done
            | HandoverEnd::Unanswered
            | HandoverEnd::NotTaken => "",
        };
        let end = ended.end.word();
        tracing::info!(
            end,
            reason,
            maintenance = wish.maintenance,
            "a handover has ended"
        );
    }
}

/// The VIPs of a request by their number in it, with their places here.
fn asked(request: &Request, heard: &HeardHandover) -> impl Iterator<Item = (u8, Option<usize>)> {
    let (vips, places) = (request.vips, heard.places);
    let named = (0..MAX_VIPS as u8).filter(move |index| vips >> index & 1 == 1);
    named.map(move |index| (index, places[usize::from(index)]))
}
