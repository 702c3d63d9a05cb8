//! A priority that changes under way (E4), readiness, and owners.

use super::*;

/// Active-down interval at 1 s.
fn down(priority: u8) -> Duration {
    let priority = Priority::new(priority).expect("not zero");
    crate::timing::active_down_interval((priority, Skew::OfInterval), SECOND, None)
}

impl Bench {
    fn rerank(&mut self, priority: u8, after: Duration) -> Vec<Done> {
        let priority = Priority::new(priority).expect("not zero");
        self.router.handle_priority(priority, at(after));
        let mut done = self.turn(after);
        done.retain(|what| *what != Done::Announce);
        done
    }
}

#[test]
fn fsm_35_an_active_says_its_new_priority_at_once_and_keeps_its_grid() {
    let mut bench = Bench::active(with_priority(110));
    assert_eq!(bench.rerank(90, ms(300)), [Done::Advert(90)]);
    assert_eq!(bench.rerank(90, ms(310)), []);
    assert_eq!(bench.rerank(80, ms(320)), [Done::Advert(80)]);
    let sent = adverts(&bench.run(SECOND * 3));
    assert_eq!(sent, [SECOND, SECOND * 2, SECOND * 3]);
    assert_eq!(bench.state(), VipState::Active);
    // It is the lower one now.
    bench.hear(advert(100, ms(3100)), ms(3100));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn fsm_35_a_backup_relieves_an_active_that_lowers_itself_within_its_own_interval() {
    let mut bench = Bench::started(Params {
        preempt_delay: SECOND * 60,
        ..params()
    });
    bench.perform(Duration::ZERO);
    bench.hear(advert(110, SECOND), SECOND);
    bench.hear(advert(90, ms(1200)), ms(1200));
    assert_eq!(
        bench.due(),
        SECOND + down(100),
        "the lower advert moves no timer"
    );
    bench.hear(advert(90, SECOND * 2), SECOND * 2);
    assert_eq!(bench.due(), SECOND + down(100));
    bench.run(SECOND + down(100));
    assert_eq!(bench.state(), VipState::Active);
    assert_eq!(
        bench.router.reason(),
        "priority 100 is higher than 192.168.0.12's 90"
    );
}

#[test]
fn a_node_whose_own_priority_rises_has_its_delay() {
    let mut bench = Bench::started(Params {
        preempt_delay: SECOND * 5,
        ..with_priority(110)
    });
    bench.perform(Duration::ZERO);
    bench.rerank(90, Duration::ZERO);
    bench.hear(advert(100, SECOND), SECOND);
    bench.rerank(110, ms(1500));
    for second in 2..=6 {
        let after = SECOND * second;
        bench.hear(advert(100, after), after);
        assert_eq!(bench.due(), after + down(110), "second {second}");
    }
    assert_eq!(
        bench.router.reason(),
        "192.168.0.12 is active with priority 100, which is lower, until preempt_delay has passed"
    );
    bench.hear(advert(100, SECOND * 7), SECOND * 7);
    assert_eq!(bench.due(), SECOND * 6 + down(110));
}

#[test]
fn a_backup_shifts_its_timer_by_the_change_of_its_interval() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    assert_eq!(bench.due(), down(100));
    bench.rerank(60, SECOND);
    assert_eq!(bench.due(), down(60));
    bench.rerank(200, SECOND * 2);
    assert_eq!(bench.due(), down(200));
    // By the interval that was learned.
    let slow = Heard {
        interval: SECOND * 2,
        ..advert(210, ms(2500))
    };
    bench.hear(slow, ms(2500));
    let before = bench.due();
    bench.rerank(100, SECOND * 3);
    let shift = crate::timing::skew_time(Priority::new(100).expect("not zero"), SECOND * 2)
        - crate::timing::skew_time(Priority::new(200).expect("not zero"), SECOND * 2);
    assert_eq!(bench.due(), before + shift);
}

#[test]
fn after_the_resignation_of_the_only_other_node_there_is_nothing_to_shift() {
    let mut bench = Bench::started(Params {
        sole_peer: Some(PEER),
        ..params()
    });
    bench.perform(Duration::ZERO);
    bench.router.handle_heard(advert(0, SECOND), at(SECOND));
    bench
        .router
        .handle_priority(Priority::new(1).expect("not zero"), at(SECOND));
    assert_eq!(bench.due(), SECOND);
}

#[test]
fn who_does_not_know_itself_yet_leaves_a_lower_active_alone() {
    let mut bench = Bench::started(Params {
        preempt_delay: SECOND,
        ..with_priority(110)
    });
    bench.perform(Duration::ZERO);
    bench.router.handle_ready(false);
    for second in 1..=5 {
        let after = SECOND * second;
        bench.hear(advert(100, after), after);
        assert_eq!(bench.due(), after + down(110), "second {second}");
    }
    let lower = "192.168.0.12 is active with priority 100, which is lower, until";
    let until = |what: &str| format!("{lower} {what}");
    let unready = until("this node knows its servers and trackers");
    assert_eq!(bench.router.reason(), unready);
    bench.router.handle_ready(true);
    bench.hear(advert(100, SECOND * 6), SECOND * 6);
    assert_eq!(bench.due(), SECOND * 5 + down(110), "the delay is over");
    bench.run(SECOND * 5 + down(110));
    assert_eq!(bench.state(), VipState::Active);
}

#[test]
fn who_does_not_know_itself_yet_takes_what_nobody_holds() {
    let mut bench = Bench::started(params());
    bench.router.handle_ready(false);
    bench.perform(Duration::ZERO);
    bench.turn(down(100));
    assert_eq!(bench.state(), VipState::Active);
}

#[test]
fn an_owner_preempts_at_once_whatever_it_is_told_and_nothing_is_taken_from_it() {
    let mut bench = Bench::started(Params {
        preempt: false,
        preempt_delay: SECOND * 60,
        ..with_priority(255)
    });
    bench.perform(Duration::ZERO);
    assert_eq!(bench.state(), VipState::Active);
    assert_eq!(bench.rerank(1, ms(100)), []);
    assert_eq!(bench.router.priority(), Priority::OWNER);
    // After a fault it comes back through Backup, and is not held up there.
    bench
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(ms(200)));
    bench.router.handle_fitness(Ok(()), at(ms(300)));
    bench.perform(ms(300));
    assert_eq!(bench.state(), VipState::Backup);
    let due = bench.due();
    bench.hear(advert(254, ms(400)), ms(400));
    assert_eq!(bench.due(), due, "lower adverts move no timer");
    bench.run(due);
    assert_eq!(bench.state(), VipState::Active);
}

/// E10: by address, as between any equals.
#[test]
fn of_two_owners_the_one_with_the_higher_address_stays() {
    let mut lower = Bench::started(with_priority(255));
    lower.perform(Duration::ZERO);
    lower.hear(advert(255, ms(100)), ms(100));
    assert_eq!(lower.state(), VipState::Backup);
    let mut higher = Bench::started(with_priority(255));
    higher.perform(Duration::ZERO);
    let from_below = Heard {
        source: BELOW,
        ..advert(255, ms(100))
    };
    higher.hear(from_below, ms(100));
    assert_eq!(higher.state(), VipState::Active);
}
