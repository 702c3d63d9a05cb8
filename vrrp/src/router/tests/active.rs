//! Active, and what other nodes do to it.

use super::*;

/// Whatever its version: nothing is silent here as RFC 3768 would have it, see ARCHITECTURE.md.
#[test]
fn fsm_24_without_a_strict_mode_a_lower_advert_is_answered_at_once_and_the_grid_stays() {
    let mut bench = Bench::active(with_priority(110));
    bench.run(ms(2400));
    assert_eq!(
        bench.hear(advert(100, ms(2400)), ms(2400)),
        [Done::Advert(110), Done::Announce]
    );
    assert_eq!(bench.state(), VipState::Active);
    let sent = adverts(&bench.run(ms(5000)));
    assert_eq!(sent, [3, 4, 5].map(Duration::from_secs));
}

#[test]
fn a_flood_of_lower_adverts_has_one_answer_in_an_interval() {
    let mut bench = Bench::active(with_priority(110));
    bench.run(ms(12_100));
    let mut sent = Vec::new();
    for after in (12_200..13_200).step_by(2).map(ms) {
        sent.extend(bench.run(after));
        let done = bench.hear(advert(100, after), after);
        sent.extend(done.into_iter().map(|what| (after, what)));
    }
    assert_eq!(
        adverts(&sent),
        [ms(12_200), ms(13_000)],
        "one, and the grid"
    );
    let rounds = sent.iter().filter(|(_, what)| *what == Done::Announce);
    assert_eq!(rounds.count(), 1);
    let after = bench.run(ms(13_500));
    assert_eq!(
        adverts(&after),
        [ms(13_200)],
        "the last one is answered, too"
    );
}

#[test]
fn fsm_25_a_higher_advert_ends_it_and_the_address_is_gone_before_its_last_advert() {
    let mut bench = Bench::active(with_priority(110));
    bench.run(ms(2400));
    assert_eq!(
        bench.hear(advert(120, ms(2400)), ms(2401)),
        [Done::Remove, Done::Advert(110), Done::Now(VipState::Backup)]
    );
    assert_eq!(bench.due(), ms(2400) + Duration::from_nanos(3_570_312_500));
    assert_eq!(
        bench.router.reason(),
        "192.168.0.12 is active with priority 120"
    );
}

#[test]
fn fsm_26_between_equals_the_higher_address_stays() {
    let mut bench = Bench::active(params());
    bench.run(ms(2400));
    let below = Heard {
        source: BELOW,
        ..advert(100, ms(2400))
    };
    bench.hear(below, ms(2400));
    assert_eq!(bench.state(), VipState::Active);
    bench.hear(advert(100, ms(2500)), ms(2500));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn fsm_28_a_resignation_is_answered_and_restarts_the_grid() {
    let mut bench = Bench::active(params());
    bench.run(ms(2400));
    assert_eq!(
        bench.hear(advert(0, ms(2400)), ms(2400))[..],
        [Done::Advert(100), Done::Announce]
    );
    assert_eq!(bench.state(), VipState::Active);
    let sent = adverts(&bench.run(ms(4400)));
    assert_eq!(sent, [ms(3400), ms(4400)]);
}

#[test]
fn a_flood_of_resignations_is_no_flood_of_adverts_and_silences_nothing() {
    let mut bench = Bench::active(params());
    bench.run(ms(2400));
    let mut sent = Vec::new();
    for after in (2400..7400).step_by(2).map(ms) {
        sent.extend(bench.run(after));
        let done = bench.hear(advert(0, after), after);
        sent.extend(done.into_iter().map(|what| (after, what)));
    }
    assert_eq!(adverts(&sent).len(), 5, "{:?}", adverts(&sent));
    bench.run(ms(9000));
    let answer = bench.hear(advert(50, ms(9001)), ms(9001));
    assert_eq!(answer[0], Done::Advert(100));
}

#[test]
fn fsm_31_stopped_as_active_the_address_goes_first_then_two_resignations() {
    let mut bench = Bench::active(params());
    bench.router.handle_stop(at(ms(400)));
    assert_eq!(
        bench.perform(ms(400)),
        [
            Done::Remove,
            Done::Advert(0),
            Done::Advert(0),
            Done::Now(VipState::Init)
        ]
    );
    assert_eq!(bench.turn(SECOND * 100), []);
}

#[test]
fn tim_45_adverts_stay_on_their_grid() {
    let mut bench = Bench::active(Params {
        advert_interval: ms(100),
        ..params()
    });
    let mut sent = 0_u32;
    // Each turn comes late by up to 9 ms.
    for turn in 1.. {
        let (due, what) = bench.router.poll_timeout().expect("something is due");
        let due = due.since(at(Duration::ZERO));
        if what == "advert" {
            sent += 1;
            assert_eq!(due, ms(100) * sent, "advert {sent}");
        }
        let done = bench.turn(due + ms(turn % 10));
        assert_eq!(done.contains(&Done::Advert(100)), what == "advert");
        if sent == 1000 {
            break;
        }
    }
}

#[test]
fn missed_adverts_are_skipped() {
    let mut bench = Bench::active(Params {
        advert_interval: ms(100),
        ..params()
    });
    bench.run(ms(400));
    let done = bench.turn(ms(1050));
    let sent = done.iter().filter(|what| matches!(what, Done::Advert(_)));
    assert_eq!(sent.count(), 1, "{done:?}");
    let sent = adverts(&bench.run(ms(1300)));
    assert_eq!(sent, [1100, 1200, 1300].map(ms));
}

#[test]
fn the_lease_is_renewed_before_the_advert_at_which_a_third_has_passed() {
    let mut bench = Bench::active(params());
    let done = bench.run(ms(2000));
    assert_eq!(
        done,
        [
            (ms(50), Done::Announce),
            (ms(250), Done::Announce),
            (ms(1000), Done::Renew(LEASE)),
            (ms(1000), Done::Advert(100)),
            (ms(1000), Done::Announce),
            (ms(2000), Done::Renew(LEASE)),
            (ms(2000), Done::Advert(100)),
        ]
    );
    let mut fast = Bench::active(Params {
        advert_interval: ms(100),
        ..params()
    });
    let renewed: Vec<_> = fast
        .run(ms(1000))
        .into_iter()
        .filter(|(_, what)| matches!(what, Done::Renew(_)))
        .collect();
    let lifetime = SECOND;
    assert_eq!(
        renewed,
        [
            (ms(400), Done::Renew(lifetime)),
            (ms(800), Done::Renew(lifetime))
        ]
    );
}

#[test]
fn rare_adverts_do_not_let_the_lease_lapse() {
    let mut bench = Bench::active(Params {
        advert_interval: Duration::from_millis(40_950),
        ..params()
    });
    let done = bench.run(Duration::from_secs(120));
    assert_eq!(bench.state(), VipState::Active);
    assert_eq!(adverts(&done), [ms(40_950), ms(81_900)]);
    let mut last = Duration::ZERO;
    for (after, what) in done {
        if matches!(what, Done::Renew(_)) {
            assert!(after - last <= ms(2500), "{last:?} to {after:?}");
            last = after;
        }
    }
}

#[test]
fn announcements_follow_the_schedule_and_end_with_the_state() {
    let mut bench = Bench::active(params());
    let mut rounds: Vec<_> = bench
        .run(Duration::from_secs(30))
        .into_iter()
        .filter(|(_, what)| *what == Done::Announce)
        .map(|(after, _)| after.as_millis())
        .collect();
    assert_eq!(rounds, [50, 250, 1000, 3000, 10_000]);
    bench.hear(advert(200, SECOND * 30), SECOND * 30);
    rounds.clear();
    while bench.state() == VipState::Backup {
        let due = bench.due();
        let done = bench.turn(due);
        assert!(bench.state() == VipState::Active || !done.contains(&Done::Announce));
    }
}
