//! The ports that connections to servers come from.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use common::config::{Balance, PortRange};
use socket2::SockRef;

use crate::harness::*;

/// A range of so many ports that nobody has, which the backend gets.
fn ports(setup: &mut Setup, count: u16) -> Vec<u16> {
    let row = free_range(Ipv4Addr::LOCALHOST.into(), count);
    let (first, last) = (row.address.port(), row.last_port);
    setup.backend().source_ports = PortRange::new(first, last);
    assert!(setup.backend().source_ports.is_some());
    (first..=last).collect()
}

/// Accepts so many connections; those, and the ports that they come from.
fn accept_from(socket: &TcpListener, count: usize) -> (Vec<TcpStream>, BTreeSet<u16>) {
    let accepted: Vec<_> = (0..count).map(|_| accept(socket)).collect();
    let ports = accepted.iter().map(|connection| {
        let peer = connection.peer_addr().expect("peer");
        peer.port()
    });
    let ports = ports.collect();
    (accepted, ports)
}

#[test]
fn each_server_gets_connections_from_every_port_and_from_no_other() {
    let ((first, one), (second, two)) = (accepting_server(), accepting_server());
    let mut setup = Setup::new(&[first, second]);
    let all: BTreeSet<u16> = ports(&mut setup, 5).into_iter().collect();
    let proxy = setup.start();
    let _clients: Vec<_> = (0..10).map(|_| proxy.connect()).collect();
    let ((_of_one, from_one), (_of_two, from_two)) = (accept_from(&one, 5), accept_from(&two, 5));
    assert_eq!((&from_one, &from_two), (&all, &all));
}

#[test]
fn while_all_are_in_use_clients_are_refused_and_no_server_is_blamed() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    ports(&mut setup, 5);
    let proxy = setup.start();
    let server = &proxy.board.servers[0];
    let _clients: Vec<_> = (0..5).map(|_| proxy.connect()).collect();
    let (mut connections, _) = accept_from(&socket, 5);
    expect_refusal(&proxy);
    assert_eq!(proxy.listener().failed.get(), 1);
    assert_eq!(server.connect_errors.get(), 0);
    let aborted = connections.remove(0);
    let free = aborted.peer_addr().expect("peer").port();
    SockRef::from(&aborted)
        .set_linger(Some(Duration::ZERO))
        .expect("RST");
    drop(aborted);
    eventually("its session is over", || server.sessions.get() == 4);
    let _client = proxy.connect();
    let (_connection, from) = accept_from(&socket, 1);
    assert_eq!(from, BTreeSet::from([free]));
}

#[test]
fn another_server_is_taken_when_the_ports_for_one_are_in_use() {
    let ((first, one), (second, two)) = (accepting_server(), accepting_server());
    let mut setup = Setup::new(&[first, second]);
    setup.backend().balance = Balance::First;
    ports(&mut setup, 3);
    let proxy = setup.start();
    let _clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    let (_of_one, _of_two) = (accept_from(&one, 3), accept_from(&two, 1));
    assert_eq!(proxy.listener().failed.get(), 0);
    assert_eq!(proxy.board.servers[0].connect_errors.get(), 0);
}

#[test]
fn a_port_that_another_program_has_is_left_out() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    let ports = ports(&mut setup, 3);
    let _other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, ports[1])).expect("it is free");
    let proxy = setup.start();
    let _clients = [proxy.connect(), proxy.connect()];
    let (_connections, from) = accept_from(&socket, 2);
    assert_eq!(from, BTreeSet::from([ports[0], ports[2]]));
    assert_eq!(proxy.listener().failed.get(), 0);
}
