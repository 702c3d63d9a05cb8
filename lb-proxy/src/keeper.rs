//! Keeps the verdicts: takes what the probes found, and makes it known on the board, in the pool
//! and in the log.
//!
//! There is one keeper, on the probe thread: the only writer of states, pool and VIP health.

mod agent;
mod change;
mod follow;
mod generation;
mod membership;
mod names;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::board::{AdminState, ProbeStatus, ProxyBoard, ServerSlot, ServerState};
use common::config::{BackendIndex, Config, InitialState, MAX_SERVERS, VipIndex};
use common::roster::{Member, Roster};
use common::time::Moment;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use self::follow::Followers;
pub(crate) use self::generation::KeeperTurn;
use crate::balance::slow_start;
use crate::clock;
use crate::context::Proxy;
use crate::control::Kin;
use crate::fail_open::{self, Candidacy};
use crate::health::{Health, Verdict, state_before, usable};
use crate::observe;
use crate::pool::{AgentShare, Snapshot, Standing};
use crate::vip_health::vip_health;

/// What one probe found, and when.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) place: usize,
    pub(crate) server: SocketAddr,
    pub(crate) ended: Moment,
    pub(crate) took: Duration,
    /// When the certificate expires that the server has shown last, in seconds since 1970.
    pub(crate) certificate_not_after: Option<u64>,
    pub(crate) verdict: Verdict,
}

/// Errors of connections to a server that are judged at one time.
const MOST_AT_ONCE: u64 = 100;

/// One server's health, and what was said of it.
#[derive(Debug)]
struct Kept {
    health: Health,
    probed: bool,
    /// Since when it is usable after it was not; `None` = since the start, or it is not usable.
    came_up: Option<Moment>,
    /// A warning that it cannot be asked is in the log already.
    warned: bool,
    /// Of [`ServerSlot::error_limits`], those that were judged.
    judged: u64,
}

/// The keeper of all verdicts.
#[derive(Debug)]
pub(crate) struct Keeper {
    proxy: Arc<Proxy>,
    /// As it stands on the board.
    roster: Arc<Roster>,
    /// By place on the board, where nobody may be.
    servers: Vec<Kept>,
    /// Who follows whom.
    followers: Followers,
    /// Since when the first of those is leaving that are.
    leaving_since: Option<Moment>,
    /// When a server in slow start gets more, or something ends that an administrator has said.
    next_step: Option<Moment>,
    /// Places of servers that a reload brings.
    reserved: Vec<usize>,
    /// The configuration whose names are asked for: the last one that had others.
    names: watch::Sender<Arc<Config>>,
    kin: watch::Receiver<Kin>,
}

/// Where the states of a new proxy come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdicts {
    /// The board is empty: nothing is known.
    None,
    /// An earlier proxy left them on the board.
    Earlier,
}

/// Puts the first state of every server on the board: what an earlier proxy found, "up" where
/// nobody probes, else what the file says that it is before its first probe.
pub(crate) fn first_states(
    (config, roster): (&Config, &Roster),
    board: &ProxyBoard,
    (verdicts, now): (Verdicts, Moment),
) {
    for member in roster.all().filter(|one| one.follows.is_none()) {
        let slot = &board.servers[member.place];
        let probe = config.backends[member.backend.0].probe.as_ref();
        match (probe, verdicts, state_of(slot)) {
            (
                Some(_),
                Verdicts::Earlier,
                ServerState::Up | ServerState::Down | ServerState::Draining,
            ) if slot.probed.get().is_some() => {}
            (_, _, _) => first_state(slot, probe.map(|probe| probe.initial_state), now),
        }
    }
    follow::first_states((config, roster), board, now);
}

/// Puts the state of a server on the board of which nothing is known; `None` = nobody probes it.
fn first_state(slot: &ServerSlot, initial: Option<InitialState>, now: Moment) {
    let (state, status, reason) = match initial {
        None => (ServerState::Up, ProbeStatus::Unk, "not probed"),
        Some(initial) => (
            state_before(initial),
            ProbeStatus::Ini,
            "no probe has ended yet",
        ),
    };
    if slot.since.get().is_none() || state_of(slot) != state {
        slot.since.set(now);
    }
    slot.state.set(state.on_board());
    slot.reason.set(reason);
    slot.probe_status.set(status.on_board());
    slot.probe_code.set(0);
}

/// The state of a server on the board.
pub(crate) fn state_of(slot: &ServerSlot) -> ServerState {
    ServerState::from_board(slot.state.get())
}

/// Whether a server may have new sessions, by what stands on the board.
pub(crate) fn candidacy(slot: &ServerSlot, now: Moment) -> Candidacy {
    let probed = slot.probed.get().is_some();
    Candidacy::new(slot.effective_admin(now), slot.verdict(), probed)
}

impl Keeper {
    /// Starts from the states on the board.
    pub(crate) fn new(proxy: Arc<Proxy>, kin: watch::Receiver<Kin>) -> Self {
        let config = Arc::clone(&proxy.config);
        let roster = proxy.roster.load_full();
        let servers = (0..MAX_SERVERS).map(|place| match roster.at(place) {
            Some(member) => Kept::of(&proxy, member, None),
            None => Kept::NOBODY,
        });
        let mut keeper = Self {
            servers: servers.collect(),
            followers: Followers::of(&proxy.config, &roster),
            leaving_since: membership::leaving_since(&proxy, &roster),
            roster,
            proxy,
            next_step: None,
            reserved: Vec::new(),
            names: watch::Sender::new(config),
            kin,
        };
        keeper.follow_all();
        keeper.publish(clock::now());
        keeper
    }

    pub(crate) fn proxy(&self) -> Arc<Proxy> {
        Arc::clone(&self.proxy)
    }

    /// Judges what connections for sessions have met, lets servers in slow start have more, and ends
    /// what an administrator has said for a time; to be called often.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.judge_errors(now);
        self.sweep(now);
        if self.next_step.is_some_and(|at| now >= at) {
            self.end_overrides(now);
            self.end_memberships(now);
            self.publish(now);
        }
    }

    /// The same of a proxy that has retired: what servers there are, and how they are, the one that accepts
    /// finds out and decides.
    pub(crate) fn tick_retired(&self) {
        if let Some(successor) = self.kin.borrow().successor() {
            self.proxy.withdraw_as(successor);
        }
    }

    /// Takes what an administrator says of a server's state.
    pub(crate) fn say_state(
        &mut self,
        place: usize,
        (state, until): (AdminState, Option<Moment>),
        now: Moment,
    ) {
        let proxy = self.proxy();
        let slot = &proxy.board.servers[place];
        let before = slot.admin_state(now).map(|said| said.value);
        slot.set_admin_state(state, until);
        self.leave_maintenance(place, before, now);
        self.publish(now);
        if before.is_some() {
            self.relieve_backups_for(place, now);
        }
    }

    /// An administrator has said something else.
    pub(crate) fn handle_override(&mut self, now: Moment) {
        self.publish(now);
    }

    /// What the probes said last holds at once, but a server that was away starts slowly, and so do
    /// those that follow it.
    fn leave_maintenance(&mut self, place: usize, before: Option<AdminState>, now: Moment) {
        if before != Some(AdminState::Maintenance) {
            return;
        }
        let board = self.proxy.board;
        self.followers.inherit(board, now);
        for place in std::iter::once(place).chain(self.followers.of_place(place)) {
            if usable(board.servers[place].effective_state(now)) {
                self.servers[place].came_up = Some(now);
            }
        }
    }

    fn end_overrides(&mut self, now: Moment) {
        let proxy = self.proxy();
        let roster = Arc::clone(&self.roster);
        for member in roster.all() {
            let name = &proxy.config.backends[member.backend.0].name;
            let (server, place) = (member.server.address, member.place);
            let slot = &proxy.board.servers[place];
            if let Some(said) = slot.state_override.end_if_over(now) {
                let before = AdminState::from_board(said);
                self.leave_maintenance(place, Some(before), now);
                info!(backend = name, %server, "a server is what its probes say again");
                self.publish(now);
                self.relieve_backups_for(place, now);
            }
            if slot.weight_override.end_if_over(now).is_some() {
                info!(backend = name, %server, "a server has its configured weight again");
            }
        }
        for (listener, slot) in proxy.config.listeners.iter().zip(&proxy.board.listeners) {
            if slot.pause.end_if_over(now).is_some() {
                info!(
                    listener = listener.name,
                    "the pause of a listener has ended"
                );
            }
        }
    }

    /// Takes the outcome of a probe.
    pub(crate) fn handle_outcome(&mut self, outcome: Outcome) {
        let proxy = Arc::clone(&self.proxy);
        let (place, server) = (outcome.place, outcome.server);
        let known = self.roster.at(place).filter(|one| one.is_present());
        let Some(member) = known.filter(|one| one.server.address == server) else {
            // It has left since.
            return;
        };
        let backend = &proxy.config.backends[member.backend.0];
        let slot = &proxy.board.servers[place];
        count(slot, &outcome);
        let kept = &mut self.servers[place];
        if let Verdict::NotAsked(finding) = &outcome.verdict {
            if !kept.warned {
                kept.warned = true;
                warn!(backend = backend.name, %server, reason = %finding, "a server cannot be probed");
            }
            slot.reason.set(&match kept.health.reason() {
                "" => finding.to_string(),
                before => format!("{finding}; before: {before}"),
            });
            return;
        }
        kept.warned = false;
        let first = !std::mem::replace(&mut kept.probed, true);
        let promise = |health: &Health| (health.is_sure(), health.is_hoped_for());
        let promised = promise(&kept.health);
        let before = kept.health.handle_probe(outcome.verdict);
        let health = &kept.health;
        let (broken, state) = (promise(health) != promised, health.state().word());
        debug!(backend = backend.name, %server, state, reason = health.reason(), "probed");
        self.tell(place, before, outcome.ended);
        self.pass_on(place, outcome.ended);
        if before.is_none() && (first || broken) {
            self.publish(outcome.ended);
        }
    }

    /// Judges the servers whose connections for sessions have failed as often as they may.
    fn judge_errors(&mut self, now: Moment) {
        let proxy = self.proxy();
        let roster = Arc::clone(&self.roster);
        for (index, backend) in proxy.config.backends.iter().enumerate() {
            let Some(observe) = &backend.observe else {
                continue;
            };
            for member in roster.present(BackendIndex(index)) {
                let place = member.place;
                let slot = &proxy.board.servers[place];
                let kept = &mut self.servers[place];
                let errors = slot.error_limits.get() - kept.judged;
                if errors == 0 {
                    continue;
                }
                kept.judged += errors;
                let server = member.server.address;
                let reason = observe::words(slot, observe.error_limit);
                debug!(backend = backend.name, %server, errors, reason, "connections have failed");
                // More of them say no more, and a burst may bring many.
                for _ in 0..errors.min(MOST_AT_ONCE) {
                    let health = &mut self.servers[place].health;
                    let before = health.handle_errors(observe.on_error, reason.clone());
                    self.tell(place, before, now);
                }
                self.pass_on(place, now);
            }
        }
    }

    /// Makes known what has become of a server's health; `before` is its state before, if it has
    /// changed.
    fn tell(&mut self, place: usize, before: Option<ServerState>, now: Moment) {
        let proxy = self.proxy();
        let Some(member) = self.roster.at(place) else {
            return;
        };
        let backend = &proxy.config.backends[member.backend.0];
        let server = member.server.address;
        let (slot, kept) = (&proxy.board.servers[place], &self.servers[place]);
        proxy.paces.set(place, kept.health.pace());
        let (state, reason) = (kept.health.state(), kept.health.reason());
        slot.reason.set(reason);
        let Some(before) = before else {
            return;
        };
        info!(
            backend = backend.name, %server, from = before.word(), to = state.word(), reason,
            "a server has changed its state"
        );
        slot.since.set(now);
        slot.state.set(state.on_board());
        self.handle_change(place, (before, state), now);
    }

    /// Pool, health of the VIPs, "all probed".
    fn publish(&mut self, now: Moment) {
        let proxy = self.proxy();
        let (config, board, roster) = (&*proxy.config, proxy.board, self.roster());
        self.followers.inherit(board, now);
        let snapshot = Snapshot::new(config, &roster, |place| self.standing(place, now));
        fail_open::tell(config, board, (&snapshot, now));
        proxy.pool.publish(snapshot);
        proxy.waiting.look_again();
        for member in roster.all() {
            let ramp = self.ramp(member.place, now);
            board.servers[member.place].ramp.set(ramp.into());
        }
        for (vip, _) in config.live_vips() {
            self.publish_vip(vip, now);
        }
        // Nobody probes a server in maintenance, and nobody waits for that.
        let present = || roster.all().filter(|one| one.is_present());
        let probed = present().map(|one| one.place).all(|place| {
            self.servers[place].probed || self.admin(place, now) == AdminState::Maintenance
        });
        board.probed.set(u64::from(probed));
        let steps = present().filter_map(|one| {
            let came_up = self.servers[one.place].came_up;
            slow_start::next_step(came_up, self.time(one.place), now)
        });
        self.next_step = steps.chain(self.ends()).min();
    }

    /// What the VIP's servers are worth: now, for sure, and at best.
    fn publish_vip(&self, vip: VipIndex, now: Moment) {
        let (config, board) = (&*self.proxy.config, self.proxy.board);
        let of =
            |counts: &dyn Fn(&Member) -> bool| vip_health((config, &*self.roster), vip, counts);
        let health = |one: &Member| &self.servers[one.place].health;
        let serves = |one: &Member| self.serves(one, now);
        board.vip_health[vip.0].set(of(&serves));
        let sure = |one: &Member| serves(one) && health(one).is_sure();
        board.vip_sure[vip.0].set(of(&sure));
        let hope = |one: &Member| {
            let agent = &board.servers[one.place].agent;
            let kept_out = self.admin(one.place, now) != AdminState::None || agent.is_down();
            !kept_out && self.has_share(one, now) && health(one).is_hoped_for()
        };
        board.vip_hope[vip.0].set(of(&hope));
    }

    /// What is said of the server at a place over what is found of it.
    fn admin(&self, place: usize, now: Moment) -> AdminState {
        self.proxy.board.servers[place].effective_admin(now)
    }

    fn verdict(&self, place: usize) -> ServerState {
        match self.proxy.board.servers[place].agent.is_down() {
            true => ServerState::Down,
            false => self.servers[place].health.state(),
        }
    }

    fn ramp(&self, place: usize, now: Moment) -> u16 {
        slow_start::ramp(self.servers[place].came_up, self.time(place), now)
    }

    fn standing(&self, place: usize, now: Moment) -> Standing {
        let slot = &self.proxy.board.servers[place];
        let (admin, verdict) = (self.admin(place, now), self.verdict(place));
        Standing {
            candidacy: Candidacy::new(admin, verdict, self.servers[place].probed),
            share: AgentShare::of(&slot.agent),
            ramp: self.ramp(place, now),
            weight: slot.admin_weight(now).map(|said| said.value),
        }
    }

    fn has_share(&self, member: &Member, now: Moment) -> bool {
        let standing = self.standing(member.place, now);
        standing.has_share(member.server.weight)
    }

    /// Whether it has new sessions.
    fn serves(&self, member: &Member, now: Moment) -> bool {
        let state = self
            .admin(member.place, now)
            .over(self.verdict(member.place));
        usable(state) && self.has_share(member, now)
    }

    /// When what an administrator has said ends by itself.
    fn ends(&self) -> impl Iterator<Item = Moment> {
        let board = self.proxy.board;
        let servers = self.roster.all().map(|one| &board.servers[one.place]);
        let of_servers = servers.flat_map(|slot| [&slot.state_override, &slot.weight_override]);
        let listeners = board.listeners.iter().map(|slot| &slot.pause);
        let said = of_servers.chain(listeners).filter_map(|one| one.end());
        said.chain(self.roster.all().filter_map(|one| one.until))
    }

    /// The slow-start time of the server at a place.
    fn time(&self, place: usize) -> Duration {
        let member = self.roster.at(place);
        let of = member.map(|member| &self.proxy.config.backends[member.backend.0]);
        of.and_then(|backend| backend.slow_start)
            .unwrap_or_default()
    }
}

fn count(slot: &ServerSlot, outcome: &Outcome) {
    slot.probes.add(1);
    if !matches!(outcome.verdict, Verdict::Good(_)) {
        slot.probe_failures.add(1);
    }
    slot.probed.set(outcome.ended);
    let took = u64::try_from(outcome.took.as_nanos()).unwrap_or(u64::MAX);
    slot.probe_time.set(took);
    let finding = outcome.verdict.finding();
    slot.probe_status.set(finding.status.on_board());
    slot.probe_code.set(finding.code.map_or(0, u64::from));
    let not_after = outcome.certificate_not_after;
    slot.certificate_not_after.set(not_after.unwrap_or(0));
}
