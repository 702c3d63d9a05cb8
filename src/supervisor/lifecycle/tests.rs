use super::*;

const DRAIN: Duration = Duration::from_secs(30);

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000_000) + Duration::from_millis(milliseconds)
}

fn actions(lifecycle: &mut Lifecycle) -> Vec<Action> {
    std::iter::from_fn(|| lifecycle.poll_action()).collect()
}

fn kill(child: Child, why: &str) -> Action {
    let why = why.to_owned();
    Action::Kill { child, why }
}

fn death(child: Child, milliseconds: u64) -> Action {
    let delay = Duration::from_millis(milliseconds);
    Action::ReportDeath { child, delay }
}

/// All three were started at 0.
fn running() -> Lifecycle {
    let mut lifecycle = Lifecycle::new(DRAIN, at(0));
    lifecycle.handle_timeout(at(0));
    let starts = [Child::Proxy, Child::Vrrp, Child::Admin].map(Action::Start);
    assert_eq!(actions(&mut lifecycle), starts);
    for child in Child::ALL {
        lifecycle.handle_started(child, at(0));
    }
    lifecycle
}

/// Looks each 20 ms from `from` to `to`; `beats` gives the heartbeats of each moment.
fn look(
    lifecycle: &mut Lifecycle,
    (from, to): (u64, u64),
    beats: impl Fn(u64) -> [Option<u64>; 3],
) -> Vec<(u64, Action)> {
    let mut all = Vec::new();
    for now in (from..=to).step_by(20) {
        let beats = beats(now).map(|beat| beat.map(at));
        lifecycle.handle_look(&Seen { beats }, at(now));
        all.extend(actions(lifecycle).into_iter().map(|action| (now, action)));
    }
    all
}

#[test]
fn it_is_ready_once_vrrp_and_proxy_have_given_a_heartbeat() {
    let mut lifecycle = running();
    let no_admin = |now| [Some(now), (now >= 200).then_some(now), None];
    assert_eq!(
        look(&mut lifecycle, (20, 1000), no_admin),
        [(200, Action::Ready)]
    );
}

#[test]
fn a_heartbeat_that_came_after_the_clock_was_read_is_a_heartbeat() {
    let mut lifecycle = running();
    let fresh = |now: u64| [Some(now + 3), Some(now + 3), Some(now + 3)];
    let done = look(&mut lifecycle, (20, 9000), fresh);
    assert_eq!(done, [(20, Action::Ready)]);
}

#[test]
fn a_heartbeat_of_the_future_is_not_believed() {
    let mut lifecycle = running();
    let garbage = |now: u64| [Some(now.min(1000)), Some(now), Some(now)];
    look(&mut lifecycle, (20, 1000), garbage);
    let future = |now: u64| [Some(1_000_000), Some(now), Some(now)];
    let done = look(&mut lifecycle, (1020, 7000), future);
    assert_eq!(
        done[0].1,
        kill(Child::Vrrp, "no heartbeat 5 s after its start, killed")
    );
}

#[test]
fn a_heartbeat_of_the_process_before_is_none_of_the_new_one() {
    let mut lifecycle = Lifecycle::new(DRAIN, at(0));
    for child in Child::ALL {
        lifecycle.handle_started(child, at(500));
    }
    let old = |_| [Some(400); 3];
    let killed = look(&mut lifecycle, (500, 6000), old);
    let why = "no heartbeat 5 s after its start, killed";
    assert_eq!(killed.len(), 4, "three and the last will: {killed:?}");
    assert_eq!(killed[0], (5520, kill(Child::Vrrp, why)));
}

#[test]
fn a_vrrp_that_has_not_turned_for_100_ms_is_killed() {
    let mut lifecycle = running();
    let hangs = |now: u64| [Some(now.min(1000)), Some(now), Some(now)];
    let mut done = look(&mut lifecycle, (20, 1400), hangs);
    done.retain(|(_, action)| *action != Action::Ready);
    let killed = kill(Child::Vrrp, "hung for 120 ms, killed");
    assert_eq!(done, [(1120, killed), (1120, Action::LastWill)]);
    lifecycle.handle_end(Child::Vrrp, at(1401));
    assert_eq!(
        actions(&mut lifecycle),
        [
            Action::LastWill,
            death(Child::Vrrp, 0),
            Action::Start(Child::Vrrp)
        ]
    );
}

#[test]
fn a_proxy_is_killed_after_400_ms_and_not_for_a_stall_that_passes() {
    let mut lifecycle = running();
    let stalls = |now: u64| {
        let passed = now >= 1400;
        [
            Some(now),
            Some(if passed { now } else { now.min(1000) }),
            Some(now),
        ]
    };
    look(&mut lifecycle, (20, 1000), stalls);
    assert_eq!(look(&mut lifecycle, (1020, 2000), stalls), []);
    let hangs = |now: u64| [Some(now), Some(2000), Some(now)];
    assert_eq!(
        look(&mut lifecycle, (2020, 2600), hangs),
        [(2420, kill(Child::Proxy, "hung for 420 ms, killed"))]
    );
}

#[test]
fn a_hung_admin_has_two_seconds() {
    let mut lifecycle = running();
    let hangs = |now: u64| [Some(now), Some(now), Some(now.min(1000))];
    look(&mut lifecycle, (20, 1000), hangs);
    assert_eq!(
        look(&mut lifecycle, (1020, 4000), hangs),
        [(3020, kill(Child::Admin, "hung for 2020 ms, killed"))]
    );
}

#[test]
fn who_slept_itself_concludes_nothing() {
    let mut lifecycle = running();
    look(&mut lifecycle, (20, 1000), |now| [Some(now); 3]);
    // The machine stood still for a second; the others turn again 40 ms after us.
    let resumed = |now: u64| [Some(if now < 2040 { 1000 } else { now }); 3];
    assert_eq!(look(&mut lifecycle, (2000, 3000), resumed), []);
    // One of them does not.
    let mut lifecycle = running();
    look(&mut lifecycle, (20, 1000), |now| [Some(now); 3]);
    let hangs = |now: u64| [Some(1000), Some(now), Some(now)];
    assert_eq!(
        look(&mut lifecycle, (2000, 2200), hangs),
        [
            (2120, kill(Child::Vrrp, "hung for 1120 ms, killed")),
            (2120, Action::LastWill)
        ]
    );
}

#[test]
fn the_third_death_in_ten_seconds_and_those_after_it_wait_ever_longer() {
    let mut lifecycle = running();
    let mut now = 1000;
    let mut waits = Vec::new();
    for _ in 0..10 {
        lifecycle.handle_end(Child::Proxy, at(now));
        let delay = actions(&mut lifecycle)
            .into_iter()
            .find_map(|action| match action {
                Action::ReportDeath { delay, .. } => Some(delay),
                Action::Start(_)
                | Action::Kill { .. }
                | Action::LastWill
                | Action::AskStop(_)
                | Action::AskLeave(_)
                | Action::Succeed(_)
                | Action::Ready
                | Action::Finish
                | Action::AskElders => None,
            })
            .expect("a death is reported");
        let wait = u64::try_from(delay.as_millis()).expect("short");
        waits.push(wait);
        now += wait;
        lifecycle.handle_timeout(at(now));
        actions(&mut lifecycle);
        lifecycle.handle_started(Child::Proxy, at(now));
        now += 10;
    }
    assert_eq!(waits, [0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    // It lives for longer than ten seconds: all is forgotten.
    lifecycle.handle_end(Child::Proxy, at(now + 11_000));
    assert_eq!(
        actions(&mut lifecycle),
        [death(Child::Proxy, 0), Action::Start(Child::Proxy)]
    );
}

#[test]
fn a_waiting_child_starts_when_it_is_due() {
    let mut lifecycle = running();
    for now in [1000, 1001, 1002] {
        lifecycle.handle_end(Child::Admin, at(now));
        lifecycle.handle_started(Child::Admin, at(now));
    }
    actions(&mut lifecycle);
    lifecycle.handle_end(Child::Admin, at(1003));
    assert_eq!(actions(&mut lifecycle), [death(Child::Admin, 200)]);
    lifecycle.handle_timeout(at(1202));
    assert_eq!(actions(&mut lifecycle), []);
    lifecycle.handle_timeout(at(1203));
    lifecycle.handle_timeout(at(1204));
    assert_eq!(actions(&mut lifecycle), [Action::Start(Child::Admin)]);
}

#[test]
fn a_stop_goes_from_vrrp_to_proxy_to_admin() {
    let mut lifecycle = running();
    lifecycle.handle_stop_request(at(100));
    assert_eq!(actions(&mut lifecycle), [Action::AskStop(Child::Vrrp)]);
    lifecycle.handle_end(Child::Vrrp, at(110));
    assert_eq!(
        actions(&mut lifecycle),
        [Action::LastWill, Action::AskStop(Child::Proxy)]
    );
    lifecycle.handle_end(Child::Proxy, at(5000));
    assert_eq!(actions(&mut lifecycle), [Action::AskStop(Child::Admin)]);
    lifecycle.handle_end(Child::Admin, at(5001));
    assert_eq!(actions(&mut lifecycle), [Action::Finish]);
}

#[test]
fn who_does_not_stop_in_time_is_killed_and_the_stop_goes_on() {
    let mut lifecycle = running();
    lifecycle.handle_stop_request(at(0));
    actions(&mut lifecycle);
    lifecycle.handle_timeout(at(2000));
    assert_eq!(
        actions(&mut lifecycle),
        [kill(Child::Vrrp, "did not stop in time")]
    );
    lifecycle.handle_timeout(at(2001));
    assert_eq!(actions(&mut lifecycle), []);
    lifecycle.handle_end(Child::Vrrp, at(2002));
    assert_eq!(
        actions(&mut lifecycle),
        [Action::LastWill, Action::AskStop(Child::Proxy)]
    );
    // The drain limit and a second.
    lifecycle.handle_timeout(at(2002 + 30_999));
    assert_eq!(actions(&mut lifecycle), []);
    lifecycle.handle_timeout(at(2002 + 31_000));
    assert_eq!(
        actions(&mut lifecycle),
        [kill(Child::Proxy, "did not stop in time")]
    );
}

#[test]
fn a_second_stop_request_cuts_the_drain_short() {
    let mut lifecycle = running();
    lifecycle.handle_stop_request(at(0));
    lifecycle.handle_stop_request(at(1));
    assert_eq!(actions(&mut lifecycle), [Action::AskStop(Child::Vrrp)]);
    lifecycle.handle_end(Child::Vrrp, at(10));
    actions(&mut lifecycle);
    lifecycle.handle_stop_request(at(20));
    assert_eq!(
        actions(&mut lifecycle),
        [kill(Child::Proxy, "drain cut short")]
    );
}

/// A stop at 0 that has come to the proxies.
fn stopping_with_elders() -> Lifecycle {
    let mut lifecycle = running();
    lifecycle.set_elders(true);
    lifecycle.handle_stop_request(at(0));
    lifecycle.handle_end(Child::Vrrp, at(1));
    let done = [
        Action::AskStop(Child::Vrrp),
        Action::LastWill,
        Action::AskStop(Child::Proxy),
        Action::AskElders,
    ];
    assert_eq!(actions(&mut lifecycle), done);
    lifecycle.handle_end(Child::Proxy, at(10));
    lifecycle.handle_timeout(at(20));
    assert_eq!(actions(&mut lifecycle), [], "they have sessions");
    lifecycle
}

#[test]
fn a_stop_waits_for_the_sessions_of_proxies_that_have_made_way() {
    let last = [Action::AskStop(Child::Admin)];
    let mut lifecycle = stopping_with_elders();
    lifecycle.set_elders(false);
    lifecycle.handle_timeout(at(5_000));
    assert_eq!(actions(&mut lifecycle), last);
    lifecycle.handle_timeout(at(5_020));
    assert_eq!(actions(&mut lifecycle), [], "it was asked");
    lifecycle.handle_end(Child::Admin, at(5_021));
    assert_eq!(actions(&mut lifecycle), [Action::Finish]);
    // They have as long as the proxy.
    let mut lifecycle = stopping_with_elders();
    lifecycle.handle_timeout(at(31_000));
    assert_eq!(actions(&mut lifecycle), []);
    lifecycle.handle_timeout(at(31_001));
    assert_eq!(actions(&mut lifecycle), last);
    // Or until a second stop.
    let mut lifecycle = stopping_with_elders();
    lifecycle.handle_stop_request(at(100));
    lifecycle.handle_timeout(at(100));
    assert_eq!(actions(&mut lifecycle), last);
}

#[test]
fn proxies_that_have_made_way_are_asked_to_stop_also_where_none_accepts() {
    let mut lifecycle = running();
    lifecycle.set_elders(true);
    lifecycle.handle_stop_request(at(0));
    lifecycle.handle_end(Child::Proxy, at(1));
    lifecycle.handle_end(Child::Vrrp, at(2));
    let done = [
        Action::AskStop(Child::Vrrp),
        Action::LastWill,
        Action::AskElders,
    ];
    assert_eq!(actions(&mut lifecycle), done);
    lifecycle.handle_timeout(at(31_002));
    assert_eq!(actions(&mut lifecycle), [Action::AskStop(Child::Admin)]);
}

#[test]
fn all_have_beaten_when_each_has_since_its_own_start() {
    let mut lifecycle = running();
    let beats = |now: u64| [Some(now), Some(now), (now >= 200).then_some(now)];
    look(&mut lifecycle, (20, 180), beats);
    assert!(!lifecycle.all_have_beaten());
    look(&mut lifecycle, (200, 200), beats);
    assert!(lifecycle.all_have_beaten());
    lifecycle.handle_started(Child::Vrrp, at(210));
    look(&mut lifecycle, (220, 220), |_| {
        [Some(205), Some(220), Some(220)]
    });
    assert!(!lifecycle.all_have_beaten(), "the beat of the one before");
}

#[test]
fn an_admin_that_does_not_end_is_made_to_and_is_succeeded_all_the_same() {
    let mut lifecycle = running();
    lifecycle.handle_succession(Child::Admin, at(100));
    lifecycle.handle_timeout(at(600));
    let why = "did not make way in time, killed";
    let done = [Action::AskLeave(Child::Admin), kill(Child::Admin, why)];
    assert_eq!(actions(&mut lifecycle), done);
    lifecycle.handle_end(Child::Admin, at(610));
    assert_eq!(actions(&mut lifecycle), [Action::Succeed(Child::Admin)]);
}

#[test]
fn nobody_starts_again_during_a_stop() {
    let mut lifecycle = running();
    lifecycle.handle_stop_request(at(0));
    actions(&mut lifecycle);
    lifecycle.handle_end(Child::Proxy, at(10));
    lifecycle.handle_end(Child::Admin, at(11));
    assert_eq!(actions(&mut lifecycle), []);
    lifecycle.handle_end(Child::Vrrp, at(12));
    assert_eq!(actions(&mut lifecycle), [Action::LastWill, Action::Finish]);
}

#[test]
fn who_makes_way_is_succeeded_and_nobody_resigns_for_it() {
    let mut lifecycle = running();
    assert!(lifecycle.handle_succession(Child::Vrrp, at(100)));
    assert!(!lifecycle.handle_succession(Child::Vrrp, at(100)), "once");
    assert_eq!(actions(&mut lifecycle), [Action::AskLeave(Child::Vrrp)]);
    lifecycle.handle_left(Child::Vrrp, at(101));
    assert_eq!(actions(&mut lifecycle), [Action::Succeed(Child::Vrrp)]);
    lifecycle.handle_started(Child::Vrrp, at(101));
    // The end of admin is what it leaves.
    lifecycle.handle_succession(Child::Admin, at(200));
    lifecycle.handle_end(Child::Admin, at(230));
    let done = [
        Action::AskLeave(Child::Admin),
        Action::Succeed(Child::Admin),
    ];
    assert_eq!(actions(&mut lifecycle), done);
    lifecycle.handle_started(Child::Admin, at(230));
    let turns = |now: u64| [Some(now), Some(now), Some(now)];
    assert_eq!(
        look(&mut lifecycle, (240, 2000), turns),
        [(240, Action::Ready)]
    );
}

#[test]
fn a_vrrp_that_dies_instead_of_leaving_has_died() {
    let died = [
        Action::LastWill,
        death(Child::Vrrp, 0),
        Action::Start(Child::Vrrp),
    ];
    let mut lifecycle = running();
    lifecycle.handle_succession(Child::Vrrp, at(100));
    actions(&mut lifecycle);
    lifecycle.handle_end(Child::Vrrp, at(120));
    assert_eq!(actions(&mut lifecycle), died);
    // And one that does not leave is made to.
    let mut lifecycle = running();
    lifecycle.handle_succession(Child::Vrrp, at(100));
    actions(&mut lifecycle);
    lifecycle.handle_timeout(at(599));
    assert_eq!(actions(&mut lifecycle), []);
    lifecycle.handle_timeout(at(600));
    let why = "did not make way in time, killed";
    assert_eq!(
        actions(&mut lifecycle),
        [kill(Child::Vrrp, why), Action::LastWill]
    );
    lifecycle.handle_left(Child::Vrrp, at(601));
    assert_eq!(actions(&mut lifecycle), [], "too late");
    lifecycle.handle_end(Child::Vrrp, at(610));
    assert_eq!(actions(&mut lifecycle), died);
}

#[test]
fn a_stop_while_one_makes_way_resigns_for_it() {
    let mut lifecycle = running();
    lifecycle.handle_succession(Child::Vrrp, at(100));
    lifecycle.handle_stop_request(at(101));
    assert_eq!(actions(&mut lifecycle), [Action::AskLeave(Child::Vrrp)]);
    lifecycle.handle_left(Child::Vrrp, at(110));
    assert_eq!(
        actions(&mut lifecycle),
        [Action::LastWill, Action::AskStop(Child::Proxy)]
    );
}

#[test]
fn an_adopted_child_is_judged_by_the_heartbeats_of_its_whole_life() {
    let mut lifecycle = Lifecycle::new(DRAIN, at(5000));
    for child in Child::ALL {
        lifecycle.handle_started(child, at(100));
    }
    let hangs = |now: u64| [Some(4000), Some(now), Some(now)];
    let mut done = look(&mut lifecycle, (5020, 5200), hangs);
    done.retain(|(_, action)| *action != Action::Ready);
    assert_eq!(
        done,
        [
            (5120, kill(Child::Vrrp, "hung for 1120 ms, killed")),
            (5120, Action::LastWill)
        ]
    );
}
