//! The loop: one thread that waits for sockets and one timer, and never for anything else.
//!
//! Each turn reads the clock once, then: reads the queues (`receive`), tells the routers what was
//! heard in the order of arrival, lets their timers run, does what they decide (`perform`), and
//! looks at what others changed (`watch`). Late is not lost: a timer whose time has come waits
//! until everything that arrived before it was read, and after a stall of the loop itself nothing
//! is sent before the queue is empty.

mod drop_log;
mod forwarding;
mod group;
mod handovers;
mod judging;
mod noting;
mod pair_link;
mod perform;
mod places;
mod port;
mod questions;
mod receive;
mod rivals;
mod routes;
mod signing;
mod start;
mod succession;
mod timers;
mod trackers;
mod unit;
mod virtual_mac;
mod wake;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use common::addr::Priority;
use common::board::{AdminBoard, ProxyBoard, SupervisorBoard, VrrpBoard};
use common::config::{Config, NodeIndex};
use common::time::Moment;

use self::drop_log::DropLog;
use self::forwarding::Forwarding;
use self::group::Group;
use self::handovers::Moves;
use self::judging::ON_TIME;
use self::pair_link::PairLink;
use self::places::Units;
use self::port::Port;
use self::questions::Questions;
use self::routes::Routes;
use self::signing::Signing;
pub(crate) use self::start::rehearse;
use self::trackers::Trackers;
use self::virtual_mac::MacPreflights;
use self::wake::Wake;
use crate::RunError;
use crate::clock::Clocks;
use crate::control::Control;
use crate::link::{EventSocket, RouteSocket};
use crate::realtime::Realtime;
use crate::router::Heard;
use crate::socket::ReceiveBuffer;

/// The loop turns at least this often, so that its heartbeat and its judgement stay fresh.
const TURN: Duration = Duration::from_millis(20);
/// In a flood there is always something to read, and a real-time thread that never waits is taken
/// for a runaway (`realtime`): after so long it rests.
const RESTLESS: Duration = Duration::from_millis(50);
const REST: Duration = Duration::from_millis(1);
/// A wait that took this long was one.
const SLEEP: Duration = Duration::from_micros(200);
/// What goes on is told again after so long without it.
const QUIET: Duration = Duration::from_secs(60);
/// Most adverts that are held back while a stalled loop catches up.
const CATCH_UP_LIMIT: usize = 1024;

/// Heartbeats with which a node that stops takes its leave, since one may be lost.
const FAREWELLS: u32 = 3;

/// How a loop ended.
#[derive(Debug)]
pub enum End {
    /// As it was asked to: no VIP is held any more.
    Stopped,
    /// For a successor. Leases and roles are as they were.
    Left(Leftovers),
}

/// Sockets of a loop that has left. To be dropped when the successor knows: the kernel needs
/// milliseconds for each that hears packets.
#[derive(Debug)]
pub struct Leftovers(#[expect(dead_code, reason = "kept until it is dropped")] Box<Driver>);

/// The state of the loop.
#[derive(Debug)]
pub(crate) struct Driver {
    config: Arc<Config>,
    node: NodeIndex,
    config_hash: u64,
    board: &'static VrrpBoard,
    proxy: &'static ProxyBoard,
    supervisor: &'static SupervisorBoard,
    admin: &'static AdminBoard,
    control: Arc<Control>,
    route: RouteSocket,
    events: EventSocket,
    wake: Wake,
    ports: Vec<Port>,
    /// By place.
    units: Units,
    groups: Vec<Group>,
    trackers: Trackers,
    routes: Routes,
    pair: Option<PairLink>,
    signing: Option<Signing>,
    questions: Option<Questions>,
    forwarding: Option<Forwarding>,
    rivals: rivals::Watch,
    /// `None` = no VIP has a hardware address of its own, or nobody can be asked.
    preflights: Option<MacPreflights>,
    /// Time since 1970, at the beginning of this turn.
    wall: Duration,
    drops: DropLog,
    buffer: ReceiveBuffer,
    /// What was read and no router has been told yet.
    heard: Vec<(usize, Heard)>,
    /// All queues were empty then.
    emptied: Moment,
    /// After a stall: what arrived before this moment is read before anything is done.
    catch_up: Option<Moment>,
    /// How late this turn came, or the first of those that have caught up since.
    lateness: Duration,
    /// Who slept listens until then, before it takes anything.
    listen_until: Moment,
    /// How late one may come before others act.
    patience: Duration,
    supervisor_gone_since: Option<Moment>,
    look_again: Option<Moment>,
    heartbeat_at_once: bool,
    moves: Moves,
}

/// What a turn left in the queues.
#[derive(Debug, Default, Clone, Copy)]
struct Queues {
    /// Everything that arrived before was read; `None` = they are empty.
    read_until: Option<Moment>,
    /// A socket reported an error.
    failed: bool,
}

impl Queues {
    fn add(&mut self, other: Self) {
        self.failed |= other.failed;
        self.read_until = match (self.read_until, other.read_until) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }

    /// Whether nothing that arrived before `moment` waits any more.
    fn are_read_until(&self, moment: Moment) -> bool {
        self.read_until.is_none_or(|until| until >= moment)
    }
}

impl Driver {
    /// Says on the board what rights the loop has.
    pub(crate) fn publish_realtime(&self, realtime: Realtime) {
        self.board.realtime.set(u64::from(realtime.scheduled));
        self.board.memory_locked.set(u64::from(realtime.locked));
    }

    /// Turns until a stop is requested and the other node has had its chance to take the VIPs, then gives up what is left;
    /// or until it is to leave, which keeps them.
    pub(crate) fn run(mut self, clock: impl Fn() -> Clocks) -> Result<End, RunError> {
        let mut due = clock().now();
        let mut slept = due;
        loop {
            let began = clock().now();
            if self.control.stop_requested() {
                match self.step_down(began) {
                    Some(until) => due = due.min(until),
                    None => break,
                }
            } else if self.control.leave_requested() {
                break;
            }
            if began.since(slept) > RESTLESS {
                self.wake.rest(began + REST).map_err(RunError::Loop)?;
            } else {
                self.wake.wait(due).map_err(RunError::Loop)?;
            }
            let clocks = clock();
            if clocks.now().since(began) > SLEEP {
                slept = clocks.now();
            }
            self.hear_host();
            due = self.turn(clocks, due);
        }
        let clocks = clock();
        self.wall = clocks.wall();
        if self.control.stop_requested() {
            self.stop(clocks.now());
            return Ok(End::Stopped);
        }
        self.leave(clocks.now());
        Ok(End::Left(Leftovers(Box::new(self))))
    }

    /// One turn; returns when the next one is due.
    fn turn(&mut self, clocks: Clocks, due: Moment) -> Moment {
        let now = clocks.now();
        self.wall = clocks.wall();
        if let Some(proxy) = self.control.take_proxy() {
            self.proxy = proxy;
        }
        if let Some(board) = self.control.take_forward() {
            self.use_forward(board);
        }
        let late = now.since(due) + self.note_suspension(clocks);
        if now >= due {
            self.board.lateness.take(late, self.patience, now);
        }
        // A turn that only catches up judges nothing: the one that does must know that it slept.
        self.lateness = match self.catch_up {
            Some(_) => self.lateness.max(late),
            None => late,
        };
        self.note_turn(now, late);
        let queues = self.read_queues(clocks, now);
        if queues.read_until.is_none() {
            self.emptied = now;
        }
        if let Some(moment) = self.catch_up {
            if !queues.are_read_until(moment) && self.heard.len() < CATCH_UP_LIMIT {
                return now;
            }
            self.catch_up = None;
        }
        self.tell_heard(now);
        self.question(clocks, now, queues);
        self.look_for_death(now);
        self.watch_rivals(clocks, now);
        self.keep_macvlans(now);
        self.look_at_trackers(now);
        self.move_vips(now, queues);
        for group in 0..self.groups.len() {
            self.judge(group, now);
            self.run_timer(group, now, queues);
        }
        self.beat(now);
        self.keep_routes(now);
        if queues.failed {
            self.look_again = Some(now);
        }
        if self.watch(now) {
            return now;
        }
        self.next_due(now)
    }

    fn note_turn(&mut self, now: Moment, lateness: Duration) {
        if lateness > ON_TIME
            && let Some(pair) = &self.pair
        {
            self.listen_until = now + pair.patience();
        }
        self.board.header.heartbeat.set(now);
        let nanos = u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX);
        if nanos > self.board.worst_lateness.get() {
            self.board.worst_lateness.set(nanos);
        }
        let vips = self.config.live_vips();
        let shortest = vips.map(|(_, vip)| vip.advert_interval).min();
        if shortest.is_some_and(|interval| lateness > interval * 2) {
            self.catch_up = Some(now);
        }
        match (
            self.control.supervisor_is_absent(),
            self.supervisor_gone_since,
        ) {
            (true, None) => self.supervisor_gone_since = Some(now),
            (false, Some(_)) => self.supervisor_gone_since = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn tell_heard(&mut self, now: Moment) {
        let mut heard = std::mem::take(&mut self.heard);
        for (place, heard) in heard.drain(..) {
            let group = self.units[place].group;
            self.note_owner(place, &heard);
            let heard = self.under_its_first_name(place, heard);
            self.groups[group].router.handle_heard(heard, now);
            self.perform(group, now);
        }
        self.heard = heard;
    }

    /// Two owners of one address are a mistake in somebody's configuration (RFC 9568, errata 8298); the
    /// address decides between them, as between any equals.
    fn note_owner(&self, place: usize, heard: &Heard) {
        let own = self.groups[self.units[place].group].router.priority();
        if own != Priority::OWNER || heard.priority != own.value() {
            return;
        }
        let cell = &self.board.owner_heard[place];
        let quiet = cell.get().is_none_or(|last| heard.at.since(last) >= QUIET);
        cell.set(heard.at);
        if quiet {
            let vip = &self.config.vips[place].name;
            tracing::warn!(vip, source = %heard.source, "another machine says that it owns this VIP");
        }
    }

    /// The orderly end: every VIP is given up, the other node knows it at once.
    fn stop(&mut self, now: Moment) {
        for group in 0..self.groups.len() {
            self.groups[group].router.handle_stop(now);
            self.perform(group, now);
        }
        // The last word: what the other node does next depends on it, and it is not said again.
        for _ in 0..FAREWELLS {
            self.heartbeat_at_once = true;
            self.beat(now);
        }
    }
}
