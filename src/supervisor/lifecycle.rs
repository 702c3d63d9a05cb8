//! The life of the children: when one is started, taken as hung, killed, replaced, and in which
//! order they stop.
//!
//! Pure. The event loop calls `handle_*` for what happened, and at least each [`LOOK_INTERVAL`],
//! then performs every [`Action`] of [`Lifecycle::poll_action`] in that order.

use std::collections::VecDeque;
use std::time::Duration;

use common::board::{Child, VRRP_HUNG};
use common::time::Moment;

/// How often the heartbeats are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A look that comes later than this says nothing of the others: the whole machine may have stood
/// still.
const LATE: Duration = Duration::from_millis(50);
/// A vrrp that has not turned for [`VRRP_HUNG`] is hung: it is the only one that may hold a VIP that
/// does not work. A proxy has four times as long. After 100 ms vrrp gives the VIPs up, so nobody waits for the
/// proxy; but killing it ends its sessions, which a stall that passes would not.
const PROXY_HUNG: Duration = Duration::from_millis(400);
/// The admin process is in nobody's way.
const ADMIN_HUNG: Duration = Duration::from_secs(2);
/// A heartbeat may be this much younger than the moment of a look, which was read before it; one
/// that is younger still is garbage.
const HONEST: Duration = Duration::from_secs(1);
/// Limit from the start of a child to its first heartbeat.
const START_LIMIT: Duration = Duration::from_secs(5);
/// Three deaths within this time are a crash loop.
const CRASH_LOOP: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Limit for a child to make way for its successor. A lease lives for a second at least.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);
/// Beyond the configured drain: sessions are reset by their proxy at its end.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);
/// Nothing is to be done about it any more.
const NEVER: Duration = Duration::from_secs(3600);
/// Limit for vrrp to give its VIPs up, and for admin to end.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// The order of a stop: first the VIPs move, then the sessions drain, and until then the node can
/// be asked.
const STOP_ORDER: [Child; 3] = [Child::Vrrp, Child::Proxy, Child::Admin];

/// What the event loop has to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a new process.
    Start(Child),
    /// SIGKILL; why is told when its end is reported.
    Kill { child: Child, why: String },
    /// Resign for vrrp: priority-0 adverts, leases deleted.
    LastWill,
    /// Count a death that nobody asked for; the process starts again after `delay`.
    ReportDeath { child: Child, delay: Duration },
    /// Ask it to end in an orderly way.
    AskStop(Child),
    /// Ask it to make way for a successor: vrrp leaves what it holds, admin ends.
    AskLeave(Child),
    /// It has made way: the successor goes on in its place.
    Succeed(Child),
    /// Ask proxies that have made way to bring their sessions to an end.
    AskElders,
    /// vrrp and the proxy have given their first heartbeats.
    Ready,
    /// All have ended after a stop.
    Finish,
}

/// The heartbeats, as read from the boards in one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Last turn of each child's slowest loop, by [`Child`].
    pub(super) beats: [Option<Moment>; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The event loop was told to start it.
    Starting,
    /// Started then; a heartbeat after that is its own.
    Running { since: Moment, beaten: bool },
    /// SIGKILL was sent.
    Killed,
    /// Is dead, starts again then.
    Waiting { until: Moment },
    /// Was asked to make way for a successor, has until then.
    Leaving { until: Moment },
    /// Was asked to end, has until then.
    Stopping { until: Moment },
    /// Ended, and stays so.
    Stopped,
}

#[derive(Debug)]
struct Life {
    phase: Phase,
    deaths: VecDeque<Moment>,
    /// Starts in a row that were delayed.
    delayed: u32,
}

/// All three children.
#[derive(Debug)]
pub(super) struct Lifecycle {
    lives: [Life; 3],
    drain: Duration,
    stopping: bool,
    /// Proxies that have made way still have sessions.
    has_elders: bool,
    /// How long they have after a stop, once they were asked.
    elders_until: Option<Moment>,
    ready: bool,
    last_look: Moment,
    /// Silence is counted from here on: since then the supervisor itself woke on time.
    awake_since: Moment,
    actions: VecDeque<Action>,
}

impl Lifecycle {
    /// Nothing runs; each child is due at once. `drain` is how long the proxy's sessions may go on
    /// after a stop.
    pub(super) fn new(drain: Duration, now: Moment) -> Self {
        let life = || Life {
            phase: Phase::Waiting { until: now },
            deaths: VecDeque::new(),
            delayed: 0,
        };
        Self {
            lives: [life(), life(), life()],
            drain,
            stopping: false,
            has_elders: false,
            elders_until: None,
            ready: false,
            last_look: now,
            awake_since: now,
            actions: VecDeque::new(),
        }
    }

    /// A process was started, or adopted from an earlier supervisor (then `since` is its own
    /// start).
    pub(super) fn handle_started(&mut self, child: Child, since: Moment) {
        self.life(child).phase = Phase::Running {
            since,
            beaten: false,
        };
        if self.stopping {
            self.ask_first(since);
        }
    }

    /// A process is dead, or could not be started.
    pub(super) fn handle_end(&mut self, child: Child, now: Moment) {
        match self.life(child).phase {
            Phase::Starting | Phase::Running { .. } | Phase::Killed => {}
            // It has nothing to leave but its place.
            Phase::Leaving { .. } if child == Child::Admin => return self.handle_left(child, now),
            // vrrp says that it has left before it ends.
            Phase::Leaving { .. } => {}
            Phase::Waiting { .. } | Phase::Stopped => return,
            Phase::Stopping { .. } => {
                self.resign_for(child);
                return self.stop_next(child, now);
            }
        }
        self.resign_for(child);
        if self.stopping {
            return self.stop_next(child, now);
        }
        let delay = self.life(child).handle_death(now);
        self.actions.push_back(Action::ReportDeath { child, delay });
        self.start_due(now);
    }

    /// A child that runs is to make way for its successor. False = it does not run.
    pub(super) fn handle_succession(&mut self, child: Child, now: Moment) -> bool {
        let runs = matches!(self.life(child).phase, Phase::Running { .. });
        if runs {
            let until = now + LEAVE_LIMIT;
            self.life(child).phase = Phase::Leaving { until };
            self.actions.push_back(Action::AskLeave(child));
        }
        runs
    }

    /// It has made way, as it was asked to; its end concerns nobody any more.
    pub(super) fn handle_left(&mut self, child: Child, now: Moment) {
        if !matches!(self.life(child).phase, Phase::Leaving { .. }) {
            return;
        }
        if self.stopping {
            // Nobody will take its place.
            self.resign_for(child);
            return self.stop_next(child, now);
        }
        // The event loop answers with `handle_started` or `handle_end`.
        self.life(child).phase = Phase::Starting;
        self.actions.push_back(Action::Succeed(child));
    }

    /// Looks at the heartbeats; to be called each [`LOOK_INTERVAL`].
    pub(super) fn handle_look(&mut self, seen: &Seen, now: Moment) {
        if now.since(self.last_look) > LOOK_INTERVAL + LATE {
            self.awake_since = now;
        }
        self.last_look = now;
        for child in Child::ALL {
            if let Some(why) = self.hung(child, seen, now) {
                self.life(child).phase = Phase::Killed;
                self.actions.push_back(Action::Kill { child, why });
                // Its end may be long in coming: one that hangs in the kernel dies when that lets go.
                self.resign_for(child);
            }
        }
        // The admin process is in nobody's way: a node that nobody can ask serves all the same.
        let serving = [Child::Vrrp, Child::Proxy].into_iter().all(|child| {
            let life = &self.lives[child as usize];
            matches!(life.phase, Phase::Running { beaten: true, .. })
        });
        if serving && !self.ready {
            self.ready = true;
            self.actions.push_back(Action::Ready);
        }
    }

    /// A reload says for how long the proxy's sessions may go on.
    pub(super) fn set_drain(&mut self, drain: Duration) {
        self.drain = drain;
    }

    /// Whether proxies that have made way still have sessions: a stop waits for them as for the proxy's.
    pub(super) fn set_elders(&mut self, any: bool) {
        self.has_elders = any;
    }

    /// Whether each child runs and has given a heartbeat of its own.
    pub(super) fn all_have_beaten(&self) -> bool {
        let beaten = |life: &Life| matches!(life.phase, Phase::Running { beaten: true, .. });
        self.lives.iter().all(beaten)
    }

    /// A stop was asked for; the second time the proxy's drain is cut short.
    pub(super) fn handle_stop_request(&mut self, now: Moment) {
        if !self.stopping {
            self.stopping = true;
            return self.ask_first(now);
        }
        self.elders_until = self.elders_until.map(|_| now);
        if matches!(self.life(Child::Proxy).phase, Phase::Stopping { .. }) {
            self.kill_stopping(Child::Proxy, "drain cut short".to_owned(), now);
        }
    }

    /// Starts what is due, and kills what did not stop in time; to be called with each look.
    pub(super) fn handle_timeout(&mut self, now: Moment) {
        for child in Child::ALL {
            if let Phase::Stopping { until } = self.life(child).phase
                && until <= now
            {
                self.kill_stopping(child, "did not stop in time".to_owned(), now);
            }
            if let Phase::Leaving { until } = self.life(child).phase
                && until <= now
            {
                // Admin leaves nothing but its place: its end is what was asked for, however it comes.
                self.life(child).phase = match child {
                    Child::Admin => Phase::Leaving { until: now + NEVER },
                    Child::Vrrp | Child::Proxy => Phase::Killed,
                };
                let why = "did not make way in time, killed".to_owned();
                self.actions.push_back(Action::Kill { child, why });
                self.resign_for(child);
            }
        }
        if self.waits_for_elders() {
            self.ask_first(now);
        }
        self.start_due(now);
    }

    /// The next thing to do.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Marks every first heartbeat; `Some(why)` if the child must be killed.
    fn hung(&mut self, child: Child, seen: &Seen, now: Moment) -> Option<String> {
        let awake_since = self.awake_since;
        let Phase::Running { since, beaten } = &mut self.life(child).phase else {
            return None;
        };
        let Some(beat) =
            seen.beats[child as usize].filter(|beat| *beat > *since && *beat <= now + HONEST)
        else {
            let silent = now.since((*since).max(awake_since));
            return (silent > START_LIMIT).then(|| {
                format!(
                    "no heartbeat {} s after its start, killed",
                    START_LIMIT.as_secs()
                )
            });
        };
        *beaten = true;
        let silent = now.since(beat.max(awake_since));
        let limit = match child {
            Child::Vrrp => VRRP_HUNG,
            Child::Proxy => PROXY_HUNG,
            Child::Admin => ADMIN_HUNG,
        };
        (silent > limit).then(|| format!("hung for {} ms, killed", now.since(beat).as_millis()))
    }

    fn resign_for(&mut self, child: Child) {
        // Also after an orderly stop: it is a no-op where no lease is left.
        if child == Child::Vrrp {
            self.actions.push_back(Action::LastWill);
        }
    }

    fn start_due(&mut self, now: Moment) {
        if self.stopping {
            return;
        }
        for child in [Child::Proxy, Child::Vrrp, Child::Admin] {
            if matches!(self.life(child).phase, Phase::Waiting { until } if until <= now) {
                // The event loop answers with `handle_started` or `handle_end`.
                self.life(child).phase = Phase::Starting;
                self.actions.push_back(Action::Start(child));
            }
        }
    }

    fn stop_next(&mut self, ended: Child, now: Moment) {
        self.life(ended).phase = Phase::Stopped;
        self.ask_first(now);
    }

    /// A stop has come to admin, which is there for those who ask what is left.
    fn waits_for_elders(&self) -> bool {
        let phase = |child: Child| self.lives[child as usize].phase;
        self.stopping
            && phase(Child::Vrrp) == Phase::Stopped
            && phase(Child::Proxy) == Phase::Stopped
            && matches!(
                phase(Child::Admin),
                Phase::Running { .. } | Phase::Waiting { .. }
            )
    }

    /// Whether proxies that have made way have sessions and time; they are asked to end them, if they were
    /// not with the proxy.
    fn elders_drain(&mut self, now: Moment) -> bool {
        if !self.has_elders {
            return false;
        }
        let until = *self.elders_until.get_or_insert_with(|| {
            self.actions.push_back(Action::AskElders);
            now + self.drain + DRAIN_MARGIN
        });
        now < until
    }

    /// Asks the first child of the order that has not ended.
    fn ask_first(&mut self, now: Moment) {
        for child in STOP_ORDER {
            if child == Child::Admin && self.elders_drain(now) {
                return;
            }
            let limit = match child {
                Child::Vrrp | Child::Admin => STOP_LIMIT,
                Child::Proxy => self.drain + DRAIN_MARGIN,
            };
            match self.life(child).phase {
                Phase::Stopped => {}
                Phase::Waiting { .. } => self.life(child).phase = Phase::Stopped,
                Phase::Starting
                | Phase::Killed
                | Phase::Leaving { .. }
                | Phase::Stopping { .. } => return,
                Phase::Running { .. } => {
                    self.life(child).phase = Phase::Stopping { until: now + limit };
                    self.actions.push_back(Action::AskStop(child));
                    if child == Child::Proxy && self.has_elders {
                        self.elders_until = Some(now + limit);
                        self.actions.push_back(Action::AskElders);
                    }
                    return;
                }
            }
        }
        self.actions.push_back(Action::Finish);
    }

    fn kill_stopping(&mut self, child: Child, why: String, now: Moment) {
        self.actions.push_back(Action::Kill { child, why });
        // Its end is what the stop goes on with; nothing kills it a second time.
        self.life(child).phase = Phase::Stopping { until: now + NEVER };
    }

    fn life(&mut self, child: Child) -> &mut Life {
        &mut self.lives[child as usize]
    }
}

impl Life {
    /// How long to wait with the next start: not at all, until the third death in ten seconds.
    fn handle_death(&mut self, now: Moment) -> Duration {
        self.deaths.push_back(now);
        self.deaths.retain(|death| now.since(*death) < CRASH_LOOP);
        if self.deaths.len() == 1 {
            self.delayed = 0;
        }
        let delay = if self.deaths.len() < 3 && self.delayed == 0 {
            Duration::ZERO
        } else {
            let doubled = FIRST_DELAY.saturating_mul(1 << self.delayed.min(16));
            self.delayed += 1;
            doubled.min(LONGEST_DELAY)
        };
        self.phase = Phase::Waiting { until: now + delay };
        delay
    }
}

#[cfg(test)]
mod tests;
