//! What the RFC does not know: leases, faults, pauses.

use super::*;

fn install_refused(bench: &mut Bench, after: Duration) -> Vec<Action> {
    let mut done = Vec::new();
    bench.router.handle_timeout(at(after));
    while let Some(action) = bench.router.poll_action() {
        let asked = matches!(
            action,
            Action::InstallLease { .. } | Action::RenewLease { .. }
        );
        done.push(action);
        if asked {
            let why = "permission denied".to_owned();
            bench.router.handle_lease_result(Err(why), at(after));
        }
    }
    done
}

#[test]
fn an_active_that_is_unfit_gives_up_at_once_and_comes_back_through_backup() {
    let mut bench = Bench::active(params());
    bench.run(ms(400));
    bench
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(ms(400)));
    assert_eq!(
        bench.perform(ms(400)),
        [
            Done::Remove,
            Done::Advert(0),
            Done::Advert(0),
            Done::Now(VipState::Fault)
        ]
    );
    assert_eq!(
        bench.router.reason(),
        "the proxy has not accepted for 100 ms"
    );
    bench
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(ms(420)));
    assert_eq!(bench.perform(ms(420)), [], "nothing new");
    bench
        .router
        .handle_fitness(Err(Cause::ProxyCrashLoop), at(ms(440)));
    assert_eq!(bench.perform(ms(440)), [Done::Now(VipState::Fault)]);
    bench.router.handle_fitness(Ok(()), at(ms(500)));
    assert_eq!(bench.perform(ms(500)), [Done::Now(VipState::Backup)]);
    assert_eq!(bench.due(), ms(500) + Duration::from_micros(3_609_375));
}

#[test]
fn an_active_gives_the_vip_to_nobody_while_its_kernel_can_serve() {
    let together = Cause::Together {
        vip: "api".to_owned(),
        cause: Box::new(Cause::SupervisorGone),
    };
    for cause in [Cause::ProxyHung, Cause::ProxyCrashLoop, together] {
        let mut bench = Bench::active(params());
        bench.run(ms(400));
        bench.router.handle_peer_unable(true);
        bench.router.handle_fitness(Err(cause.clone()), at(ms(400)));
        assert_eq!(bench.perform(ms(400)), [], "{cause}");
        assert_eq!(bench.router.fitness(), Err(&cause), "it says so if asked");
        // There is somebody again.
        bench.router.handle_peer_unable(false);
        bench.router.handle_fitness(Err(cause), at(ms(500)));
        assert!(bench.perform(ms(500)).contains(&Done::Now(VipState::Fault)));
    }
}

#[test]
fn an_active_that_cannot_be_reached_is_in_fault_whatever_the_other_node_is() {
    for cause in [
        Cause::Interface("it is down".to_owned()),
        Cause::LeaseDisputed,
    ] {
        let mut bench = Bench::active(params());
        bench.run(ms(400));
        bench.router.handle_peer_unable(true);
        bench.router.handle_fitness(Err(cause), at(ms(400)));
        assert!(bench.perform(ms(400)).contains(&Done::Now(VipState::Fault)));
    }
}

#[test]
fn an_unfit_node_starts_in_fault() {
    let mut router = VirtualRouter::new(with_priority(255));
    router.handle_fitness(Err(Cause::ProxyNotReady), at(Duration::ZERO));
    router.handle_start(at(Duration::ZERO));
    assert_eq!(router.state(), VipState::Fault);
    assert_eq!(router.reason(), "no proxy accepts yet");
    assert_eq!(router.poll_timeout(), None);
}

#[test]
fn fsm_38_a_refused_lease_is_rolled_back_and_the_node_stays_away_for_a_while() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    let down = bench.due();
    let done = install_refused(&mut bench, down);
    assert_eq!(
        done.iter()
            .filter(|action| !matches!(action, Action::Changed { .. }))
            .collect::<Vec<_>>(),
        [
            &Action::Advertise { priority: 100 },
            &Action::InstallLease { lifetime: LEASE },
            &Action::RemoveLease,
            &Action::Advertise { priority: 0 },
            &Action::Advertise { priority: 0 },
        ]
    );
    assert_eq!(bench.state(), VipState::Fault);
    assert_eq!(
        bench.router.reason(),
        "the kernel refused the address: permission denied"
    );
    bench.router.handle_fitness(Ok(()), at(down + SECOND));
    assert_eq!(bench.state(), VipState::Fault, "fit, but held down");
    let over = down + SECOND * 30;
    assert_eq!(bench.due(), over);
    assert_eq!(bench.turn(over), [Done::Now(VipState::Backup)]);
}

#[test]
fn a_renewal_that_is_refused_once_or_twice_moves_nothing() {
    let mut bench = Bench::active(params());
    bench.run(ms(900));
    for after in [1000, 1050].map(ms) {
        assert_eq!(bench.due(), after);
        let done = install_refused(&mut bench, after);
        assert_eq!(done[0], Action::RenewLease { lifetime: LEASE });
        // The address is there all the same.
        let said = &done[1..];
        let advert = Action::Advertise { priority: 100 };
        let of_the_grid = [advert, Action::Announce];
        assert_eq!(
            said,
            if after == SECOND {
                &of_the_grid[..]
            } else {
                &[]
            }
        );
        assert_eq!(bench.state(), VipState::Active);
    }
    let renewed = bench.run(ms(1100));
    assert_eq!(renewed, [(ms(1100), Done::Renew(LEASE))]);
    // The lease is as old as what the kernel took, and refusals are counted anew.
    let next = bench.run(ms(2000));
    assert_eq!(
        next,
        [
            (ms(2000), Done::Renew(LEASE)),
            (ms(2000), Done::Advert(100))
        ]
    );
    for after in [3000, 3050].map(ms) {
        bench.run(after - ms(1));
        install_refused(&mut bench, after);
    }
    assert_eq!(bench.state(), VipState::Active);
}

#[test]
fn a_renewal_that_is_not_taken_does_not_prolong_the_lease() {
    let mut bench = Bench::active(params());
    bench.run(ms(900));
    install_refused(&mut bench, SECOND);
    // It slept until the lease of the installation was over.
    assert_eq!(
        bench.turn(LEASE),
        [Done::Remove, Done::Now(VipState::Backup)]
    );
    assert_eq!(bench.router.reason(), "lease lapsed");
}

#[test]
fn no_lease_no_advert_when_a_renewal_is_refused_three_times() {
    let mut bench = Bench::active(params());
    bench.run(ms(900));
    install_refused(&mut bench, SECOND);
    install_refused(&mut bench, ms(1050));
    let done = install_refused(&mut bench, ms(1100));
    assert_eq!(done[0], Action::RenewLease { lifetime: LEASE });
    assert_eq!(done[1], Action::RemoveLease);
    let said: Vec<_> = done
        .iter()
        .filter(|action| matches!(action, Action::Advertise { .. } | Action::Announce))
        .collect();
    assert_eq!(said, [&Action::Advertise { priority: 0 }; 2]);
    assert_eq!(
        bench.router.reason(),
        "the kernel refused the address: permission denied"
    );
    assert_eq!(bench.due(), ms(1100) + SECOND * 30, "hold-down");
}

#[test]
fn no_lease_no_advert_when_the_interface_goes_during_a_renewal() {
    let mut bench = Bench::active(params());
    bench.run(ms(900));
    bench.router.handle_timeout(at(SECOND));
    let renewal = Action::RenewLease { lifetime: LEASE };
    assert_eq!(bench.router.poll_action(), Some(renewal));
    let gone = Cause::Interface("eth0 is missing".to_owned());
    bench.router.handle_fitness(Err(gone), at(SECOND));
    let why = "no such device".to_owned();
    bench.router.handle_lease_result(Err(why), at(SECOND));
    assert_eq!(
        bench.perform(SECOND),
        [
            Done::Remove,
            Done::Advert(0),
            Done::Advert(0),
            Done::Now(VipState::Fault)
        ]
    );
    assert_eq!(bench.router.reason(), "interface: eth0 is missing");
    assert_eq!(bench.router.poll_timeout(), None, "no hold-down");
}

#[test]
fn without_the_kernels_answer_there_is_one_advert_and_then_none() {
    let mut router = VirtualRouter::new(params());
    router.handle_start(at(Duration::ZERO));
    let mut adverts = 0;
    for tenth in 0..70 {
        router.handle_timeout(at(ms(100 * tenth)));
        while let Some(action) = router.poll_action() {
            adverts += usize::from(matches!(action, Action::Advertise { .. }));
        }
    }
    assert_eq!(adverts, 1);
    assert_eq!(router.state(), VipState::Backup);
    assert_eq!(router.reason(), "lease lapsed");
}

#[test]
fn krn_74_a_deleted_address_comes_back_three_times_a_minute() {
    let mut bench = Bench::active(params());
    for third in 1..=3 {
        let after = SECOND * 10 * third;
        bench.run(after);
        bench.router.handle_lease_removed(at(after));
        assert_eq!(bench.perform(after), [Done::Install(LEASE), Done::Announce]);
    }
    bench.run(SECOND * 50);
    bench.router.handle_lease_removed(at(SECOND * 50));
    assert_eq!(
        bench.perform(SECOND * 50),
        [
            Done::Remove,
            Done::Advert(0),
            Done::Advert(0),
            Done::Now(VipState::Fault)
        ]
    );
    assert_eq!(bench.due(), SECOND * 80);
    bench.router.handle_fitness(Ok(()), at(SECOND * 79));
    assert_eq!(bench.state(), VipState::Fault);
    bench.turn(SECOND * 80);
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn krn_77_a_flush_is_one_removal_and_comes_to_its_end() {
    let mut bench = Bench::active(params());
    let remove = |bench: &mut Bench, after: Duration| {
        bench.router.handle_lease_removed(at(after));
        bench.perform(after)
    };
    for third in 1..=3 {
        let after = SECOND * third / 2;
        let installed = [Done::Install(LEASE), Done::Announce];
        assert_eq!(remove(&mut bench, after), installed);
        // It finds the address again, and then no more until it has ended.
        assert_eq!(remove(&mut bench, after + ms(1)), []);
        assert_eq!(remove(&mut bench, after + ms(2)), []);
        let is_installed = |done: &[(Duration, Done)]| {
            let mut done = done.iter();
            done.any(|(_, what)| *what == Done::Install(LEASE))
        };
        assert!(!is_installed(&bench.run(after + ms(49))));
        assert!(is_installed(&bench.run(after + ms(50))));
    }
    // Somebody who goes on for longer is no flush.
    let done = remove(&mut bench, SECOND * 3 / 2 + ms(51));
    assert!(done.contains(&Done::Now(VipState::Fault)), "{done:?}");
}

#[test]
fn rare_removals_are_no_dispute() {
    let mut bench = Bench::active(params());
    for nth in 1..=20 {
        let after = SECOND * 21 * nth;
        bench.run(after);
        bench.router.handle_lease_removed(at(after));
        bench.perform(after);
        assert_eq!(bench.state(), VipState::Active, "removal {nth}");
    }
}

#[test]
fn when_the_hold_down_ends_an_unfit_node_stays_in_fault() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    let down = bench.due();
    install_refused(&mut bench, down);
    bench
        .router
        .handle_fitness(Err(Cause::SupervisorGone), at(down + SECOND));
    bench.perform(down + SECOND);
    let still = [Done::Now(VipState::Fault)];
    assert_eq!(bench.turn(down + SECOND * 30), still);
    assert_eq!(bench.router.reason(), Cause::SupervisorGone.to_string());
    assert_eq!(bench.router.poll_timeout(), None);
    bench.router.handle_fitness(Ok(()), at(down + SECOND * 40));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn fsm_39_who_slept_through_its_lease_comes_back_as_backup_and_says_nothing() {
    let quiet = [Done::Remove, Done::Now(VipState::Backup)];
    let woke = SECOND * 4;
    let by_timeout = Bench::active(params()).turn(woke);
    assert_eq!(by_timeout, quiet);

    let mut heard = Bench::active(params());
    assert_eq!(heard.hear(advert(50, ms(3900)), woke), quiet);
    assert_eq!(
        heard.router.reason(),
        "about to take over from 192.168.0.12, which has priority 50"
    );

    let mut stopped = Bench::active(params());
    stopped.router.handle_stop(at(woke));
    assert_eq!(
        stopped.perform(woke),
        [quiet[0], quiet[1], Done::Now(VipState::Init)]
    );

    let mut deleted = Bench::active(params());
    deleted.router.handle_lease_removed(at(woke));
    assert_eq!(deleted.perform(woke), quiet);
    assert_eq!(deleted.router.reason(), "lease lapsed");
    assert_eq!(deleted.due(), woke + Duration::from_micros(3_609_375));
}

#[test]
fn a_suspended_machine_has_slept_through_its_lease_though_its_clock_stood_still() {
    let now = SECOND;
    let mut bench = Bench::active(params());
    bench.run(now);
    bench.router.handle_suspended(LEASE - ms(1));
    assert!(
        bench
            .hear(advert(50, now), now)
            .contains(&Done::Advert(100))
    );
    bench.router.handle_suspended(LEASE);
    let quiet = [Done::Remove, Done::Now(VipState::Backup)];
    assert_eq!(bench.hear(advert(50, now), now), quiet);

    let mut backup = Bench::started(params());
    backup.perform(Duration::ZERO);
    let due = backup.due();
    backup.router.handle_suspended(SECOND * 3600);
    assert_eq!(backup.due(), due, "nobody takes anything for that");
}

#[test]
fn a_short_pause_and_a_higher_advert_in_the_queue_end_it_without_a_grid_advert() {
    let mut bench = Bench::active(params());
    bench.run(ms(900));
    assert_eq!(
        bench.hear(advert(120, ms(2000)), ms(2900)),
        [Done::Remove, Done::Advert(100), Done::Now(VipState::Backup)]
    );
}

#[test]
fn a_lower_and_a_higher_advert_in_one_queue_the_higher_decides() {
    let mut bench = Bench::active(params());
    bench.run(ms(900));
    bench.router.handle_heard(advert(50, ms(950)), at(ms(990)));
    bench.router.handle_heard(advert(120, ms(960)), at(ms(990)));
    assert_eq!(
        bench.turn(ms(990)),
        [Done::Remove, Done::Advert(100), Done::Now(VipState::Backup)]
    );
}

#[test]
fn the_reason_of_a_hold_down_survives_what_comes_and_goes() {
    let mut bench = Bench::started(params());
    bench.perform(Duration::ZERO);
    let down = bench.due();
    install_refused(&mut bench, down);
    bench
        .router
        .handle_fitness(Err(Cause::ProxyHung), at(down + SECOND));
    bench.perform(down + SECOND);
    bench.router.handle_fitness(Ok(()), at(down + SECOND * 2));
    bench.perform(down + SECOND * 2);
    assert_eq!(bench.state(), VipState::Fault);
    assert_eq!(
        bench.router.reason(),
        "the kernel refused the address: permission denied"
    );
}
