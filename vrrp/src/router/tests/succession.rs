//! One process of a node after another.

use super::*;

/// Not started; the lease is there.
fn successor(params: Params) -> Bench {
    Bench {
        router: VirtualRouter::new(params),
        leased: true,
    }
}

fn priority(priority: u8) -> Priority {
    Priority::new(priority).expect("not zero")
}

#[test]
fn who_leaves_renews_and_speaks_once_more_and_resigns_nothing() {
    let mut bench = Bench::active(params());
    bench.run(ms(1_400));
    bench.router.handle_leave(at(ms(1_450)));
    assert_eq!(
        bench.perform(ms(1_450)),
        [Done::Renew(LEASE), Done::Advert(100)]
    );
    assert_eq!(bench.router.state(), VipState::Active);
    let mut backup = Bench::started(params());
    backup.perform(Duration::ZERO);
    backup.router.handle_leave(at(ms(10)));
    assert_eq!(backup.perform(ms(10)), []);
}

#[test]
fn who_slept_through_its_lease_leaves_nothing() {
    let mut bench = Bench::active(params());
    bench.router.handle_leave(at(LEASE));
    assert_eq!(bench.perform(LEASE), []);
}

#[test]
fn the_successor_is_active_at_once_and_keeps_priority_and_pin() {
    let mut bench = successor(params());
    bench
        .router
        .handle_go_on((priority(254), true), at(Duration::ZERO));
    assert_eq!(
        bench.perform(Duration::ZERO),
        [
            // Its active-down interval is hardly more than three adverts.
            Done::Renew(2 * SECOND),
            Done::Advert(254),
            Done::Now(VipState::Active),
            Done::Announce
        ]
    );
    assert!(bench.router.is_pinned());
    // Its start is over.
    bench.router.handle_start(at(Duration::ZERO));
    assert_eq!(bench.perform(Duration::ZERO), []);
    let adverts = bench.run(SECOND);
    assert!(
        adverts.contains(&(SECOND, Done::Advert(254))),
        "{adverts:?}"
    );
}

#[test]
fn an_owner_goes_on_as_one() {
    let mut bench = successor(with_priority(255));
    bench
        .router
        .handle_go_on((priority(100), false), at(Duration::ZERO));
    assert!(bench.perform(Duration::ZERO).contains(&Done::Advert(255)));
}

#[test]
fn who_was_an_owner_goes_on_as_the_configuration_has_it() {
    let mut bench = successor(params());
    bench
        .router
        .handle_go_on((priority(255), false), at(Duration::ZERO));
    assert!(bench.perform(Duration::ZERO).contains(&Done::Advert(100)));
}

#[test]
fn the_first_backup_waits_as_long_as_the_adverts_before_it_need() {
    let mut bench = Bench {
        router: VirtualRouter::new(params()),
        leased: false,
    };
    let down = |bench: &Bench| bench.router.poll_timeout().map(|(at, _)| at);
    bench.router.handle_expected(10 * SECOND);
    bench.router.handle_start(at(Duration::ZERO));
    bench.perform(Duration::ZERO);
    assert!(down(&bench) > Some(at(30 * SECOND)), "{:?}", down(&bench));
    let mut other = Bench::started(params());
    other.perform(Duration::ZERO);
    assert!(down(&other) < Some(at(4 * SECOND)), "{:?}", down(&other));
}

#[test]
fn a_lease_that_is_refused_is_given_up_without_an_advert() {
    let mut router = VirtualRouter::new(params());
    router.handle_go_on((priority(100), false), at(Duration::ZERO));
    assert_eq!(
        router.poll_action(),
        Some(Action::RenewLease { lifetime: LEASE })
    );
    router.handle_lease_result(Err("no".to_owned()), at(Duration::ZERO));
    let adverts: Vec<Action> = std::iter::from_fn(|| router.poll_action())
        .filter(|action| matches!(action, Action::Advertise { .. }))
        .collect();
    assert_eq!(adverts, [const { Action::Advertise { priority: 0 } }; 2]);
    assert_eq!(router.state(), VipState::Fault);
}

#[test]
fn a_better_node_that_has_spoken_meanwhile_has_it() {
    let mut bench = successor(params());
    bench
        .router
        .handle_go_on((priority(100), false), at(Duration::ZERO));
    bench.perform(Duration::ZERO);
    let done = bench.hear(advert(150, ms(1)), ms(1));
    assert!(done.contains(&Done::Now(VipState::Backup)), "{done:?}");
    assert!(!bench.leased);
}

#[test]
fn nobody_but_one_who_begins_goes_on() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    bench
        .router
        .handle_go_on((priority(200), true), at(Duration::ZERO));
    assert_eq!(bench.perform(Duration::ZERO), []);
    assert_eq!(bench.router.state(), VipState::Backup);
    assert!(!bench.router.is_pinned());
}
