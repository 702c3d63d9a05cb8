//! One process of a node after another, on purpose: nobody else notices. Needs root.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests wait for what happens in real time"
)]

mod lan;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::board::VipState::{Active, Backup, Init};
use common::config::Config;
use lan::node::{Running, config, paired_config};
use lan::{Lan, wait_for};
use vrrp::Beginning;
use vrrp::link::RouteSocket;

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
/// Successions, one after the other.
const ROUNDS: usize = 5;

fn elected(lan: &Lan, config: &Config) -> (Running, Running) {
    let one = Running::start(lan, 1, config);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active)
    });
    let two = Running::start(lan, 2, config);
    wait_for("the second node is a backup", SECOND, || two.all(Backup));
    (one, two)
}

/// Puts a new process in the place of an old one, as the supervisor does.
fn succeed(lan: &Lan, old: &Running) -> Running {
    take_place(old, old.start_beside(lan), None)
}

/// The same with another configuration, as for a reload.
fn reload(lan: &Lan, old: &Running, next: &Config) -> Running {
    let new = old.start_beside_with(lan, next);
    take_place(old, new, Some(Arc::new(next.clone())))
}

fn take_place(old: &Running, new: Running, next: Option<Arc<Config>>) -> Running {
    wait_for("the successor has prepared itself", SECOND, || {
        new.prepared.load(Ordering::Acquire)
    });
    old.control.request_leave(next);
    wait_for("the old one has left", SECOND, || {
        old.left.load(Ordering::Acquire)
    });
    new.control.begin(Beginning::GoOn);
    new
}

/// Longest time between two adverts that a node hears while `body` runs.
fn longest_gap(hearer: &Running, body: impl FnOnce()) -> Duration {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let heard = &hearer.board.vips[0].advert_heard;
            let mut last = heard.get().expect("adverts are heard");
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Acquire) {
                let now = heard.get().unwrap_or(last);
                longest = longest.max(now.since(last));
                last = now;
                std::thread::sleep(Duration::from_millis(1));
            }
            longest
        });
        // Also when the body fails: the scope waits for whoever looks.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        over.store(true, Ordering::Release);
        let longest = watch.join().expect("it only looks");
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        longest
    })
}

/// Longest gap over some successions of the Active; everything else stays as it is.
fn gap_of_successions(config: &Config) -> Duration {
    let lan = Lan::new(2);
    let (mut one, two) = elected(&lan, config);
    wait_for("an advert", SECOND, || {
        two.board.vips[0].advert_heard.get().is_some()
    });
    let since = one.board.vips[0].since.get();
    let longest = longest_gap(&two, || {
        for _ in 0..ROUNDS {
            let sent = one.board.vips[1].adverts_sent.get();
            let next = succeed(&lan, &one);
            std::mem::replace(&mut one, next).stop();
            wait_for("ten more adverts", SECOND * 3, || {
                one.board.vips[1].adverts_sent.get() >= sent + 10
            });
        }
    });
    for vip in 0..2 {
        assert_eq!(one.board.vips[vip].became_active.get(), 1);
        assert_eq!(one.board.vips[vip].priority_zero_sent.get(), 0);
        assert_eq!(two.board.vips[vip].became_active.get(), 0);
    }
    assert_eq!(one.board.vips[0].since.get(), since);
    assert!(one.all(Active) && two.all(Backup));
    longest
}

#[test]
fn adverts_go_on_in_their_interval_and_nothing_moves() {
    for (name, config) in [
        ("plain", config(TENTH)),
        ("with the pair channel, signed", paired_config(TENTH)),
    ] {
        let gap = gap_of_successions(&config);
        println!("{ROUNDS} successions, {name}: longest gap between adverts {gap:?}");
        assert!(gap <= TENTH * 3 / 2, "{name}: {gap:?}");
    }
}

#[test]
fn adverts_of_10_ms_move_nothing_either() {
    let gap = gap_of_successions(&paired_config(Duration::from_millis(10)));
    println!("{ROUNDS} successions at 10 ms: longest gap between adverts {gap:?}");
}

#[test]
fn a_backup_is_succeeded_too_and_its_successor_takes_over_when_it_must() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &paired_config(TENTH));
    let next = succeed(&lan, &two);
    two.stop();
    wait_for("it is a backup", SECOND, || next.all(Backup));
    one.stop();
    wait_for("it has taken over", SECOND * 2, || next.all(Active));
}

#[test]
fn a_vip_that_is_gone_is_given_up_and_the_rest_stays_and_so_when_it_comes_back() {
    for together in [false, true] {
        let lan = Lan::new(2);
        let mut whole = paired_config(TENTH);
        whole.together = together;
        let mut part = whole.clone();
        part.vips[1].retired = true;
        let (one, two) = elected(&lan, &whole);
        let since = one.board.vips[0].since.get();
        let next = reload(&lan, &one, &part);
        one.stop();
        let web = &next.board.vips[1];
        // In a group that would count for all of them on the other node.
        let resigned = if together { 0 } else { 2 };
        assert_eq!(web.priority_zero_sent.get(), resigned);
        assert_eq!(web.leased.get(), 0);
        assert_eq!((next.state(0), next.state(1)), (Active, Init));
        let last = reload(&lan, &two, &part);
        two.stop();
        wait_for("the other node knows it no more", SECOND, || {
            last.state(1) != Active && last.board.vips[1].leased.get() == 0
        });
        assert_eq!(last.state(0), Backup);
        // It comes back on the node that is active for those that it moves with, or as after any start.
        let whole_again = reload(&lan, &next, &whole);
        next.stop();
        wait_for("it is held again", SECOND * 2, || {
            whole_again.all(Active) && whole_again.board.vips[1].leased.get() == 1
        });
        let api = &whole_again.board.vips[0];
        assert_eq!(api.since.get(), since);
        assert_eq!(
            (api.became_active.get(), api.priority_zero_sent.get()),
            (1, 0)
        );
    }
}

#[test]
fn other_priorities_and_intervals_are_gone_on_with() {
    let lan = Lan::new(2);
    let fast = paired_config(TENTH);
    let mut slow = paired_config(SECOND);
    for vip in &mut slow.vips {
        vip.priorities.swap(0, 1);
        vip.preempt = false;
    }
    let (mut one, mut two) = elected(&lan, &fast);
    for next in [&slow, &fast] {
        for node in [&mut two, &mut one] {
            let new = reload(&lan, node, next);
            std::mem::replace(node, new).stop();
        }
        let priority = next.vips[0].priorities[0].value();
        wait_for("it says its priority", SECOND * 3, || {
            two.board.vips[0].peer_priority.get() == u64::from(priority)
        });
        std::thread::sleep(SECOND);
        assert!(one.all(Active) && two.all(Backup));
        assert_eq!(one.board.vips[0].became_active.get(), 1);
        assert_eq!(two.board.vips[0].became_active.get(), 0);
    }
}

#[test]
fn a_backup_waits_for_the_adverts_that_it_has_heard() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &config(SECOND));
    wait_for("an advert", SECOND * 2, || {
        two.board.vips[0].advert_heard.get().is_some()
    });
    // Without a pair channel nothing but adverts tells that somebody is there.
    let next = reload(&lan, &two, &config(TENTH));
    two.stop();
    for _ in 0..20 {
        std::thread::sleep(TENTH);
        assert!(next.all(Backup) && one.all(Active));
    }
}

#[test]
fn what_was_lost_meanwhile_is_not_gone_on_with() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &config(TENTH));
    let new = one.start_beside(&lan);
    wait_for("the successor has prepared itself", SECOND, || {
        new.prepared.load(Ordering::Acquire)
    });
    one.control.request_leave(None);
    // The lease of a second lapses, and the other node is Active.
    wait_for("the other node holds both VIPs", SECOND * 3, || {
        two.all(Active)
    });
    wait_for("the lease has lapsed", SECOND * 3, || {
        let mut route = lan.inside(1, || RouteSocket::open().expect("root may open it"));
        let addresses = route.addresses().expect("the kernel answers");
        !addresses
            .iter()
            .any(|found| found.address == IpAddr::from(lan::VIP))
    });
    new.control.begin(Beginning::GoOn);
    wait_for("it is a backup, behind the other node", SECOND, || {
        new.all(Backup)
    });
}
