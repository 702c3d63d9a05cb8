//! The start of the loop: what it opens, and what it finds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::board::{LAYOUT, MomentCell};
use common::config::key::parse_key_file;
use common::config::{Signing as Mode, VipIndex};
use common::time::Moment;
use ring::rand::{SecureRandom, SystemRandom};

use super::drop_log::DropLog;
use super::forwarding::Forwarding;
use super::group::Group;
use super::handovers::Moves;
use super::pair_link::PairLink;
use super::places::{Places, Units};
use super::port::Port;
use super::questions::Questions;
use super::routes::Routes;
use super::signing::Signing;
use super::succession::Inherited;
use super::trackers::Trackers;
use super::unit::Unit;
use super::virtual_mac::MacPreflights;
use super::wake::Wake;
use super::{CATCH_UP_LIMIT, Driver, rivals};
use crate::clock::Clocks;
use crate::control::{Beginning, Control};
use crate::link::{EventSocket, RouteSocket};
use crate::pair::Channel;
use crate::ports;
use crate::signature::{Keys, Stamp};
use crate::socket::{PairSocket, ReceiveBuffer};
use crate::{Inputs, RunError};

impl Driver {
    /// Opens everything, removes stale leases and starts the routers. Those whose lease an earlier
    /// process has left to this one go on as Active.
    pub(crate) fn start(
        inputs: &Inputs,
        control: Arc<Control>,
        clocks: Clocks,
        beginning: Beginning,
    ) -> Result<Self, RunError> {
        let now = clocks.now();
        let mut driver = Self::new(inputs, control, clocks)?;
        let addresses = driver.route.addresses()?;
        driver.look_at_ports(&addresses, now);
        driver.make_units();
        driver.look_at_macvlans(now)?;
        let left = match beginning {
            Beginning::Anew => Vec::new(),
            Beginning::GoOn => driver.left_to_us(&addresses),
        };
        if beginning == Beginning::GoOn {
            driver.expect_adverts(now);
        }
        driver.publish_start(&left, now);
        driver.look_elsewhere(&addresses);
        driver.remove_stale(&addresses, &left)?;
        driver.remove_stale_routes(&left);
        driver.look_at_trackers(now);
        // Before anything is said of the others: their adverts are due.
        for one in &left {
            driver.go_on(*one, &addresses, now);
        }
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
            units: Units::default(),
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
        for members in Group::plan(Places::of(&config), config.together) {
            let port = &self.ports[self.port_of(members.first())];
            let group = Group::new(&config, self.node, members, port);
            for place in members.iter() {
                let of = (self.groups.len(), &group.router, self.port_of(place));
                let slot = &self.board.vips[place];
                let unit = Unit::new(&config, self.node, VipIndex(place), of, slot);
                self.units.put(place, unit);
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

    fn publish_start(&mut self, left: &[Inherited], now: Moment) {
        let header = &self.board.header;
        header.layout.store(LAYOUT, Ordering::Release);
        header.pid.store(std::process::id(), Ordering::Release);
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
        for unit in self.units.all_mut() {
            unit.forget_peer();
            // What goes on has been so since then, and its lease is there for whoever has to resign for us.
            if !left.iter().any(|one| one.group == unit.group) {
                unit.publish_start(&self.groups[unit.group].router, now);
            }
        }
    }
}

/// Tries what a start needs and a configuration may not give, without touching anything: whoever is told to begin
/// after that has no predecessor any more.
pub(crate) fn rehearse(inputs: &Inputs) -> Result<(), RunError> {
    let keys = keys(inputs)?;
    if inputs.config.has_pair_channel(inputs.node) {
        Channel::new(&keys, random()?).map_err(RunError::PairNoKey)?;
    }
    EventSocket::open()?;
    RouteSocket::open()?.addresses()?;
    Ok(())
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
