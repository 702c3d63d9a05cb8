//! The baseline pair in the lab: it starts, fails over, and its figures are printed.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the test notes when it broke something, and prints what it measured"
)]

use std::time::{Duration, Instant};

use lab::adverts::AdvertWatch;
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part, Settings};
use lab::baseline::HaproxyKeepalived;
use lab::client::{self, Speak};
use lab::cluster::Cluster;
use lab::held::Plan;
use lab::lease::{self, LeaseWatch};
use lab::scenario::{self, Event, Measured, Round};
use lab::topology::{API_VIP, WEB_VIP};
use lab::{Lab, Node, fault, limits, within};

const ADVERT: Duration = Duration::from_millis(100);

fn round(event: Event) -> Measured {
    let _turn = limits::measure_alone().expect("the lab works");
    let lab = Lab::start().expect("the lab works");
    let _cluster = Cluster::start(&lab, Service::Echo).expect("the lab works");
    let settings = Settings::site(ADVERT);
    let mut pair = HaproxyKeepalived::new(&lab, &settings).expect("the lab works");
    let held = Plan {
        count: 50,
        ping: Some(Duration::from_millis(20)),
    };
    let round = Round {
        settings,
        event,
        tenths: 5,
        held,
        vip: WEB_VIP.into(),
    };
    let measured = scenario::measure(&lab, &mut pair, &round)
        .expect("the lab works")
        .expect("the lab works");
    eprintln!("{} at 100 ms adverts: {measured:?}", event.name());
    measured
}

#[test]
fn a_lost_machine_costs_what_the_formula_says() {
    let measured = round(Event::MachineLost);
    let gap = measured.outage.gap;
    println!("Keepalived, machine lost, 100 ms adverts: outage {gap:?}");
    let bound = Settings::site(ADVERT).active_down();
    assert!(gap > Duration::from_millis(200), "{gap:?}");
    assert!(
        gap < bound + measured.noise + Duration::from_millis(150),
        "{gap:?}"
    );
    assert_eq!(measured.holder, Some(Node::Lb2));
    assert!(measured.phase >= ADVERT / 2, "{:?}", measured.phase);
}

#[test]
fn a_clean_stop_costs_the_skew_time() {
    let measured = round(Event::CleanStop);
    let gap = measured.outage.gap;
    assert!(
        gap > Duration::from_millis(20) && gap < Duration::from_millis(400),
        "{gap:?}"
    );
    assert_eq!(measured.holder, Some(Node::Lb2));
    assert_eq!(measured.broken, 50);
}

#[test]
fn a_dead_haproxy_is_found_by_its_script() {
    let measured = round(Event::Kill(Part::Proxy));
    let gap = measured.outage.gap;
    assert!(
        gap > Duration::from_millis(900) && gap < Duration::from_secs(5),
        "{gap:?}"
    );
    assert_eq!(measured.holder, Some(Node::Lb2));
}

#[test]
fn both_vips_are_served_and_lost_adverts_split_the_pair() {
    let lab = Lab::start().unwrap();
    let _cluster = Cluster::start(&lab, Service::Echo).unwrap();
    let mut pair = HaproxyKeepalived::new(&lab, &Settings::site(ADVERT)).unwrap();
    scenario::start_pair(&lab, &mut pair, ADVERT).unwrap();
    for (vip, port, speak) in [
        (API_VIP, 6_443, Speak::ApiServer),
        (WEB_VIP, 80, Speak::Echo),
        (WEB_VIP, 443, Speak::TlsEcho),
    ] {
        let shares = client::shares(&lab, (vip, port).into(), speak, 9).unwrap();
        assert_eq!(
            shares.values().copied().collect::<Vec<_>>(),
            [3, 3, 3],
            "{shares:?}"
        );
    }
    let watch = AdvertWatch::start(&lab, Node::Lb1).unwrap();
    assert!(within(Duration::from_secs(2), || watch.last(51).is_some()));
    let advert = watch.last(51).unwrap();
    assert_eq!((advert.from, advert.priority), (Node::Lb1.address(), 110));

    let leases = LeaseWatch::start(&lab, WEB_VIP).unwrap();
    let undo = fault::protocol_112_dropped(&lab).unwrap();
    let begun = Instant::now();
    let split = || lease::holders(&lab, WEB_VIP) == Node::LBS;
    lab.wait_until(Duration::from_secs(5), "both hold the VIP", split)
        .unwrap();
    undo.now().unwrap();
    let healed = || lease::holder(&lab, WEB_VIP) == Some(Node::Lb1);
    lab.wait_until(Duration::from_secs(5), "only lb1 holds the VIP", healed)
        .unwrap();
    assert!(leases.both(begun) > Duration::ZERO);

    pair.stop(Node::Lb1).unwrap();
    let moved = || lease::holder(&lab, WEB_VIP) == Some(Node::Lb2);
    lab.wait_until(Duration::from_secs(5), "lb2 holds the VIP", moved)
        .unwrap();
}
