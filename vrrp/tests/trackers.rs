//! Trackers that the loop looks at itself, on two hosts with a second network. Needs root.

mod lan;

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use common::board::TrackerState::{self, Down, Up};
use common::board::VipState::{Active, Backup, Fault};
use common::config::{Config, Tracker, TrackerEffect, TrackerKind, VipIndex};
use common::tracker::Tally;
use lan::node::{Running, config, paired_config};
use lan::{Lan, wait_for};

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// One tracker of both VIPs, looked at each 100 ms.
fn tracker(kind: TrackerKind, effect: TrackerEffect) -> Tracker {
    Tracker {
        name: "uplink".to_owned(),
        retired: false,
        kind,
        interval: TENTH,
        timeout: TENTH,
        rise: 2,
        fall: 2,
        effect,
        vips: vec![VipIndex(0), VipIndex(1)],
    }
}

fn with(mut config: Config, tracker: Tracker) -> Config {
    config.trackers = vec![tracker];
    for vip in &mut config.vips {
        vip.preempt_delay = Duration::ZERO;
    }
    config
}

/// A second bridge with the gateway's address; `eth1` of host n has 198.51.100.1n, its port is `qn`.
fn second_network(lan: &Lan) {
    let bridge = lan.bridge();
    let link = ["-n", &bridge, "link"];
    lan::ip(&[&link[..], &["add", "br1", "type", "bridge"]].concat());
    let gateway = format!("{GATEWAY}/24");
    lan::ip(&["-n", &bridge, "address", "add", &gateway, "dev", "br1"]);
    lan::ip(&[&link[..], &["set", "br1", "up"]].concat());
    for host in 1..=2 {
        plug_in(lan, host);
    }
}

fn plug_in(lan: &Lan, host: u8) {
    let (bridge, port) = (lan.bridge(), format!("q{host}"));
    let veth = [
        "link", "add", "eth1", "type", "veth", "peer", "name", &port, "netns", &bridge,
    ];
    lan.ip(host, &veth);
    lan::ip(&["-n", &bridge, "link", "set", &port, "master", "br1", "up"]);
    let address = format!("198.51.100.1{host}/24");
    lan.ip(host, &["address", "add", &address, "dev", "eth1"]);
    lan.ip(host, &["link", "set", "eth1", "up"]);
}

fn elected(lan: &Lan, config: &Config) -> (Running, Running) {
    let one = Running::start(lan, 1, config);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active)
    });
    let two = Running::start(lan, 2, config);
    wait_for("the second node has heard the first", SECOND * 2, || {
        two.all(Backup) && (0..2).all(|vip| two.board.vips[vip].peer_priority.get() == 250)
    });
    for node in [&one, &two] {
        wait_for("the tracker is up", SECOND, || state(node) == Up);
    }
    (one, two)
}

fn state(node: &Running) -> TrackerState {
    node.board.trackers[0].state()
}

fn words(node: &Running) -> String {
    node.board.trackers[0].reason.get()
}

#[test]
fn a_gateway_that_does_not_answer_one_node_moves_the_vips() {
    let lan = Lan::new(2);
    second_network(&lan);
    let kind = TrackerKind::Gateway {
        address: GATEWAY.into(),
        interface: "eth1".to_owned(),
    };
    let config = with(config(TENTH), tracker(kind, TrackerEffect::Fault));
    let (one, two) = elected(&lan, &config);
    assert_eq!(words(&one), "198.51.100.1 answers on eth1");
    let bridge = lan.bridge();
    let pass = |state| {
        let port = ["-n", &bridge, "link", "set", "dev", "q1", "state", state];
        let set = Command::new("bridge").args(port).status();
        assert!(set.expect("iproute2 is installed").success());
    };
    pass("0");
    let gap = wait_for("the VIPs move", SECOND * 2, || {
        one.all(Fault) && two.all(Active)
    });
    println!("gateway silent: {gap:?}");
    let reason = one.board.vips[0].reason.get();
    let expected = "tracker uplink is down: 198.51.100.1 does not answer on eth1";
    assert_eq!(reason, expected);
    pass("3");
    wait_for("the VIPs come back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
    // The interface goes, another one of that name comes.
    lan.ip(1, &["link", "del", "eth1"]);
    wait_for("the VIPs move", SECOND * 2, || {
        one.all(Fault) && two.all(Active)
    });
    assert_eq!(words(&one), "eth1 is missing");
    plug_in(&lan, 1);
    wait_for("the VIPs come back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
    assert_eq!(one.board.trackers[0].downs.get(), 2);
    assert_eq!(two.board.trackers[0].failures.get(), 0);
}

/// Over IPv6 a gateway is known by its link-local address, as routers advertise it (RFC 4861, section 4.2).
#[test]
fn an_ipv6_gateway_is_asked_by_neighbour_discovery() {
    let lan = Lan::new(2);
    second_network(&lan);
    let (bridge, gateway) = (lan.bridge(), "fe80::1".parse().expect("an address"));
    let add = |host: &str, address: &str, device: &str| {
        let line = [
            "-n", host, "address", "add", address, "dev", device, "nodad",
        ];
        lan::ip(&line);
    };
    add(&bridge, "fe80::1/64", "br1");
    add(&lan.host(1), "fe80::11/64", "eth1");
    let kind = TrackerKind::Gateway {
        address: gateway,
        interface: "eth1".to_owned(),
    };
    let config = with(config(TENTH), tracker(kind, TrackerEffect::Fault));
    let node = Running::start(&lan, 1, &config);
    wait_for("the gateway answers", SECOND * 2, || state(&node) == Up);
    assert_eq!(words(&node), "fe80::1 answers on eth1");
    lan::ip(&["-n", &bridge, "link", "set", "br1", "down"]);
    wait_for("it does not any more", SECOND * 2, || state(&node) == Down);
    assert_eq!(words(&node), "fe80::1 does not answer on eth1");
}

#[test]
fn fsm_35_an_interface_lowers_the_priority_and_the_other_node_takes_over_within_its_interval() {
    let lan = Lan::new(2);
    second_network(&lan);
    let kind = TrackerKind::Interface {
        interface: "eth1".to_owned(),
    };
    let slow = Tracker {
        interval: SECOND * 60,
        fall: 1,
        rise: 1,
        ..tracker(kind, TrackerEffect::Lower(20))
    };
    let mut config = with(config(TENTH), slow);
    for vip in &mut config.vips {
        // Of no use to a node that lowers itself.
        vip.preempt_delay = SECOND * 60;
    }
    let (one, two) = elected(&lan, &config);
    let bridge = lan.bridge();
    lan::ip(&["-n", &bridge, "link", "set", "q1", "down"]);
    // The kernel tells of it, at the latest a second later.
    wait_for("the tracker is down", SECOND * 2, || state(&one) == Down);
    let gap = wait_for("the VIPs move", SECOND * 2, || two.all(Active));
    println!("priority lowered: {gap:?}");
    assert!(gap <= Duration::from_millis(307) * 2, "{gap:?}");
    wait_for("a backup of lower priority", TENTH, || {
        one.all(Backup) && one.board.vips[0].priority.get() == 230
    });
    assert_eq!(words(&one), "eth1 has no carrier");
    let (sent, resigned) = (
        one.board.vips[0].adverts_sent.get(),
        one.board.vips[0].priority_zero_sent.get(),
    );
    assert!(
        sent > 0 && resigned == 0,
        "it leaves when the other is there"
    );
    lan::ip(&["-n", &bridge, "link", "set", "q1", "up"]);
    wait_for("its priority is back", SECOND * 3, || {
        one.board.vips[0].priority.get() == 250
    });
    assert!(one.all(Backup), "it waits for preempt_delay");
}

#[test]
fn a_lack_of_servers_on_both_nodes_moves_nothing_and_on_one_it_does() {
    let lan = Lan::new(2);
    let kind = TrackerKind::Servers { min_share: 50 };
    let config = with(paired_config(TENTH), tracker(kind, TrackerEffect::Fault));
    let shares = |node: &Running, share| {
        node.proxy.vip_health[0].set(share);
        node.proxy.vip_health[1].set(100);
    };
    let one = Running::start(&lan, 1, &config);
    shares(&one, 100);
    let two = Running::start(&lan, 2, &config);
    shares(&two, 100);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active) && two.all(Backup) && state(&one) == Up && state(&two) == Up
    });
    let before = one.board.vips[0].since.get();
    shares(&one, 40);
    shares(&two, 33);
    for node in [&one, &two] {
        wait_for("the tracker is down", SECOND, || state(node) == Down);
    }
    assert_eq!(words(&two), "33 % of the servers are usable");
    let looks = || one.board.trackers[0].looks.get();
    let then = looks();
    wait_for("ten looks", SECOND * 2, || looks() >= then + 10);
    assert!(one.all(Active) && two.all(Backup));
    assert_eq!(one.board.vips[0].since.get(), before, "nothing has moved");
    shares(&two, 50);
    wait_for("the better node takes over", SECOND * 2, || {
        one.all(Fault) && two.all(Active)
    });
    shares(&one, 100);
    wait_for("the first node takes them back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
}

#[test]
fn a_node_that_returns_takes_nothing_before_its_trackers_were_looked_at() {
    let lan = Lan::new(2);
    // Admin looks at files, and there is no admin here.
    let kind = TrackerKind::File {
        path: "/run/maintenance".into(),
    };
    let config = with(config(TENTH), tracker(kind, TrackerEffect::Fault));
    let two = Running::start(&lan, 2, &config);
    wait_for("nobody else is there", SECOND * 2, || two.all(Active));
    let one = Running::start(&lan, 1, &config);
    wait_for("it has heard a lower one", SECOND * 2, || {
        one.all(Backup) && one.board.vips[0].adverts_received.get() > 15
    });
    assert!(two.all(Active), "preempt_delay is zero");
    let slot = &one.admin.trackers[0];
    let mut tally = Tally::new((1, 1), slot.state());
    slot.take(&mut tally, Ok("there is no file"), vrrp::now());
    wait_for("it takes its VIPs back", SECOND, || {
        one.all(Active) && two.all(Backup)
    });
    slot.take(&mut tally, Err("it says 1"), vrrp::now());
    wait_for("the other node takes over", SECOND, || {
        one.all(Fault) && two.all(Active)
    });
    let reason = one.board.vips[0].reason.get();
    assert_eq!(reason, "tracker uplink is down: it says 1");
}

#[test]
fn a_node_in_trouble_keeps_what_the_other_one_has_no_server_for() {
    let lan = Lan::new(2);
    let kind = TrackerKind::File {
        path: "/run/maintenance".into(),
    };
    let config = with(paired_config(TENTH), tracker(kind, TrackerEffect::Fault));
    let one = Running::start(&lan, 1, &config);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active)
    });
    let two = Running::start(&lan, 2, &config);
    wait_for("they hear each other", SECOND * 2, || {
        two.all(Backup) && one.board.peer.heartbeat.get().is_some()
    });
    let servers = |node: &Running, health| {
        for vip in 0..2 {
            node.proxy.vip_sure[vip].set(health);
            node.proxy.vip_hope[vip].set(health);
        }
    };
    servers(&two, 0);
    wait_for("it has no servers", SECOND, || two.all(Fault));
    let slot = &one.admin.trackers[0];
    let mut tally = Tally::new((1, 1), slot.state());
    slot.take(&mut tally, Err("it says 1"), vrrp::now());
    let sent = || one.board.vips[0].adverts_sent.get();
    let then = sent();
    wait_for("a second of adverts", SECOND * 3, || sent() > then + 10);
    assert!(one.all(Active), "nobody else serves");
    servers(&two, 100);
    wait_for("the other node is better now", SECOND * 2, || {
        one.all(Fault) && two.all(Active)
    });
}
