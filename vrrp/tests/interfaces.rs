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

use common::board::VipState::{Active, Backup, Fault};
use common::config::Config;
use lan::node::{Running, config, paired_config};
use lan::{Lan, OTHER_VIP, VIP, wait_for};
use vrrp::link::RouteSocket;

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

#[test]
fn par_66_a_flapping_link_moves_the_vips_once() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, Duration::from_millis(100));
    let mut route = lan.inside(1, || RouteSocket::open().expect("root may open it"));
    for flap in 0..5 {
        lan.ip(1, &["link", "set", "eth0", "down"]);
        wait_for("the fault", SECOND, || one.all(Fault));
        assert!(!has_vip(&mut route), "flap {flap}: the VIP is still there");
        std::thread::sleep(Duration::from_millis(200));
        lan.ip(1, &["link", "set", "eth0", "up"]);
        std::thread::sleep(Duration::from_millis(200));
    }
    // Each time it was back for 200 ms, it had to stay for longer: 1.6 s now.
    let back = Instant::now() - Duration::from_millis(200);
    wait_for("it is trusted again", SECOND * 4, || !one.all(Fault));
    let stayed = back.elapsed();
    println!("after five flaps it had to stay for {stayed:?}");
    assert!(stayed >= Duration::from_millis(1500), "{stayed:?}");
    wait_for("the VIPs come back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
    for vip in 0..2 {
        let became = |node: &Running| node.board.vips[vip].became_active.get();
        assert_eq!((became(&one), became(&two)), (2, 1), "VIP {vip}");
    }
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
    assert!(gap <= Duration::from_millis(50) * 2, "{gap:?}");
    assert!(one.all(Active) && two.all(Backup));
    assert_eq!(one.board.vips[0].became_active.get(), 1);
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
    assert!(gap <= (interval + Duration::from_millis(50)) * 2, "{gap:?}");
    let told = gap
        + wait_for("the third host knows who has the VIP", SECOND, || {
            lan.ip(3, &["neighbour", "show", "192.0.2.10"])
                .contains("02:00:00:00:00:01")
        });
    println!("{name}, healed: the third host knows it after {told:?}");
    assert!(
        told <= (interval + Duration::from_millis(100)) * 2,
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
