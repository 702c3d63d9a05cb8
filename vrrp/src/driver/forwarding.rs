//! What the loop tells the TC program of flow forwarding: for which VIPs this node is active, and whether the other
//! node's machine is dead ([`crate::death`]).

use common::board::{ForwardBoard, Forwarding as State, VipState};
use common::time::Moment;

use super::Driver;
use crate::death::{Act, Death, Turn};
use crate::neighbour::Evidence;

/// The program's board, and what is concluded from its stamps.
#[derive(Debug)]
pub(super) struct Forwarding {
    board: &'static ForwardBoard,
    death: Death,
}

impl Forwarding {
    pub(super) fn new(board: &'static ForwardBoard) -> Self {
        Self {
            board,
            death: Death::default(),
        }
    }

    /// When the loop has to turn for this.
    pub(super) fn due(&self) -> Option<Moment> {
        self.death.due(self.board.peer_frame.get()?)
    }
}

impl Driver {
    /// Whether segments of the other node's connections go there, wherever they come to this one.
    pub(super) fn forwards(&self) -> bool {
        let state = self.supervisor.forwarding.state.get();
        self.forwarding.is_some() && State::from_board(state) == State::On
    }

    /// The other node's last frame, as the program has stamped it; `None` = none, or nobody stamps.
    pub(super) fn stamped_frame(&self) -> Option<Moment> {
        let forwarding = self.forwarding.as_ref().filter(|_| self.forwards())?;
        forwarding.board.peer_frame.get()
    }

    /// Another program is in place: it is told what the one before it was.
    pub(super) fn use_forward(&mut self, board: &'static ForwardBoard) {
        self.forwarding = Some(Forwarding::new(board));
        for group in 0..self.groups.len() {
            self.tell_roles(group);
        }
    }

    /// Says who new connections belong to. To be called before a lease is removed: from then on they are sent there.
    pub(super) fn tell_roles(&self, group: usize) {
        let Some(forwarding) = &self.forwarding else {
            return;
        };
        let router = &self.groups[group].router;
        for place in self.groups[group].members.iter() {
            let takes = match self.units[place].state(router) {
                VipState::Active => true,
                // There nobody listens any more, or will not in a moment; here they wait until somebody accepts.
                VipState::Backup | VipState::Fault => self.groups[group].peer_has_stopped,
                VipState::Init => false,
            };
            forwarding.board.active[place].set(u64::from(takes));
        }
    }

    /// Whether that machine is taken for dead.
    pub(super) fn peer_is_dead(&self) -> bool {
        let forwarding = self.forwarding.as_ref().filter(|_| self.forwards());
        forwarding.is_some_and(|forwarding| forwarding.board.is_peer_dead())
    }

    /// Asks the kernel of a machine that is not heard any more, and gives the verdict.
    pub(super) fn look_for_death(&mut self, now: Moment) {
        let Some(frame) = self.stamped_frame() else {
            return;
        };
        // A dead link of our own says nothing about others, nor does a node that is heard in frames of another address.
        let hears = self.ports.iter().all(|port| port.fault.is_none())
            && self.evidence(now) != Evidence::Against;
        let (Some(forwarding), Some(questions)) = (&mut self.forwarding, &self.questions) else {
            return;
        };
        let act = forwarding.death.turn(Turn {
            now,
            lateness: self.lateness,
            frame,
            armed: hears && questions.can_ask() && !questions.has_answered_after(frame),
        });
        match act {
            None => {}
            Some(Act::Ask) if questions.ask_peer() => {}
            Some(Act::Ask) => forwarding.death.handle_unasked(),
            Some(Act::Dead(frame)) => {
                forwarding.board.dead_as_of.set(frame);
                self.board.deaths.add(1);
                let unheard_ms = u64::try_from(now.since(frame).as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(
                    unheard_ms,
                    "the other node's machine is lost: its connections are reset until it is heard again"
                );
            }
        }
    }
}
