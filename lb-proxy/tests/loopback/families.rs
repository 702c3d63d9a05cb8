//! IPv4 and IPv6 mixed: each kind of client on each kind of server, whatever is asked of the proxy.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::config::{AcceptProxy, ProxyVersions, SendProxy, SendTlvs, SourceLimit};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Socket, Type};

use crate::harness::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const FAMILIES: [IpAddr; 2] = [V4, V6];

/// A listener on both families in front of these servers.
fn both(servers: &[SocketAddr]) -> Setup {
    let mut setup = Setup::new(servers);
    let v4 = setup.listener().binds[0];
    let mut v6 = v4;
    v6.address = SocketAddr::new(V6, 0);
    v6.vip = None;
    setup.listener().binds = vec![v4, v6];
    setup
}

/// Where clients of a family come.
fn entrance(proxy: &RunningProxy, family: IpAddr) -> SocketAddr {
    proxy.addresses[usize::from(family.is_ipv6())]
}

fn server_at(family: IpAddr) -> (SocketAddr, TcpListener) {
    let socket = TcpListener::bind((family, 0)).expect("bind");
    (socket.local_addr().expect("it is bound"), socket)
}

/// Each kind of client with each kind of server.
fn each_pair(test: impl Fn(IpAddr, IpAddr)) {
    for client in FAMILIES {
        for server in FAMILIES {
            test(client, server);
        }
    }
}

#[test]
fn bytes_go_both_ways_and_each_end_is_an_end_of_its_own() {
    each_pair(|client, server| {
        let (address, socket) = server_at(server);
        let proxy = both(&[address]).start();
        let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let serving = std::thread::spawn(move || {
            let mut stream = accept(&socket);
            let mut got = Vec::new();
            stream.read_to_end(&mut got).expect("all of it, then FIN");
            assert!(got == expected, "{} bytes came", got.len());
            got.reverse();
            stream.write_all(&got).expect("the answer");
        });
        let mut stream = connect(entrance(&proxy, client));
        stream.write_all(&sent).expect("write");
        stream.shutdown(Shutdown::Write).expect("FIN");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("all of it");
        assert!(answer.iter().rev().eq(&sent), "{client} to {server}");
        serving.join().expect("the server is content");
    });
}

#[test]
fn servers_of_both_families_share_a_backend() {
    let (v4, of_v4) = server_at(V4);
    let (v6, of_v6) = server_at(V6);
    for socket in [of_v4, of_v6] {
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.expect("accept");
                let family = if stream.local_addr().expect("bound").is_ipv4() {
                    b"4"
                } else {
                    b"6"
                };
                // Who has gone already is of no interest.
                let _sent = stream.write_all(family);
            }
        });
    }
    let proxy = both(&[v4, v6]).start();
    for client in FAMILIES {
        let mut answers: Vec<u8> = Vec::new();
        for _ in 0..4 {
            let mut answer = [0];
            let mut stream = connect(entrance(&proxy, client));
            stream.read_exact(&mut answer).expect("an answer");
            answers.extend(answer);
        }
        answers.sort_unstable();
        assert_eq!(answers, b"4466", "clients of {client}");
    }
}

/// What a header of version 1 says of these.
fn line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let ports = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1).into_bytes()
}

/// The same of version 2, without TLVs.
fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend([0x11, 0, 12]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.extend([0x21, 0, 36]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            panic!("a test of one family")
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

/// Both versions: what is set, and how such a header is written.
type Writing = fn(SocketAddr, SocketAddr) -> Vec<u8>;
const VERSIONS: [(SendProxy, Writing); 2] = [
    (SendProxy::V1, line),
    (
        SendProxy::V2(SendTlvs {
            alpn: false,
            authority: false,
            crc32c: false,
            ssl: false,
            unique_id: false,
        }),
        block,
    ),
];

#[test]
fn a_header_tells_the_clients_family_whatever_the_servers() {
    for (version, header) in VERSIONS {
        each_pair(|client, server| {
            let (address, socket) = server_at(server);
            let mut setup = both(&[address]);
            setup.backend().send_proxy = Some(version);
            let proxy = setup.start();
            let to = entrance(&proxy, client);
            let mut stream = connect(to);
            stream.write_all(b"payload").expect("write");
            let from = stream.local_addr().expect("bound");
            let expected = [&header(from, to)[..], b"payload"].concat();
            let mut got = vec![0; expected.len()];
            accept(&socket).read_exact(&mut got).expect("the header");
            assert_eq!(got, expected, "{client} to {server} with {version:?}");
        });
    }
}

#[test]
fn a_received_header_of_either_family_is_passed_on_to_either() {
    let claims = [
        ("192.0.2.7:4711", "198.51.100.1:443"),
        ("[2001:db8::7]:4711", "[2001:db8:1::1]:443"),
    ];
    for (version, header) in VERSIONS {
        for (source, destination) in claims {
            let (source, destination): (SocketAddr, SocketAddr) = (
                source.parse().expect("an address"),
                destination.parse().expect("an address"),
            );
            each_pair(|client, server| {
                let (address, socket) = server_at(server);
                let mut setup = both(&[address]);
                setup.listener().accept_proxy = Some(AcceptProxy {
                    from: vec![net("127.0.0.0/8"), net("::1/128")],
                    version: ProxyVersions::Any,
                    timeout: Duration::from_secs(3),
                });
                setup.backend().send_proxy = Some(version);
                let proxy = setup.start();
                let mut stream = connect(entrance(&proxy, client));
                let sent = [&header(source, destination)[..], b"payload"].concat();
                stream.write_all(&sent).expect("write");
                let mut got = vec![0; sent.len()];
                accept(&socket).read_exact(&mut got).expect("the header");
                assert_eq!(got, sent, "{source} by {client} to {server}");
            });
        }
    }
}

#[test]
fn access_lists_know_both_families() {
    each_pair(|client, server| {
        let (address, socket) = server_at(server);
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                // Who has gone already is of no interest.
                let _sent = stream.and_then(|mut stream| stream.write_all(b"!"));
            }
        });
        let (own, other) = match client {
            IpAddr::V4(_) => ("127.0.0.0/8", "::/0"),
            IpAddr::V6(_) => ("::1/128", "0.0.0.0/0"),
        };
        let served = |change: &dyn Fn(&mut Setup)| {
            let mut setup = both(&[address]);
            change(&mut setup);
            let proxy = setup.start();
            let mut byte = [0];
            let read = TcpStream::connect(entrance(&proxy, client))
                .and_then(|mut stream| stream.read(&mut byte));
            let slot = proxy.listener();
            let refused = slot.denied.get() + slot.dropped.get();
            assert_eq!(refused, u64::from(read.is_err()), "{read:?}");
            read.is_ok_and(|read| read == 1)
        };
        let file = |setup: &mut Setup, list: &str| {
            let path = std::path::PathBuf::from("/lists/one");
            setup.files = [(path.clone(), list.as_bytes().to_vec())].into();
            setup.listener().files.deny = Some(path);
        };
        assert!(served(
            &|setup| setup.listener().allow = Some(vec![net(own)])
        ));
        assert!(!served(
            &|setup| setup.listener().allow = Some(vec![net(other)])
        ));
        assert!(!served(&|setup| setup.listener().deny = vec![net(own)]));
        assert!(served(&|setup| setup.listener().deny = vec![net(other)]));
        assert!(!served(&|setup| setup.listener().drop = vec![net(own)]));
        assert!(served(&|setup| setup.listener().drop = vec![net(other)]));
        assert!(!served(&|setup| file(setup, own)));
        assert!(served(&|setup| file(setup, other)));
    });
}

/// Runs a test in a network of its own, whose `lo` has more addresses.
fn in_own_network(addresses: &[&str], test: impl FnOnce() + Send + 'static) {
    let lines: Vec<String> = addresses
        .iter()
        .map(|address| format!("-6 address add {address}/128 dev lo nodad"))
        .collect();
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network");
        for line in ["link set lo up"]
            .into_iter()
            .chain(lines.iter().map(String::as_str))
        {
            let done = Command::new("ip").args(line.split_whitespace()).status();
            assert!(done.is_ok_and(|status| status.success()), "ip {line}");
        }
        test();
    };
    if let Err(panic) = std::thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

fn connect_from_v6(source: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    let source: Ipv6Addr = source.parse().expect("an address");
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// IPv6: what one machine is given. Towards both kinds of server.
#[test]
fn addresses_of_one_64_are_one_client() {
    let addresses = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"];
    in_own_network(&addresses, move || {
        for server in FAMILIES {
            let (address, socket) = server_at(server);
            std::thread::spawn(move || {
                for stream in socket.incoming() {
                    let mut stream = stream.expect("accept");
                    // Who has gone already is of no interest.
                    let _sent = stream.write_all(b"!");
                    std::thread::spawn(move || read_to_end(&mut stream));
                }
            });
            let mut setup = both(&[address]);
            setup.listener().source_limit = SourceLimit {
                sessions: Some(1),
                ..SourceLimit::default()
            };
            let proxy = setup.start();
            let greeted = |source: &str| {
                let mut stream = connect_from_v6(source, entrance(&proxy, V6))?;
                stream.read_exact(&mut [0]).map(|()| stream)
            };
            let one = greeted(addresses[0]).expect("the first of its /64");
            assert!(greeted(addresses[1]).is_err(), "the second of it");
            greeted(addresses[2]).expect("of another /64");
            // An IPv4 client is none of them, and each IPv4 address is one for itself.
            let v4 = entrance(&proxy, V4);
            let mut of_v4 = connect(v4);
            of_v4.read_exact(&mut [0]).expect("greeted");
            let mut other = connect_from(Ipv4Addr::new(127, 0, 0, 2), v4);
            other.read_exact(&mut [0]).expect("greeted");
            assert_eq!(proxy.listener().limited_sessions.get(), 1);
            drop(one);
            eventually("its session has ended", || greeted(addresses[1]).is_ok());
        }
    });
}
