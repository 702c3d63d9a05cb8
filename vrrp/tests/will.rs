//! The last will of a vrrp that died. Needs root.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests measure, and talk to a real kernel"
)]

mod lan;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::board::VipState::{Active, Backup};
use common::config::{NodeIndex, VipIndex};
use lan::node::{Running, config};
use lan::{Lan, OTHER_VIP, VIP, wait_for};
use vrrp::link::{Placement, RouteSocket};
use vrrp::release::{self, Left, Will};

const SECOND: Duration = Duration::from_secs(1);

/// Puts a lease as a vrrp that has died would have left it.
fn leave_lease(lan: &Lan, address: [u8; 4]) {
    lan.inside(1, || {
        let mut route = RouteSocket::open().expect("root may open it");
        let found = route.interface("eth0").expect("an answer");
        let place = Placement {
            interface: found.expect("the host has it").index,
            interface_name: "eth0",
            address: IpAddr::from(address),
        };
        route.put_lease(place, SECOND * 30).expect("installed");
    });
}

/// A board on which these VIPs are leased.
fn left<F: Fn(VipIndex) -> bool>(was_leased: F) -> Left<F> {
    Left {
        was_leased,
        stamp: None,
    }
}

#[test]
fn the_last_will_resigns_twice_and_deletes_the_lease() {
    let lan = Lan::new(2);
    let config = config(SECOND);
    let mut will = lan.inside(1, || {
        Will::prepare(&config, NodeIndex(0), None).expect("root may prepare it")
    });
    let other = Running::start(&lan, 2, &config);
    wait_for("the other node is up", SECOND, || other.all(Backup));
    leave_lease(&lan, VIP);
    let start = Instant::now();
    let released = will
        .execute(left(|vip| vip == VipIndex(0)))
        .expect("the kernel answers");
    let took = start.elapsed();
    let gap = took
        + wait_for("the other node takes over", SECOND, || {
            other.state(0) == Active
        });
    assert_eq!(released, [VipIndex(0)], "only the VIP that was held");
    wait_for("both adverts", SECOND, || {
        other.board.vips[0].priority_zero_received.get() == 2
    });
    assert_eq!(other.board.vips[1].priority_zero_received.get(), 0);
    assert!(!lan.has(1, "eth0", VIP));
    println!("last will took {took:?}, the other node was active {gap:?} after its start");
    assert!(took < Duration::from_millis(2), "{took:?}");
    assert!(gap < Duration::from_millis(20), "{gap:?}");
    assert_eq!(
        will.execute(left(|_| false)).expect("the kernel answers"),
        []
    );
}

#[test]
fn a_prepared_will_fits_an_interface_that_was_replaced() {
    let lan = Lan::new(2);
    let config = config(SECOND);
    let mut will = lan.inside(1, || {
        Will::prepare(&config, NodeIndex(0), None).expect("root may prepare it")
    });
    lan.ip(1, &["link", "del", "eth0"]);
    lan.plug_in(1);
    let other = Running::start(&lan, 2, &config);
    wait_for("the other node is up", SECOND, || other.all(Backup));
    leave_lease(&lan, OTHER_VIP);
    // A new port of a bridge learns and forwards within a moment; a live node has been there for
    // longer.
    wait_for("the hosts reach each other", SECOND * 3, || {
        let refused = lan.inside(1, || {
            TcpStream::connect_timeout(&SocketAddr::from(([192, 0, 2, 2], 1)), SECOND / 10)
        });
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    let released = lan.inside(1, || {
        will.execute(left(|_| false)).expect("the kernel answers")
    });
    assert_eq!(released, [VipIndex(1)]);
    wait_for("both adverts", SECOND, || {
        other.board.vips[1].priority_zero_received.get() == 2
    });
    assert!(!lan.has(1, "eth0", OTHER_VIP));
}

#[test]
fn what_was_held_is_resigned_for_even_if_its_lease_is_gone() {
    let lan = Lan::new(2);
    let config = config(SECOND);
    let mut will = lan.inside(1, || {
        Will::prepare(&config, NodeIndex(0), None).expect("root may prepare it")
    });
    let other = Running::start(&lan, 2, &config);
    wait_for("the other node is up", SECOND, || other.all(Backup));
    let released = will
        .execute(left(|vip| vip == VipIndex(1)))
        .expect("the kernel answers");
    assert_eq!(released, [], "there was nothing to delete");
    wait_for("both adverts", SECOND, || {
        other.board.vips[1].priority_zero_received.get() == 2
    });
    assert_eq!(other.board.vips[0].priority_zero_received.get(), 0);
}

#[test]
fn release_without_a_lease_does_nothing() {
    let lan = Lan::new(1);
    let config = config(SECOND);
    lan.ip(1, &["address", "add", "192.0.2.10/32", "dev", "lo"]);
    let released = lan.inside(1, || release::resign(&config, NodeIndex(0), None));
    assert_eq!(released.expect("the kernel answers"), []);
    assert!(
        lan.has(1, "lo", VIP),
        "a shadow is not the last will's business"
    );
}
