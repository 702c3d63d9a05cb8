//! Planned moves: who takes installs before the other one deletes.

use super::*;

/// The lower address: between equals it loses.
fn pair_params(priority: u8) -> Params {
    Params {
        sole_peer: Some(PEER),
        ..with_priority(priority)
    }
}

fn taken(pin: Option<u8>) -> (Bench, Vec<Done>) {
    let mut bench = Bench::started(pair_params(100));
    bench.perform(Duration::ZERO);
    bench.hear(advert(200, ms(10)), ms(10));
    bench
        .router
        .handle_take(pin.and_then(Priority::new), at(ms(20)));
    let done = bench.perform(ms(20));
    (bench, done)
}

#[test]
fn who_takes_installs_and_announces_before_it_advertises() {
    for (pin, priority) in [(Some(254), 254), (Some(234), 234), (None, 100)] {
        let (bench, done) = taken(pin);
        let Done::Install(lifetime) = done[0] else {
            panic!("{done:?}");
        };
        assert_eq!(
            done,
            [
                Done::Install(lifetime),
                Done::Now(VipState::Active),
                Done::Announce,
                Done::Advert(priority),
            ]
        );
        assert_eq!(bench.router.is_pinned(), pin.is_some());
        assert_eq!(bench.router.priority().value(), priority);
    }
}

#[test]
fn the_one_that_asked_is_not_heeded_for_a_second() {
    for pin in [Some(254), None] {
        let (mut bench, _) = taken(pin);
        bench.hear(advert(254, ms(21)), ms(21));
        bench.hear(advert(255, ms(1_019)), ms(1_019));
        assert_eq!(bench.state(), VipState::Active);
        let done = bench.hear(advert(255, ms(1_020)), ms(1_020));
        assert_eq!(bench.state(), VipState::Backup, "{done:?}");
        assert!(!bench.router.is_pinned());

        // It lets go, and what it said before comes after that.
        let (mut bench, _) = taken(pin);
        bench.hear(advert(0, ms(22)), ms(22));
        bench.hear(advert(254, ms(30)), ms(30));
        assert_eq!(bench.state(), VipState::Active);
    }
}

#[test]
fn who_gives_leaves_for_any_priority_and_says_farewell_with_none() {
    for (own, theirs) in [(200, 254), (254, 254), (254, 100), (200, 1)] {
        for via in [Via::Advert, Via::Heartbeat] {
            let mut bench = Bench::active(pair_params(own));
            bench.router.handle_giving(true);
            let heard = Heard {
                via,
                ..advert(theirs, ms(10))
            };
            assert_eq!(
                bench.hear(heard, ms(10)),
                [Done::Remove, Done::Advert(0), Done::Now(VipState::Backup)],
                "{own} {theirs}"
            );
        }
    }
}

#[test]
fn who_does_not_give_any_more_or_hears_a_stranger_stays() {
    let mut bench = Bench::active(pair_params(200));
    bench.router.handle_giving(true);
    let stranger = Heard {
        source: BELOW,
        ..advert(100, ms(10))
    };
    bench.hear(stranger, ms(10));
    assert_eq!(bench.state(), VipState::Active);
    bench.router.handle_giving(false);
    bench.hear(advert(100, ms(20)), ms(20));
    assert_eq!(bench.state(), VipState::Active);
}

#[test]
fn a_lease_that_is_refused_takes_nothing_from_the_one_that_asked() {
    let mut bench = Bench::started(pair_params(100));
    bench.perform(Duration::ZERO);
    bench.router.handle_take(Priority::new(254), at(ms(20)));
    let mut adverts = Vec::new();
    while let Some(action) = bench.router.poll_action() {
        match action {
            Action::InstallLease { .. } => {
                let refused = Err("no room".to_owned());
                bench.router.handle_lease_result(refused, at(ms(20)));
            }
            Action::Advertise { priority } => adverts.push(priority),
            Action::RenewLease { .. }
            | Action::RemoveLease
            | Action::Announce
            | Action::Changed { .. } => {}
        }
    }
    assert_eq!(adverts, [0, 0]);
    assert_eq!(bench.state(), VipState::Fault);
    assert!(!bench.router.is_pinned());
}

#[test]
fn a_pin_ends_when_the_vip_is_given_up() {
    let (mut bench, _) = taken(Some(254));
    bench.hear(advert(0, ms(22)), ms(22));
    bench
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(ms(30)));
    bench.perform(ms(30));
    assert!(!bench.router.is_pinned());
    let (mut bench, _) = taken(Some(254));
    bench.router.handle_stop(at(ms(30)));
    assert!(!bench.router.is_pinned());
}

#[test]
fn an_owner_is_not_pinned_and_a_node_in_fault_takes_nothing() {
    let mut bench = Bench::started(pair_params(255));
    bench.perform(Duration::ZERO);
    bench.router.handle_take(Priority::new(254), at(ms(5)));
    assert!(!bench.router.is_pinned());
    assert_eq!(bench.router.priority(), Priority::OWNER);

    let mut bench = Bench::started(pair_params(100));
    bench
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(ms(5)));
    bench.perform(ms(5));
    bench.router.handle_take(Priority::new(254), at(ms(6)));
    assert_eq!(bench.perform(ms(6)), []);
    assert_eq!(bench.state(), VipState::Fault);
}

#[test]
fn who_is_active_already_keeps_it() {
    let mut bench = Bench::active(pair_params(100));
    bench.router.handle_take(Priority::new(254), at(ms(5)));
    assert!(bench.router.is_pinned());
    assert_eq!(bench.turn(ms(5)), [Done::Advert(254)]);
}
