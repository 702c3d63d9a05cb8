//! Reading the queues: bounded, in the order of arrival, before anything else is done.

use common::board::{DropReason, PairDrop, VrrpBoard, count_lateness};
use common::config::Config;
use common::time::Moment;

use super::drop_log::DropLog;
use super::noting::Noting;
use super::pair_link::{PairLink, take_heartbeat};
use super::places::Units;
use super::port::{self, Port};
use super::signing::Signing;
use super::unit::Unit;
use super::{Driver, Queues};
use crate::clock::{self, Clocks};
use crate::packet::Received;
use crate::router::{Heard, Via};
use crate::signature::Sight;
use crate::socket::{Read, ReceiveBuffer};

/// Most datagrams that one turn reads, over all sockets.
const DATAGRAMS: usize = 64;
/// Each socket gets at least this share of them.
const SHARE_AT_LEAST: usize = 8;

/// Most forged packets that one turn counts on an interface.
const FORGED: usize = 8;
/// Most adverts of the other node that one turn looks at in front of the firewall.
const OVERHEARD: usize = 8;

/// One source of a turn's datagrams, and what it leaves behind.
struct Turn<'a> {
    board: &'static VrrpBoard,
    config: &'a Config,
    units: &'a Units,
    drops: &'a mut DropLog,
    buffer: &'a mut ReceiveBuffer,
    heard: &'a mut Vec<(usize, Heard)>,
    signing: Option<&'a mut Signing>,
    clocks: Clocks,
    now: Moment,
    /// The queues were empty then.
    emptied: Moment,
    budget: usize,
}

impl Driver {
    /// Reads the queues into `self.heard`. Heartbeats first: one that was sent before a resignation
    /// must not be taken for a later one, where stamps are equal or missing.
    pub(super) fn read_queues(&mut self, clocks: Clocks, now: Moment) -> Queues {
        let Self {
            board,
            config,
            units,
            drops,
            buffer,
            heard,
            ports,
            pair,
            signing,
            ..
        } = self;
        let sockets = ports.len() + usize::from(pair.is_some());
        let mut turn = Turn {
            board,
            config,
            units,
            drops,
            buffer,
            heard,
            signing: signing.as_mut(),
            clocks,
            now,
            emptied: self.emptied,
            budget: (DATAGRAMS / sockets.max(1)).max(SHARE_AT_LEAST),
        };
        let mut queues = Queues::default();
        if let Some(pair) = pair {
            queues.add(turn.read_pair(pair));
        }
        for port in ports.iter() {
            queues.add(turn.read_port(port));
            turn.count_forged(port);
            turn.overhear(port);
        }
        self.heard.sort_by_key(|(_, heard)| heard.at);
        queues
    }
}

impl Turn<'_> {
    fn read_pair(&mut self, pair: &mut PairLink) -> Queues {
        let mut read_until = self.emptied;
        for _ in 0..self.budget {
            let datagram = match pair.socket.receive(self.buffer) {
                Read::Datagram(datagram) => datagram,
                Read::Empty => return Queues::default(),
                // An error of the socket, told once; the queue behind it is read on.
                Read::Failed(_) => continue,
            };
            read_until = self.clocks.moment_of(datagram.stamp, self.emptied);
            let opened = if datagram.source == Some(pair.peer) {
                pair.channel.open(datagram.bytes)
            } else {
                Err(PairDrop::Source)
            };
            match opened {
                Ok(summary) => {
                    if let Some(signing) = &mut self.signing {
                        signing.hear(&pair.channel, &summary, read_until);
                    }
                    pair.keep_handover(&summary, self.units);
                    self.heard.extend(take_heartbeat(
                        &summary, self.units, self.board, pair.peer, read_until,
                    ));
                }
                Err(reason) => self
                    .drops
                    .pair(self.board, reason, datagram.source, self.now),
            }
        }
        Queues {
            read_until: Some(read_until),
            failed: false,
        }
    }

    fn read_port(&mut self, port: &Port) -> Queues {
        let (units, board) = (self.units, self.board);
        let of = (self.config, board);
        let mut read_until = self.emptied;
        for _ in 0..self.budget {
            let datagram = match port.receive(self.buffer) {
                Read::Datagram(datagram) => datagram,
                Read::Empty => return Queues::default(),
                Read::Failed(errno) => {
                    tracing::debug!(interface = port.plan.name, %errno, "adverts cannot be read");
                    return Queues {
                        read_until: None,
                        failed: true,
                    };
                }
            };
            read_until = self.clocks.moment_of(datagram.stamp, self.emptied);
            let at = read_until;
            let packet = port::packet(&datagram);
            let decoded = packet.and_then(|packet| port.judge(&packet));
            if let Ok(received) = &decoded
                && let Some(place) = place_of(units, port, received.advert.vrid.value())
            {
                board.wire[place].reached_us_at.set(at);
            }
            let signing = self.signing.as_deref_mut();
            match verified(decoded, signing, (at, self.clocks)) {
                Ok(received) => {
                    if let Some(place) = place_of(units, port, received.advert.vrid.value()) {
                        publish_advert(board, &units[place], &received, at);
                        count_lateness(&board.advert_delays, self.now.since(at));
                        let interval = received.advert.interval.as_nanos();
                        let interval = u64::try_from(interval).unwrap_or(0);
                        board.heard_interval[place].set(interval);
                        noting(of, place, at).heard(&received);
                        self.heard.push((place, heard(&received, at)));
                    }
                }
                // The witness has it, whether the kernel lets it through to here or not.
                Err(DropReason::OwnSource) => {}
                Err(reason) => {
                    self.drops
                        .advert(self.board, reason, datagram.source, self.now);
                    if let Ok(packet) = packet
                        && let Some(vrid) = packet.message.get(1)
                        && let Some(place) = place_of(units, port, *vrid)
                    {
                        noting(of, place, at).dropped(&packet, reason);
                    }
                }
            }
        }
        Queues {
            read_until: Some(read_until),
            failed: false,
        }
    }

    /// Counts the other node's adverts in front of the firewall; nobody is told of them.
    fn overhear(&mut self, port: &Port) {
        let units = self.units;
        for _ in 0..OVERHEARD {
            let Read::Datagram(datagram) = port.overhear(self.buffer) else {
                return;
            };
            let at = self.clocks.moment_of(datagram.stamp, self.emptied);
            if let Ok(received) = port.decode(&datagram)
                && let Some(place) = place_of(units, port, received.advert.vrid.value())
            {
                let slot = &self.board.wire[place];
                slot.reached_host.add(1);
                slot.reached_host_at.set(at);
            }
        }
    }

    /// Counts what came from outside with our own address; nobody is told of it.
    fn count_forged(&mut self, port: &Port) {
        for _ in 0..FORGED {
            let Read::Datagram(datagram) = port.receive_forged(self.buffer) else {
                return;
            };
            if let Err(reason) = port.decode(&datagram) {
                self.drops
                    .advert(self.board, reason, Some(port.own), self.now);
            }
        }
    }
}

/// The VIP of a port that has this VRID.
fn place_of(units: &Units, port: &Port, vrid: u8) -> Option<usize> {
    let mut places = port.plan.vips.iter().map(|vip| vip.0);
    places.find(|place| units[*place].vrid.value() == vrid)
}

fn noting<'a>(
    (config, board): (&'a Config, &'static VrrpBoard),
    place: usize,
    at: Moment,
) -> Noting<'a> {
    Noting {
        vip: &config.vips[place],
        slot: &board.wire[place],
        at,
    }
}

/// Lets an advert through that is signed as it has to be.
fn verified<'a>(
    decoded: Result<Received<'a>, DropReason>,
    signing: Option<&mut Signing>,
    (now, clocks): (Moment, Clocks),
) -> Result<Received<'a>, DropReason> {
    let received = decoded?;
    if let Some(signing) = signing {
        let wall = clock::is_synchronised().then(|| clocks.wall());
        signing.check(&received, Sight { now, wall })?;
    }
    Ok(received)
}

fn publish_advert(board: &VrrpBoard, unit: &Unit, received: &Received<'_>, at: Moment) {
    let slot = unit.slot();
    slot.adverts_received.add(1);
    if received.advert.priority == 0 {
        slot.priority_zero_received.add(1);
    }
    slot.advert_heard.set(at);
    slot.peer_priority.set(u64::from(received.advert.priority));
    board.peer.heard.set(at);
}

fn heard(received: &Received<'_>, at: Moment) -> Heard {
    Heard {
        source: received.source,
        priority: received.advert.priority,
        interval: received.advert.interval,
        via: Via::Advert,
        at,
    }
}
