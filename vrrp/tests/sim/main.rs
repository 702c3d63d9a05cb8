//! Two routers on a virtual LAN that loses, delays and cuts, on machines that pause, crash and stop;
//! some decide for several VIPs that move together, and trackers of all kinds fail.
//!
//! The simulation plays the driver (sockets are read before timers are looked at) and the kernel (a
//! lease ends by itself, and questions are answered). After every turn the invariants are checked; a failure prints its seed,
//! and `FMC_LB_SIM_SEED=N` runs that one alone.

mod handovers;
mod node;
mod questions;
mod random;
mod stories;

use std::net::IpAddr;
use std::time::Duration;

use common::addr::{Priority, Vrid};
use common::board::VipState;
use common::time::Moment;
use node::{Frame, Node, Packet};
use questions::SILENT;
use random::{Random, Seed};
use vrrp::router::{Action, Heard, Params, Via};
use vrrp::silence::Silence;
use vrrp::timing::Skew;

const SEEDS: u64 = 120;
/// Turns over all seeds, so that a simulation that stands still is noticed.
const LEAST_TURNS: u64 = 1_000_000;
/// Machines that are taken for lost, likewise.
const LEAST_SILENCES: u64 = 50;
/// Heartbeats of a node that stops.
const FAREWELLS: usize = 3;
const HEARTBEAT: Duration = Duration::from_millis(20);
/// Time on the wire at most.
const DELAY: Duration = Duration::from_millis(1);
/// A loop wakes at most so late, unless it is paused.
const LATENESS: Duration = Duration::from_micros(500);
const SECOND: Duration = Duration::from_secs(1);
/// A message on its way and a loop that wakes, both at their slowest, and some.
const PROMPT: Duration = Duration::from_millis(5);

struct Sim {
    random: Random,
    now: Moment,
    nodes: [Node; 2],
    air: Vec<Packet>,
    loss_percent: u64,
    /// Heartbeats may overtake each other.
    reorders: bool,
    /// Nothing arrives at this node.
    deaf: [bool; 2],
    turns: u64,
    /// Machines that were taken for lost.
    silences: u64,
    /// Last time that the network or a machine was in trouble.
    troubled_at: Moment,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let priorities = random.one_of(&[[250, 240], [100, 110], [100, 100], [255, 254]]);
        let interval = random.one_of(&[10, 100, 100, 1000, 5000]);
        let heartbeat = random.one_of(&[None, Some(HEARTBEAT)]);
        let asks = random.one_of(&[false, true]);
        let preempt = random.one_of(&[true, true, false]);
        let preempt_delay = random.one_of(&[0, 0, 2000]);
        // Their adverts and heartbeats are lost one by one.
        let vips = random.one_of(&[1, 1, 2, 3]);
        // Over IPv6 the last byte decides between equals, too.
        let net = random.one_of(&["192.168.0.", "192.168.0.", "fe80::5054:ff:fe00:"]);
        let address = |last| format!("{net}{last}").parse::<IpAddr>().expect("one");
        let node = |own, peer, priority| {
            let params = Params {
                vrid: Vrid::new(51).expect("not zero"),
                priority: Priority::new(priority).expect("not zero"),
                advert_interval: Duration::from_millis(interval),
                preempt,
                preempt_delay: Duration::from_millis(preempt_delay),
                skew: Skew::OfInterval,
                own: address(own),
                sole_peer: Some(address(peer)),
                heartbeat,
            };
            Node::new(params, vips, asks)
        };
        Self {
            nodes: [node(11, 12, priorities[0]), node(12, 11, priorities[1])],
            random,
            now: Moment::from_nanos(1_000_000_000_000),
            air: Vec::new(),
            loss_percent: 0,
            reorders: false,
            deaf: [false; 2],
            turns: 0,
            silences: 0,
            troubled_at: Moment::default(),
        }
    }

    /// The longest active-down interval of the two.
    fn down(&self) -> Duration {
        self.nodes[0].down().max(self.nodes[1].down())
    }

    fn boot(&mut self, place: usize) {
        let now = self.now;
        let node = &mut self.nodes[place];
        let fresh = Node::new(node.params.clone(), node.fit.len(), node.silence.is_some());
        *node = Node {
            alive: true,
            powered: true,
            due: now,
            fit: node.fit.clone(),
            faults: node.faults,
            taken: node.taken,
            maintenance: node.maintenance,
            probed: node.probed,
            counter: node.counter,
            last_arrival: node.last_arrival,
            wake_at: now,
            heartbeat_at: now,
            ..fresh
        };
        node.router.handle_start(now);
        self.perform(place, 0);
    }

    /// The power goes: nothing is said, and the lease is nobody's.
    fn crash(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.alive = false;
        node.powered = false;
        node.lease = None;
    }

    fn stop(&mut self, place: usize) {
        self.nodes[place].router.handle_stop(self.now);
        self.perform(place, 0);
        assert_eq!(self.nodes[place].lease, None);
        if self.nodes[place].params.heartbeat.is_some() {
            for _ in 0..FAREWELLS {
                self.send(place, 0, Via::Heartbeat);
            }
        }
        self.nodes[place].alive = false;
    }

    /// Lets `time` pass; `watch` is asked after every turn.
    fn run(&mut self, time: Duration, mut watch: impl FnMut(&Self)) {
        let end = self.now + time;
        loop {
            let wakes = (0..2)
                .filter(|place| self.nodes[*place].runs())
                .map(|place| (self.nodes[place].wake_at, place));
            let wake = wakes.min();
            let arrival = self
                .air
                .iter()
                .enumerate()
                .map(|(index, packet)| (packet.at, index))
                .min();
            match (wake, arrival) {
                (_, Some((at, index))) if at <= end && wake.is_none_or(|wake| at <= wake.0) => {
                    self.now = at.max(self.now);
                    self.arrive(index);
                }
                (Some((at, place)), _) if at <= end => {
                    self.now = at.max(self.now);
                    self.turn(place);
                    watch(self);
                }
                (Some(_) | None, Some(_) | None) => break,
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, index: usize) {
        let packet = self.air.swap_remove(index);
        let node = &mut self.nodes[packet.to];
        if matches!(packet.frame, Frame::Question) {
            if node.powered && !node.frozen {
                self.transmit(1 - packet.to, Duration::ZERO, |_, _| Frame::Answer);
            }
        } else if node.alive {
            node.hear(packet);
            node.wake_at = node.wake_at.min(self.now + self.random.up_to(LATENESS));
        }
    }

    /// One turn of a driver's loop: sockets, questions, kernel, fitness, timers, heartbeats.
    fn turn(&mut self, place: usize) {
        self.turns += 1;
        let now = self.now;
        let inbox = std::mem::take(&mut self.nodes[place].inbox);
        for (read, heard) in inbox.iter().enumerate() {
            self.nodes[place].router.handle_heard(*heard, now);
            self.perform(place, inbox.len() - read);
        }
        self.question(place);
        let node = &mut self.nodes[place];
        if node.lease.is_some() && !node.has_lease(now) {
            node.lease = None;
            node.router.handle_lease_removed(now);
            self.perform(place, 0);
        }
        self.nodes[place].move_vips(now);
        self.perform(place, 0);
        self.nodes[place].judge(now);
        self.perform(place, 0);
        self.nodes[place].router.handle_timeout(now);
        self.perform(place, 0);
        self.heartbeat(place);
        self.check(place);
        let node = &mut self.nodes[place];
        let due = node
            .router
            .poll_timeout()
            .map_or(node.heartbeat_at, |due| due.0);
        assert!(due > now, "the loop would spin");
        let questions = node.silence.as_ref().and_then(Silence::due);
        let questions = questions.filter(|due| *due > now);
        node.due = due.min(node.heartbeat_at).min(questions.unwrap_or(due));
        node.wake_at = node.due + self.random.up_to(LATENESS);
    }

    fn heartbeat(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if self.now < node.heartbeat_at {
            return;
        }
        node.heartbeat_at = self.now + HEARTBEAT;
        if node.params.heartbeat.is_some() {
            let priority = node.router.priority().value();
            self.send(place, priority, Via::Heartbeat);
        }
    }

    /// One packet for each VIP.
    fn send(&mut self, from: usize, priority: u8, via: Via) {
        for _ in 0..self.nodes[from].fit.len() {
            self.send_one(from, priority, via);
        }
    }

    fn send_one(&mut self, from: usize, priority: u8, via: Via) {
        self.nodes[from].counter += 1;
        let slack = if self.reorders && via == Via::Heartbeat {
            self.random.up_to(HEARTBEAT * 2)
        } else {
            Duration::ZERO
        };
        self.transmit(1 - from, slack, |sim, at| {
            let sender = &sim.nodes[from];
            let heard = Heard {
                source: sender.params.own,
                priority,
                interval: sender.params.advert_interval,
                via,
                at,
            };
            match via {
                Via::Advert => Frame::Advert(heard),
                Via::Heartbeat => Frame::Heartbeat(heard, sender.said(at)),
            }
        });
    }

    /// Puts a frame on the wire, unless it is lost; what is in it may say when it arrives. With
    /// `slack` it may be overtaken.
    fn transmit(&mut self, to: usize, slack: Duration, frame: impl FnOnce(&Self, Moment) -> Frame) {
        if self.deaf[to] || self.random.below(100) < self.loss_percent {
            return;
        }
        let arrival = self.now + self.random.up_to(DELAY);
        let in_order = arrival.max(self.nodes[to].last_arrival + Duration::from_nanos(1));
        self.nodes[to].last_arrival = in_order;
        let at = in_order + slack;
        let frame = frame(self, at);
        self.air.push(Packet { to, at, frame });
    }

    /// Performs what the router wants; `unread` packets are still in its socket.
    fn perform(&mut self, place: usize, unread: usize) {
        let mut removed = false;
        while let Some(action) = self.nodes[place].router.poll_action() {
            let removed_before = std::mem::replace(&mut removed, action == Action::RemoveLease);
            let now = self.now;
            let node = &mut self.nodes[place];
            match action {
                Action::Advertise { priority } => {
                    let leased = node.has_lease(now);
                    let first = node.shown != VipState::Active;
                    assert!(
                        leased || first || removed_before || priority == 0,
                        "an advert without a lease"
                    );
                    assert!(
                        priority != 0 || !leased,
                        "resigned before the address was gone"
                    );
                    assert!(
                        unread == 0 || removed_before || priority == 0,
                        "advertised before its socket was read"
                    );
                    self.send(place, priority, Via::Advert);
                }
                Action::InstallLease { lifetime } => {
                    node.lease = Some(now + lifetime);
                    node.router.handle_lease_result(Ok(()), now);
                }
                Action::RenewLease { lifetime } => {
                    assert!(node.has_lease(now), "renewed too late");
                    node.lease = Some(now + lifetime);
                    node.router.handle_lease_result(Ok(()), now);
                }
                Action::RemoveLease => node.lease = None,
                Action::Announce => assert!(node.has_lease(now), "announced what it has not"),
                Action::Changed { from, to, .. } => {
                    assert_eq!(from, node.shown);
                    node.shown = to;
                }
            }
        }
    }

    fn check(&self, place: usize) {
        let node = &self.nodes[place];
        assert_eq!(node.shown, node.router.state());
        assert_eq!(
            node.has_lease(self.now),
            node.is_active(),
            "leased iff active"
        );
    }

    fn actives(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_active()).count()
    }

    /// Something goes wrong for a while.
    fn disturb(&mut self) {
        let victim = self.random.below(2) as usize;
        match self.random.below(14) {
            0 => {
                self.loss_percent = 10 + self.random.below(60);
                self.reorders = self.random.below(2) == 0;
            }
            1 => self.deaf = [true; 2],
            2 => self.deaf[victim] = true,
            3 | 4 if self.nodes[victim].alive => self.nodes[victim].paused = true,
            5 if self.nodes[victim].runs() => self.crash(victim),
            6 if self.nodes[victim].runs() => self.stop(victim),
            7 => {
                let vip = self.random.below(self.nodes[victim].fit.len() as u64) as usize;
                self.nodes[victim].fit[vip] = false;
            }
            8 => self.nodes[victim].taken = self.random.below(200) as u32,
            9 => self.nodes[victim].faults = self.random.below(3) as u8,
            10 => self.nodes.iter_mut().for_each(|node| node.faults = 1),
            11 if self.nodes[victim].alive => self.freeze(victim),
            12 if self.nodes[victim].params.heartbeat.is_some() => {
                let (pins, forced) = (self.random.below(2) == 0, self.random.below(2) == 0);
                self.ask(victim, pins, forced);
            }
            13 => self.nodes[victim].maintenance = true,
            _ => {}
        }
        let longest = self.down() * 4 + Duration::from_secs(2);
        let time = self.random.up_to(longest);
        self.run(time, |_| ());
    }

    fn heal(&mut self) {
        self.troubled_at = self.now;
        self.loss_percent = 0;
        self.reorders = false;
        self.deaf = [false; 2];
        for place in 0..2 {
            self.nodes[place].fit.fill(true);
            self.nodes[place].taken = 0;
            self.nodes[place].faults = 0;
            self.nodes[place].maintenance = false;
            self.nodes[place].paused = false;
            self.nodes[place].frozen = false;
            if !self.nodes[place].alive {
                self.boot(place);
            }
        }
    }

    fn maybe_mend(&mut self) {
        if self.random.below(3) == 0 {
            self.heal();
            let time = self.random.up_to(self.down() * 3);
            self.run(time, |_| ());
        }
    }

    /// Healed for twice the active-down interval there is one Active and never two, but for a
    /// moment when one takes over from the other; with preemption it is the better one in the end.
    fn settle(&mut self) {
        let down = self.down();
        self.run(down * 2 + PROMPT, |_| ());
        let delay = self.nodes[0].params.preempt_delay;
        let mut not_one_since = None;
        self.run(delay + down * 2, |sim| {
            if sim.actives() == 1 {
                not_one_since = None;
                return;
            }
            let since = *not_one_since.get_or_insert(sim.now);
            assert!(
                sim.now.since(since) <= PROMPT,
                "{} actives for {:?}",
                sim.actives(),
                sim.now.since(since)
            );
        });
        assert_eq!(self.actives(), 1);
        let [a, b] = &self.nodes;
        if a.router.is_pinned() || b.router.is_pinned() {
            return;
        }
        let rank = |node: &Node| node.params.priority;
        if a.params.preempt && rank(a) != rank(b) {
            assert_eq!(a.is_active(), rank(a) > rank(b), "the better one is active");
        }
    }

    /// The Active goes, suddenly or in order; the other one is there in time.
    fn lose_active(&mut self) {
        let active = usize::from(self.nodes[1].is_active());
        // At any phase of the interval.
        let phase = self.random.up_to(self.nodes[active].params.advert_interval);
        self.run(phase, |_| ());
        let bound = if self.random.below(2) == 0 {
            self.crash(active);
            let node = &self.nodes[1 - active];
            let silent = node.silence.as_ref().map_or(node.down(), |_| SILENT);
            node.down().min(silent) + PROMPT
        } else {
            self.stop(active);
            PROMPT
        };
        self.run(bound, |_| ());
        assert!(
            self.nodes[1 - active].is_active(),
            "no takeover within {bound:?}: {:?}",
            self.nodes[1 - active].router
        );
    }
}

/// Turns, and machines that were taken for lost.
fn play(seed: u64) -> [u64; 2] {
    let _seed = Seed(seed);
    let mut sim = Sim::new(seed);
    sim.heal();
    for _ in 0..4 {
        sim.settle();
        sim.lose_active();
        // What comes now meets a lone node, or both as they have found each other, for a while.
        sim.maybe_mend();
        for _ in 0..sim.random.below(5) {
            sim.disturb();
            sim.maybe_mend();
        }
        sim.heal();
    }
    sim.settle();
    [sim.turns, sim.silences]
}

#[test]
fn two_routers_keep_their_invariants_whatever_the_lan_and_the_machines_do() {
    if let Ok(seed) = std::env::var("FMC_LB_SIM_SEED") {
        play(seed.parse().expect("FMC_LB_SIM_SEED is a number"));
        return;
    }
    let [mut turns, mut silences] = [0, 0];
    for [some, silent] in (0..SEEDS).map(play) {
        turns += some;
        silences += silent;
    }
    println!("{turns} turns and {silences} silences in {SEEDS} runs");
    assert!(turns >= LEAST_TURNS, "only {turns} turns");
    assert!(silences >= LEAST_SILENCES, "only {silences} silences");
}
