//! Two whole loops on two hosts: election, handing over, and what happens to them from outside.
//! Needs root.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the tests measure and show their figures"
)]

mod lan;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::board::VipState::{Active, Backup, Fault, Init};
use common::config::{Config, Transport};
use lan::node::{Running, config, paired_config};
use lan::{Lan, OTHER_VIP, VIP, wait_for};
use vrrp::link::{Placement, RouteSocket};

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
/// Later than this, and a loop of 10 ms adverts cannot be blamed for a takeover.
const STOOD_STILL: Duration = Duration::from_millis(15);

/// Both nodes, once the first one holds both VIPs.
fn elected(lan: &Lan, config: &Config) -> (Running, Running) {
    let one = Running::start(lan, 1, config);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active)
    });
    let two = Running::start(lan, 2, config);
    wait_for("the second node is a backup", SECOND, || two.all(Backup));
    if config.pair.heartbeat.is_some() {
        wait_for("they hear each other on the pair channel", SECOND, || {
            [&one, &two]
                .into_iter()
                .all(|node| node.board.peer.heartbeat.get().is_some())
        });
    }
    (one, two)
}

/// Reads a host's addresses without starting a process, so that a test can look every millisecond.
struct Addresses(RouteSocket);

impl Addresses {
    fn of(lan: &Lan, host: u8) -> Self {
        Self(lan.inside(host, || RouteSocket::open().expect("root may open it")))
    }

    fn have(&mut self, address: [u8; 4]) -> bool {
        let found = self.0.addresses().expect("the kernel answers");
        found
            .iter()
            .any(|found| found.address == IpAddr::from(address))
    }

    fn have_both(&mut self) -> bool {
        self.have(VIP) && self.have(OTHER_VIP)
    }
}

#[test]
fn the_node_with_the_higher_priority_holds_every_vip_and_the_other_none() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &config(TENTH));
    assert!(Addresses::of(&lan, 1).have_both());
    assert!(!Addresses::of(&lan, 2).have(VIP) && !Addresses::of(&lan, 2).have(OTHER_VIP));
    assert_eq!(one.board.vips[0].leased.get(), 1);
    assert_eq!(two.board.vips[0].leased.get(), 0);
    wait_for("an advert", SECOND, || {
        two.board.vips[0].peer_priority.get() == 250
    });
    assert!(two.board.vips[0].advert_heard.get().is_some());
    assert_eq!(two.board.vips[0].became_active.get(), 0);
    assert_eq!(
        (one.board.realtime.get(), one.board.memory_locked.get()),
        (1, 1),
        "root gets real-time priority and locked memory"
    );
    // Nobody flaps.
    let sent = one.board.vips[0].adverts_sent.get();
    let start = Instant::now();
    wait_for("twenty more adverts", SECOND * 4, || {
        one.board.vips[0].adverts_sent.get() >= sent + 20
    });
    println!(
        "20 adverts of 100 ms in {:?}, worst lateness {} us",
        start.elapsed(),
        one.board.worst_lateness.get() / 1_000
    );
    assert!(one.all(Active) && two.all(Backup));
    assert_eq!(one.board.vips[0].became_active.get(), 1);
}

/// Stops the holder and measures until the kernel of the other node has both VIPs; five rounds.
fn clean_stop_takes_at_most_20_ms(name: &str, config: &Config) {
    let mut gaps = Vec::new();
    for _ in 0..5 {
        let lan = Lan::new(2);
        let (one, two) = elected(&lan, config);
        let (mut first, mut second) = (Addresses::of(&lan, 1), Addresses::of(&lan, 2));
        let start = Instant::now();
        one.control.request_stop();
        wait_for("the other node has the VIPs", SECOND, || second.have_both());
        gaps.push(start.elapsed());
        wait_for("the board says so", TENTH, || two.all(Active));
        one.stop();
        assert!(!first.have(VIP) && !first.have(OTHER_VIP));
    }
    println!("clean stop, {name}: {gaps:?}");
    // The median: a hypervisor may stop the whole machine in a round.
    gaps.sort();
    assert!(gaps[2] <= Duration::from_millis(20), "{gaps:?}");
}

#[test]
fn fo_56_a_stop_hands_the_vips_over_within_20_ms_at_adverts_of_1_s() {
    clean_stop_takes_at_most_20_ms("1 s", &config(SECOND));
}

#[test]
fn fo_56_a_stop_hands_the_vips_over_within_20_ms_with_the_pair_channel() {
    clean_stop_takes_at_most_20_ms("100 ms, paired", &paired_config(TENTH));
}

#[test]
fn fsm_31_with_the_pair_channel_the_other_node_has_the_addresses_before_they_go() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &paired_config(SECOND));
    let (mut first, mut second) = (Addresses::of(&lan, 1), Addresses::of(&lan, 2));
    one.control.request_stop();
    wait_for("the other node alone has them", SECOND, || {
        [VIP, OTHER_VIP].into_iter().all(|address| {
            // In this order: what is gone here was there before.
            let (here, there) = (first.have(address), second.have(address));
            assert!(here || there, "{address:?} is nowhere");
            !here && there
        })
    });
    wait_for("the board says so", TENTH, || two.all(Active));
    let reason = two.board.vips[0].reason.get();
    assert!(reason.contains("handover"), "{reason}");
    one.stop();
}

#[test]
fn fo_56_a_stop_hands_the_vips_over_within_20_ms_by_unicast() {
    let mut config = config(TENTH);
    for vip in &mut config.vips {
        vip.transport = Transport::Unicast;
    }
    clean_stop_takes_at_most_20_ms("100 ms, unicast", &config);
}

/// Five seconds of 10 ms adverts beside eight busy loops. Gives the worst lateness of both loops; a
/// takeover that this does not explain is a false one.
fn busy_round() -> Duration {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &config(Duration::from_millis(10)));
    let sent = one.board.vips[0].adverts_sent.get();
    let end = Instant::now() + SECOND * 5;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            });
        }
    });
    let sent = one.board.vips[0].adverts_sent.get() - sent;
    let lateness = [&one, &two].map(|node| node.board.worst_lateness.get());
    println!("{sent} adverts of 10 ms beside 8 busy loops, lateness {lateness:?} ns");
    let worst = Duration::from_nanos(lateness[0].max(lateness[1]));
    if worst < STOOD_STILL {
        assert!(
            one.all(Active) && two.all(Backup),
            "{}; {}",
            one.board.vips[0].reason.get(),
            two.board.vips[0].reason.get()
        );
        let takeovers = [0, 1].map(|vip| two.board.vips[vip].became_active.get());
        assert_eq!(takeovers, [0, 0]);
        assert!(sent >= 495, "{sent}");
    }
    worst
}

#[test]
fn a_busy_machine_makes_no_false_takeover_at_adverts_of_10_ms() {
    // A hypervisor may stop the whole machine for longer than three adverts; such a round says
    // nothing about the scheduler.
    let meaningful = (0..5).any(|_| busy_round() < STOOD_STILL);
    assert!(meaningful, "the machine stood still in every round");
}

#[test]
fn heartbeats_tell_version_configuration_and_health() {
    let lan = Lan::new(2);
    let config = paired_config(TENTH);
    let (one, two) = elected(&lan, &config);
    let peer = &two.board.peer;
    wait_for("a heartbeat", SECOND, || peer.heartbeat.get().is_some());
    wait_for("the state in a heartbeat", SECOND, || {
        peer.vip_state[0].get() == Active.on_board()
    });
    assert_eq!(peer.config_hash.get(), config.effective_hash());
    assert_eq!(peer.version.get() >> 32, 0);
    assert_ne!(peer.version.get(), 0);
    assert_eq!(peer.vip_health[1].get(), 100);
    one.proxy.vip_sure[1].set(40);
    wait_for("the new health", SECOND, || peer.vip_health[1].get() == 40);
    let before = peer.heartbeat.get().expect("it was heard");
    wait_for("the next heartbeat", TENTH, || {
        peer.heartbeat.get() > Some(before)
    });
}

#[test]
fn heartbeats_keep_a_backup_quiet_when_adverts_are_lost() {
    let lan = Lan::new(2);
    let config = paired_config(TENTH);
    let (one, two) = elected(&lan, &config);
    wait_for("a heartbeat", SECOND, || {
        two.board.peer.heartbeat.get().is_some()
    });
    // The bridge stops passing multicast to the second node: only unicast heartbeats arrive.
    lan::ip(&[
        "-n",
        &lan.bridge(),
        "link",
        "set",
        "p2",
        "type",
        "bridge_slave",
        "mcast_flood",
        "off",
        "bcast_flood",
        "on",
    ]);
    let received = two.board.vips[0].adverts_received.get();
    let end = Instant::now() + SECOND * 2;
    wait_for("two seconds", SECOND * 3, || {
        assert!(two.all(Backup), "heartbeats count as adverts");
        Instant::now() >= end
    });
    let heard = two.board.vips[0].adverts_received.get() - received;
    println!("{heard} adverts came through while multicast was off");
    assert!(heard <= 1, "the bridge still passed {heard} adverts");
    assert!(one.all(Active));

    // Its resignation is in its last heartbeat, too.
    one.control.request_stop();
    let gap = wait_for("the second node takes over", SECOND, || two.all(Active));
    println!("clean stop while multicast was off: {gap:?}");
    assert!(gap < TENTH, "{gap:?}");
}

#[test]
fn fo_60_a_node_whose_proxy_hangs_gives_its_vips_to_the_other() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &config(SECOND));
    let mut second = Addresses::of(&lan, 2);
    one.hang_proxy();
    let gap = wait_for("the other node has the VIPs", SECOND, || second.have_both());
    println!("hung proxy: {gap:?}");
    assert!(gap <= Duration::from_millis(200), "{gap:?}");
    wait_for("the board says so", TENTH, || {
        one.all(Fault) && two.all(Active)
    });
    assert_ne!(one.board.vips[0].reason.get(), "");
    // By resigning, not by falling silent.
    assert_eq!(one.board.vips[0].priority_zero_sent.get(), 2);
    assert!(two.board.vips[0].priority_zero_received.get() >= 1);
}

#[test]
fn fsm_36_vips_that_move_together_are_given_up_and_taken_as_one() {
    let lan = Lan::new(2);
    let mut config = paired_config(TENTH);
    config.together = true;
    for vip in &mut config.vips {
        vip.preempt_delay = Duration::ZERO;
    }
    let (one, two) = elected(&lan, &config);
    let servers_of_one_vip = |node: &Running, health| {
        node.proxy.vip_hope[1].set(health);
        node.proxy.vip_sure[1].set(health);
    };
    let since = |node: &Running| [0, 1].map(|vip| node.board.vips[vip].since.get());
    servers_of_one_vip(&one, 0);
    wait_for("both VIPs move", SECOND, || {
        one.all(Fault) && two.all(Active)
    });
    for vip in &one.board.vips[..2] {
        let reason = vip.reason.get();
        assert!(reason.starts_with("together with VIP web: "), "{reason}");
        assert_eq!(vip.priority_zero_sent.get(), 2);
    }
    for node in [&one, &two] {
        let [api, web] = since(node);
        assert_eq!(api, web, "one transition");
    }
    // The other node misses the same servers now, then both have them again.
    servers_of_one_vip(&two, 0);
    servers_of_one_vip(&one, 100);
    wait_for("both VIPs come back", SECOND * 3, || {
        one.all(Active) && two.all(Fault)
    });
    servers_of_one_vip(&two, 100);
    wait_for("the other node is a backup", SECOND, || two.all(Backup));
    for node in [&one, &two] {
        let [api, web] = since(node);
        assert_eq!(api, web, "one transition");
        let became = |vip: usize| node.board.vips[vip].became_active.get();
        assert_eq!(became(0), became(1));
    }
    // What somebody deletes comes back; if it is too often, both go.
    for _ in 0..4 {
        let mut first = Addresses::of(&lan, 1);
        wait_for("the address is there", SECOND, || first.have(VIP));
        // What comes together is one act.
        std::thread::sleep(Duration::from_millis(60));
        lan.ip(1, &["address", "del", "192.0.2.10/32", "dev", "eth0"]);
    }
    wait_for("both VIPs move", SECOND, || {
        one.all(Fault) && two.all(Active)
    });
}

#[test]
fn a_node_without_a_supervisor_hands_over_after_two_seconds_and_comes_back() {
    let lan = Lan::new(2);
    let mut config = config(TENTH);
    for vip in &mut config.vips {
        vip.preempt_delay = Duration::ZERO;
    }
    let (one, two) = elected(&lan, &config);
    one.control.supervisor_present(false);
    let gap = wait_for("the VIPs move", SECOND * 3, || {
        one.all(Fault) && two.all(Active)
    });
    println!("supervisor gone: {gap:?}");
    assert!(gap >= SECOND * 19 / 10);
    one.control.supervisor_present(true);
    wait_for("the VIPs come back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
}

#[test]
fn a_lease_that_somebody_deletes_is_back_at_once() {
    let lan = Lan::new(2);
    let (one, two) = elected(&lan, &config(SECOND));
    let mut first = Addresses::of(&lan, 1);
    lan.ip(1, &["address", "del", "192.0.2.10/32", "dev", "eth0"]);
    let gap = wait_for("the lease is back", SECOND, || first.have(VIP));
    println!("lease deleted by hand: back after {gap:?}");
    assert!(gap <= TENTH, "{gap:?}");
    assert!(one.all(Active) && two.all(Backup));
    assert_eq!(one.board.vips[0].became_active.get(), 1);
}

#[test]
fn prc_71_a_lease_of_an_earlier_run_is_removed_before_the_first_advert() {
    let lan = Lan::new(2);
    lan.ip(1, &["address", "add", "192.0.2.10/24", "dev", "eth0"]);
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let found = route.interface("eth0").expect("an answer");
        let place = Placement {
            interface: found.expect("the host has it").index,
            interface_name: "eth0",
            address: OTHER_VIP.into(),
        };
        route.put_lease(place, SECOND * 60).expect("installed");
    });
    let mut first = Addresses::of(&lan, 1);
    assert!(first.have_both());
    let one = Running::start(&lan, 1, &config(SECOND));
    wait_for("the stale leases are gone", SECOND, || {
        !first.have(VIP) && !first.have(OTHER_VIP)
    });
    assert_eq!(one.board.vips[0].adverts_sent.get(), 0);
    wait_for("the start", SECOND, || one.all(Backup));
}

#[test]
fn fo_58_a_dead_interface_is_a_fault_and_a_new_one_in_its_place_works() {
    let lan = Lan::new(2);
    let mut config = config(TENTH);
    for vip in &mut config.vips {
        vip.preempt_delay = Duration::ZERO;
    }
    let (one, two) = elected(&lan, &config);
    let bridge = lan.bridge();
    let mut first = Addresses::of(&lan, 1);
    let mut vips_go = |event: &str| {
        let gap = wait_for("the VIPs are gone", SECOND, || {
            !first.have(VIP) && !first.have(OTHER_VIP)
        });
        println!("{event}: the VIPs are gone after {gap:?}");
        assert!(
            gap <= Duration::from_millis(50) * lan::room(),
            "{event}: {gap:?}"
        );
    };
    // The cable is pulled, and put back.
    lan::ip(&["-n", &bridge, "link", "set", "p1", "down"]);
    vips_go("cable pulled");
    wait_for("the fault", SECOND, || one.all(Fault));
    assert_eq!(
        one.board.vips[0].reason.get(),
        "interface: eth0 has no carrier"
    );
    wait_for("the other node takes over", SECOND, || two.all(Active));
    lan::ip(&["-n", &bridge, "link", "set", "p1", "up"]);
    wait_for("the VIPs come back", SECOND * 3, || {
        one.all(Active) && two.all(Backup)
    });
    // The interface is switched off, and on.
    lan.ip(1, &["link", "set", "eth0", "down"]);
    vips_go("switched off");
    wait_for("the fault", SECOND, || one.all(Fault) && two.all(Active));
    let reason = one.board.vips[0].reason.get();
    assert_eq!(reason, "interface: eth0 is switched off");
    lan.ip(1, &["link", "set", "eth0", "up"]);
    wait_for("the VIPs come back", SECOND * 4, || {
        one.all(Active) && two.all(Backup)
    });
    // The interface is removed, and another one of that name appears.
    lan.ip(1, &["link", "del", "eth0"]);
    wait_for("the fault", SECOND, || one.all(Fault) && two.all(Active));
    assert_eq!(one.board.vips[0].reason.get(), "interface: eth0 is missing");
    lan.plug_in(1);
    wait_for("the VIPs come back", SECOND * 4, || {
        one.all(Active) && two.all(Backup)
    });
    assert!(Addresses::of(&lan, 1).have_both());
    // The node's own address is taken away.
    lan.ip(1, &["address", "del", "192.0.2.1/24", "dev", "eth0"]);
    wait_for("the fault", SECOND, || one.all(Fault) && two.all(Active));
    assert_eq!(
        one.board.vips[0].reason.get(),
        "interface: eth0 has lost 192.0.2.1"
    );
    lan.ip(1, &["address", "add", "192.0.2.1/24", "dev", "eth0"]);
    wait_for("the VIPs come back", SECOND * 4, || one.all(Active));
}

#[test]
fn a_node_that_starts_waits_for_its_switch_unless_it_hears_the_other_one() {
    let lan = Lan::new(2);
    let mut config = config(TENTH);
    config.startup_delay = SECOND * 2;
    for vip in &mut config.vips {
        vip.preempt_delay = Duration::ZERO;
    }
    let one = Running::start(&lan, 1, &config);
    let alone = wait_for("it takes the VIPs", SECOND * 4, || one.all(Active));
    println!("alone, with a startup_delay of 2 s: {alone:?}");
    assert!(alone >= SECOND * 19 / 10, "{alone:?}");
    one.stop();

    let two = Running::start(&lan, 2, &config);
    wait_for("the other one has them", SECOND * 4, || two.all(Active));
    let one = Running::start(&lan, 1, &config);
    let heard = wait_for("it takes them from one that it hears", SECOND * 4, || {
        one.all(Active)
    });
    println!("beside the other one: {heard:?}");
    assert!(heard < SECOND * 3 / 2, "{heard:?}");
}

#[test]
fn a_stopped_node_says_that_it_is_in_init() {
    let lan = Lan::new(1);
    let mut config = config(TENTH);
    config.nodes.truncate(1);
    for vip in &mut config.vips {
        vip.priorities.truncate(1);
    }
    let one = Running::start(&lan, 1, &config);
    wait_for("a lone node holds its VIPs", SECOND * 3, || one.all(Active));
    let board = one.board;
    one.stop();
    for slot in &board.vips[..2] {
        assert_eq!(slot.state.get(), Init.on_board());
        assert_eq!((slot.leased.get(), slot.priority_zero_sent.get()), (0, 2));
    }
}
