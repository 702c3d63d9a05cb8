//! A listener with a row of ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::harness::*;

#[test]
fn every_port_of_a_range_is_served_on_both_families() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.threads = 2;
    setup.listener().binds = vec![
        free_range(Ipv4Addr::LOCALHOST.into(), 11),
        free_range(Ipv6Addr::LOCALHOST.into(), 3),
    ];
    let proxy = setup.start();
    assert_eq!(proxy.addresses.len(), 11 + 3);
    for address in &proxy.addresses {
        ping(&mut connect(*address));
    }
    assert_eq!(proxy.listener().accepted.get(), 14);
    let (first, last) = (proxy.addresses[0], proxy.addresses[10]);
    assert_eq!(last.port() - first.port(), 10);
    for beside in [first.port() - 1, last.port() + 1] {
        let none = std::net::TcpStream::connect((first.ip(), beside));
        assert!(none.is_err(), "port {beside} is not in the range");
    }
}
