//! A proxy in a process of its own, to be killed and weighed.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::config::{LogFormat, SessionLog};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::harness::*;

const SERVER: &str = "FMC_LB_TEST_SERVER";
const EXHAUST: &str = "FMC_LB_TEST_EXHAUST";

/// This test program again, running one of its parts.
pub(crate) struct Part {
    pub(crate) child: Child,
    address: Option<SocketAddr>,
}

impl Part {
    pub(crate) fn start(name: &str, (key, value): (&str, &str)) -> Self {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(key, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        Self {
            child,
            address: None,
        }
    }

    /// A proxy before `server`.
    fn proxy(server: SocketAddr) -> Self {
        Self::proxy_as("process::proxy_part", server)
    }

    fn proxy_as(name: &str, server: SocketAddr) -> Self {
        let mut part = Self::start(name, (SERVER, &server.to_string()));
        let lines = BufReader::new(part.child.stdout.take().expect("piped")).lines();
        part.address = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listens at ")?.1.parse().ok());
        part
    }

    fn address(&self) -> SocketAddr {
        self.address.expect("the proxy has said where it listens")
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = std::fs::read_to_string(path).expect("proc");
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        1_024
            * kib
                .and_then(|kib| kib.trim().parse::<u64>().ok())
                .expect("a size")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _has_ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
#[ignore = "a part of the tests below, which start it"]
fn proxy_part() {
    let proxy = Setup::new(&[server_of_this_part()]).start();
    println!("listens at {}", proxy.address);
    until_the_test_is_gone();
}

#[test]
#[ignore = "a part of the tests below, which start it"]
fn logging_proxy_part() {
    let mut setup = Setup::new(&[server_of_this_part()]);
    setup.listener().session_log = Some(SessionLog {
        format: LogFormat::Json,
        file: None,
    });
    setup.process_log = |_| Ok(());
    let proxy = setup.start();
    println!("listens at {}", proxy.address);
    until_the_test_is_gone();
}

fn server_of_this_part() -> SocketAddr {
    let server = std::env::var(SERVER).expect("started by another test only");
    server.parse().expect("an address")
}

/// The one that started this part.
fn until_the_test_is_gone() {
    let mut end = Vec::new();
    std::io::stdin().read_to_end(&mut end).expect("stdin");
}

#[test]
fn a_killed_proxy_resets_both_sides_of_its_sessions() {
    let (address, socket) = accepting_server();
    let mut part = Part::proxy(address);
    let sessions: Vec<_> = (0..50)
        .map(|_| (connect(part.address()), accept(&socket)))
        .collect();
    part.child.kill().expect("kill");
    for (mut client, mut server) in sessions {
        expect_reset(&mut client);
        expect_reset(&mut server);
    }
}

#[test]
fn a_thousand_idle_sessions_need_less_than_2000_bytes_each() {
    let each = weigh_idle_sessions("process::proxy_part");
    println!("{each} bytes of user memory for each idle session");
    assert!(each < 2_000, "{each} bytes");
}

#[test]
fn a_thousand_idle_sessions_that_are_logged_need_little_more() {
    let each = weigh_idle_sessions("process::logging_proxy_part");
    println!("{each} bytes of user memory for each idle session that is logged");
    // What a line says beside what status knows: 200 bytes.
    assert!(each < 2_200, "{each} bytes");
}

/// User memory for each of a thousand, in bytes.
fn weigh_idle_sessions(part: &str) -> u64 {
    let (address, socket) = accepting_server();
    let part = Part::proxy_as(part, address);
    let session = || {
        let (mut client, mut server) = (connect(part.address()), accept(&socket));
        for _ in 0..2 {
            std::io::Write::write_all(&mut client, &[1; 4_096]).expect("write");
            server.read_exact(&mut [0; 4_096]).expect("read");
            std::io::Write::write_all(&mut server, &[2; 4_096]).expect("write");
            client.read_exact(&mut [0; 4_096]).expect("read");
        }
        (client, server)
    };
    let mut sessions = vec![session()];
    let before = part.resident_bytes();
    sessions.extend((0..1_000).map(|_| session()));
    part.resident_bytes().saturating_sub(before) / 1_000
}

#[test]
#[ignore = "a part of the test below, which starts it"]
fn exhausted_part() {
    std::env::var(EXHAUST).expect("started by another test only");
    let proxy = Setup::new(&[echo_server()]).start();
    let clients: Vec<_> = (0..5)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket"))
        .collect();
    eventually("it accepts", || proxy.board.accepting[0].get().is_some());
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    setrlimit(Resource::RLIMIT_NOFILE, 200, hard).expect("limit");
    let mut fillers: Vec<OwnedFd> = Vec::new();
    while let Ok(filler) = clients[0].try_clone() {
        fillers.push(filler.into());
    }
    for client in &clients {
        client
            .connect(&proxy.address.into())
            .expect("it waits in the queue");
    }
    let (start, mut oldest) = (Instant::now(), Duration::ZERO);
    while start.elapsed() < Duration::from_millis(700) {
        let beat = proxy.board.accepting[0].get().expect("it accepts");
        oldest = oldest.max(now().since(beat));
        std::thread::sleep(Duration::from_millis(1));
    }
    // Tries after 10, 30, 70, 150, 310 and 630 ms.
    let errors = proxy.listener().accept_errors.get();
    assert!((4..=8).contains(&errors), "{errors} errors in 700 ms");
    // Spinning would starve it for good; other tests on the same cores only for a moment.
    assert!(
        oldest < Duration::from_millis(300),
        "heartbeat {oldest:?} old"
    );
    drop(fillers);
    clients
        .into_iter()
        .for_each(|client| ping(&mut client.into()));
    assert_eq!(proxy.listener().accepted.get(), 5);
}

#[test]
fn used_up_descriptors_slow_accepting_down_and_nothing_else() {
    let mut part = Part::start("process::exhausted_part", (EXHAUST, "1"));
    let status = part.child.wait().expect("it ends");
    assert!(status.success(), "{status}");
}
