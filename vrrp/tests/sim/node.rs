//! One machine of the simulation: its router, and what its loop and its kernel know.

use std::time::Duration;

use common::board::{HandoverEnd, Refusal, VipState};
use common::time::Moment;
use vrrp::handover::{Answer, Candidate, Ended, Giving, MAINTENANCE_FAULTS, Request, Taking};
use vrrp::router::{Cause, Heard, Params, VirtualRouter};
use vrrp::silence::Silence;
use vrrp::timing::active_down_interval;
use vrrp::tracking::{Findings, Peer, Trial, Verdict};

/// How much later one node may find what the other has found.
pub(crate) const OUT_OF_STEP: Duration = Duration::from_millis(500);
/// Age of a heartbeat that still counts.
const FRESH: Duration = Duration::from_millis(100);

/// A packet on the wire.
pub(crate) struct Packet {
    pub(crate) to: usize,
    /// When it arrives.
    pub(crate) at: Moment,
    pub(crate) frame: Frame,
}

/// What is in it.
pub(crate) enum Frame {
    Advert(Heard),
    Heartbeat(Heard, Said),
    /// Who has your address?
    Question,
    Answer,
}

/// What a node says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Said {
    pub(crate) state: VipState,
    pub(crate) faults: u8,
    pub(crate) request: Option<Request>,
    pub(crate) answer: Option<Answer>,
    /// What overtakes is a replay.
    pub(crate) counter: u64,
    pub(crate) at: Moment,
}

pub(crate) struct Node {
    pub(crate) params: Params,
    pub(crate) router: VirtualRouter,
    pub(crate) trial: Trial,
    pub(crate) alive: bool,
    pub(crate) paused: bool,
    /// So is the whole machine.
    pub(crate) frozen: bool,
    /// The machine runs, whether the node does or not.
    pub(crate) powered: bool,
    /// By VIP: what keeps one away keeps all away.
    pub(crate) fit: Vec<bool>,
    /// Trackers without a weight that are down.
    pub(crate) faults: u8,
    /// What the others take from the priority.
    pub(crate) taken: u32,
    pub(crate) maintenance: bool,
    /// It gives its VIPs because it goes on maintenance.
    pub(crate) goes_on_maintenance: bool,
    /// It knows its servers.
    pub(crate) probed: bool,
    pub(crate) giving: Option<Giving>,
    pub(crate) taking: Taking,
    /// How the last handover ended that it was to give.
    pub(crate) ended: Option<Ended>,
    /// Of the last heartbeat that it sent.
    pub(crate) counter: u64,
    /// The other node's last heartbeat.
    pub(crate) peer: Option<Said>,
    /// `None` where adverts alone decide.
    pub(crate) silence: Option<Silence>,
    /// The other node's newest heartbeat, its newest word of any kind, and its kernel's newest answer.
    pub(crate) beat: Option<Moment>,
    pub(crate) spoke: Option<Moment>,
    pub(crate) answered: Option<Moment>,
    /// Silences that an answer has averted.
    pub(crate) averted: u32,
    /// Received by the kernel, not yet read.
    pub(crate) inbox: Vec<Heard>,
    /// When the kernel will drop the address; `None` = it is not there.
    pub(crate) lease: Option<Moment>,
    /// As the actions said.
    pub(crate) shown: VipState,
    /// When the next turn is due, and when the loop will wake.
    pub(crate) due: Moment,
    pub(crate) wake_at: Moment,
    pub(crate) heartbeat_at: Moment,
    pub(crate) last_arrival: Moment,
}

impl Node {
    pub(crate) fn new(params: Params, vips: usize, asks: bool) -> Self {
        let heartbeat = params.heartbeat.filter(|_| asks);
        Self {
            silence: heartbeat.map(Silence::new),
            beat: None,
            spoke: None,
            answered: None,
            averted: 0,
            frozen: false,
            powered: false,
            due: Moment::default(),
            router: VirtualRouter::new(params.clone()),
            trial: Trial::new(params.priority),
            params,
            alive: false,
            paused: false,
            fit: vec![true; vips],
            faults: 0,
            taken: 0,
            maintenance: false,
            goes_on_maintenance: false,
            probed: true,
            giving: None,
            taking: Taking::default(),
            ended: None,
            counter: 0,
            peer: None,
            inbox: Vec::new(),
            lease: None,
            shown: VipState::Init,
            wake_at: Moment::default(),
            heartbeat_at: Moment::default(),
            last_arrival: Moment::default(),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.alive && !self.paused
    }

    pub(crate) fn is_active(&self) -> bool {
        self.runs() && self.router.state() == VipState::Active
    }

    pub(crate) fn down(&self) -> Duration {
        let params = &self.params;
        active_down_interval(
            (params.priority, params.skew),
            params.advert_interval,
            params.heartbeat,
        )
    }

    pub(crate) fn has_lease(&self, now: Moment) -> bool {
        self.lease.is_some_and(|ends| now < ends)
    }

    /// A packet is in the kernel's queues. Only the heartbeats of an Active count as adverts.
    pub(crate) fn hear(&mut self, packet: Packet) {
        match packet.frame {
            Frame::Advert(heard) => {
                self.spoke = Some(packet.at);
                self.inbox.push(heard);
            }
            Frame::Heartbeat(heard, said) => {
                (self.beat, self.spoke) = (Some(packet.at), Some(packet.at));
                if self.peer.is_some_and(|last| last.counter >= said.counter) {
                    return;
                }
                self.peer = Some(said);
                if said.state == VipState::Active {
                    self.inbox.push(heard);
                }
            }
            Frame::Answer => self.answered = Some(packet.at),
            // The kernel answers, no process hears of it.
            Frame::Question => {}
        }
    }

    /// Tells the router what the node's boards and trackers say.
    pub(crate) fn judge(&mut self, now: Moment) {
        let unfit = self.fit.iter().position(|fit| !fit);
        let mut fitness = unfit.map_or(Ok(()), |vip| {
            Err(Cause::Together {
                vip: vip.to_string(),
                cause: Box::new(Cause::ProxyHung),
            })
        });
        let findings = self.findings(now);
        match self.trial.judge(&findings) {
            Verdict::TakesPart(priority) => self.router.handle_priority(priority, now),
            Verdict::Fault => {
                fitness = fitness.and(Err(Cause::Tracker {
                    name: "uplink".to_owned(),
                    words: String::new(),
                }));
            }
        }
        self.router
            .handle_ready(self.faults == 0 && self.probed && !self.maintenance);
        self.router.handle_peer_unable(self.peer_cannot_hold(now));
        self.router.handle_fitness(fitness, now);
    }

    /// As it says itself; that it takes no part holds until it says something else.
    fn peer_cannot_hold(&self, now: Moment) -> bool {
        let said = self.peer.filter(|_| self.params.heartbeat.is_some());
        said.is_some_and(|said| match said.state {
            VipState::Init => true,
            VipState::Fault => now.since(said.at) <= FRESH,
            VipState::Active | VipState::Backup => false,
        })
    }

    fn findings(&self, now: Moment) -> Findings {
        Findings {
            now,
            faults: self.faults,
            out_of_step: OUT_OF_STEP,
            taken: self.taken,
            peer: self.known_of_peer(now),
            pinned: self.router.is_pinned(),
            maintenance: self.maintenance,
        }
    }

    /// What it says of itself in a heartbeat.
    pub(crate) fn said(&self, at: Moment) -> Said {
        let maintenance = if self.maintenance {
            MAINTENANCE_FAULTS
        } else {
            0
        };
        Said {
            state: self.router.state(),
            faults: self.faults + maintenance,
            request: self.giving.as_ref().map(Giving::request),
            answer: self.taking.answer(),
            counter: self.counter,
            at,
        }
    }

    /// Asks the other node to take the VIP.
    pub(crate) fn give(&mut self, request: Request, heartbeat: Duration, now: Moment) {
        self.ended = None;
        self.giving = Some(Giving::new(request, heartbeat, now));
        self.router.handle_giving(true);
        self.heartbeat_at = now;
    }

    /// Planned moves, as the driver goes on with them.
    pub(crate) fn move_vips(&mut self, now: Moment) {
        let said = self.peer.filter(|said| now.since(said.at) <= FRESH);
        if let Some(request) = said.and_then(|said| said.request) {
            let mut taking = std::mem::take(&mut self.taking);
            let known = taking.answer();
            if taking.handle_request(&request, || {
                self.judge_request(&request, now)
                    .map_err(|refusal| (refusal, 0))
            }) {
                let findings = Findings {
                    pinned: true,
                    ..self.findings(now)
                };
                let pin = request.pins.then(|| self.trial.priority(&findings));
                self.router.handle_take(pin, now);
            }
            if taking.answer() != known {
                self.heartbeat_at = now;
            }
            self.taking = taking;
        }
        let Some(giving) = &mut self.giving else {
            return;
        };
        if let Some(answer) = said.and_then(|said| said.answer) {
            giving.handle_answer(answer);
        }
        let is_there = said.is_some_and(|said| said.state == VipState::Active);
        let is_here = self.router.state() == VipState::Active;
        if let Some(ended) = giving.poll((u16::from(is_here), u16::from(is_there)), now) {
            self.maintenance |= self.goes_on_maintenance && ended.end == HandoverEnd::Done;
            self.ended = Some(ended);
            self.giving = None;
            self.router.handle_giving(false);
        }
    }

    fn judge_request(&self, request: &Request, now: Moment) -> Result<(), Refusal> {
        let candidate = Candidate {
            takes_part: matches!(self.router.state(), VipState::Backup | VipState::Active),
            fitness: self.router.fitness(),
            maintenance: self.maintenance,
            health: self.probed.then_some(100),
            asker_health: Some(100),
            knows_trackers: true,
            faults: self.faults,
            asker_faults: self.peer.map_or(0, |said| said.faults),
            priority: self.trial.priority(&Findings {
                pinned: request.pins,
                ..self.findings(now)
            }),
            preempted_by: None,
        };
        candidate.judge(request.forced)
    }

    fn known_of_peer(&self, now: Moment) -> Peer {
        match (self.params.heartbeat, self.peer) {
            (None, _) => Peer::NoChannel,
            (Some(_), Some(said)) if now.since(said.at) <= FRESH => match said.state {
                VipState::Active | VipState::Backup => Peer::Faults(said.faults),
                VipState::Init | VipState::Fault => Peer::Unable,
            },
            (Some(_), Some(_) | None) => Peer::Silent,
        }
    }
}
