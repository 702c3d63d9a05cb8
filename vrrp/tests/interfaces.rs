//! What interfaces do to VIPs: they flap, get another name, or carry what is not theirs. Needs root.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the tests measure and show their figures, and make a link flap"
)]

mod lan;

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use common::addr::Family;
use common::board::RouteState::{self, Absent, Installed, Refused};
use common::board::VipState::{Active, Backup, Fault};
use common::config::{Config, Follower, MAIN_TABLE, NodeIndex, RouteScope, VipRoute, VipRule};
use lan::node::{Running, config, config_with_ipv6, paired_config};
use lan::{Lan, OTHER_VIP, VIP, VIP_V6, wait_for};
use vrrp::link::RouteSocket;
use vrrp::release;

const SECOND: Duration = Duration::from_secs(1);

/// Both nodes with adverts each `interval` and no delay, once the first one holds both VIPs.
fn elected(lan: &Lan, interval: Duration) -> (Running, Running) {
    elected_with(lan, config(interval))
}

/// The same, as the configuration says.
fn elected_with(lan: &Lan, mut config: Config) -> (Running, Running) {
    for vip in &mut config.vips {
        vip.preempt_delay = Duration::ZERO;
    }
    let one = Running::start(lan, 1, &config);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active)
    });
    let two = Running::start(lan, 2, &config);
    wait_for("the second node is a backup", SECOND, || two.all(Backup));
    (one, two)
}

/// Whether the first host has the first VIP on any interface.
fn has_vip(route: &mut RouteSocket) -> bool {
    let found = route.addresses().expect("the kernel answers");
    let vip = Ipv4Addr::from(VIP);
    found.iter().any(|found| found.address == vip)
}

/// The link is gone for 200 ms and there for 200 ms, so often.
fn flap(times: u32) {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, Duration::from_millis(100));
    let mut route = lan.inside(1, || RouteSocket::open().expect("root may open it"));
    for flap in 0..times {
        lan.ip(1, &["link", "set", "eth0", "down"]);
        wait_for("the fault", SECOND, || one.all(Fault));
        assert!(!has_vip(&mut route), "flap {flap}: the VIP is still there");
        std::thread::sleep(Duration::from_millis(200));
        lan.ip(1, &["link", "set", "eth0", "up"]);
        std::thread::sleep(Duration::from_millis(200));
    }
    // Each time it was back for 200 ms, it had to stay for longer: 1.6 s after five times, ten seconds at most.
    let doubled = Duration::from_millis(100) * 2_u32.pow(times.min(8) - 1);
    let stay = doubled.min(SECOND * 10) - Duration::from_millis(100);
    let back = Instant::now() - Duration::from_millis(200);
    wait_for("it is trusted again", stay + SECOND * 3, || !one.all(Fault));
    let stayed = back.elapsed();
    println!("after {times} flaps it had to stay for {stayed:?}");
    assert!(stayed >= stay, "{stayed:?}");
    wait_for("the VIPs come back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
    for vip in 0..2 {
        let became = |node: &Running| node.board.vips[vip].became_active.get();
        assert_eq!((became(&one), became(&two)), (2, 1), "VIP {vip}");
    }
}

#[test]
fn par_66_a_flapping_link_moves_the_vips_once() {
    flap(5);
}

#[test]
#[ignore = "a minute; scripts/prove cases runs it"]
fn par_66_a_link_that_flaps_for_a_minute_moves_the_vips_once() {
    flap(150);
}

#[test]
fn krn_76_an_interface_that_gets_another_name_takes_no_vip_with_it() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, SECOND);
    let mut route = lan.inside(1, || RouteSocket::open().expect("root may open it"));
    assert!(has_vip(&mut route));
    lan.ip(1, &["link", "set", "eth0", "name", "eth9"]);
    wait_for("the fault", SECOND, || one.all(Fault));
    assert!(!has_vip(&mut route), "not only when the lease lapses");
    assert_eq!(one.board.vips[0].reason.get(), "interface: eth0 is missing");
    wait_for("the other node takes over", SECOND * 5, || two.all(Active));
    lan.ip(1, &["link", "set", "eth9", "name", "eth0"]);
    wait_for("the VIPs come back", SECOND * 8, || {
        one.all(Active) && two.all(Backup)
    });
    assert!(has_vip(&mut route));
}

#[test]
fn krn_76_a_vip_on_another_interface_is_a_fault_until_it_is_gone() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, Duration::from_millis(100));
    lan.ip(
        1,
        &[
            "link", "add", "eth1", "type", "veth", "peer", "name", "cable",
        ],
    );
    lan.ip(1, &["address", "add", "192.0.2.10/32", "dev", "eth1"]);
    wait_for("the fault of this VIP alone", SECOND, || {
        one.state(0) == Fault && two.state(0) == Active
    });
    let reason = one.board.vips[0].reason.get();
    let expected = "interface: 192.0.2.10 is on another interface, with index ";
    assert!(reason.starts_with(expected), "{reason}");
    assert_eq!((one.state(1), two.state(1)), (Active, Backup));
    lan.ip(1, &["address", "del", "192.0.2.10/32", "dev", "eth1"]);
    wait_for("the VIP comes back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
}

#[test]
fn krn_77_addresses_that_are_flushed_are_back_at_once() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, SECOND);
    let mut route = lan.inside(1, || RouteSocket::open().expect("root may open it"));
    // As a network manager that reapplies its configuration does with what it does not know.
    lan.ip(
        1,
        &[
            "-4",
            "address",
            "flush",
            "dev",
            "eth0",
            "label",
            "eth0:fmclb",
        ],
    );
    let gap = wait_for("the VIPs are back", SECOND, || {
        let found = route.addresses().expect("the kernel answers");
        let there = |vip: [u8; 4]| found.iter().any(|one| one.address == Ipv4Addr::from(vip));
        there(VIP) && there(OTHER_VIP)
    });
    println!("flushed, and back after {gap:?}");
    assert!(gap <= SECOND / 10, "{gap:?}");
    assert!(one.all(Active) && two.all(Backup));
    assert_eq!(one.board.vips[0].became_active.get(), 1);
}

#[test]
fn a_holder_with_another_hardware_address_announces_itself() {
    let lan = Lan::new(3);
    let (one, two) = elected(&lan, Duration::from_millis(100));
    // The announcements of its start are over, but for the one after ten seconds.
    std::thread::sleep(SECOND * 7 / 2);
    let neighbour = ["neighbour", "replace", "192.0.2.10", "dev", "eth0"];
    let known = ["lladdr", "02:00:00:00:00:01", "nud", "stale"];
    lan.ip(3, &[&neighbour[..], &known].concat());
    lan.ip(1, &["link", "set", "eth0", "address", "02:00:00:00:00:77"]);
    let gap = wait_for("the third host knows it", SECOND, || {
        lan.ip(3, &["neighbour", "show", "192.0.2.10"])
            .contains("02:00:00:00:00:77")
    });
    println!("another hardware address was announced after {gap:?}");
    assert!(one.all(Active) && two.all(Backup), "and nothing moved");
}

/// Cuts the second node off and heals that: who is active then, and whom a third host asks.
fn partition(name: &str, interval: Duration, config: Config) {
    let lan = Lan::new(3);
    let (one, two) = elected_with(&lan, config);
    let bridge = lan.bridge();
    let pass = |state| {
        let port = ["-n", &bridge, "link", "set", "dev", "p2", "state", state];
        let set = Command::new("bridge").args(port).status();
        assert!(set.expect("iproute2 is installed").success());
    };
    pass("0");
    wait_for("both are active", SECOND * 2, || {
        one.all(Active) && two.all(Active)
    });
    // A third host has asked the second node meanwhile, as one on its side of the cut would have.
    let neighbour = [
        "neighbour",
        "replace",
        "192.0.2.10",
        "lladdr",
        "02:00:00:00:00:02",
    ];
    lan.ip(
        3,
        &[&neighbour[..], &["nud", "stale", "dev", "eth0"]].concat(),
    );
    pass("3");
    let gap = wait_for("one is", SECOND, || one.all(Active) && two.all(Backup));
    println!("{name}, healed: one active after {gap:?}");
    assert!(
        gap <= (interval + Duration::from_millis(50)) * lan::room(),
        "{gap:?}"
    );
    let told = gap
        + wait_for("the third host knows who has the VIP", SECOND, || {
            lan.ip(3, &["neighbour", "show", "192.0.2.10"])
                .contains("02:00:00:00:00:01")
        });
    println!("{name}, healed: the third host knows it after {told:?}");
    assert!(
        told <= (interval + Duration::from_millis(100)) * lan::room(),
        "{told:?}"
    );
    assert_eq!(
        one.board.vips[0].became_active.get(),
        1,
        "the better one stays"
    );
}

#[test]
fn par_64_a_deaf_node_is_answered_and_changes_nothing_at_the_other() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, Duration::from_millis(100));
    let hearing = |on| {
        let port = ["type", "bridge_slave", "mcast_flood", on];
        let bridge = lan.bridge();
        lan::ip(&[&["-n", &bridge, "link", "set", "p2"], &port[..]].concat());
    };
    hearing("off");
    wait_for("the deaf one takes over", SECOND * 2, || two.all(Active));
    let heard = one.board.vips[0].adverts_received.get();
    wait_for("the other one hears it", SECOND * 2, || {
        one.board.vips[0].adverts_received.get() > heard + 10
    });
    assert!(one.all(Active), "the better one stays");
    assert_eq!(one.board.vips[0].peer_priority.get(), 240);
    hearing("on");
    wait_for("the deaf one hears, and gives way", SECOND, || {
        two.all(Backup)
    });
    assert_eq!(one.board.vips[0].became_active.get(), 1);
}

#[test]
fn par_63_after_a_partition_one_node_is_active_within_an_interval() {
    let interval = Duration::from_millis(100);
    partition("plain", interval, config(interval));
    partition("with the pair channel", interval, paired_config(interval));
}

#[test]
fn on_another_interface_than_the_pairs_the_other_node_is_no_rival() {
    let lan = Lan::new(2);
    let bridge = lan.bridge();
    lan::ip(&["-n", &bridge, "link", "add", "br1", "type", "bridge"]);
    lan::ip(&["-n", &bridge, "link", "set", "br1", "up"]);
    for host in 1..=2 {
        let (port, mac) = (format!("q{host}"), format!("02:00:00:00:01:0{host}"));
        let veth = ["type", "veth", "peer", "name", &port, "netns", &bridge];
        let add = ["link", "add", "eth1", "address", &mac];
        lan.ip(host, &[&add[..], &veth].concat());
        lan::ip(&["-n", &bridge, "link", "set", &port, "master", "br1", "up"]);
        let address = format!("198.51.100.{host}/24");
        lan.ip(host, &["address", "add", &address, "dev", "eth1"]);
        lan.ip(host, &["link", "set", "eth1", "up"]);
    }
    let mut config = paired_config(Duration::from_millis(100));
    config.vips[1].address = [198, 51, 100, 14].into();
    config.vips[1].interface = "eth1".to_owned();
    let (one, two) = elected_with(&lan, config);
    // A node asks for each VIP a second after its start; whoever holds it answers.
    std::thread::sleep(SECOND * 2);
    let claims = |node: &Running| [0, 1].map(|vip| node.board.rivals[vip].claims.get());
    assert_eq!((claims(&one), claims(&two)), ([0; 2], [0; 2]));
    assert_ne!(
        two.board.peer_mac.get(),
        0,
        "it knows the other node where the pair is"
    );
}

/// A configuration whose VIPs, one of each family, are followed by routes and rules.
fn followed_config() -> Config {
    let mut config = config_with_ipv6(SECOND / 10);
    let route = |to: &str, via: Option<&str>, table| VipRoute {
        to: to.parse().expect("a network"),
        via: via.map(|via| via.parse().expect("an address")),
        interface: "eth0".to_owned(),
        source: None,
        table,
        metric: None,
        scope: via.map_or(RouteScope::Link, |_| RouteScope::Global),
        on_link: false,
    };
    let rule = |family, to: &str| VipRule {
        family,
        from: None,
        to: Some(to.parse().expect("a network")),
        iif: None,
        fwmark: Some(16),
        table: 100,
        priority: 1000,
    };
    config.vips[0].followers = vec![
        Follower::Route(VipRoute {
            source: Some(VIP.into()),
            ..route("10.99.0.0/16", Some("192.0.2.200"), MAIN_TABLE)
        }),
        Follower::Route(route("10.98.0.0/16", None, 1000)),
        Follower::Rule(rule(Family::V4, "10.99.0.0/16")),
    ];
    config.vips[1].followers = vec![
        Follower::Route(VipRoute {
            source: Some(VIP_V6.into()),
            ..route("fd99::/32", Some("fd00::200"), MAIN_TABLE)
        }),
        Follower::Rule(rule(Family::V6, "fd99::/32")),
    ];
    config
}

/// Routes and rules of ours on a host, as ip(8) shows them.
fn followers(lan: &Lan, host: u8) -> Vec<String> {
    let shown = ["-4", "-6"].map(|family| {
        let routes = lan.ip(host, &[family, "route", "show", "table", "all"]);
        routes + &lan.ip(host, &[family, "rule", "show"])
    });
    let lines = shown.iter().flat_map(|text| text.lines());
    lines
        .filter(|line| line.contains("proto 112"))
        .map(|line| line.trim().to_owned())
        .collect()
}

#[test]
fn routes_and_rules_move_with_their_vip_and_are_put_back() {
    let lan = Lan::new(2).with_ipv6();
    let config = followed_config();
    // As an earlier run, of another configuration, would have left them.
    lan.ip(
        1,
        &[
            "route",
            "add",
            "10.97.0.0/16",
            "dev",
            "eth0",
            "proto",
            "112",
        ],
    );
    lan.ip(
        1,
        &[
            "-6",
            "rule",
            "add",
            "to",
            "fd97::/32",
            "table",
            "97",
            "protocol",
            "112",
        ],
    );
    // Somebody else's, in the way of one of ours.
    lan.ip(
        1,
        &[
            "route",
            "add",
            "10.98.0.0/16",
            "dev",
            "eth0",
            "table",
            "1000",
        ],
    );
    let state =
        |node: &Running, place: usize| RouteState::from_board(node.board.routes[place].state.get());
    let one = Running::start(&lan, 1, &config);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active) && (0..5).all(|place| state(&one, place) != Absent)
    });
    let found = followers(&lan, 1);
    println!("{found:#?}");
    assert_eq!(found.len(), 4, "{found:?}");
    for part in [
        "10.99.0.0/16 via 192.0.2.200 dev eth0 proto 112 src 192.0.2.10",
        "from all to 10.99.0.0/16 fwmark 0x10 lookup 100 proto 112",
        "fd99::/32 via fd00::200 dev eth0 proto 112 src fd00::10",
        "from all to fd99::/32 fwmark 0x10 lookup 100 proto 112",
    ] {
        assert!(found.iter().any(|line| line.contains(part)), "{part}");
    }
    assert_eq!(state(&one, 1), Refused);
    let reason = one.board.routes[1].reason.get();
    assert!(reason.contains("another route"), "{reason}");
    lan.ip(1, &["route", "del", "10.98.0.0/16", "table", "1000"]);
    wait_for("it is free, and ours", SECOND * 2, || {
        state(&one, 1) == Installed && followers(&lan, 1).len() == 5
    });

    lan.ip(1, &["route", "del", "10.99.0.0/16"]);
    lan.ip(1, &["-6", "rule", "del", "to", "fd99::/32"]);
    let back = wait_for("both are put back", SECOND, || {
        followers(&lan, 1).len() == 5
    });
    let restored = |place: usize| one.board.routes[place].restored.get();
    assert_eq!([0, 1, 2, 3, 4].map(restored), [1, 0, 0, 0, 1]);
    println!("put back after {back:?}");

    // Somebody else's takes its place, and is left alone as long as it is there.
    lan.ip(
        1,
        &["route", "replace", "10.99.0.0/16", "via", "192.0.2.201"],
    );
    wait_for("that is noticed", SECOND, || state(&one, 0) == Refused);
    assert_eq!(followers(&lan, 1).len(), 4);
    lan.ip(1, &["route", "del", "10.99.0.0/16", "via", "192.0.2.201"]);
    wait_for("ours is back", SECOND * 2, || {
        state(&one, 0) == Installed && followers(&lan, 1).len() == 5
    });

    let two = Running::start(&lan, 2, &config);
    wait_for("the second node is up", SECOND, || two.all(Backup));
    assert_eq!(followers(&lan, 2), [""; 0]);
    one.stop();
    wait_for("all of it has moved", SECOND, || {
        followers(&lan, 1).is_empty() && followers(&lan, 2).len() == 5
    });
    // What a vrrp that was killed leaves goes with its last will.
    lan.ip(
        1,
        &[
            "route",
            "add",
            "10.99.0.0/16",
            "dev",
            "eth0",
            "proto",
            "112",
        ],
    );
    lan.inside(1, || {
        release::resign(&config, NodeIndex(0), None).expect("the kernel answers")
    });
    assert_eq!(followers(&lan, 1), [""; 0]);
}
