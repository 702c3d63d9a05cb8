//! The process as a whole: real sockets on loopback, boards in memory.

#![expect(clippy::disallowed_types, reason = "these tests are clients")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;

use common::board::VipState;
use serde_json::Value;

use super::*;

/// An admin process on its own thread; stopped and joined when dropped.
struct Running {
    folder: tempfile::TempDir,
    http: SocketAddr,
    boards: Boards,
    control: Arc<Control>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Running {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixListener::bind(folder.path().join("admin.sock")).expect("a socket");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
        let http = listener.local_addr().expect("it is bound");
        let view = fixture::healthy();
        // The fixture's moments are of its own clock; here the real one runs.
        // A moment to come keeps the boards fresh for as long as a test may take.
        fixture::beat(&view.boards, clock::now() + Duration::from_secs(60));
        let mut config = fixture::config();
        change(&mut config);
        let inputs = Inputs {
            config: Arc::new(config),
            node: view.node,
            config_hash: view.config_hash,
            proxies: Proxies::alone(view.boards.proxy),
            boards: view.boards,
            socket,
            proxy: None,
            elders: Elders::default(),
            supervisor: None,
            http: vec![listener.into()],
            peer: None,
        };
        let control = Control::new();
        let for_thread = Arc::clone(&control);
        let thread = std::thread::spawn(move || run(inputs, for_thread));
        Self {
            folder,
            http,
            boards: view.boards,
            control,
            thread: Some(thread),
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).expect("it listens");
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).expect("a socket");
        stream
    }

    /// The head and the body of an answer.
    fn http(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).expect("it listens");
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).expect("a socket");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.http(&format!("GET {path} HTTP/1.1\r\nhost: lb1\r\n\r\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.request_stop();
        let thread = self.thread.take().expect("joined once");
        let result = thread.join().expect("the admin process does not panic");
        result.expect("it ends well when asked");
    }
}

fn ask(stream: &mut BufReader<UnixStream>, line: &str) -> Value {
    stream
        .get_mut()
        .write_all(line.as_bytes())
        .expect("it reads");
    let mut answer = String::new();
    stream.read_line(&mut answer).expect("it answers");
    serde_json::from_str(&answer).expect("an answer is JSON")
}

#[test]
fn a_connection_may_ask_again_and_survives_nonsense() {
    let node = Running::start(|_| {});
    let mut stream = BufReader::new(node.connect());
    let first = ask(&mut stream, "{\"version\":1,\"command\":\"status\"}\n");
    assert_eq!(first["ok"]["node"], "lb1");
    assert_eq!(first["version"], 1);
    let nonsense = ask(&mut stream, "nonsense\n");
    assert!(nonsense["error"].is_string(), "{nonsense}");
    let last = ask(
        &mut stream,
        "{\"version\":1,\"command\":\"status\",\"x\":1}\n",
    );
    assert_eq!(last["ok"]["vips"][0]["state"], "active");
}

#[test]
fn a_request_without_end_is_refused_at_its_bound() {
    let node = Running::start(|_| {});
    let mut stream = BufReader::new(node.connect());
    let answer = ask(&mut stream, &"x".repeat(wire::LONGEST_REQUEST));
    assert_eq!(answer["error"], "a request has at most 65536 bytes");
    let mut rest = String::new();
    assert_eq!(stream.read_line(&mut rest).expect("closed"), 0);
}

#[test]
fn a_silent_client_is_closed_and_others_are_served_meanwhile() {
    let node = Running::start(|_| {});
    let mut silent = node.connect();
    let began = clock::now();
    let mut asking = BufReader::new(node.connect());
    let answer = ask(&mut asking, "{\"version\":1,\"command\":\"status\"}\n");
    assert_eq!(answer["ok"]["node"], "lb1");
    assert!(clock::now().since(began) < Duration::from_secs(4));
    assert_eq!(silent.read(&mut [0; 8]).expect("closed, not reset"), 0);
    let took = clock::now().since(began);
    assert!(took > Duration::from_secs(4), "{took:?}");
}

#[test]
fn connections_beyond_the_bound_are_told_so() {
    let node = Running::start(|_| {});
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = BufReader::new(node.connect());
        let answer = ask(&mut stream, "{\"version\":1,\"command\":\"status\"}\n");
        assert_eq!(answer["ok"]["node"], "lb1");
        held.push(stream);
    }
    let mut refused = String::new();
    let mut one_more = BufReader::new(node.connect());
    one_more.read_line(&mut refused).expect("a refusal");
    assert!(refused.contains("64 connections are open"), "{refused}");
    // Nor are they reset when they ask: their request is read.
    for _ in 0..20 {
        let mut one_more = node.connect();
        let request = b"{\"version\":1,\"command\":\"status\"}\n";
        one_more.write_all(request).expect("it reads");
        let mut refused = String::new();
        one_more
            .read_to_string(&mut refused)
            .expect("an orderly end");
        assert!(refused.contains("try again"), "{refused}");
    }
}

#[test]
fn the_heartbeat_turns_and_the_process_ends_when_asked() {
    let node = Running::start(|_| {});
    let header = &node.boards.admin.header;
    let mut stream = BufReader::new(node.connect());
    // Once it answers it has begun; its loop must then turn again within a few beats.
    ask(&mut stream, "{\"version\":1,\"command\":\"status\"}\n");
    let first = header.heartbeat.get();
    let limit = clock::now() + Duration::from_secs(5);
    while header.heartbeat.get() == first {
        assert!(clock::now() < limit, "no heartbeat in five seconds");
        std::thread::yield_now();
    }
    assert_eq!(header.layout.load(Ordering::Acquire), LAYOUT);
    assert_eq!(header.pid.load(Ordering::Acquire), std::process::id());
}

#[test]
fn http_serves_its_three_pages_and_nothing_else() {
    let node = Running::start(|_| {});
    let (head, body) = node.get("/healthz");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "ok\n");
    let (head, body) = node.get("/metrics?from=prometheus");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    assert!(
        body.contains("fmc_lb_process_up{process=\"vrrp\"}"),
        "{body}"
    );
    let (head, body) = node.get("/status");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert!(body.contains("/metrics"), "{body}");
    let (head, _) = node.http("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    assert!(head.contains("allow: GET, HEAD"), "{head}");
    let (head, body) = node.http("HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "");
}

#[test]
fn readiness_follows_the_boards() {
    let node = Running::start(|_| {});
    let (head, body) = node.get("/readyz");
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    let slot = &node.boards.vrrp.vips[1];
    slot.state.set(VipState::Fault.on_board());
    slot.reason.set("eth0 is down");
    let (head, body) = node.get("/readyz");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, "VIP web is fault: eth0 is down\n");
}

#[test]
fn only_clients_of_the_allow_list_are_served() {
    let node = Running::start(|config| {
        config.admin.allow = vec!["10.0.0.0/8".parse().expect("a network")];
    });
    let (head, body) = node.get("/metrics");
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(
        body.starts_with("127.0.0.1 is not in [admin] allow"),
        "{body}"
    );
}

#[test]
fn a_head_without_bound_is_refused() {
    let node = Running::start(|_| {});
    let huge = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(20_000)
    );
    let mut stream = TcpStream::connect(node.http).expect("it listens");
    // It may close before it has read everything: what counts is that it does not serve.
    let mut answer = Vec::new();
    let outcome = stream
        .write_all(huge.as_bytes())
        .and_then(|()| stream.read_to_end(&mut answer));
    let text = String::from_utf8_lossy(&answer);
    assert!(
        outcome.is_err() || text.is_empty() || text.starts_with("HTTP/1.1 431"),
        "{text}"
    );
}
