//! Whether this node can hold its VIPs, from the boards of the others and from its interfaces.

use std::time::Duration;

use common::addr::Priority;
use common::board::{Cell, Child, PeerSlot, ProxyBoard, TrackerState, VipState, tracker_slot};
use common::config::{MAX_THREADS, TrackerEffect, VipIndex};
use common::time::Moment;

use super::Driver;
use crate::control::Running;
use crate::fitness::{self, Facts};
use crate::handover::MAINTENANCE_FAULTS;
use crate::router::Cause;
use crate::tracking::{Findings, Peer, Verdict};

/// A turn that woke later than this concludes nothing from the age of others' heartbeats.
pub(super) const ON_TIME: Duration = Duration::from_millis(50);

impl Driver {
    /// Takes the wake-up of whoever hosts the loop, and what a reload may change here: the hash that the
    /// other node hears, and how long its view of the servers may be another one.
    pub(super) fn hear_host(&mut self) {
        self.control.clear();
        let Some(Running { config, hash }) = self.control.take_next() else {
            return;
        };
        for (place, unit) in self.units.iter_mut() {
            unit.judge
                .set_patience(fitness::patience(&config, VipIndex(place)));
        }
        self.patience = config.patience_with(self.node);
        self.config_hash = hash;
        self.config = config;
    }

    /// Tells a router whether this node can hold its VIPs: all of them, or none.
    pub(super) fn judge(&mut self, group: usize, now: Moment) {
        let mut fitness = Ok(());
        for place in self.groups[group].members.iter() {
            // Each is judged at every turn: judges remember.
            let one = self.fitness(place, now);
            let name = &self.config.vips[place].name;
            fitness = fitness.and(one.map_err(|cause| self.groups[group].cause(name, cause)));
        }
        let (verdict, is_ready) = self.judge_trackers(group, now);
        let members = self.groups[group].members;
        let has_stopped = members
            .iter()
            .any(|place| self.peer_has_stopped((group, place), now));
        let unable = has_stopped || members.iter().any(|place| self.peer_is_unable(place, now));
        self.groups[group].peer_has_stopped = has_stopped;
        let router = &mut self.groups[group].router;
        router.handle_ready(is_ready);
        router.handle_peer_unable(unable);
        match verdict {
            Ok(priority) => router.handle_priority(priority, now),
            Err(cause) => fitness = fitness.and(Err(cause)),
        }
        router.handle_fitness(fitness, now);
        self.perform(group, now);
    }

    /// The priority that trackers leave, and whether this node may take VIPs from one that serves.
    fn judge_trackers(&mut self, group: usize, now: Moment) -> (Result<Priority, Cause>, bool) {
        let peer = self.peer_in(group, now);
        let maintenance = self.on_maintenance(now);
        let group = &mut self.groups[group];
        let mut findings = Findings {
            now,
            faults: 0,
            out_of_step: Duration::ZERO,
            taken: 0,
            peer,
            pinned: group.router.is_pinned(),
            maintenance,
        };
        let mut knows_trackers = true;
        let mut first = None;
        for (place, tracker) in self.config.live_trackers() {
            if !tracker.concerns(group.members.iter()) {
                continue;
            }
            let slot = tracker_slot(&tracker.kind, place, (self.board, self.admin));
            match (slot.state(), tracker.effect) {
                (TrackerState::Up, _) => {}
                (TrackerState::Unknown, _) => knows_trackers = false,
                (TrackerState::Down, TrackerEffect::Lower(taken)) => {
                    findings.taken += u32::from(taken);
                }
                (TrackerState::Down, TrackerEffect::Fault) => {
                    findings.faults += 1;
                    findings.out_of_step = findings.out_of_step.max(tracker.out_of_step());
                    first.get_or_insert((place, slot));
                }
            }
        }
        let told = if maintenance { MAINTENANCE_FAULTS } else { 0 };
        group.faults = findings.faults.saturating_add(told);
        group.findings = Some(findings);
        group.knows_trackers = knows_trackers;
        if group.blamed.as_ref().map(|(place, _)| *place) != first.map(|(place, _)| place) {
            group.blamed = first.map(|(place, slot)| (place, slot.reason.get()));
        }
        let verdict = match group.trial.judge(&findings) {
            Verdict::TakesPart(priority) => Ok(priority),
            Verdict::Fault => {
                let blamed = group.blamed.as_ref();
                let (place, words) = blamed.expect("a fault has a tracker that is down");
                Err(Cause::Tracker {
                    name: self.config.trackers[*place].name.clone(),
                    words: words.clone(),
                })
            }
        };
        let knows_itself = knows_trackers && self.proxy.probed.get() != 0;
        (
            verdict,
            knows_itself && findings.faults == 0 && !maintenance,
        )
    }

    /// What is known of the other node, as far as trackers are concerned.
    fn peer_in(&self, group: usize, now: Moment) -> Peer {
        let Some(pair) = &self.pair else {
            return Peer::NoChannel;
        };
        let peer = &self.board.peer;
        if !pair.is_fresh(peer, now) {
            return Peer::Silent;
        }
        let members = self.groups[group].members;
        let is_able = members.iter().all(|place| can_hold(peer, place));
        let faults = members.iter().find_map(|place| {
            let faults = u8::try_from(self.board.peer_faults[place].get());
            faults.ok()
        });
        match faults {
            Some(faults) if is_able => Peer::Faults(faults),
            Some(_) | None => Peer::Unable,
        }
    }

    /// Whether the other node, which is heard, could not take a VIP, as it says itself; or its machine is dead.
    fn peer_is_unable(&self, place: usize, now: Moment) -> bool {
        let (peer, pair) = (&self.board.peer, self.pair.as_ref());
        let says_so = pair.is_some_and(|pair| pair.is_fresh(peer, now)) && !can_hold(peer, place);
        says_so || self.peer_is_dead()
    }

    /// Whether the other node takes no part any more: its last word was that, however long ago (one that begins says so);
    /// or it has resigned, and no heartbeat has followed.
    fn peer_has_stopped(&self, (group, place): (usize, usize), now: Moment) -> bool {
        let peer = &self.board.peer;
        let (Some(pair), Some(heard)) = (&self.pair, peer.heartbeat.get()) else {
            return false;
        };
        let resigned = self.groups[group].router.resigned_at();
        let vanished = now.since(heard) > pair.patience() && resigned.is_some_and(|at| at >= heard);
        vanished || VipState::from_board(peer.vip_state[place].get()) == VipState::Init
    }

    /// Whether this node can hold a VIP.
    fn fitness(&mut self, place: usize, now: Moment) -> Result<(), Cause> {
        let peer = &self.board.peer;
        let fresh = self
            .pair
            .as_ref()
            .is_some_and(|pair| pair.is_fresh(peer, now));
        let deaths = &self.supervisor.children[Child::Proxy as usize].last_deaths;
        let facts = Facts {
            now,
            woke_on_time: self.lateness <= ON_TIME,
            accepting: self.accepting(),
            proxy_deaths: [deaths[0].get(), deaths[1].get(), deaths[2].get()],
            own_health: own_health(self.proxy, &self.proxy.vip_hope[place]),
            peer_health: fresh.then(|| peer_health(peer, place)).flatten(),
            interface_fault: self.ports[self.units[place].port].fault.as_deref(),
            supervisor_gone_since: self.supervisor_gone_since,
        };
        let unit = &mut self.units[place];
        unit.judge.judge(&facts)?;
        if let Some(index) = unit.elsewhere {
            let address = unit.address;
            let what = format!("{address} is on another interface, with index {index}");
            return Err(Cause::Interface(what));
        }
        if unit.unheard.holds(now) {
            return Err(Cause::Interface("adverts cannot be sent".to_owned()));
        }
        Ok(())
    }

    /// Oldest accept heartbeat of the proxy's threads.
    fn accepting(&self) -> Option<Moment> {
        let threads = usize::try_from(self.proxy.threads.get()).unwrap_or(0);
        self.proxy.accepting[..threads.min(MAX_THREADS)]
            .iter()
            .map(|cell| cell.get())
            .min()
            .flatten()
    }
}

/// A health byte of this node, once every server was probed. Readers trust no value.
pub(super) fn own_health(proxy: &ProxyBoard, health: &Cell) -> Option<u8> {
    (proxy.probed.get() != 0).then(|| u8::try_from(health.get()).unwrap_or(100).min(100))
}

/// The other node's, if it could hold the VIP and knows its servers.
fn peer_health(peer: &PeerSlot, place: usize) -> Option<u8> {
    let health = u8::try_from(peer.vip_health[place].get()).ok()?;
    (can_hold(peer, place) && health <= 100).then_some(health)
}

/// As it says itself.
fn can_hold(peer: &PeerSlot, place: usize) -> bool {
    match VipState::from_board(peer.vip_state[place].get()) {
        VipState::Active | VipState::Backup => true,
        VipState::Init | VipState::Fault => false,
    }
}
