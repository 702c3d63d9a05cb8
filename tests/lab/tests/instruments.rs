//! The instruments measure what is known; the faults do what they say.

#![expect(
    clippy::disallowed_methods,
    reason = "tests of instruments wait for real and read the real clock"
)]

use std::time::{Duration, Instant};

use lab::backend::{Backend, Mode, Service};
use lab::held::{Held, How, Plan};
use lab::lease::{self, LeaseWatch};
use lab::prober::{Prober, Question, Why};
use lab::topology::WEB_VIP;
use lab::transfer::{Direction, Ended, Transfer};
use lab::{Lab, Node, fault, limits, wait_until, within};

const PING: Plan = Plan {
    count: 20,
    ping: Some(Duration::from_millis(20)),
};

/// A lab whose client reaches worker 1's echo without a balancer.
fn direct() -> (Lab, Backend) {
    let lab = Lab::start().expect("the lab works");
    lab.ip(Node::Client, "route add 10.17.4.0/24 via 192.168.0.40")
        .expect("the lab works");
    let backend = Backend::start(&lab, Node::Worker1, 80, Service::Echo).expect("the lab works");
    (lab, backend)
}

fn warm(prober: &Prober) {
    let enough = || prober.good_since(Instant::now() - Duration::from_millis(200)) > 50;
    wait_until(Duration::from_secs(10), "the prober has answers", enough).expect("the lab works");
}

/// The gap of a cut of 300 ms, and how long the cut really was.
fn measured_gap(cut: impl FnOnce(&Lab) -> fault::Undo) -> (Duration, Duration, Duration) {
    let _turn = limits::measure_alone().expect("the lab works");
    let (lab, backend) = direct();
    let prober = Prober::start(&lab, backend.address(), Question::Echo).expect("the lab works");
    warm(&prober);
    let undo = cut(&lab);
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    undo.now().expect("the lab works");
    let real = begun.elapsed();
    warm(&prober);
    let report = prober.finish().expect("the lab works");
    assert_eq!(report.shares(begun).len(), 1);
    (report.outage(begun).gap, real, report.latest)
}

#[test]
fn the_prober_measures_a_port_that_is_down() {
    let (gap, real, noise) = measured_gap(|lab| fault::port_down(lab, Node::Worker1).unwrap());
    println!("port down for {real:?}: outage {gap:?}, prober late by {noise:?} at most");
    assert!(
        gap + Duration::from_millis(10) > real,
        "{gap:?} of {real:?}"
    );
    // The kernel acts on a carrier that comes back within a second of the last change only then.
    let most = real + noise + Duration::from_millis(1_050);
    assert!(gap < most, "{gap:?} of {real:?}, noise {noise:?}");
}

#[test]
fn the_prober_measures_a_silent_port() {
    let (gap, real, noise) = measured_gap(|lab| fault::port_silent(lab, Node::Worker1).unwrap());
    println!("port silent for {real:?}: outage {gap:?}, prober late by {noise:?} at most");
    assert!(
        gap + Duration::from_millis(10) > real,
        "{gap:?} of {real:?}"
    );
    assert!(
        gap < real + noise + Duration::from_millis(10),
        "{gap:?} of {real:?}, noise {noise:?}"
    );
}

#[test]
fn a_paused_machine_answers_nothing_and_then_everything() {
    let (lab, backend) = direct();
    let held = Held::open(&lab, backend.address(), PING).unwrap();
    let undo = fault::paused(&lab, Node::Worker1).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let before = held.report().round_trips;
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(
        held.report().round_trips,
        before,
        "a paused machine answered"
    );
    undo.now().unwrap();
    // At once, not when TCP sends again: that is what the buffer is for.
    let resumed = Instant::now();
    assert!(within(Duration::from_secs(2), || held.report().round_trips
        >= before + 20));
    println!("20 pongs {:?} after the resume", resumed.elapsed());
    let report = held.report();
    assert_eq!(report.broken, []);
    assert!(
        report.longest > Duration::from_millis(380),
        "{:?}",
        report.longest
    );
}

#[test]
fn held_sessions_tell_how_they_broke() {
    let (lab, backend) = direct();
    let held = Held::open(&lab, backend.address(), PING).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(held.broken(), 0);
    assert!(
        held.report().round_trips >= 100,
        "{}",
        held.report().round_trips
    );
    backend.reset_sessions();
    assert!(within(Duration::from_secs(5), || held.broken() == 20));
    assert!(
        held.report()
            .broken
            .iter()
            .all(|broken| broken.how == How::Reset)
    );

    let idle = Held::open(
        &lab,
        backend.address(),
        Plan {
            count: 10,
            ping: None,
        },
    )
    .unwrap();
    backend.close_sessions();
    assert!(within(Duration::from_secs(5), || idle.broken() == 10));
    assert!(
        idle.report()
            .broken
            .iter()
            .all(|broken| broken.how == How::Fin)
    );
}

#[test]
fn eight_thousand_sessions_can_be_held() {
    let _turn = limits::measure_alone().unwrap();
    let (lab, backend) = direct();
    let begun = Instant::now();
    let held = Held::open(
        &lab,
        backend.address(),
        Plan {
            count: 8_000,
            ping: None,
        },
    )
    .unwrap();
    println!("8,000 sessions in {:?}", begun.elapsed());
    assert_eq!(backend.sessions(), 8_000);
    backend.reset_sessions();
    assert!(
        within(Duration::from_secs(20), || held.broken() == 8_000),
        "{}",
        held.broken()
    );
}

#[test]
fn failures_have_their_reasons() {
    let (lab, backend) = direct();
    let prober = Prober::start(&lab, backend.address(), Question::Echo).unwrap();
    warm(&prober);
    backend.set(Mode::Refuse);
    let refused = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    backend.set(Mode::Hang);
    std::thread::sleep(Duration::from_millis(100));
    let hanging = Instant::now();
    std::thread::sleep(Duration::from_millis(1_300));
    let report = prober.finish().unwrap();
    let failures = report.failures(refused);
    assert!(
        failures.get(&Why::Refused).is_some_and(|count| *count > 50),
        "{failures:?}"
    );
    assert!(
        report.failures(hanging).contains_key(&Why::TimedOut),
        "{failures:?}"
    );
    assert!(!report.outage(refused).recovered);
}

#[test]
fn the_watch_sees_a_lease_and_not_a_shadow() {
    let lab = Lab::start().unwrap();
    let watch = LeaseWatch::start(&lab, WEB_VIP).unwrap();
    lab.ip(Node::Lb1, "addr add 192.168.0.14/32 dev lo")
        .unwrap();
    assert_eq!(lease::holder(&lab, WEB_VIP), None);
    lab.ip(
        Node::Lb1,
        "addr add 192.168.0.14/32 dev eth0 label eth0:lease",
    )
    .unwrap();
    lab.ip(Node::Lb2, "addr add 192.168.0.14/24 dev eth0")
        .unwrap();
    assert_eq!(lease::holders(&lab, WEB_VIP), Node::LBS);
    std::thread::sleep(Duration::from_millis(100));
    fault::address_deleted(&lab, Node::Lb2, WEB_VIP).unwrap();
    assert_eq!(lease::holder(&lab, WEB_VIP), Some(Node::Lb1));
    assert!(within(Duration::from_secs(1), || watch.changes().len() == 3));
    let holders: Vec<_> = watch
        .intervals()
        .into_iter()
        .map(|interval| interval.holders)
        .collect();
    let both = vec![Node::Lb1, Node::Lb2];
    assert_eq!(holders, [vec![], vec![Node::Lb1], both, vec![Node::Lb1]]);
    let time = watch.both(Instant::now() - Duration::from_secs(60));
    assert!(
        time > Duration::from_millis(90) && time < Duration::from_secs(2),
        "{time:?}"
    );
    assert!(fault::address_deleted(&lab, Node::Lb2, WEB_VIP).is_err());
}

#[test]
fn the_capture_of_a_failure_is_a_pcap_of_both_nodes() {
    let (lab, backend) = direct();
    let result: anyhow::Result<()> = lab::capture::around(&lab, "lab-selftest", || {
        let name = lab::client::who(&lab, Node::Lb1, backend.address(), lab::client::Speak::Echo)?;
        assert_eq!(name, "w1");
        std::thread::sleep(Duration::from_millis(300));
        anyhow::bail!("on purpose")
    });
    assert!(result.is_err());
    let target = std::env::var("CARGO_TARGET_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").to_owned());
    let folder = std::path::Path::new(&target).join("lab-failures/lab-selftest");
    let pcap = std::fs::read(folder.join("lb1.pcap")).unwrap();
    // The name that the backend told lb1 is in it.
    assert!(
        pcap.windows(5).any(|bytes| bytes == b"I am "),
        "{} bytes",
        pcap.len()
    );
    assert!(folder.join("lb2.pcap").exists());
    assert!(
        std::fs::read_to_string(folder.join("evidence.txt"))
            .unwrap()
            .contains("ip -br addr")
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_transfer_tells_rst_from_fin_and_so_does_the_backend() {
    const IDLE: Plan = Plan {
        count: 5,
        ping: None,
    };
    let (lab, echo) = direct();
    let backend = Backend::start(&lab, Node::Worker1, 8_080, Service::Http).unwrap();
    let place = (Node::Client, backend.address());
    let start = |direction| Transfer::start(&lab, place, direction, 4_000_000).unwrap();
    let runs = |one: &Transfer| one.outcome().length > 1_000_000;
    let long = Duration::from_secs(5);

    let both = [start(Direction::Down), start(Direction::Up)];
    assert!(within(long, || both.iter().all(runs)));
    let reset = Instant::now();
    backend.reset_sessions();
    let ended = || both.iter().all(|one| one.outcome().ended.is_some());
    assert!(within(long, ended));
    for outcome in both.iter().map(Transfer::outcome) {
        let (at, how) = outcome.ended.unwrap();
        println!("told after {:?} by {how:?}", at - reset);
        assert_eq!(how, Ended::Reset);
        assert_eq!(outcome.first_wrong, None);
    }

    let down = start(Direction::Down);
    assert!(within(long, || runs(&down)));
    backend.close_sessions();
    assert!(within(long, || down.outcome().ended.is_some()));
    assert_eq!(down.outcome().ended.unwrap().1, Ended::Fin);

    let since = Instant::now();
    let idle = Held::open(&lab, echo.address(), IDLE).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(echo.ended_since(since), []);
    drop(idle);
    assert!(within(long, || echo.ended_since(since).len() == IDLE.count));
    assert!(
        echo.ended_since(since)
            .iter()
            .all(|one| one.error.is_none())
    );
}
