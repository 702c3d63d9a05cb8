//! VIPs over IPv6: what the kernel does with their leases and shadows, who holds them, and what is on
//! the wire. Needs root.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests talk to a real kernel by sockets, measure and print"
)]

mod lan;

use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::addr::{Priority, Vrid};
use common::board::DropReason;
use common::board::VipState::{Active, Backup};
use common::config::{ChecksumForm, Config, NodeIndex, Transport, VipIndex};
use lan::node::{Running, config_with_ipv6, signed};
use lan::{Lan, VIP, VIP_V6, wait_for};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp::link::{Address, Placement, Removal, RouteSocket};
use vrrp::packet::{Addresses, Advert, Envelope, GROUP_V6, MAX_DATAGRAM, Packet, Version, encode};
use vrrp::release::{Left, Will};
use vrrp::shadow;

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

/// Host n's, from its hardware address 02:00:00:00:00:0n.
const fn link_local(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x00ff, 0xfe00, host as u16)
}

fn eth0(route: &mut RouteSocket) -> u32 {
    let found = route.interface("eth0").expect("the kernel answers");
    found.expect("the host has eth0").index
}

fn place(interface: u32) -> Placement<'static> {
    Placement {
        interface,
        interface_name: "eth0",
        address: VIP_V6.into(),
    }
}

fn vip_of(route: &mut RouteSocket) -> Option<Address> {
    let mut addresses = route.addresses().expect("the kernel answers").into_iter();
    addresses.find(|found| found.address == IpAddr::from(VIP_V6))
}

#[test]
fn a_lease_is_usable_at_once_deprecated_renewed_and_ends_by_itself() {
    let lan = Lan::new(1).with_ipv6();
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let eth0 = eth0(&mut route);
        route.put_lease(place(eth0), SECOND * 3).expect("installed");
        let found = vip_of(&mut route).expect("it is there");
        assert_eq!((found.interface, found.prefix_len), (eth0, 128));
        assert!(found.settled, "no duplicate detection");
        let shown = lan.ip(1, &["-6", "address", "show", "dev", "eth0"]);
        let line = shown.lines().find(|line| line.contains("fd00::10/128"));
        let line = line.expect("it is shown");
        for flag in ["nodad", "deprecated", "noprefixroute"] {
            assert!(line.contains(flag), "{line}");
        }
        route.put_lease(place(eth0), SECOND).expect("renewed");
        let gone = wait_for("expiry of the lease", SECOND * 3, || {
            vip_of(&mut route).is_none()
        });
        println!("an IPv6 lease of 1 s was gone after {gone:?}");
        assert!(gone > SECOND * 9 / 10, "{gone:?}");
        let again = route.remove_host(eth0, VIP_V6.into());
        assert_eq!(again.expect("nothing to remove"), Removal::WasGone);
        route.put_lease(place(eth0), SECOND * 3).expect("installed");
        let removed = route.remove_host(eth0, VIP_V6.into());
        assert_eq!(removed.expect("removed"), Removal::Removed);
    });
}

/// Whether host 2 can open a connection to the VIP at host 1, where a listener waits.
fn can_connect(lan: &Lan, listener: &TcpListener) -> bool {
    let target = listener.local_addr().expect("it is bound");
    lan.inside(2, || {
        TcpStream::connect_timeout(&target, Duration::from_millis(700)).is_ok()
    })
}

#[test]
fn a_shadow_is_local_but_answers_no_solicitation_until_there_is_a_lease() {
    let lan = Lan::new(2).with_ipv6();
    let config = config_with_ipv6(SECOND);
    let listener = lan.inside(1, || {
        let warnings = shadow::install(&config).expect("root may do that");
        assert_eq!(warnings, Vec::<String>::new());
        TcpListener::bind(SocketAddr::from((VIP_V6, 0))).expect("the VIP is local")
    });
    assert!(lan.has(1, "lo", VIP_V6) && lan.has(1, "lo", VIP));
    assert!(!can_connect(&lan, &listener), "a shadow must be silent");
    // Whoever knows the hardware address is served: only the solicitation is not answered.
    let fixed = ["neighbour", "replace", "fd00::10", "dev", "eth0"];
    let to_host_1 = ["lladdr", "02:00:00:00:00:01", "nud", "permanent"];
    lan.ip(2, &[&fixed[..], &to_host_1].concat());
    assert!(can_connect(&lan, &listener), "a shadow accepts connections");
    lan.ip(2, &["neighbour", "del", "fd00::10", "dev", "eth0"]);
    let route = lan.ip(1, &["route", "get", "fd00::99"]);
    assert!(route.contains("src fd00::1 "), "{route}");
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let eth0 = eth0(&mut route);
        route.put_lease(place(eth0), SECOND * 5).expect("installed");
        let from = lan.ip(1, &["route", "get", "fd00::99"]);
        assert!(from.contains("src fd00::1 "), "{from}");
    });
    assert!(can_connect(&lan, &listener), "a lease is resolved");
    // The connection stays when the lease goes: the shadow keeps the address.
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let eth0 = eth0(&mut route);
        route.remove_host(eth0, VIP_V6.into()).expect("removed");
    });
    lan.ip(2, &[&fixed[..], &to_host_1].concat());
    assert!(can_connect(&lan, &listener), "it is still local");
}

#[test]
fn shadows_come_and_go_and_others_addresses_stay() {
    let lan = Lan::new(1).with_ipv6();
    let config = config_with_ipv6(SECOND);
    let others = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x77);
    lan.inside(1, || {
        lan.ip(1, &["address", "add", "fd00::77/128", "dev", "lo"]);
        let saved = shadow::record(&config, None);
        shadow::install(&config).expect("installed");
        shadow::install(&config).expect("installing twice changes nothing");
        assert!(lan.has(1, "lo", VIP_V6));
        let missing = shadow::lapses(&config, shadow::Look::SettingsAndShadows);
        assert_eq!(missing.expect("the kernel answers"), Vec::<String>::new());
        // A VIP that the file names no more.
        let mut one = config.clone();
        one.vips.truncate(1);
        shadow::install(&one).expect("installed");
        assert!(!lan.has(1, "lo", VIP_V6) && lan.has(1, "lo", others));
        let missing = shadow::lapses(&config, shadow::Look::SettingsAndShadows);
        let missing = missing.expect("the kernel answers");
        assert_eq!(missing, ["fd00::10 was missing on lo"]);
        shadow::install(&config).expect("installed");
        shadow::remove(None, &saved).expect("removed");
        assert!(!lan.has(1, "lo", VIP_V6) && lan.has(1, "lo", others));
    });
}

/// Both nodes: the first one holds the IPv4 VIP, the second one the IPv6 VIP with the same VRID.
fn crossed(interval: Duration) -> Config {
    let mut config = config_with_ipv6(interval);
    config.vips[1].priorities.reverse();
    for vip in &mut config.vips {
        // Whoever starts first.
        vip.preempt_delay = Duration::ZERO;
    }
    config
}

fn elected(lan: &Lan, config: &Config) -> (Running, Running) {
    let (one, two) = (
        Running::start(lan, 1, config),
        Running::start(lan, 2, config),
    );
    wait_for("each node holds its VIP", SECOND * 6, || {
        one.state(0) == Active && two.state(1) == Active
    });
    wait_for("and is the other one's backup", SECOND, || {
        one.state(1) == Backup && two.state(0) == Backup
    });
    (one, two)
}

#[test]
fn the_same_vrid_over_both_families_is_two_routers() {
    for (name, config) in [
        ("plain", crossed(TENTH)),
        ("paired and signed", signed(crossed(TENTH))),
    ] {
        let lan = Lan::new(2).with_ipv6();
        let (one, two) = elected(&lan, &config);
        assert!(
            lan.has(1, "eth0", VIP) && lan.has(2, "eth0", VIP_V6),
            "{name}"
        );
        assert!(!lan.has(2, "eth0", VIP) && !lan.has(1, "eth0", VIP_V6));
        wait_for("adverts both ways", SECOND, || {
            one.board.vips[1].peer_priority.get() == 250
                && two.board.vips[0].peer_priority.get() == 250
        });
        for node in [&one, &two] {
            let dropped: u64 = node.board.drops.iter().map(|cell| cell.get()).sum();
            assert_eq!(dropped, 0, "{name}");
        }
    }
}

#[test]
fn nodes_with_ipv6_addresses_have_a_pair_channel_between_them() {
    let lan = Lan::new(2).with_ipv6();
    let mut config = signed(crossed(TENTH));
    for (host, node) in (1..).zip(&mut config.nodes) {
        node.address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host).into();
    }
    let (one, two) = elected(&lan, &config);
    for node in [&one, &two] {
        wait_for("heartbeats", SECOND, || {
            node.board.peer.heartbeat.get().is_some()
        });
        let dropped: u64 = node.board.drops.iter().map(|cell| cell.get()).sum();
        assert_eq!(dropped, 0);
    }
    // The IPv4 VIP's adverts come from the address in its subnet.
    assert!(lan.has(1, "eth0", VIP));
}

/// Stops the holder and measures until the other node's kernel has the VIP, which takes 62 ms if it
/// waits for its skew time. The hypervisor may stop the whole machine meanwhile, so one good round of
/// three is enough.
fn clean_stop_takes_at_most_20_ms(config: &Config) {
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let lan = Lan::new(2).with_ipv6();
        let (one, two) = elected(&lan, config);
        let mut route = lan.inside(1, || RouteSocket::open().expect("root may open it"));
        let start = Instant::now();
        two.control.request_stop();
        wait_for("the other node has the VIP", SECOND, || {
            vip_of(&mut route).is_some_and(|found| found.prefix_len == 128)
        });
        gaps.push(start.elapsed());
        wait_for("the board says so", TENTH, || one.state(1) == Active);
        two.stop();
        assert!(!lan.has(2, "eth0", VIP_V6));
        if gaps.iter().any(|gap| *gap <= Duration::from_millis(20)) {
            println!("clean stop over IPv6: {gaps:?}");
            return;
        }
    }
    panic!("{gaps:?}");
}

#[test]
fn a_stop_hands_the_vip_over_within_20_ms_whose_address_a_heartbeat_told() {
    clean_stop_takes_at_most_20_ms(&signed(crossed(SECOND)));
}

#[test]
fn a_stop_hands_the_vip_over_within_20_ms_by_unicast() {
    let mut config = crossed(SECOND);
    for (host, node) in (1..).zip(&mut config.nodes) {
        node.link_local = Some(link_local(host));
    }
    config.vips[1].transport = Transport::Unicast;
    clean_stop_takes_at_most_20_ms(&config);
}

/// One router for both: what it hears over IPv6 is of the node that it knows by its IPv4 address.
#[test]
fn vips_of_both_families_move_together_at_once() {
    for signed_too in [false, true] {
        let lan = Lan::new(2).with_ipv6();
        let mut config = config_with_ipv6(TENTH);
        config.together = true;
        if signed_too {
            config = signed(config);
        }
        let one = Running::start(&lan, 1, &config);
        wait_for("node 1 holds both", SECOND * 6, || one.all(Active));
        let two = Running::start(&lan, 2, &config);
        wait_for("node 2 is a backup", SECOND, || two.all(Backup));
        wait_for("adverts of both", SECOND, || {
            two.board
                .vips
                .iter()
                .take(2)
                .all(|vip| vip.peer_priority.get() == 250)
        });
        let start = Instant::now();
        one.stop();
        wait_for("node 2 holds both", SECOND, || two.all(Active));
        println!("both moved together in {:?}", start.elapsed());
        assert!(lan.has(2, "eth0", VIP) && lan.has(2, "eth0", VIP_V6));
        assert!(!lan.has(1, "eth0", VIP) && !lan.has(1, "eth0", VIP_V6));
    }
}

#[test]
fn the_last_will_resigns_for_an_ipv6_vip_and_deletes_its_lease() {
    let lan = Lan::new(2).with_ipv6();
    let config = config_with_ipv6(SECOND);
    let mut will = lan.inside(1, || {
        Will::prepare(&config, NodeIndex(0), None).expect("root may prepare it")
    });
    let other = Running::start(&lan, 2, &config);
    wait_for("the other node is up", SECOND, || other.all(Backup));
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let eth0 = eth0(&mut route);
        route
            .put_lease(place(eth0), SECOND * 30)
            .expect("installed");
    });
    let released = will.execute(Left {
        was_leased: |_| false,
        stamp: None,
    });
    assert_eq!(released.expect("the kernel answers"), [VipIndex(1)]);
    assert!(!lan.has(1, "eth0", VIP_V6));
    wait_for("both adverts", SECOND, || {
        other.board.vips[1].priority_zero_received.get() == 2
    });
    // Nobody has told the other node whose they were: it waits for its skew time, 16/256 s.
    wait_for("the other node takes over", TENTH, || {
        other.state(1) == Active
    });
}

/// A raw socket of IPv6 on a host.
fn raw(lan: &Lan, host: u8, protocol: i32) -> Socket {
    lan.inside(host, || {
        let protocol = Some(Protocol::from(protocol));
        let socket = Socket::new(Domain::IPV6, Type::RAW, protocol).expect("root may open it");
        socket.bind_device(Some(b"eth0")).expect("it is there");
        socket.set_read_timeout(Some(SECOND * 2)).expect("set");
        socket
    })
}

/// What a packet socket of a host hears next of IPv6 with this next header, without Ethernet.
fn heard(socket: &Socket, next_header: u8) -> Vec<u8> {
    for _ in 0..200 {
        let mut bytes = vec![0; 2048];
        let length = (&*socket).read(&mut bytes).expect("something comes");
        bytes.truncate(length);
        if bytes.get(6) == Some(&next_header) {
            return bytes;
        }
    }
    panic!("nothing with next header {next_header} came");
}

#[test]
fn adverts_and_announcements_are_on_the_wire_as_the_rfc_wants_them() {
    let lan = Lan::new(3).with_ipv6();
    let config = config_with_ipv6(TENTH);
    let listen = |host| {
        lan.inside(host, || {
            // ETH_P_IPV6 in network order.
            let protocol = Some(Protocol::from(i32::from(0x86dd_u16.to_be())));
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, protocol).expect("root");
            socket.set_read_timeout(Some(SECOND * 2)).expect("set");
            socket
        })
    };
    let ears = listen(3);
    // As a machine that forwards: its neighbours must not forget their routes through it.
    lan.inside(1, || {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/forwarding", "1").expect("root may")
    });
    let one = Running::start(&lan, 1, &config);
    wait_for("it is active", SECOND * 5, || one.all(Active));
    let advert = heard(&ears, 112);
    assert_eq!(advert[7], 255, "hop limit");
    let packet = Packet::read(&advert).expect("a sound header");
    assert_eq!(packet.source, IpAddr::from(link_local(1)));
    assert_eq!(packet.destination, IpAddr::from(GROUP_V6));
    assert_eq!(packet.message[..4], [0x31, 51, 250, 2]);
    let first = "fe80::200:5eff:fe00:233".parse::<Ipv6Addr>().expect("one");
    assert_eq!(packet.message[8..24], first.octets());
    assert_eq!(packet.message[24..40], VIP_V6.octets());
    assert!(!lan.has(1, "eth0", first), "it stands in adverts only");
    let announcement = loop {
        let icmp = heard(&ears, 58);
        if icmp[40] == 136 && icmp[48..64] == VIP_V6.octets() {
            break icmp;
        }
    };
    assert_eq!(announcement[7], 255, "hop limit");
    assert_eq!(announcement[8..24], VIP_V6.octets(), "from the VIP");
    assert_eq!(announcement[44], 0xa0, "router and override");
}

#[test]
fn packets_that_are_none_are_counted_and_change_nothing() {
    let lan = Lan::new(2).with_ipv6();
    let config = config_with_ipv6(TENTH);
    let node = Running::start(&lan, 1, &config);
    wait_for("it is active", SECOND * 5, || node.all(Active));
    let mouth = raw(&lan, 2, 255);
    mouth.set_header_included_v6(true).expect("a raw socket");
    let group = SocketAddrV6::new(GROUP_V6, 0, 0, 0);
    let good = |source: Ipv6Addr, addresses: &[[u8; 16]]| {
        let advert = Advert {
            vrid: Vrid::new(51).expect("not 0"),
            priority: 254,
            interval: TENTH,
            addresses: Addresses::V6(addresses),
        };
        let envelope = Envelope {
            source: source.into(),
            destination: GROUP_V6.into(),
            version: Version::V3(ChecksumForm::Pseudo),
        };
        let mut bytes = [0; MAX_DATAGRAM];
        let length = encode(&advert, &envelope, None, &mut bytes).expect("it can be written");
        bytes[..length].to_vec()
    };
    let addresses = [link_local(0x33).octets(), VIP_V6.octets()];
    let with = |at: usize, byte: u8| {
        let mut datagram = good(link_local(2), &addresses);
        datagram[at] = byte;
        datagram
    };
    for (datagram, reason) in [
        (with(7, 254), DropReason::Ttl),
        (with(47, 1), DropReason::Checksum),
        (with(41, 52), DropReason::Vrid),
        (with(40, 0x21), DropReason::Version),
        (good(link_local(2), &addresses[1..]), DropReason::LinkLocal),
        (good(link_local(1), &addresses), DropReason::OwnSource),
    ] {
        let before = node.drops(reason);
        mouth.send_to(&datagram, &group.into()).expect("sent");
        wait_for(reason.word(), SECOND, || node.drops(reason) == before + 1);
        assert_eq!(node.state(1), Active, "{reason:?}");
    }
    assert_eq!(node.board.vips[1].adverts_received.get(), 0);
    let obeyed = good(link_local(2), &addresses);
    mouth.send_to(&obeyed, &group.into()).expect("sent");
    wait_for("a good one is obeyed", SECOND, || node.state(1) == Backup);
    assert_eq!(
        node.state(0),
        Active,
        "the IPv4 VIP has nothing to do with it"
    );
}

#[test]
fn equal_priorities_are_decided_by_the_link_local_addresses() {
    let lan = Lan::new(2).with_ipv6();
    let mut config = config_with_ipv6(TENTH);
    config.vips[1].priorities = vec![Priority::new(200).expect("not 0"); 2];
    let (one, two) = (
        Running::start(&lan, 1, &config),
        Running::start(&lan, 2, &config),
    );
    // Both have the same timers; whoever was first, one is left, and of two actives the higher one.
    wait_for("one holds it", SECOND * 5, || {
        (one.state(1) == Active) != (two.state(1) == Active)
    });
    lan.ip(1, &["link", "set", "eth0", "down"]);
    wait_for("node 2 holds it", SECOND * 2, || two.state(1) == Active);
    lan.ip(1, &["link", "set", "eth0", "up"]);
    wait_for("node 1 comes back", SECOND * 4, || one.state(1) == Backup);
    assert_eq!(two.state(1), Active, "fe80::…:2 is the higher address");
}

#[test]
fn without_a_link_local_address_there_is_a_fault_until_it_comes() {
    let lan = Lan::new(1).with_ipv6();
    lan.ip(
        1,
        &["-6", "address", "flush", "dev", "eth0", "scope", "link"],
    );
    let node = Running::start(&lan, 1, &config_with_ipv6(TENTH));
    wait_for("the IPv4 VIP is held", SECOND * 3, || {
        node.state(0) == Active
    });
    let reason = node.board.vips[1].reason.get();
    assert_eq!(
        reason,
        "interface: eth0 has no link-local address that can be used"
    );
    let add = ["address", "add", "fe80::5/64", "dev", "eth0", "nodad"];
    lan.ip(1, &add);
    wait_for("the IPv6 VIP is held", SECOND * 3, || {
        node.state(1) == Active
    });
}
