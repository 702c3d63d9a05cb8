//! The pair channel in the loop: what is sent when, and what of the other node's heartbeats goes
//! where.

use std::net::IpAddr;
use std::time::Duration;

use common::board::{PeerSlot, VipState, VrrpBoard};
use common::time::Moment;

use super::Driver;
use super::handovers::HeardHandover;
use super::judging::own_health;
use super::places::Units;
use crate::pair::{Channel, HEALTH_UNKNOWN, MAX_DATAGRAM, Summary, VipRecord};
use crate::router::{Heard, Via};
use crate::socket::PairSocket;

/// Health of the other node counts for this many heartbeats, and at least for [`FRESH_AT_LEAST`].
const FRESH_HEARTBEATS: u32 = 3;
/// A node that is late by less than this has not lost its health.
const FRESH_AT_LEAST: Duration = Duration::from_millis(100);
/// Version of this software as heartbeats carry it.
const VERSION: [&str; 3] = [
    env!("CARGO_PKG_VERSION_MAJOR"),
    env!("CARGO_PKG_VERSION_MINOR"),
    env!("CARGO_PKG_VERSION_PATCH"),
];

/// The pair channel.
#[derive(Debug)]
pub(super) struct PairLink {
    pub(super) socket: PairSocket,
    pub(super) channel: Channel,
    pub(super) peer: IpAddr,
    heartbeat: Duration,
    /// When the next heartbeat is due; the grid keeps its phase when one is late.
    next: Moment,
    out: [u8; MAX_DATAGRAM],
    failing: bool,
    /// What the last heartbeat said of handovers, until it was looked at.
    pub(super) handover: Option<HeardHandover>,
    /// The other node understands requests for one.
    pub(super) peer_understands: bool,
}

impl PairLink {
    pub(super) fn new(
        socket: PairSocket,
        channel: Channel,
        heartbeat: Duration,
        now: Moment,
    ) -> Self {
        Self {
            peer: socket.peer().ip(),
            socket,
            channel,
            heartbeat,
            next: now,
            out: [0; MAX_DATAGRAM],
            failing: false,
            handover: None,
            peer_understands: false,
        }
    }

    /// When the next heartbeat is due.
    pub(super) fn due(&self) -> Moment {
        self.next
    }

    /// Sends a heartbeat now; the next one keeps its place on the grid.
    pub(super) fn send(&mut self, summary: &Summary, now: Moment) {
        while self.next <= now {
            self.next = if now.since(self.next) > self.heartbeat * 8 {
                now + self.heartbeat
            } else {
                self.next + self.heartbeat
            };
        }
        let length = self.channel.seal(summary, &mut self.out);
        let sent = self.socket.send(&self.out[..length]);
        if let (Err(error), false) = (&sent, self.failing) {
            tracing::warn!(%error, peer = %self.peer, "heartbeats cannot be sent");
        }
        self.failing = sent.is_err();
    }

    /// A node that lives is heard within this.
    pub(super) fn patience(&self) -> Duration {
        self.heartbeat * FRESH_HEARTBEATS
    }

    /// Keeps what a good heartbeat says of handovers.
    pub(super) fn keep_handover(&mut self, summary: &Summary, units: &Units) {
        self.peer_understands = summary.handover.is_understood;
        self.handover = Some(HeardHandover::of(summary, units));
    }

    /// Whether the health that the other node told still counts.
    pub(super) fn is_fresh(&self, slot: &PeerSlot, now: Moment) -> bool {
        let limit = (self.heartbeat * FRESH_HEARTBEATS).max(FRESH_AT_LEAST);
        slot.heartbeat
            .get()
            .is_some_and(|heartbeat| now.since(heartbeat) <= limit)
    }
}

impl Driver {
    /// Sends a heartbeat when one is due, and at once when a state changed.
    pub(super) fn beat(&mut self, now: Moment) {
        let at_once = std::mem::take(&mut self.heartbeat_at_once);
        let maintenance = self.on_maintenance(now);
        let forwards = self.forwards();
        let Some(pair) = &mut self.pair else { return };
        if !at_once && pair.due() > now {
            return;
        }
        let mut summary = Summary::new(version(), self.config_hash);
        summary.forwards = forwards;
        let signing = self.signing.as_ref();
        summary.stamp = signing.and_then(|signing| signing.told(self.wall));
        summary.handover = self.moves.told(maintenance, self.units.places());
        for (place, unit) in self.units.iter() {
            let router = &self.groups[unit.group].router;
            let (family, vrid) = unit.router_id();
            let port = &self.ports[unit.port];
            summary.push(VipRecord {
                family,
                vrid,
                source: (!port.own.is_unspecified()).then_some(port.own),
                state: router.state(),
                priority: router.priority().value(),
                health: own_health(self.proxy, &self.proxy.vip_sure[place])
                    .unwrap_or(HEALTH_UNKNOWN),
                interval: self.config.vips[place].advert_interval,
                faults: self.groups[unit.group].faults,
            });
        }
        pair.send(&summary, now);
    }
}

fn version() -> u64 {
    VERSION.iter().fold(0, |version, part| {
        version << 16 | part.parse::<u64>().unwrap_or(0) & 0xffff
    })
}

/// Puts a good heartbeat on the board and says, for each VIP that the other node holds, what the
/// VIP's router hears.
pub(super) fn take_heartbeat(
    summary: &Summary,
    units: &Units,
    board: &VrrpBoard,
    peer: IpAddr,
    at: Moment,
) -> impl Iterator<Item = (usize, Heard)> {
    let slot = &board.peer;
    slot.heard.set(at);
    slot.heartbeat.set(at);
    slot.version.set(summary.version);
    slot.config_hash.set(summary.config_hash);
    let maintenance = u64::from(summary.handover.maintenance);
    board.peer_maintenance.set(maintenance);
    board.peer_forwards.set(u64::from(summary.forwards));
    summary.vips().filter_map(move |record| {
        let router = (record.family, record.vrid);
        let place = units.position(|unit| unit.router_id() == router)?;
        slot.vip_health[place].set(u64::from(record.health));
        let was = VipState::from_board(slot.vip_state[place].get());
        slot.vip_state[place].set(record.state.on_board());
        board.peer_faults[place].set(u64::from(record.faults));
        // Who was active and is not any more has resigned, also where its adverts with priority 0 are lost, or are of
        // another version in the middle of a migration.
        let priority = match (was, record.state) {
            (_, VipState::Active) => Some(record.priority).filter(|priority| *priority > 0),
            (VipState::Active, VipState::Init | VipState::Backup | VipState::Fault) => Some(0),
            (VipState::Init | VipState::Backup | VipState::Fault, _) => None,
        };
        let heard = Heard {
            source: record.source.unwrap_or(peer),
            priority: priority?,
            interval: record.interval,
            via: Via::Heartbeat,
            at,
        };
        Some((place, heard))
    })
}
