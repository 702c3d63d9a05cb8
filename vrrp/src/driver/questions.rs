//! The other node's kernel, as it answers: its hardware address, and whether its machine is lost ([`crate::silence`]).

use std::net::IpAddr;
use std::time::Duration;

use common::board::VipState;
use common::config::{Config, NodeIndex, SilentTakeover};
use common::time::Moment;

use super::group::Group;
use super::wake::Wake;
use super::{Driver, Queues};
use crate::clock::Clocks;
use crate::link::{Interface, LinkError, RouteSocket};
use crate::silence::{Act, Silence, Turn};
use crate::socket::{QuestionSocket, Read, ReceiveBuffer};

/// The other node's hardware address is asked for so often, of everybody: its machine may be another one.
const LEARN: Duration = Duration::from_secs(30);
/// As long as it is heard and has not answered yet.
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
    peer_mac: Option<[u8; 6]>,
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
            peer_mac: None,
            answered: None,
            learn_at: now,
        })
    }

    /// Looks at the pair's interface again; the socket is opened anew when it is another one.
    pub(super) fn look(&mut self, route: &mut RouteSocket, wake: &Wake) -> Result<(), LinkError> {
        let found = route.interface(&self.interface)?.filter(|one| one.up);
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

    fn read(&mut self, buffer: &mut ReceiveBuffer, clocks: Clocks, earliest: Moment) -> Queues {
        let Some((_, socket)) = &self.socket else {
            return Queues::default();
        };
        let mut read_until = earliest;
        for _ in 0..ANSWERS {
            let Read::Datagram(datagram) = socket.receive(buffer) else {
                return Queues::default();
            };
            read_until = clocks.moment_of(datagram.stamp, earliest);
            if let Some(mac) = socket.answer(&datagram) {
                self.peer_mac = Some(mac);
                self.answered = Some(read_until);
                if let Some(silence) = &mut self.silence {
                    silence.hear_frame(read_until);
                }
            }
        }
        Queues {
            read_until: Some(read_until),
            failed: false,
        }
    }

    fn ask(&self, to: Option<[u8; 6]>) {
        if let Some((_, socket)) = &self.socket
            && let Err(error) = socket.ask(to)
        {
            tracing::debug!(%error, "a question was not sent");
        }
    }

    /// Asks everybody where the other node is. Says whether it asked.
    fn learn(&mut self, is_heard: bool, now: Moment) -> bool {
        let pause = match (self.peer_mac, is_heard) {
            (None, true) => LEARN_FIRST,
            (Some(_), true) => LEARN,
            (_, false) => UNHEARD,
        };
        self.learn_at = self.learn_at.min(now + pause);
        let due = now >= self.learn_at;
        if due {
            self.learn_at = now + pause;
            self.ask(None);
        }
        due
    }

    /// When the loop has to turn for this.
    pub(super) fn due(&self) -> Option<Moment> {
        self.silence.as_ref().and_then(Silence::due)
    }

    /// Whether the other node's kernel can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.socket.is_some() && self.peer_mac.is_some()
    }

    /// Asks the other node's kernel.
    pub(super) fn ask_peer(&self) {
        self.ask(self.peer_mac);
    }

    /// The other node's hardware address, once it has answered.
    pub(super) fn peer_mac(&self) -> Option<[u8; 6]> {
        self.peer_mac
    }
}

impl Driver {
    /// Reads answers, asks, and takes over what a silent node held.
    pub(super) fn question(&mut self, clocks: Clocks, now: Moment, queues: Queues) {
        let waits = |group: &Group| group.router.state() == VipState::Backup;
        let waiting = self.groups.iter().any(waits);
        let (board, slot) = (self.board, &self.board.peer);
        let frame = self.stamped_frame();
        let both_forward = self.forwards() && board.peer_forwards.get() != 0;
        let Some(questions) = &mut self.questions else {
            return;
        };
        let answers = questions.read(&mut self.buffer, clocks, self.emptied);
        let (beat, heard) = (slot.heartbeat.get(), slot.heard.get());
        if let Some(at) = questions.answered {
            board.peer_answered.set(at);
        }
        if let Some(mac) = questions.peer_mac {
            let [a, b, c, d, e, f] = mac;
            board
                .peer_mac
                .set(u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
        }
        let is_heard = heard.is_some_and(|heard| now.since(heard) < UNHEARD);
        if questions.learn(is_heard, now) && questions.socket.is_some() {
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
            Some(Act::Ask) => {
                board.questions.add(1);
                questions.ask_peer();
            }
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
