//! Servers that are reached at the port that the client came to.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use common::board::ServerState;
use common::config::{AcceptProxy, PortOffset, ProbeKind, ProxyVersions};

use crate::harness::*;
use crate::probe::{expect_state, quick};

/// Addresses of this process alone: the ports are fixed, and another run of this test has the same.
fn own(last: u8) -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, high | 0x80, low, last))
}

fn same() -> IpAddr {
    own(2)
}

fn lower() -> IpAddr {
    own(3)
}

fn below() -> PortOffset {
    PortOffset::new(-8_000).expect("it is an offset")
}

/// A server that says its port and hangs up.
fn tells_its_port(ip: IpAddr, port: u16) {
    let socket = TcpListener::bind((ip, port)).expect("bind");
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.expect("accept");
            // A probe may be gone.
            drop(stream.write_all(&port.to_be_bytes()));
        }
    });
}

fn told(client: &mut impl Read) -> u16 {
    let mut port = [0; 2];
    client.read_exact(&mut port).expect("a server answers");
    u16::from_be_bytes(port)
}

/// A listener with a row of three ports, and these servers, which have none of their own.
fn setup(servers: &[(IpAddr, PortOffset)]) -> Setup {
    let addresses: Vec<_> = servers
        .iter()
        .map(|(ip, _)| SocketAddr::new(*ip, 0))
        .collect();
    let mut setup = Setup::new(&addresses);
    setup.listener().binds = vec![free_range(localhost(), 3)];
    for (member, (_, offset)) in setup.backend().servers.iter_mut().zip(servers) {
        member.port_offset = Some(*offset);
    }
    setup
}

fn ports(setup: &mut Setup) -> Vec<u16> {
    let bind = setup.listener().binds[0];
    bind.addresses().map(|address| address.port()).collect()
}

#[test]
fn a_session_goes_to_the_port_of_its_client_and_so_many_more() {
    let mut setup = setup(&[(same(), PortOffset::SAME), (lower(), below())]);
    for port in ports(&mut setup) {
        tells_its_port(same(), port);
        tells_its_port(lower(), port - 8_000);
    }
    let proxy = setup.start();
    for address in &proxy.addresses {
        let mut heard: Vec<u16> = (0..2).map(|_| told(&mut connect(*address))).collect();
        heard.sort_unstable();
        assert_eq!(heard, [address.port() - 8_000, address.port()]);
    }
}

#[test]
fn the_port_of_a_trusted_header_counts() {
    let mut setup = setup(&[(same(), PortOffset::SAME), (lower(), below())]);
    setup.listener().accept_proxy = Some(AcceptProxy {
        from: vec![net("127.0.0.0/8")],
        version: ProxyVersions::Any,
        timeout: Duration::from_secs(5),
    });
    let said = ports(&mut setup)[2];
    tells_its_port(same(), said);
    tells_its_port(lower(), 7_431);
    tells_its_port(same(), 7_431);
    let proxy = setup.start();
    let ask = |port: u16| {
        let mut client = proxy.connect();
        let header = format!("PROXY TCP4 198.51.100.7 203.0.113.9 4711 {port}\r\n");
        client.write_all(header.as_bytes()).expect("write");
        told(&mut client)
    };
    assert_eq!(ask(said), said);
    assert_eq!(ask(15_431), 7_431);
    // The second server has no such port: the other one serves, and nobody is to blame.
    for _ in 0..4 {
        assert_eq!(ask(7_431), 7_431);
    }
    assert_eq!(proxy.board.servers[1].connect_errors.get(), 0);
    assert_eq!(proxy.board.servers[0].connected.get(), 5);
}

#[test]
fn a_probe_goes_to_the_port_that_it_is_told() {
    let mut setup = setup(&[(same(), PortOffset::SAME), (lower(), below())]);
    let port = ports(&mut setup)[0];
    tells_its_port(same(), port);
    let mut probe = quick(ProbeKind::Tcp);
    probe.port = Some(port);
    setup.probe(probe);
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Up, "L4OK"));
    expect_state(&proxy, 1, (ServerState::Down, "L4CON"));
    for _ in 0..3 {
        assert_eq!(told(&mut proxy.connect()), port);
    }
}
