//! The other node's kernel, as it answers: its hardware address, and whether its machine is lost ([`crate::silence`]).

use std::net::IpAddr;
use std::time::Duration;

use common::addr::Mac;
use common::board::VipState;
use common::config::{Config, NodeIndex, SilentTakeover};
use common::time::Moment;

use super::group::Group;
use super::wake::Wake;
use super::{Driver, Queues};
use crate::clock::Clocks;
use crate::link::{Interface, LinkError, RouteSocket};
use crate::neighbour::{Answer, Evidence, Neighbour, is_unstamped};
use crate::silence::{Act, Silence, Turn};
use crate::socket::{QuestionSocket, Read, ReceiveBuffer};

/// The other node's hardware address is asked for so often, of everybody: its machine may be another one.
const LEARN: Duration = Duration::from_secs(30);
/// As long as it is heard and has not answered yet, or is heard in frames of another one.
const LEARN_FIRST: Duration = Duration::from_secs(1);
/// A node that was not heard for so long is asked this often: a living kernel answers for a daemon that does not.
const UNHEARD: Duration = Duration::from_secs(5);
/// Most answers that one turn reads.
const ANSWERS: usize = 16;

/// The other node's machine, as its kernel answers for it.
#[derive(Debug)]
pub(super) struct Questions {
    /// `None` where adverts alone decide.
    silence: Option<Silence>,
    when: SilentTakeover,
    interface: String,
    own: IpAddr,
    peer: IpAddr,
    socket: Option<(Interface, QuestionSocket)>,
    neighbour: Neighbour,
    answered: Option<Moment>,
    learn_at: Moment,
}

impl Questions {
    /// `None` without another node.
    pub(super) fn new(config: &Config, node: NodeIndex, now: Moment) -> Option<Self> {
        let peer = config.peer_of(node)?;
        let (own, peer) = (config.nodes[node.0].address, config.nodes[peer.0].address);
        let heartbeat = match config.pair.silent_takeover {
            SilentTakeover::Off => None,
            SilentTakeover::Auto | SilentTakeover::Always => config.pair.heartbeat,
        };
        let silence = heartbeat.filter(|_| config.has_pair_channel(node));
        Some(Self {
            silence: silence.map(Silence::new),
            when: config.pair.silent_takeover,
            interface: config.pair.interface.clone(),
            own,
            peer,
            socket: None,
            neighbour: Neighbour::default(),
            answered: None,
            learn_at: now,
        })
    }

    /// Looks at the pair's interface again; the socket is opened anew when it is another one.
    pub(super) fn look(&mut self, route: &mut RouteSocket, wake: &Wake) -> Result<(), LinkError> {
        let found = route.interface(&self.interface)?;
        // Without a carrier nobody can be asked, and nothing is concluded.
        let found = found.filter(|one| one.up && one.carrier);
        let known = self.socket.as_ref().map(|(interface, _)| interface);
        let is = |interface: &Interface| (interface.index, interface.mac);
        if known.map(is) == found.as_ref().map(is) {
            return Ok(());
        }
        self.socket = None;
        let Some(interface) = found else {
            return Ok(());
        };
        let opened = QuestionSocket::open((interface.index, interface.mac), self.own, self.peer)
            .and_then(|socket| wake.add(&socket).map(|()| socket));
        match opened {
            Ok(socket) => self.socket = Some((interface, socket)),
            Err(error) => {
                tracing::warn!(interface = self.interface, %error, "the other node's kernel cannot be asked");
            }
        }
        Ok(())
    }

    /// Whether an event about this interface concerns it: the pair's, or any while that is missing.
    pub(super) fn is_concerned(&self, interface: u32) -> bool {
        let known = self.socket.as_ref().map(|(known, _)| known.index);
        known.is_none_or(|index| index == interface)
    }

    fn read(
        &mut self,
        buffer: &mut ReceiveBuffer,
        (clocks, earliest): (Clocks, Moment),
        evidence: Evidence,
    ) -> Queues {
        let Some((_, socket)) = &self.socket else {
            return Queues::default();
        };
        let mut read_until = earliest;
        for _ in 0..ANSWERS {
            let Read::Datagram(datagram) = socket.receive(buffer) else {
                return Queues::default();
            };
            read_until = clocks.moment_of(datagram.stamp, earliest);
            let Some(mac) = socket.answer(&datagram) else {
                continue;
            };
            match self.neighbour.hear(mac, evidence) {
                Answer::Believed => {
                    self.answered = Some(read_until);
                    if let Some(silence) = &mut self.silence {
                        silence.hear_frame(read_until);
                    }
                }
                Answer::Disbelieved { first: true } => {
                    let (mac, peer) = (Mac(mac), self.peer);
                    tracing::warn!(%mac, %peer, "another machine says that it has the other node's address");
                }
                Answer::Disbelieved { first: false } => {}
            }
        }
        Queues {
            read_until: Some(read_until),
            failed: false,
        }
    }

    /// Says whether it was sent.
    fn ask(&self, to: Option<[u8; 6]>) -> bool {
        let Some((_, socket)) = &self.socket else {
            return false;
        };
        let sent = socket.ask(to);
        if let Err(error) = &sent {
            tracing::debug!(%error, "a question was not sent");
        }
        sent.is_ok()
    }

    /// Asks everybody where the other node is. Says whether it asked.
    fn learn(&mut self, is_heard: bool, evidence: Evidence, now: Moment) -> bool {
        let pause = match (self.neighbour.mac(), is_heard) {
            (None, true) => LEARN_FIRST,
            (Some(_), true) if evidence == Evidence::Against => LEARN_FIRST,
            (Some(_), true) => LEARN,
            (_, false) => UNHEARD,
        };
        self.learn_at = self.learn_at.min(now + pause);
        if now < self.learn_at {
            return false;
        }
        self.learn_at = now + pause;
        self.neighbour.asked();
        self.ask(None)
    }

    /// When the loop has to turn for this.
    pub(super) fn due(&self) -> Option<Moment> {
        self.silence.as_ref().and_then(Silence::due)
    }

    /// Whether the other node's kernel can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.socket.is_some() && self.neighbour.mac().is_some()
    }

    /// Whether the other node's kernel has answered in a later frame than the last one that was stamped: then somebody has
    /// taken the TC program off.
    pub(super) fn has_answered_after(&self, frame: Moment) -> bool {
        self.answered
            .is_some_and(|answered| is_unstamped(answered, frame))
    }

    /// Asks the other node's kernel. Says whether the question was sent: who has asked nothing concludes nothing.
    pub(super) fn ask_peer(&self) -> bool {
        self.ask(self.neighbour.mac())
    }

    /// The other node's hardware address, once it has answered.
    pub(super) fn peer_mac(&self) -> Option<[u8; 6]> {
        self.neighbour.mac()
    }
}

impl Driver {
    /// What speaks for the hardware address that the other node is known by.
    pub(super) fn evidence(&self, now: Moment) -> Evidence {
        if !self.forwards() {
            return Evidence::None;
        }
        Evidence::of(self.stamped_frame(), self.board.peer.heartbeat.get(), now)
    }

    /// Reads answers, asks, and takes over what a silent node held.
    pub(super) fn question(&mut self, clocks: Clocks, now: Moment, queues: Queues) {
        let waits = |group: &Group| group.router.state() == VipState::Backup;
        let waiting = self.groups.iter().any(waits);
        let (board, slot) = (self.board, &self.board.peer);
        let frame = self.stamped_frame();
        let evidence = self.evidence(now);
        let both_forward = self.forwards() && board.peer_forwards.get() != 0;
        let Some(questions) = &mut self.questions else {
            return;
        };
        let answers = questions.read(&mut self.buffer, (clocks, self.emptied), evidence);
        let (beat, heard) = (slot.heartbeat.get(), slot.heard.get());
        if let Some(at) = questions.answered {
            board.peer_answered.set(at);
        }
        if let Some(mac) = questions.peer_mac() {
            let [a, b, c, d, e, f] = mac;
            board
                .peer_mac
                .set(u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
        }
        let is_heard = heard.is_some_and(|heard| now.since(heard) < UNHEARD);
        if questions.learn(is_heard, evidence, now) {
            board.peer_asked.set(now);
        }
        let can_ask = questions.can_ask();
        let wanted = questions.when == SilentTakeover::Always || both_forward;
        let Some(silence) = &mut questions.silence else {
            return;
        };
        silence.hear(beat, heard);
        if let Some(frame) = frame {
            silence.hear_frame(frame);
        }
        let act = silence.turn(Turn {
            now,
            lateness: self.lateness,
            read_all: queues.read_until.is_none() && answers.read_until.is_none(),
            armed: wanted && waiting && can_ask,
        });
        match act {
            None => {}
            Some(Act::Ask) if questions.ask_peer() => board.questions.add(1),
            Some(Act::Ask) => questions
                .silence
                .iter_mut()
                .for_each(Silence::handle_unasked),
            Some(Act::Saved) => board.silences_averted.add(1),
            Some(Act::Silent(unheard)) => {
                board.silences.add(1);
                self.take_over_from_silent(unheard, now);
            }
        }
    }

    fn take_over_from_silent(&mut self, unheard: Duration, now: Moment) {
        for group in 0..self.groups.len() {
            self.groups[group].router.handle_silence(unheard, now);
            self.perform(group, now);
        }
    }
}
