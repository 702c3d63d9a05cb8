//! The machines beneath the nodes: each has a kernel that answers questions, whatever becomes of its processes, and the
//! other node's loop that asks and concludes (`vrrp::silence`), if the pair wants to.

use std::time::Duration;

use common::board::VipState;
use vrrp::silence::{Act, HEARTBEATS, QUESTIONS, SPACING, Turn};

use crate::node::Frame;
use crate::random::Seed;
use crate::{HEARTBEAT, PROMPT, SECOND, Sim};

/// Whoever is lost is replaced after so long: three heartbeats are missing, and the last question had its time.
pub(crate) const SILENT: Duration = HEARTBEAT
    .saturating_mul(HEARTBEATS)
    .saturating_add(SPACING.saturating_mul(2));
/// A question that was lost in an earlier trouble is asked again within this.
const FORGOTTEN: Duration = SPACING.saturating_mul(QUESTIONS + 2);

impl Sim {
    /// Every machine and the network are as they should be; processes may stand still.
    fn is_calm(&self) -> bool {
        let well = |place: usize| {
            let node = &self.nodes[place];
            node.powered && !node.frozen && !self.deaf[place]
        };
        self.loss_percent == 0 && well(0) && well(1)
    }

    /// What the loop does between reading and judging.
    pub(crate) fn question(&mut self, place: usize) {
        let now = self.now;
        if !self.is_calm() {
            self.troubled_at = now;
        }
        let node = &mut self.nodes[place];
        let turn = Turn {
            now,
            lateness: now.since(node.due),
            read_all: true,
            armed: node.router.state() == VipState::Backup,
        };
        let Some(silence) = &mut node.silence else {
            return;
        };
        silence.hear(node.beat, node.spoke);
        if let Some(at) = node.answered.take() {
            silence.hear_frame(at);
        }
        match silence.turn(turn) {
            None => {}
            Some(Act::Ask) => self.transmit(1 - place, Duration::ZERO, |_, _| Frame::Question),
            Some(Act::Saved) => node.averted += 1,
            Some(Act::Silent(unheard)) => {
                assert!(
                    now.since(self.troubled_at) <= FORGOTTEN,
                    "a machine that is there was taken for lost"
                );
                node.router.handle_silence(unheard, now);
                self.silences += 1;
                self.perform(place, 0);
            }
        }
    }

    /// The whole machine stands still, as when its hypervisor pauses it.
    pub(crate) fn freeze(&mut self, place: usize) {
        self.nodes[place].frozen = true;
        self.nodes[place].paused = true;
    }
}

/// A process that hangs is not a machine that is lost, and a machine that is paused is.
#[test]
fn a_kernel_that_answers_saves_its_node_and_one_that_does_not_is_replaced_at_once() {
    let mut asked = 0;
    for seed in 0..60 {
        let _seed = Seed(seed);
        let mut sim = Sim::new(seed);
        sim.heal();
        sim.settle();
        let active = usize::from(sim.nodes[1].is_active());
        let backup = 1 - active;
        if sim.nodes[backup].silence.is_none() {
            continue;
        }
        asked += 1;
        let down = sim.down();
        sim.nodes[active].paused = true;
        if down > SILENT * 3 {
            sim.run(SILENT * 2, |sim| {
                assert_eq!(sim.nodes[backup].router.state(), VipState::Backup);
            });
            assert_eq!(sim.nodes[backup].averted, 1, "an answer saved it");
        }
        sim.heal();
        sim.settle();
        let active = usize::from(sim.nodes[1].is_active());
        sim.freeze(active);
        sim.run(SILENT.min(down) + PROMPT, |_| ());
        assert!(sim.nodes[1 - active].is_active(), "it was not replaced");
        sim.run(SECOND, |_| ());
        sim.heal();
        sim.settle();
    }
    assert!(asked > 10, "{asked} seeds ask");
}
