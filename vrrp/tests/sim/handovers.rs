//! Planned moves, with requests and answers that are lost and overtake each other.

use std::time::Duration;

use common::addr::Priority;
use common::board::{HandoverEnd, Refusal, VipState};
use vrrp::handover::Request;

use crate::random::Seed;
use crate::{HEARTBEAT, SECOND, Sim};

/// A request ends within this.
const ENDS: Duration = Duration::from_millis(1_200);

impl Sim {
    /// This node asks the other one to take the VIP, if it holds it.
    pub(crate) fn ask(&mut self, place: usize, pins: bool, forced: bool) {
        let id = self.random.below(u64::from(u32::MAX)) + 1;
        let now = self.now;
        let node = &mut self.nodes[place];
        if node.is_active() && node.params.priority != Priority::OWNER {
            let request = Request {
                id,
                vips: 1,
                pins,
                forced,
            };
            node.give(request, HEARTBEAT, now);
            node.wake_at = now;
        }
    }

    fn active(&self) -> usize {
        usize::from(self.nodes[1].is_active())
    }

    /// At any moment somebody holds the VIP.
    fn is_held(&self) {
        assert!(self.actives() >= 1, "nobody holds it");
    }
}

/// A pair at rest with a pair channel, which could hand over; `None` = this seed has none, or an owner.
fn pair(seed: u64) -> Option<Sim> {
    let mut sim = Sim::new(seed);
    sim.heal();
    sim.settle();
    let node = &sim.nodes[sim.active()];
    let fits = node.params.heartbeat.is_some() && node.params.priority != Priority::OWNER;
    fits.then_some(sim)
}

#[test]
fn a_handover_there_and_back_leaves_nobody_out_and_holds() {
    let (mut moved, mut failed) = (0, 0);
    for seed in 0..160 {
        let _seed = Seed(seed);
        let Some(mut sim) = pair(seed) else { continue };
        for _ in 0..4 {
            let from = sim.active();
            let phase = sim.random.up_to(SECOND);
            sim.run(phase, Sim::is_held);
            sim.loss_percent = sim.random.below(30);
            sim.reorders = sim.random.below(2) == 0;
            sim.ask(from, true, false);
            sim.run(ENDS, Sim::is_held);
            let ended = sim.nodes[from].ended.expect("it has ended");
            sim.loss_percent = 0;
            sim.reorders = false;
            // Its end was told before the last heartbeat on its way came.
            sim.run(SECOND + sim.down(), Sim::is_held);
            if ended.end != HandoverEnd::Done {
                failed += 1;
                continue;
            }
            moved += 1;
            let delay = sim.nodes[from].params.preempt_delay;
            sim.run(delay + sim.down() * 3, |sim| {
                assert_eq!(sim.actives(), 1);
                assert!(sim.nodes[1 - from].is_active(), "it went back");
            });
            assert_eq!(sim.nodes[1 - from].router.priority(), Priority::PINNED);
        }
    }
    println!("{moved} moved, {failed} failed");
    assert!(
        moved > 200 && failed < moved / 20,
        "{moved} moved, {failed} failed"
    );
}

#[test]
fn a_node_that_restarts_leaves_a_vip_that_was_handed_over_where_it_is() {
    for seed in 0..60 {
        let _seed = Seed(seed);
        let Some(mut sim) = pair(seed) else { continue };
        let from = sim.active();
        sim.ask(from, true, false);
        sim.run(ENDS, Sim::is_held);
        sim.stop(from);
        sim.run(SECOND, Sim::is_held);
        sim.boot(from);
        let delay = sim.nodes[from].params.preempt_delay;
        sim.run(delay + sim.down() * 3, |sim| {
            assert_eq!(sim.active(), 1 - from, "it went back");
        });
    }
}

#[test]
fn a_node_that_does_not_know_its_servers_takes_nothing_unless_it_is_forced() {
    for seed in 0..60 {
        let _seed = Seed(seed);
        let Some(mut sim) = pair(seed) else { continue };
        let from = sim.active();
        sim.nodes[1 - from].probed = false;
        sim.ask(from, true, false);
        sim.run(ENDS, |sim| assert_eq!(sim.active(), from));
        let ended = sim.nodes[from].ended.expect("it has ended");
        assert_eq!(ended.refusal, Some((Refusal::Unprobed, 0)));
        sim.ask(from, true, true);
        sim.run(ENDS, Sim::is_held);
        assert_eq!(sim.active(), 1 - from);
    }
}

#[test]
fn a_node_on_maintenance_serves_only_while_the_other_one_does_not() {
    for seed in 0..60 {
        let _seed = Seed(seed);
        let Some(mut sim) = pair(seed) else { continue };
        if sim.nodes[1 - sim.active()].params.priority == Priority::OWNER {
            continue;
        }
        let from = sim.active();
        sim.nodes[from].goes_on_maintenance = true;
        sim.ask(from, false, false);
        sim.run(ENDS, |sim| {
            sim.is_held();
            assert!(sim.nodes[from].ended.is_none() || !sim.nodes[from].is_active());
        });
        assert!(sim.nodes[from].maintenance);
        sim.nodes[from].goes_on_maintenance = false;
        assert!(!sim.nodes[1 - from].router.is_pinned());
        // Also where its trackers speak against it.
        sim.nodes[1 - from].faults = 1;
        let delay = sim.nodes[from].params.preempt_delay;
        sim.run(delay + sim.down() * 4, |sim| {
            assert_eq!(sim.nodes[from].router.state(), VipState::Backup);
            assert!(sim.nodes[1 - from].is_active());
        });
        sim.nodes[1 - from].faults = 0;
        sim.crash(1 - from);
        // With priority 1 a skew time is nearly an interval.
        sim.run(sim.down() * 2, |_| ());
        assert!(sim.nodes[from].is_active(), "nobody serves");
        assert_eq!(sim.nodes[from].router.priority(), Priority::LOWEST);
        sim.boot(1 - from);
        sim.run(SECOND + sim.down(), Sim::is_held);
        if sim.nodes[from].is_active() {
            sim.ask(from, false, false);
            sim.run(ENDS, Sim::is_held);
        }
        assert_eq!(sim.active(), 1 - from);
        sim.nodes[from].maintenance = false;
        sim.settle();
    }
}
