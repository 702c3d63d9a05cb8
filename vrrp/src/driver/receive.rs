//! Reading the queues: bounded, in the order of arrival, before anything else is done.

use common::board::{DropReason, PairDrop, VrrpBoard};
use common::time::Moment;

use super::drop_log::DropLog;
use super::pair_link::{PairLink, take_heartbeat};
use super::port::Port;
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

/// One source of a turn's datagrams, and what it leaves behind.
struct Turn<'a> {
    board: &'static VrrpBoard,
    units: &'a [Unit],
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
            match verified(
                port.decode(&datagram),
                self.signing.as_deref_mut(),
                (read_until, self.clocks),
            ) {
                Ok(received) => {
                    let at = read_until;
                    let units = self.units;
                    let place = port
                        .plan
                        .vips
                        .iter()
                        .map(|vip| vip.0)
                        .find(|place| units[*place].vrid == received.advert.vrid);
                    if let Some(place) = place {
                        publish_advert(self.board, &units[place], &received, at);
                        self.heard.push((place, heard(&received, at)));
                    }
                }
                // The witness has it, whether the kernel lets it through to here or not.
                Err(DropReason::OwnSource) => {}
                Err(reason) => self
                    .drops
                    .advert(self.board, reason, datagram.source, self.now),
            }
        }
        Queues {
            read_until: Some(read_until),
            failed: false,
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
