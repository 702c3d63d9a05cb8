//! What the kernel does with leases, shadows and their settings. Needs root.
#![expect(
    clippy::disallowed_types,
    reason = "tests talk to a real kernel by sockets"
)]

mod lan;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use lan::node::config;
use lan::{Lan, OTHER_VIP, VIP, wait_for};
use vrrp::link::{Address, Event, EventSocket, Placement, Removal, RouteSocket};
use vrrp::shadow::{self, Look};

const SECOND: Duration = Duration::from_secs(1);

fn place(interface: u32) -> Placement<'static> {
    Placement {
        interface,
        interface_name: "eth0",
        address: IpAddr::from(VIP),
    }
}

fn eth0(route: &mut RouteSocket) -> u32 {
    let found = route.interface("eth0").expect("the kernel answers");
    found.expect("the host has eth0").index
}

fn vip_of(route: &mut RouteSocket) -> Option<Address> {
    let addresses = route.addresses().expect("the kernel answers");
    addresses
        .into_iter()
        .find(|found| found.address == IpAddr::from(VIP))
}

fn events(socket: &mut EventSocket) -> Vec<Event> {
    std::iter::from_fn(|| socket.poll()).collect()
}

#[test]
fn an_interface_is_found_with_its_hardware_address_and_state() {
    let lan = Lan::new(1);
    let find = |name| {
        lan.inside(1, || {
            let mut route = RouteSocket::open().expect("root may open it");
            route.interface(name).expect("the kernel answers")
        })
    };
    let found = find("eth0").expect("the host has eth0");
    assert_eq!(found.mac, [2, 0, 0, 0, 0, 1]);
    assert!(found.up && found.carrier);
    assert_eq!(find("eth7"), None);
    lan.ip(1, &["link", "set", "eth0", "down"]);
    assert!(!find("eth0").expect("it is still there").up);
}

#[test]
fn a_lease_is_installed_renewed_and_removed() {
    let lan = Lan::new(1);
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let eth0 = eth0(&mut route);
        route.put_lease(place(eth0), SECOND * 3).expect("installed");
        let found = vip_of(&mut route).expect("it is there");
        assert_eq!((found.interface, found.prefix_len), (eth0, 32));
        assert_eq!(found.label.as_deref(), Some("eth0:fmclb"));
        assert!(
            found
                .lifetime
                .is_some_and(|left| left > Duration::ZERO && left <= SECOND * 3)
        );
        route.put_lease(place(eth0), SECOND * 5).expect("renewed");
        let renewed = vip_of(&mut route).expect("it is there").lifetime;
        assert!(renewed.is_some_and(|left| left > SECOND * 3), "{renewed:?}");
        let removed = route.remove_host(eth0, VIP.into()).expect("removed");
        assert_eq!(removed, Removal::Removed);
        let again = route
            .remove_host(eth0, VIP.into())
            .expect("nothing to remove");
        assert_eq!(again, Removal::WasGone);
        assert_eq!(vip_of(&mut route), None);
    });
}

#[test]
fn the_kernel_drops_a_lease_that_is_not_renewed() {
    let lan = Lan::new(1);
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let mut heard = EventSocket::open().expect("root may open it");
        let eth0 = eth0(&mut route);
        route.put_lease(place(eth0), SECOND).expect("installed");
        let gone = wait_for("expiry of the lease", SECOND * 2, || {
            vip_of(&mut route).is_none()
        });
        println!("a lease of 1 s was gone after {gone:?}");
        assert!(gone > SECOND * 9 / 10);
        let removed = Event::AddressRemoved {
            interface: eth0,
            address: VIP.into(),
        };
        assert!(events(&mut heard).contains(&removed));
    });
}

#[test]
fn an_interface_with_a_long_name_carries_a_lease_without_a_label() {
    let lan = Lan::new(1);
    lan.ip(1, &["link", "add", "bridge-with-nam", "type", "bridge"]);
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let found = route.interface("bridge-with-nam").expect("an answer");
        let mut place = place(found.expect("it was made").index);
        place.interface_name = "bridge-with-nam";
        route.put_lease(place, SECOND * 3).expect("installed");
        let found = vip_of(&mut route).expect("it is there");
        assert_eq!(found.label.as_deref(), Some("bridge-with-nam"));
    });
}

#[test]
fn changes_by_others_are_heard() {
    let lan = Lan::new(1);
    let (mut socket, eth0) = lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let socket = EventSocket::open().expect("root may open it");
        (socket, eth0(&mut route))
    });
    lan.ip(1, &["address", "add", "192.0.2.10/32", "dev", "eth0"]);
    lan.ip(1, &["address", "del", "192.0.2.10/32", "dev", "eth0"]);
    lan.ip(1, &["link", "set", "eth0", "down"]);
    let heard = events(&mut socket);
    let address = IpAddr::from(VIP);
    let expected = [
        Event::AddressAdded {
            interface: eth0,
            address,
        },
        Event::AddressRemoved {
            interface: eth0,
            address,
        },
        Event::LinkChanged { interface: eth0 },
    ];
    for event in expected {
        assert!(heard.contains(&event), "{event:?} not in {heard:?}");
    }
}

/// Whether host 2 can open a connection to the VIP at host 1, where a listener waits.
fn can_connect(lan: &Lan, listener: &TcpListener) -> bool {
    let port = listener.local_addr().expect("it is bound").port();
    let target = SocketAddr::from((VIP, port));
    lan.inside(2, || {
        TcpStream::connect_timeout(&target, Duration::from_millis(700)).is_ok()
    })
}

#[test]
fn a_shadow_is_local_but_answers_no_arp_until_there_is_a_lease() {
    let lan = Lan::new(2);
    let config = config(SECOND);
    let listener = lan.inside(1, || {
        let warnings = shadow::install(&config).expect("root may change the settings");
        assert_eq!(warnings, Vec::<String>::new());
        TcpListener::bind(SocketAddr::from((VIP, 0))).expect("the VIP is local")
    });
    assert!(
        !can_connect(&lan, &listener),
        "a shadow must not be resolved"
    );
    // Whoever knows the hardware address is served: the address is local, only ARP is silent.
    let fixed = ["neighbour", "replace", "192.0.2.10", "dev", "eth0"];
    let to_host_1 = ["lladdr", "02:00:00:00:00:01", "nud", "permanent"];
    lan.ip(2, &[&fixed[..], &to_host_1].concat());
    assert!(
        can_connect(&lan, &listener),
        "a shadow must accept connections"
    );
    lan.ip(2, &["neighbour", "del", "192.0.2.10", "dev", "eth0"]);
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let eth0 = eth0(&mut route);
        route.put_lease(place(eth0), SECOND * 5).expect("installed");
    });
    assert!(can_connect(&lan, &listener), "a lease must be resolved");
}

#[test]
fn a_shadow_is_never_the_source_of_what_leaves_the_machine() {
    let lan = Lan::new(1);
    lan.inside(1, || shadow::install(&config(SECOND)).map(|_| ()))
        .expect("root may change the settings");
    let route = lan.ip(1, &["route", "get", "192.0.2.99"]);
    assert!(route.contains("src 192.0.2.1 "), "{route}");
    // Not even where no interface has an address of its own.
    lan.ip(1, &["route", "add", "198.51.100.0/24", "dev", "eth0"]);
    lan.ip(1, &["address", "del", "192.0.2.1/24", "dev", "eth0"]);
    lan.ip(1, &["route", "replace", "198.51.100.0/24", "dev", "eth0"]);
    let route = lan.ip(1, &["route", "get", "198.51.100.1"]);
    assert!(!route.contains("src 192.0.2.1"), "{route}");
}

#[test]
fn shadows_come_and_go_with_their_settings_restored() {
    let lan = Lan::new(1);
    let config = config(SECOND);
    let setting = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/eth0/{name}");
        lan.inside(1, || fs::read_to_string(path))
            .expect("every kernel has it")
            .trim()
            .to_owned()
    };
    lan.inside(1, || {
        fs::write("/proc/sys/net/ipv4/conf/eth0/arp_announce", "1\n").expect("root may write it");
        // An address that somebody else put there is not ours to remove.
        lan.ip(1, &["address", "add", "192.0.2.77/32", "dev", "lo"]);
        let first = shadow::record(&config, None);
        shadow::install(&config).expect("installed");
        // A second start, before anything was restored, must not take our values for the host's.
        let second = shadow::record(&config, Some(first.clone()));
        assert_eq!(second, first);
        shadow::install(&config).expect("installing twice changes nothing");
        assert!(lan.has(1, "lo", VIP) && lan.has(1, "lo", OTHER_VIP));
        assert_eq!(
            (setting("arp_ignore"), setting("arp_announce")),
            ("1".to_owned(), "2".to_owned())
        );
        shadow::remove(Some(&config), &second).expect("removed");
        assert!(!lan.has(1, "lo", VIP) && !lan.has(1, "lo", OTHER_VIP));
        assert!(lan.has(1, "lo", [192, 0, 2, 77]));
        assert_eq!(
            (setting("arp_ignore"), setting("arp_announce")),
            ("0".to_owned(), "1".to_owned())
        );
    });
}

#[test]
fn settings_that_would_silence_a_lease_are_warned_of() {
    let lan = Lan::new(1);
    let warnings = lan.inside(1, || {
        fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "2\n").expect("root may write it");
        let mut config = config(SECOND);
        config.vips[1].interface = "eth9".to_owned();
        shadow::install(&config).expect("installed")
    });
    assert!(
        warnings.iter().any(|line| line.contains("arp_ignore is 2")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|line| line.contains("eth9 is missing")),
        "{warnings:?}"
    );
}

#[test]
fn what_somebody_undid_is_seen_and_made_again() {
    let lan = Lan::new(1);
    let config = config(SECOND);
    let lapses = |look| {
        lan.inside(1, || {
            shadow::lapses(&config, look).expect("the kernel answers")
        })
    };
    let install = || {
        lan.inside(1, || shadow::install(&config).map(drop))
            .expect("root may change the settings");
    };
    install();
    assert_eq!(lapses(Look::SettingsAndShadows), Vec::<String>::new());
    lan.ip(1, &["addr", "flush", "dev", "lo"]);
    assert_eq!(lapses(Look::Settings), Vec::<String>::new());
    assert_eq!(lapses(Look::SettingsAndShadows).len(), config.vips.len());
    // As a manager of interfaces does: the same name, the kernel's defaults.
    lan.ip(1, &["link", "del", "eth0"]);
    assert_eq!(
        lapses(Look::Settings),
        Vec::<String>::new(),
        "it is missing, nothing more"
    );
    lan.ip(1, &["link", "add", "eth0", "type", "bridge"]);
    assert_eq!(
        lapses(Look::Settings),
        ["arp_ignore of eth0 was 0", "arp_announce of eth0 was 0"]
    );
    install();
    assert_eq!(lapses(Look::SettingsAndShadows), Vec::<String>::new());
}

#[test]
fn a_shadow_of_an_earlier_configuration_goes_at_install_and_by_what_was_recorded() {
    let lan = Lan::new(1);
    let both = config(SECOND);
    let mut one = both.clone();
    one.vips.truncate(1);
    lan.inside(1, || {
        let saved = shadow::record(&both, None);
        shadow::install(&both).expect("installed");
        shadow::remove(None, &saved).expect("removed");
        assert!(!lan.has(1, "lo", VIP) && !lan.has(1, "lo", OTHER_VIP));
        shadow::install(&both).expect("installed");
        lan.ip(1, &["address", "add", "192.0.2.77/32", "dev", "lo"]);
        shadow::install(&one).expect("installed");
        assert!(lan.has(1, "lo", VIP) && !lan.has(1, "lo", OTHER_VIP));
        assert!(lan.has(1, "lo", [192, 0, 2, 77]), "it is somebody else's");
    });
}
