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
mod port;
mod questions;
mod receive;
mod rivals;
mod routes;
mod signing;
mod timers;
mod trackers;
mod unit;
mod virtual_mac;
mod wake;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use common::addr::Priority;
use common::board::{AdminBoard, LAYOUT, MomentCell, ProxyBoard, SupervisorBoard, VrrpBoard};
use common::config::key::parse_key_file;
use common::config::{Config, NodeIndex, Signing as Mode, VipIndex};
use common::time::Moment;
use ring::rand::{SecureRandom, SystemRandom};

use self::drop_log::DropLog;
use self::forwarding::Forwarding;
use self::group::Group;
use self::handovers::Moves;
use self::judging::ON_TIME;
use self::pair_link::PairLink;
use self::port::Port;
use self::questions::Questions;
use self::routes::Routes;
use self::signing::Signing;
use self::trackers::Trackers;
use self::unit::Unit;
use self::virtual_mac::MacPreflights;
use self::wake::Wake;
use crate::clock::Clocks;
use crate::control::Control;
use crate::link::{EventSocket, RouteSocket};
use crate::pair::Channel;
use crate::ports;
use crate::realtime::Realtime;
use crate::router::Heard;
use crate::signature::{Keys, Stamp};
use crate::socket::{PairSocket, ReceiveBuffer};
use crate::{Inputs, RunError};

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
    /// By [`VipIndex`].
    units: Vec<Unit>,
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
    /// Opens everything, removes stale leases and starts the routers.
    pub(crate) fn start(
        inputs: &Inputs,
        control: Arc<Control>,
        clocks: Clocks,
    ) -> Result<Self, RunError> {
        let now = clocks.now();
        let mut driver = Self::new(inputs, control, clocks)?;
        let addresses = driver.route.addresses()?;
        driver.look_at_ports(&addresses, now);
        driver.make_units();
        driver.publish_start(now);
        driver.look_at_macvlans(now)?;
        driver.look_elsewhere(&addresses);
        driver.remove_stale(&addresses)?;
        driver.remove_stale_routes();
        driver.look_at_trackers(now);
        for group in 0..driver.groups.len() {
            driver.judge(group, now);
            driver.groups[group].router.handle_start(now);
            driver.perform(group, now);
        }
        Ok(driver)
    }

    fn new(inputs: &Inputs, control: Arc<Control>, clocks: Clocks) -> Result<Self, RunError> {
        let now = clocks.now();
        let keys = keys(inputs)?;
        let events = EventSocket::open()?;
        let pair = open_pair(inputs, &keys, now)?;
        let wake = Wake::new().map_err(RunError::Loop)?;
        wake.add(&events).map_err(RunError::Loop)?;
        wake.add(control.as_event()).map_err(RunError::Loop)?;
        if let Some(pair) = &pair {
            wake.add(&pair.socket).map_err(RunError::Loop)?;
        }
        Ok(Self {
            ports: ports::plan(&inputs.config, inputs.node)
                .into_iter()
                .map(|plan| Port::new(plan, &inputs.config, inputs.node))
                .collect(),
            units: Vec::new(),
            groups: Vec::new(),
            trackers: Trackers::new(&inputs.config, inputs.board, now),
            routes: Routes::new(&inputs.config, inputs.board, now)?,
            config: Arc::clone(&inputs.config),
            node: inputs.node,
            config_hash: inputs.config_hash,
            board: inputs.board,
            proxy: inputs.proxy,
            supervisor: inputs.supervisor,
            admin: inputs.admin,
            control,
            route: RouteSocket::open()?,
            events,
            wake,
            pair,
            signing: signing(inputs, &keys),
            questions: Questions::new(&inputs.config, inputs.node, now),
            forwarding: inputs.forward.map(Forwarding::new),
            rivals: rivals::Watch::new(inputs.config.vips.len(), now),
            preflights: MacPreflights::new(
                &inputs.config,
                inputs.node,
                (&inputs.board.mac_preflight, now),
            ),
            wall: clocks.wall(),
            drops: DropLog::default(),
            buffer: ReceiveBuffer::new(),
            heard: Vec::with_capacity(CATCH_UP_LIMIT),
            emptied: now,
            catch_up: None,
            lateness: Duration::ZERO,
            listen_until: now,
            patience: inputs.config.patience_with(inputs.node),
            supervisor_gone_since: None,
            look_again: None,
            heartbeat_at_once: false,
            moves: Moves::new(
                random()?,
                inputs.board.handover.get().map_or(0, |last| last.id),
            ),
        })
    }

    fn make_units(&mut self) {
        let config = Arc::clone(&self.config);
        for members in Group::plan(config.vips.len(), config.together) {
            let port = &self.ports[self.port_of(members.start)];
            let group = Group::new(&config, self.node, members.clone(), port);
            for place in members {
                let of = (self.groups.len(), &group.router, self.port_of(place));
                let slot = &self.board.vips[place];
                let unit = Unit::new(&config, self.node, VipIndex(place), of, slot);
                self.units.push(unit);
            }
            self.groups.push(group);
        }
    }

    fn port_of(&self, place: usize) -> usize {
        let mut ports = self.ports.iter();
        ports
            .position(|port| port.plan.vips.contains(&VipIndex(place)))
            .expect("every VIP has the port of its interface")
    }

    fn publish_start(&mut self, now: Moment) {
        let header = &self.board.header;
        header
            .layout
            .store(LAYOUT, std::sync::atomic::Ordering::Release);
        header
            .pid
            .store(std::process::id(), std::sync::atomic::Ordering::Release);
        header.started.set(now);
        header.heartbeat.set(now);
        self.board.worst_lateness.set(0);
        self.board.peer.heard.clear();
        self.board.peer.heartbeat.clear();
        self.board.peer_mac.set(0);
        self.board.peer_forwards.set(0);
        let tells = self.forwarding.is_some();
        self.board.tells_forwarding.set(u64::from(tells));
        for slot in &self.board.wire {
            slot.reached_host_at.clear();
            slot.reached_us_at.clear();
            slot.warned.iter().for_each(MomentCell::clear);
        }
        for unit in &mut self.units {
            unit.publish_start(&self.groups[unit.group].router, now);
        }
    }

    /// Says on the board what rights the loop has.
    pub(crate) fn publish_realtime(&self, realtime: Realtime) {
        self.board.realtime.set(u64::from(realtime.scheduled));
        self.board.memory_locked.set(u64::from(realtime.locked));
    }

    /// Turns until a stop is requested, then gives the VIPs up.
    pub(crate) fn run(mut self, clock: impl Fn() -> Clocks) -> Result<(), RunError> {
        let mut due = clock().now();
        let mut slept = due;
        while !self.control.stop_requested() {
            let began = clock().now();
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
        self.stop(clocks.now());
        Ok(())
    }

    /// One turn; returns when the next one is due.
    fn turn(&mut self, clocks: Clocks, due: Moment) -> Moment {
        let now = clocks.now();
        self.wall = clocks.wall();
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
        let shortest = self.config.vips.iter().map(|vip| vip.advert_interval).min();
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
        self.heartbeat_at_once = true;
        self.beat(now);
    }
}

/// As the key file has them; none without a file.
type KeyFile = Vec<(u8, [u8; 32])>;

fn keys(inputs: &Inputs) -> Result<KeyFile, RunError> {
    let text = inputs.pair_key.as_deref();
    text.map_or_else(|| Ok(Vec::new()), parse_key_file)
        .map_err(RunError::PairKey)
}

fn signing(inputs: &Inputs, keys: &KeyFile) -> Option<Signing> {
    let mode = inputs.config.pair.signing;
    // An earlier process may have signed some.
    let last = Stamp::from_bits(inputs.board.advert_stamp.get());
    let keys = (mode != Mode::Off).then(|| Keys::new(keys)).flatten()?;
    Some(Signing::new(mode, keys, last))
}

fn open_pair(inputs: &Inputs, keys: &KeyFile, now: Moment) -> Result<Option<PairLink>, RunError> {
    let config = &inputs.config;
    let (true, Some(peer), Some(heartbeat)) = (
        config.has_pair_channel(inputs.node),
        config.peer_of(inputs.node),
        config.pair.heartbeat,
    ) else {
        return Ok(None);
    };
    let channel = Channel::new(keys, random()?).map_err(RunError::PairNoKey)?;
    let own = config.nodes[inputs.node.0].address;
    let peer = config.nodes[peer.0].address;
    let socket = PairSocket::open(own, peer, config.pair.port).map_err(RunError::PairSocket)?;
    Ok(Some(PairLink::new(socket, channel, heartbeat, now)))
}

fn random() -> Result<u64, RunError> {
    let mut bytes = [0_u8; 8];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| RunError::Random)?;
    Ok(u64::from_be_bytes(bytes))
}
