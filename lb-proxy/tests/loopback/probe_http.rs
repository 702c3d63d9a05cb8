//! Probes of kinds `http` and `https`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use common::board::ServerState;
use common::config::{HttpProbe, HttpVersion, ProbeKind, ProbeTls, StatusRange};
use rcgen::date_time_ymd;

use crate::apiserver::Authority;
use crate::harness::*;
use crate::probe::{expect_state, quick, status, unverified};
use crate::secured::{Clients, named, settings, tls_server};

const UP: (ServerState, &str) = (ServerState::Up, "L7OK: answers 200");

pub(crate) fn asks() -> HttpProbe {
    HttpProbe {
        tls: None,
        method: "GET".into(),
        path: "/healthz".into(),
        host: None,
        headers: Vec::new(),
        version: HttpVersion::Http11,
        expect_status: vec![StatusRange::new(200, 399)],
        drain_status: Vec::new(),
        expect_body: None,
        body_limit: 65_536,
    }
}

fn expects(text: &str) -> HttpProbe {
    HttpProbe {
        expect_body: Some(text.into()),
        ..asks()
    }
}

fn request(stream: &mut impl Read) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    String::from_utf8(request).ok()
}

/// A server that reads the request and goes on with the connection in its own way.
fn answering(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    server(move |mut stream| {
        if request(&mut stream).is_some() {
            talk(stream);
        }
    })
}

/// Says all of it at once; the client may be gone, which is its right.
fn says(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    answering(move |mut stream| drop(stream.write_all(&answer)))
}

fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

#[track_caller]
fn expect(probe: HttpProbe, address: SocketAddr, wanted: (ServerState, &str), code: u64) {
    let mut setup = Setup::new(&[address]);
    setup.probe(quick(ProbeKind::Http(probe)));
    let proxy = setup.start();
    expect_state(&proxy, 0, wanted);
    let slot = &proxy.board.servers[0];
    assert_eq!(slot.probe_code.get(), code, "{wanted:?}");
    assert!(wanted.1.starts_with(status(slot).word()), "{wanted:?}");
}

#[test]
fn the_number_of_the_answer_decides() {
    use ServerState::{Down, Draining, Up};
    let answer = |line: &str| says(format!("HTTP/1.1 {line}\r\nContent-Length: 9999\r\n\r\n"));
    expect(asks(), answer("200 OK"), UP, 200);
    let moved = answer("301 Moved Permanently");
    expect(asks(), moved, (Up, "L7OK: answers 301"), 301);
    let gone = answer("404 Not Found");
    expect(asks(), gone, (Down, "L7STS: answers 404"), 404);
    let drains = HttpProbe {
        drain_status: vec![StatusRange::new(404, 404)],
        ..asks()
    };
    expect(drains, gone, (Draining, "L7OKC: answers 404"), 404);
    let only = HttpProbe {
        expect_status: vec![StatusRange::new(401, 401), StatusRange::new(500, 599)],
        ..asks()
    };
    let busy = answer("503 Service Unavailable");
    expect(only.clone(), busy, (Up, "L7OK: answers 503"), 503);
    let fine = answer("200 OK");
    expect(only, fine, (Down, "L7STS: answers 200"), 200);
}

#[test]
fn the_request_is_the_one_that_the_file_describes() {
    let (said, heard) = mpsc::channel();
    let address = server(move |mut stream| {
        if let Some(request) = request(&mut stream) {
            // The test may have seen enough.
            let _test_is_over = said.send(request);
            drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n"));
        }
    });
    let probe = HttpProbe {
        method: "HEAD".into(),
        path: "/a?b=c".into(),
        host: Some("www.example.org".into()),
        headers: vec![("X-Probe".into(), "yes".into())],
        version: HttpVersion::Http10,
        ..asks()
    };
    expect(probe, address, UP, 200);
    let request = heard.recv_timeout(LIMIT).expect("a request");
    let mut lines = request.lines();
    assert_eq!(lines.next(), Some("HEAD /a?b=c HTTP/1.0"));
    for wanted in ["Host: www.example.org", "X-Probe: yes", "Connection: close"] {
        assert!(request.lines().any(|line| line == wanted), "{request}");
    }
}

#[test]
fn a_text_is_found_wherever_it_is() {
    let with = (ServerState::Up, "L7OK: answers 200 with the expected text");
    let at_once = says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nI am ready");
    expect(expects("ready"), at_once, with, 200);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        7\r\nI am re\r\n3\r\nady\r\n0\r\n\r\n";
    let byte_by_byte = answering(move |mut stream| {
        stream.set_nodelay(true).expect("nodelay");
        for byte in chunked.as_bytes() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
        hold(stream);
    });
    expect(expects("ready"), byte_by_byte, with, 200);
    let until_close = says("HTTP/1.0 200 OK\r\n\r\nI am ready");
    expect(expects("am ready"), until_close, with, 200);
}

#[test]
fn a_text_that_is_not_there_is_a_failure_of_its_kind() {
    let without = (
        ServerState::Down,
        "L7RSP: answers 200 without the expected text",
    );
    let whole = says("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nI am no more");
    expect(expects("ready"), whole, without, 200);
    let cut = says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nI am re");
    expect(expects("ready"), cut, without, 200);
    let endless = answering(|mut stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        while stream.write_all(&[b'x'; 4_096]).is_ok() {}
    });
    expect(expects("ready"), endless, without, 200);
    let beyond = HttpProbe {
        body_limit: 9,
        ..expects("ready")
    };
    let at_once = says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nI am ready");
    expect(beyond, at_once, without, 200);
    let stalls = answering(|mut stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nI am re"));
        hold(stream);
    });
    let late = (
        ServerState::Down,
        "L7TOUT: answers 200, the expected text did not come in time",
    );
    expect(expects("ready"), stalls, late, 200);
}

#[test]
fn what_is_no_answer_is_told_apart() {
    let silent = (ServerState::Down, "L7TOUT: no answer in time");
    expect(asks(), answering(hold), silent, 0);
    let half = answering(|mut stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le"));
        hold(stream);
    });
    expect(asks(), half, silent, 0);
    let slow = answering(|mut stream| {
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" {
            std::thread::sleep(Duration::from_millis(50));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    expect(asks(), slow, silent, 0);
    for (answer, words) in [
        (&b""[..], "L7RSP: closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nX", "L7RSP: answer is incomplete"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "L7RSP: no HTTP answer"),
        (&[0xff; 3_000], "L7RSP: no HTTP answer"),
    ] {
        expect(asks(), says(answer), (ServerState::Down, words), 0);
    }
    let long = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 20_000]].concat();
    let too_long = (ServerState::Down, "L7RSP: header too long");
    let address = answering(move |mut stream| {
        drop(stream.write_all(&long));
        hold(stream);
    });
    expect(asks(), address, too_long, 0);
}

/// A server with a certificate for this name that answers with the host that it was asked for.
fn https(authority: &Authority, year_of_its_end: i32) -> SocketAddr {
    let mut params = named("web.example.org");
    params.not_after = date_time_ymd(year_of_its_end, 1, 1);
    let settings = settings(authority, params, &Clients::Anybody);
    tls_server(settings, |stream| {
        let asked = request(stream).unwrap_or_default();
        let host = asked.lines().find(|line| line.starts_with("Host: "));
        let body = host.unwrap_or_default();
        drop(write!(stream, "HTTP/1.1 200 OK\r\n\r\n{body}"));
        stream.conn.send_close_notify();
        drop(stream.flush());
    })
}

fn secure(server_name: Option<&str>) -> HttpProbe {
    HttpProbe {
        tls: Some(ProbeTls {
            server_name: server_name.map(str::to_owned),
            ca_file: Some("ca.pem".into()),
            ..unverified()
        }),
        ..expects("Host: web.example.org")
    }
}

#[test]
fn https_checks_the_certificate_and_asks_for_the_name() {
    let authority = Authority::new();
    let start = |address, probe| {
        let mut setup = Setup::new(&[address]);
        setup.files.insert("ca.pem".into(), authority.pem());
        setup.probe(quick(ProbeKind::Http(probe)));
        setup.start()
    };
    let address = https(&authority, 2100);
    let proxy = start(address, secure(Some("web.example.org")));
    let with = (ServerState::Up, "L7OK: answers 200 with the expected text");
    expect_state(&proxy, 0, with);
    let end = proxy.board.servers[0].certificate_not_after.get();
    assert_eq!(end, 4_102_444_800);
    drop(proxy);
    let refused = (ServerState::Down, "L6RSP: invalid peer certificate");
    expect_state(&start(address, secure(None)), 0, refused);
    let expired = https(&authority, 2020);
    let proxy = start(expired, secure(Some("web.example.org")));
    expect_state(&proxy, 0, refused);
    assert_eq!(
        proxy.board.servers[0].certificate_not_after.get(),
        1_577_836_800
    );
}

#[test]
fn a_question_without_tls_gets_no_answer_from_a_server_that_wants_it() {
    let address = https(&Authority::new(), 2100);
    expect(asks(), address, (ServerState::Down, "L7RSP: "), 0);
    let plain = server(|mut stream| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        hold(stream);
    });
    let mut probe = secure(None);
    probe.tls = Some(unverified());
    expect(probe, plain, (ServerState::Down, "L6RSP: "), 0);
}
