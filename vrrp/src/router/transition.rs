//! The transitions of RFC 9568, section 6.4, and what they make the driver do.

use std::mem;
use std::time::Duration;

use common::addr::Priority;
use common::board::VipState;
use common::time::Moment;

use super::active::Active;
use super::backup::{Backup, Why};
use super::{
    Action, Cause, Event, Heard, HolderTimer, LeaseNews, Standing, State, Timer, VirtualRouter,
};

/// How long a node stays away from a VIP that its kernel, or somebody on it, did not let it have.
const HOLD_DOWN: Duration = Duration::from_secs(30);
/// Removals within this time of one are the same act: `ip address flush` deletes until it finds
/// nothing, and finds what has just been installed again.
const FLUSH: Duration = Duration::from_millis(50);
/// More than three removals within this time are a dispute.
const DISPUTE: Duration = Duration::from_secs(60);

impl VirtualRouter {
    pub(super) fn step(&mut self, event: Event, now: Moment) {
        // Who slept through its lease is not Active any more, whatever it is told first when it
        // wakes.
        if matches!(&self.state, State::Active(active) if active.is_lapsed(now)) {
            let state = mem::replace(&mut self.state, State::Init);
            let lapsed = Event::Timer(Timer::Holder(HolderTimer::Lapsed));
            self.state = self.transition(state, lapsed, now);
        }
        let state = mem::replace(&mut self.state, State::Init);
        self.state = self.transition(state, event, now);
    }

    /// What makes a state of a state. Whoever looks for the line that decides a takeover looks
    /// here.
    fn transition(&mut self, state: State, event: Event, now: Moment) -> State {
        use Event::{
            Fit, GoOn, Heard, Lease, Reranked, Silent, Start, Stop, Take, Timer as Time, Unfit,
        };
        use HolderTimer::{Advert, Announce, Assert, Lapsed, Reinstall, Renew};
        use LeaseNews::{Held, Refused, Removed};
        use Standing::{EqualHigher, EqualLower, Higher, Lower, Resigned};
        use State::{Active, Backup, Fault, Init};
        use Timer::{ActiveDown, HoldDown, Holder};
        match (state, event) {
            // RFC 9568, section 6.4.1: Initialize
            (Init, Start) => self.start(now),
            (Init, Stop | Heard(..) | Fit | Unfit(_) | Reranked { .. }) => Init,
            (Init, Lease(_) | Time(_) | Silent(_) | Take(_)) => Init,
            (Init, GoOn { priority, pinned }) => self.go_on((priority, pinned), now),

            // RFC 9568, section 6.4.2: Backup
            (Backup(_), Stop) => self.stopped(VipState::Backup),
            (Backup(b), Time(ActiveDown)) => self.take_over(&b, now),
            (Backup(_), Silent(unheard)) => self.take_over_from_silent(unheard, now),
            (Backup(b), Heard(Resigned, heard)) => self.hear_resignation(b, &heard),
            (Backup(b), Heard(Lower, heard)) => self.hear_lower(b, &heard),
            (Backup(b), Heard(Higher | EqualHigher | EqualLower, heard)) => self.follow(b, &heard),
            (Backup(_), Unfit(cause)) => self.fault(VipState::Backup, &cause, None),
            (Backup(b), Reranked { before }) => self.rerank(b, before),
            (Backup(_), Take(pin)) => self.take(pin, now),
            (Backup(b), Start | Fit | Lease(_) | Time(Holder(_) | HoldDown) | GoOn { .. }) => {
                Backup(b)
            }

            // RFC 9568, section 6.4.3: Active
            (Active(_), Stop) => self.stop_active(),
            (Active(a), Time(Holder(Advert))) => self.advertise(a, now),
            (Active(a), Heard(Resigned, _)) => Self::answer_resignation(a, now),
            (Active(a), Heard(Lower | EqualLower, heard)) => self.hear_worse(a, &heard, now),
            (Active(a), Heard(Higher | EqualHigher, heard)) => self.hear_better(a, &heard),
            (Active(a), Time(Holder(Assert))) => self.assert(a),
            (Active(a), Time(Holder(Announce))) => self.announce(a, now),
            (Active(a), Unfit(cause)) => self.endure_or_resign(a, &cause),
            (Active(a), Reranked { .. }) => Self::speak(a, now),
            // The lease is not the RFC's
            (Active(a), Lease(Held)) => self.lease_held(a, now),
            (Active(a), Time(Holder(Renew))) => self.renew(a, now),
            (Active(a), Lease(Removed)) => self.reinstall(a, now),
            (Active(a), Time(Holder(Reinstall))) => self.install(a, now),
            (Active(a), Lease(Refused(why))) => self.refused(a, why, now),
            (Active(_), Time(Holder(Lapsed))) => self.lapse(now),
            (Active(a), Take(pin)) => self.keep(a, pin, now),
            (Active(a), Start | Fit | Silent(_) | Time(ActiveDown | HoldDown) | GoOn { .. }) => {
                Active(a)
            }

            // Initialize with a cause
            (Fault { .. }, Stop) => self.stopped(VipState::Fault),
            (Fault { until: None }, Fit) => self.back_up(VipState::Fault, "fit again", now),
            (Fault { until }, Unfit(cause)) => self.still_unfit(until, &cause),
            (Fault { .. }, Time(HoldDown)) => self.end_hold_down(now),
            (f @ Fault { .. }, Start | Heard(..) | Fit | Reranked { .. }) => f,
            (f @ Fault { .. }, Lease(_) | Silent(_) | Take(_)) => f,
            (f @ Fault { .. }, Time(ActiveDown | Holder(_)) | GoOn { .. }) => f,
        }
    }

    /// The owner of the address needs nobody's silence (RFC 9568, section 6.4.1).
    fn start(&mut self, now: Moment) -> State {
        if let Err(cause) = self.fitness.clone() {
            return self.fault(VipState::Init, &cause, None);
        }
        if self.params.priority == Priority::OWNER {
            return self.promote(VipState::Init, "owner of the address".to_owned(), now);
        }
        self.back_up(VipState::Init, "started", now)
    }

    fn stopped(&mut self, from: VipState) -> State {
        self.changed(from, VipState::Init, "stopped".to_owned());
        State::Init
    }

    /// The address goes first: at short intervals the other node installs it within microseconds of
    /// the resignation.
    fn stop_active(&mut self) -> State {
        self.give_up();
        self.stopped(VipState::Active)
    }

    fn back_up(&mut self, from: VipState, reason: &str, now: Moment) -> State {
        self.changed(from, VipState::Backup, reason.to_owned());
        let mut backup = Backup::new(&self.params, now);
        if let Some(interval) = self.expected.take() {
            backup.expect(&self.params, interval, now);
        }
        State::Backup(backup)
    }

    fn follow(&mut self, mut backup: Backup, heard: &Heard) -> State {
        let before = backup.why;
        backup.follow(&self.params, heard);
        self.explain_backup(before, backup.why);
        State::Backup(backup)
    }

    fn hear_lower(&mut self, mut backup: Backup, heard: &Heard) -> State {
        let before = backup.why;
        backup.hear_lower((&self.params, self.ready), heard);
        self.explain_backup(before, backup.why);
        State::Backup(backup)
    }

    fn hear_resignation(&mut self, mut backup: Backup, heard: &Heard) -> State {
        backup.hear_resignation(&self.params, heard);
        State::Backup(backup)
    }

    fn rerank(&mut self, mut backup: Backup, before: Priority) -> State {
        backup.rerank(&self.params, before);
        State::Backup(backup)
    }

    /// Another priority: whoever is better now has to hear it at once.
    fn speak(mut active: Active, now: Moment) -> State {
        active.speak(now);
        State::Active(active)
    }

    /// Text is made only when it says something new, not at every advert.
    fn explain_backup(&mut self, before: Why, after: Why) {
        if before == after {
            return;
        }
        match after {
            Why::Silent { source, priority } => {
                self.reason = format!("{source} is active with priority {priority}");
            }
            Why::Lower {
                source,
                priority,
                ready,
            } => {
                let until = if ready {
                    "preempt_delay has passed"
                } else {
                    "this node knows its servers and trackers"
                };
                self.reason = format!(
                    "{source} is active with priority {priority}, which is lower, until {until}"
                );
            }
            Why::Preempt { source, priority } => {
                self.reason =
                    format!("about to take over from {source}, which has priority {priority}");
            }
            Why::Alone | Why::Resigned { .. } => {}
        }
    }

    /// RFC 9568, section 6.4.2: the Active_Down_Timer fired.
    fn take_over(&mut self, backup: &Backup, now: Moment) -> State {
        let own = self.params.priority;
        let reason = match backup.why {
            Why::Alone => "no other node is active".to_owned(),
            Why::Silent { source, .. } | Why::Lower { source, .. } => {
                format!("{source} fell silent")
            }
            Why::Resigned { source } => format!("{source} resigned"),
            Why::Preempt { source, priority } => {
                format!("priority {own} is higher than {source}'s {priority}")
            }
        };
        self.promote(VipState::Backup, reason, now)
    }

    /// Not the RFC's: the other node's machine is lost ([`crate::silence`]).
    fn take_over_from_silent(&mut self, unheard: Duration, now: Moment) -> State {
        let millis = unheard.as_millis();
        let reason = format!(
            "the other node is silent: no frame for {millis} ms, its kernel does not answer"
        );
        self.promote(VipState::Backup, reason, now)
    }

    /// The advert goes first, so that an Active that is still alive drops its address before we
    /// announce ours.
    fn promote(&mut self, from: VipState, reason: String, now: Moment) -> State {
        let active = Active::new(&self.params, now);
        self.advert();
        self.actions.push_back(Action::InstallLease {
            lifetime: active.lifetime(),
        });
        self.changed(from, VipState::Active, reason);
        State::Active(active)
    }

    fn answer_resignation(mut active: Active, now: Moment) -> State {
        active.restart_grid(now);
        State::Active(active)
    }

    pub(super) fn answer_lower(mut active: Active, now: Moment) -> State {
        active.assert(now);
        State::Active(active)
    }

    /// RFC 9568, section 6.4.3: the Active with the lower priority or address leaves. Its last,
    /// lower advert, sent when its address is gone, makes the winner announce the VIP again
    /// (Keepalived's does, too).
    pub(super) fn yield_to(&mut self, heard: &Heard) -> State {
        self.actions.push_back(Action::RemoveLease);
        self.advert();
        let reason = format!(
            "{} is active with priority {}",
            heard.source, heard.priority
        );
        self.changed(VipState::Active, VipState::Backup, reason);
        State::Backup(Backup::behind(&self.params, heard))
    }

    /// The Adver_Timer fired. No lease, no advert: it is renewed right before.
    fn advertise(&mut self, mut active: Active, now: Moment) -> State {
        active.advance(now);
        if active.wants_renewal(now) {
            self.push_renewal(&mut active, now);
        }
        if active.is_leased() {
            self.advert();
        }
        State::Active(active)
    }

    fn assert(&mut self, mut active: Active) -> State {
        active.asserted();
        if active.is_leased() {
            self.advert();
        }
        State::Active(active)
    }

    fn renew(&mut self, mut active: Active, now: Moment) -> State {
        self.push_renewal(&mut active, now);
        State::Active(active)
    }

    fn announce(&mut self, mut active: Active, now: Moment) -> State {
        active.announced(now);
        if active.is_leased() {
            self.actions.push_back(Action::Announce);
        }
        State::Active(active)
    }

    fn lease_held(&mut self, mut active: Active, now: Moment) -> State {
        let seed = u64::from(self.params.vrid.value());
        if active.agree(seed, now) {
            self.actions.push_back(Action::Announce);
            if active.owes_first_advert() {
                self.advert();
            }
        }
        State::Active(active)
    }

    /// A machine that was paused comes this way: it advertises nothing, the kernel has dropped the
    /// address or will.
    fn lapse(&mut self, now: Moment) -> State {
        self.withdraw();
        self.actions.push_back(Action::RemoveLease);
        self.back_up(VipState::Active, "lease lapsed", now)
    }

    /// Somebody deleted the address: it comes back at once, but not for ever.
    fn reinstall(&mut self, mut active: Active, now: Moment) -> State {
        if !active.is_leased() {
            return State::Active(active);
        }
        // A flush goes on until it finds nothing; it must come to its end.
        if let Some(last) = self.removals[0]
            && now.since(last) < FLUSH
        {
            active.ask_later(last + FLUSH, now);
            return State::Active(active);
        }
        if self.removals[2].is_some_and(|third| now.since(third) <= DISPUTE) {
            self.removals = [None; 3];
            return self.resign(&Cause::LeaseDisputed, Some(now + HOLD_DOWN));
        }
        self.removals.rotate_right(1);
        self.removals[0] = Some(now);
        self.install(active, now)
    }

    fn install(&mut self, mut active: Active, now: Moment) -> State {
        active.ask(now);
        self.actions.push_back(Action::InstallLease {
            lifetime: active.lifetime(),
        });
        State::Active(active)
    }

    /// What refuses a renewal may be over in a moment, and the lease is still there.
    fn refused(&mut self, mut active: Active, why: String, now: Moment) -> State {
        if active.tries_again(now) {
            return State::Active(active);
        }
        self.resign(&Cause::LeaseRefused(why), Some(now + HOLD_DOWN))
    }

    /// Who is the last that can hold the VIP gives it to nobody.
    fn endure_or_resign(&mut self, active: Active, cause: &Cause) -> State {
        if self.peer_unable && cause.leaves_the_kernel() {
            return State::Active(active);
        }
        self.resign(cause, None)
    }

    fn resign(&mut self, cause: &Cause, until: Option<Moment>) -> State {
        self.give_up();
        self.fault(VipState::Active, cause, until)
    }

    fn fault(&mut self, from: VipState, cause: &Cause, until: Option<Moment>) -> State {
        self.changed(from, VipState::Fault, cause.to_string());
        State::Fault { until }
    }

    /// What keeps a VIP away for a time is not forgotten over what comes and goes meanwhile.
    fn still_unfit(&mut self, until: Option<Moment>, cause: &Cause) -> State {
        if until.is_some() {
            return State::Fault { until };
        }
        let reason = cause.to_string();
        if reason != self.reason {
            self.changed(VipState::Fault, VipState::Fault, reason);
        }
        State::Fault { until }
    }

    fn end_hold_down(&mut self, now: Moment) -> State {
        match self.fitness.clone() {
            Ok(()) => self.back_up(VipState::Fault, "hold-down is over", now),
            Err(cause) => self.still_unfit(None, &cause),
        }
    }

    /// Address, then resignation, twice because nothing repeats it.
    fn give_up(&mut self) {
        self.withdraw();
        self.actions.extend([
            Action::RemoveLease,
            Action::Advertise { priority: 0 },
            Action::Advertise { priority: 0 },
        ]);
    }

    /// Takes back what an Active was about to say.
    pub(super) fn withdraw(&mut self) {
        self.actions.retain(|action| match action {
            Action::Advertise { .. }
            | Action::InstallLease { .. }
            | Action::RenewLease { .. }
            | Action::Announce => false,
            Action::RemoveLease | Action::Changed { .. } => true,
        });
    }

    pub(super) fn push_renewal(&mut self, active: &mut Active, now: Moment) {
        active.renew(now);
        self.actions.push_back(Action::RenewLease {
            lifetime: active.lifetime(),
        });
    }

    pub(super) fn advert(&mut self) {
        self.actions.push_back(Action::Advertise {
            priority: self.params.priority.value(),
        });
    }

    pub(super) fn changed(&mut self, from: VipState, to: VipState, reason: String) {
        self.reason.clone_from(&reason);
        if to != VipState::Active {
            self.pinned = false;
        }
        self.actions.push_back(Action::Changed { from, to, reason });
    }
}
