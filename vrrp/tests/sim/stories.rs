//! What happens to a pair in one certain way, at any of its settings.

use std::time::Duration;

use common::addr::Priority;
use common::board::VipState;

use crate::node::{Frame, OUT_OF_STEP};
use crate::random::Seed;
use crate::{PROMPT, SECOND, Sim};

#[test]
fn a_paused_active_says_nothing_before_it_has_listened() {
    for seed in 0..40 {
        let _seed = Seed(seed);
        let mut sim = Sim::new(seed);
        sim.heal();
        sim.settle();
        let active = usize::from(sim.nodes[1].is_active());
        sim.nodes[active].paused = true;
        let lifetime = Duration::from_secs(5);
        sim.run(sim.down() + lifetime, |_| ());
        assert!(sim.nodes[1 - active].is_active(), "nobody took over");
        let adverts = |sim: &Sim| {
            sim.air
                .iter()
                .filter(|packet| matches!(packet.frame, Frame::Advert(_)))
                .count()
        };
        let sent_before = adverts(&sim);
        sim.nodes[active].paused = false;
        sim.turn(active);
        assert_eq!(sim.nodes[active].router.state(), VipState::Backup);
        assert_eq!(adverts(&sim), sent_before, "it spoke");
    }
}

/// Both nodes are in the same trouble, one a little later than the other: with the pair channel the
/// VIP stays where it is, as long as they are.
#[test]
fn the_last_man_standing_keeps_the_vip() {
    let mut kept = 0;
    for seed in 0..80 {
        let _seed = Seed(seed);
        let mut sim = Sim::new(seed);
        sim.heal();
        sim.settle();
        let active = usize::from(sim.nodes[1].is_active());
        let first = sim.random.below(2) as usize;
        sim.nodes[first].faults = 1;
        let apart = sim.random.up_to(OUT_OF_STEP);
        let stays = |sim: &Sim| assert!(sim.nodes[active].is_active(), "it moved");
        if sim.nodes[active].params.heartbeat.is_none() {
            // Plain VRRP: both give it up.
            sim.nodes[1 - first].faults = 1;
            sim.run(sim.down() * 2, |_| ());
            assert_eq!(sim.actives(), 0);
            continue;
        }
        kept += 1;
        sim.run(apart, stays);
        sim.nodes[1 - first].faults = 1;
        sim.run(sim.down() * 4 + SECOND, stays);
        // One of them is well again: that one holds it.
        let well = sim.random.below(2) as usize;
        sim.nodes[well].faults = 0;
        sim.run(OUT_OF_STEP * 2 + sim.down() + PROMPT, |_| ());
        assert!(sim.nodes[well].is_active(), "the better one holds it");
        assert_eq!(sim.actives(), 1);
    }
    assert!(kept > 20, "{kept} seeds had a pair channel");
}

#[test]
fn a_node_in_trouble_whose_peer_has_died_keeps_the_vip_with_the_lowest_priority() {
    for seed in 0..40 {
        let _seed = Seed(seed);
        let mut sim = Sim::new(seed);
        sim.heal();
        sim.settle();
        let active = usize::from(sim.nodes[1].is_active());
        if sim.nodes[active].params.heartbeat.is_none() {
            continue;
        }
        sim.crash(1 - active);
        sim.run(SECOND, |_| ());
        sim.nodes[active].faults = 1;
        sim.run(sim.down() * 3 + SECOND, |sim| {
            assert!(sim.nodes[active].is_active())
        });
        let node = &sim.nodes[active];
        let lowest = if node.params.priority == Priority::OWNER {
            255
        } else {
            1
        };
        assert_eq!(node.router.priority().value(), lowest);
    }
}

/// Whoever takes over from a node that stops is the last one: it keeps the VIP whatever its proxy does, until the other
/// node is there again.
#[test]
fn who_has_taken_over_from_a_node_that_stops_gives_the_vip_to_nobody() {
    let mut kept = 0;
    for seed in 0..80 {
        let _seed = Seed(seed);
        let mut sim = Sim::new(seed);
        sim.heal();
        sim.settle();
        let left = usize::from(sim.nodes[1].is_active());
        let last = 1 - left;
        sim.stop(left);
        sim.run(PROMPT, |_| ());
        assert!(sim.nodes[last].is_active(), "nobody took over");
        sim.nodes[last].fit[0] = false;
        if sim.nodes[last].params.heartbeat.is_none() {
            // Plain VRRP knows nothing of the other node.
            sim.run(PROMPT * 5, |_| ());
            assert_eq!(sim.actives(), 0);
            continue;
        }
        kept += 1;
        sim.run(sim.down() * 2 + SECOND, |sim| {
            assert!(sim.nodes[last].is_active(), "it gave the VIP up")
        });
        sim.boot(left);
        sim.run(sim.down() + PROMPT, |_| ());
        assert!(sim.nodes[left].is_active(), "the one that is well holds it");
        assert_eq!(sim.actives(), 1);
    }
    assert!(kept > 20, "{kept} seeds had a pair channel");
}

/// Its loop stands still, its kernel receives: what waits in the queue is read before a timer is
/// believed, however long ago it ran out.
#[test]
fn tim_41_a_backup_that_stood_still_takes_nothing_from_a_living_active() {
    for seed in 0..40 {
        let _seed = Seed(seed);
        let mut sim = Sim::new(seed);
        sim.heal();
        sim.settle();
        let backup = usize::from(sim.nodes[0].is_active());
        let interval = sim.nodes[backup].params.advert_interval;
        for tenths in [29, 100] {
            sim.nodes[backup].paused = true;
            sim.run(interval * tenths / 10, |_| ());
            sim.nodes[backup].paused = false;
            sim.run(sim.down(), |sim| {
                assert_eq!(sim.nodes[backup].router.state(), VipState::Backup);
            });
        }
    }
}
