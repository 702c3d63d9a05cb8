//! Initialize and Backup.

use super::*;

/// Active-down interval of priority 100 at 1 s.
const DOWN: Duration = Duration::from_micros(3_609_375);
const SKEW: Duration = Duration::from_micros(609_375);

#[test]
fn fsm_17_alone_it_becomes_active_after_the_active_down_interval() {
    let mut bench = Bench::started(params());
    assert_eq!(bench.perform(Duration::ZERO), [Done::Now(VipState::Backup)]);
    assert_eq!(bench.due(), DOWN);
    assert_eq!(bench.turn(DOWN - Duration::from_nanos(1)), []);
    assert_eq!(
        bench.turn(DOWN),
        [
            Done::Advert(100),
            Done::Install(LEASE),
            Done::Now(VipState::Active),
            Done::Announce,
        ]
    );
}

#[test]
fn fsm_18_the_owner_is_active_at_once_and_advertises_first() {
    let mut bench = Bench::started(with_priority(255));
    assert_eq!(
        bench.perform(Duration::ZERO),
        [
            Done::Advert(255),
            Done::Install(Duration::from_secs(2)),
            Done::Now(VipState::Active),
            Done::Announce,
        ]
    );
    assert_eq!(bench.router.reason(), "owner of the address");
}

#[test]
fn fsm_19_an_hour_of_higher_adverts_keeps_it_backup() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    for second in 0..3600 {
        let after = Duration::from_secs(second);
        assert_eq!(bench.hear(advert(110, after), after), []);
        assert_eq!(bench.due(), after + DOWN);
    }
    assert_eq!(
        bench.router.reason(),
        "192.168.0.12 is active with priority 110"
    );
}

#[test]
fn fsm_20_a_resignation_is_followed_by_the_skew_time() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    bench.hear(advert(110, SECOND), SECOND);
    assert_eq!(bench.hear(advert(0, ms(1200)), ms(1201)), []);
    assert_eq!(bench.due(), ms(1200) + SKEW);
    bench.turn(ms(1200) + SKEW);
    assert_eq!(bench.state(), VipState::Active);
    assert_eq!(bench.router.reason(), "192.168.0.12 resigned");
}

#[test]
fn fsm_20_the_resignation_of_the_only_other_node_needs_no_skew_time() {
    let mut bench = Bench::started(Params {
        sole_peer: Some(PEER),
        ..params()
    });
    bench.perform(Duration::ZERO);
    bench.hear(advert(110, SECOND), SECOND);
    let done = bench.hear(advert(0, ms(1200)), ms(1200));
    assert_eq!(done[..2], [Done::Advert(100), Done::Install(LEASE)]);
    assert_eq!(bench.state(), VipState::Active);

    let mut stranger = Bench::started(Params {
        sole_peer: Some(BELOW),
        ..params()
    });
    stranger.perform(Duration::ZERO);
    stranger.hear(advert(0, ms(1200)), ms(1200));
    assert_eq!(stranger.due(), ms(1200) + SKEW);
}

#[test]
fn a_resignation_and_a_newer_advert_read_in_one_turn_move_nothing() {
    let mut bench = Bench::started(Params {
        sole_peer: Some(PEER),
        ..params()
    });
    bench.perform(Duration::ZERO);
    bench
        .router
        .handle_heard(advert(0, ms(1200)), at(Duration::from_secs(2)));
    bench
        .router
        .handle_heard(advert(110, ms(1900)), at(Duration::from_secs(2)));
    assert_eq!(bench.turn(Duration::from_secs(2)), []);
    assert_eq!(bench.due(), ms(1900) + DOWN);
}

#[test]
fn the_resignation_of_one_node_says_nothing_of_what_another_one_said_before() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    let stranger = Heard {
        source: BELOW,
        ..advert(0, ms(1200))
    };
    bench.hear(stranger, ms(1200));
    // Read later, from another socket.
    bench.hear(advert(110, ms(1199)), ms(1201));
    assert_eq!(bench.due(), ms(1199) + DOWN);
}

#[test]
fn a_heartbeat_from_before_the_resignation_says_nothing_after_it() {
    let mut bench = Bench::started(Params {
        sole_peer: Some(PEER),
        ..params()
    });
    bench.perform(Duration::ZERO);
    bench.hear(advert(110, SECOND), SECOND);
    bench.hear(advert(0, ms(1200)), ms(1200));
    let late = Heard {
        via: Via::Heartbeat,
        ..advert(110, ms(1201))
    };
    assert_eq!(bench.hear(late, ms(1202)), []);
    assert_eq!(bench.state(), VipState::Active);
    let real = Heard {
        at: at(ms(1210)),
        ..late
    };
    bench.hear(real, ms(1210));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn fsm_21_with_preemption_lower_adverts_do_not_move_the_timer() {
    let mut bench = Bench::started(with_priority(110));
    bench.perform(Duration::ZERO);
    let down = bench.due();
    for tenth in 1..36 {
        let after = ms(100 * tenth);
        if after < down {
            assert_eq!(bench.hear(advert(100, after), after), []);
            assert_eq!(bench.due(), down);
        }
    }
    bench.turn(down);
    assert_eq!(bench.state(), VipState::Active);
    assert_eq!(
        bench.router.reason(),
        "priority 110 is higher than 192.168.0.12's 100"
    );
}

#[test]
fn fsm_22_without_preemption_it_stays_backup_until_the_active_is_gone() {
    let mut bench = Bench::started(Params {
        preempt: false,
        ..with_priority(110)
    });
    bench.perform(Duration::ZERO);
    for second in 1..60 {
        let after = Duration::from_secs(second);
        assert_eq!(bench.hear(advert(100, after), after), []);
    }
    let down = Duration::from_secs(59) + Duration::from_nanos(3_570_312_500);
    assert_eq!(bench.due(), down);
    bench.turn(down);
    assert_eq!(bench.state(), VipState::Active);
    assert_eq!(bench.router.reason(), "192.168.0.12 fell silent");
}

#[test]
fn fsm_23_preempt_delay_postpones_the_takeover() {
    let mut bench = Bench::started(Params {
        preempt_delay: Duration::from_secs(5),
        ..with_priority(110)
    });
    bench.perform(Duration::ZERO);
    // The delay runs from the first lower advert, 0.5 s; the last one that counts comes at 4.5 s.
    for half in (1..20).step_by(2) {
        let after = ms(500 * half);
        if bench.state() == VipState::Backup {
            bench.run(after);
            bench.hear(advert(100, after), after);
        }
    }
    let done = bench.router.state();
    assert_eq!(done, VipState::Active);
    let mut again = Bench::started(Params {
        preempt_delay: Duration::from_secs(5),
        ..with_priority(110)
    });
    again.perform(Duration::ZERO);
    for half in (1..=15).step_by(2) {
        let after = ms(500 * half);
        assert_eq!(again.hear(advert(100, after), after), []);
    }
    assert_eq!(again.due(), ms(4500) + Duration::from_nanos(3_570_312_500));
}

#[test]
fn fsm_23_a_higher_advert_cancels_the_preempt_delay() {
    let mut bench = Bench::started(Params {
        preempt_delay: Duration::from_secs(5),
        ..with_priority(110)
    });
    bench.perform(Duration::ZERO);
    let lower = |after| Heard {
        source: BELOW,
        ..advert(100, after)
    };
    bench.hear(lower(ms(500)), ms(500));
    bench.hear(advert(120, ms(3000)), ms(3000));
    // A new delay: this one still counts.
    bench.hear(lower(ms(5600)), ms(5600));
    assert_eq!(bench.due(), ms(5600) + Duration::from_nanos(3_570_312_500));
}

#[test]
fn equals_and_heartbeats_count_as_adverts() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    for source in [BELOW, PEER] {
        for via in [Via::Advert, Via::Heartbeat] {
            let after = bench.due() - ms(100);
            let heard = Heard {
                source,
                via,
                ..advert(100, after)
            };
            bench.hear(heard, after);
            assert_eq!(bench.due(), after + DOWN, "{source}, {via:?}");
        }
    }
}

#[test]
fn tim_38_the_interval_of_the_active_is_learned_and_never_advertised() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    let fast = Heard {
        interval: ms(400),
        ..advert(110, ms(100))
    };
    bench.hear(fast, ms(100));
    assert_eq!(bench.due(), ms(100) + DOWN * 2 / 5);
    let began = bench.due();
    bench.turn(began);
    let sent = adverts(&bench.run(began + SECOND * 5));
    let expected: Vec<_> = (1..=5).map(|n| began + SECOND * n).collect();
    assert_eq!(sent, expected, "its own interval");
}

#[test]
fn tim_39_a_longer_interval_of_the_active_is_no_silence() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    bench.hear(advert(110, SECOND), SECOND);
    let slow = |after| Heard {
        interval: SECOND * 3,
        ..advert(110, after)
    };
    for after in [2, 5, 8, 11].map(Duration::from_secs) {
        assert!(bench.run(after).is_empty(), "before {after:?}");
        assert_eq!(bench.hear(slow(after), after), []);
    }
}

#[test]
fn tim_42_after_a_stall_the_queue_decides() {
    let mut alive = Bench::started(params());
    alive.perform(Duration::ZERO);
    let woke = Duration::from_secs(10);
    for second in 1..10 {
        alive
            .router
            .handle_heard(advert(110, Duration::from_secs(second)), at(woke));
    }
    assert_eq!(alive.turn(woke), []);
    assert_eq!(alive.due(), Duration::from_secs(9) + DOWN);

    let mut dead = Bench::started(params());
    dead.perform(Duration::ZERO);
    dead.hear(advert(110, SECOND), SECOND);
    dead.turn(woke);
    assert_eq!(dead.state(), VipState::Active);
}

#[test]
fn an_older_packet_read_later_does_not_shorten_the_timer() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    bench.hear(advert(110, ms(2000)), ms(2000));
    bench.hear(advert(110, ms(1000)), ms(2001));
    assert_eq!(bench.due(), ms(2000) + DOWN);
}

#[test]
fn fsm_30_stopped_as_backup_it_sends_nothing() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    bench.router.handle_stop(at(SECOND));
    assert_eq!(bench.perform(SECOND), [Done::Now(VipState::Init)]);
    assert_eq!(bench.router.poll_timeout(), None);
}

#[test]
fn fsm_32_initialize_and_fault_ignore_every_advert() {
    let mut init = Bench {
        router: VirtualRouter::new(params()),
        leased: false,
    };
    let mut fault = Bench::started(params());
    fault
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(Duration::ZERO));
    fault.perform(Duration::ZERO);
    for priority in [0, 1, 99, 100, 101, 255] {
        for source in [BELOW, PEER] {
            let heard = Heard {
                source,
                ..advert(priority, SECOND)
            };
            assert_eq!(init.hear(heard, SECOND), []);
            assert_eq!(fault.hear(heard, SECOND), []);
        }
    }
    assert_eq!(init.state(), VipState::Init);
    assert_eq!(fault.state(), VipState::Fault);
}

#[test]
fn a_backup_takes_over_from_a_silent_node_at_once_and_nobody_else_does() {
    let mut backup = Bench::started(params());
    backup.perform(Duration::ZERO);
    backup.hear(advert(110, ms(500)), ms(500));
    backup.router.handle_silence(ms(60), at(ms(560)));
    assert_eq!(
        backup.perform(ms(560)),
        [
            Done::Advert(100),
            Done::Install(LEASE),
            Done::Now(VipState::Active),
            Done::Announce
        ]
    );
    assert_eq!(
        backup.router.reason(),
        "the other node is silent: no frame for 60 ms, its kernel does not answer"
    );

    let mut active = Bench::active(params());
    active.router.handle_silence(ms(60), at(ms(60)));
    assert_eq!(active.perform(ms(60)), []);

    let mut fault = Bench::started(params());
    fault
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(Duration::ZERO));
    fault.perform(Duration::ZERO);
    fault.router.handle_silence(ms(60), at(ms(60)));
    assert_eq!(fault.perform(ms(60)), []);
    assert_eq!(fault.state(), VipState::Fault);
}
