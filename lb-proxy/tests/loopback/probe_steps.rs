//! Probes of kinds `send-expect` and `send-expect-tls`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use common::board::ServerState;
use common::config::{ProbeKind, SendExpect, Step, StepAction};

use crate::apiserver::Authority;
use crate::harness::*;
use crate::probe::{expect_state, quick, status, unverified};
use crate::secured::{Clients, named, settings, tls_server};

fn send(bytes: &[u8]) -> Step {
    Step {
        action: StepAction::Send(bytes.to_vec()),
        comment: None,
    }
}

fn expects(text: &[u8]) -> Step {
    Step {
        action: StepAction::Expect {
            text: text.to_vec(),
            fail: None,
        },
        comment: None,
    }
}

fn unless(text: &[u8], fail: &[u8]) -> Step {
    Step {
        action: StepAction::Expect {
            text: text.to_vec(),
            fail: Some(fail.to_vec()),
        },
        comment: None,
    }
}

fn dialogue(steps: &[Step]) -> SendExpect {
    SendExpect {
        tls: None,
        steps: steps.to_vec(),
    }
}

fn line(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    Some(line)
}

/// Says this once it has heard a line, and holds the connection.
fn answering(answer: &'static [u8]) -> SocketAddr {
    server(move |mut stream| {
        if line(&mut stream).is_some() && stream.write_all(answer).is_ok() {
            hold(stream);
        }
    })
}

fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

#[track_caller]
fn expect(steps: &[Step], address: SocketAddr, state: ServerState, reason: &str) {
    let mut setup = Setup::new(&[address]);
    setup.probe(quick(ProbeKind::SendExpect(dialogue(steps))));
    let proxy = setup.start();
    expect_state(&proxy, 0, (state, reason));
    let slot = &proxy.board.servers[0];
    assert!(reason.starts_with(status(slot).word()), "{reason}");
}

fn ping() -> Vec<Step> {
    vec![send(b"PING\r\n"), unless(b"+PONG\r\n", b"-")]
}

#[test]
fn a_dialogue_of_several_steps_is_held_byte_by_byte() {
    let (said, heard) = mpsc::channel();
    let address = server(move |mut stream| {
        stream.set_nodelay(true).expect("nodelay");
        let say = |stream: &mut TcpStream, text: &[u8]| {
            text.iter().all(|byte| {
                std::thread::sleep(Duration::from_millis(2));
                stream.write_all(&[*byte]).is_ok()
            })
        };
        say(&mut stream, b"220-first line\r\n220 ready\r\n");
        let Some(hello) = line(&mut stream) else {
            return;
        };
        say(&mut stream, b"250-SIZE\r\n250 \xff\x00HELP\r\n");
        let Some(bye) = line(&mut stream) else {
            return;
        };
        // The test may have seen enough.
        let _test_is_over = said.send((hello, bye));
    });
    let steps = [
        expects(b"220-"),
        // It looks at what the step before has read, too.
        expects(b"220 "),
        send(b"EHLO \xff\x00\n"),
        expects(b"\xff\x00"),
        expects(b"250-SIZE"),
        send(b"QUIT\r\n"),
    ];
    expect(&steps, address, ServerState::Up, "L7OK: all 6 steps done");
    let (hello, bye) = heard.recv_timeout(LIMIT).expect("a whole dialogue");
    assert_eq!(hello, b"EHLO \xff\x00\n");
    assert_eq!(bye, b"QUIT\r\n");
}

#[test]
fn what_was_said_before_something_is_sent_is_no_answer_to_it() {
    let address = server(|mut stream| {
        if stream.write_all(b"+PONG\r\n").is_ok() {
            hold(stream);
        }
    });
    let steps = [expects(b"+PONG"), send(b"PING\r\n"), expects(b"+PONG")];
    let reason = "L7TOUT: no answer in time at step 3 (expect \"+PONG\")";
    expect(&steps, address, ServerState::Down, reason);
}

#[test]
fn a_no_fails_at_once_and_is_an_answer() {
    let address = answering(b"-LOADING Redis is loading the dataset in memory\r\n");
    let mut setup = Setup::new(&[address]);
    // It would take this long without `fail`.
    let mut probe = quick(ProbeKind::SendExpect(dialogue(&ping())));
    probe.timeout = LIMIT * 2;
    setup.probe(probe);
    let proxy = setup.start();
    let reason = "L7STS: no at step 2 (expect \"+PONG\\r\\n\"), got \"-LOADING Redis is loadin…\"";
    expect_state(&proxy, 0, (ServerState::Down, reason));
}

#[test]
fn each_way_to_fail_says_its_step() {
    use ServerState::{Down, Up};
    expect(&ping(), answering(b"+PONG\r\n"), Up, "L7OK: all 2 steps");
    let mut called = ping();
    called[1].comment = Some("redis lives".into());
    let silent = "L7TOUT: no answer in time at step 2 (redis lives)";
    expect(&called, answering(b""), Down, silent);
    let other = "L7TOUT: not in time at step 2 (expect \"+PONG\\r\\n\"), got \"+PONK\\r\\n\"";
    expect(&ping(), answering(b"+PONK\r\n"), Down, other);
    let closes = server(|mut stream| drop(line(&mut stream)));
    let closed = "L7RSP: closed at step 2 (expect \"+PONG\\r\\n\")";
    expect(&ping(), closes, Down, closed);
    let resets = server(|mut stream| {
        if line(&mut stream).is_some() {
            reset(stream);
        }
    });
    let was_reset = "L7RSP: connection reset by peer at step 2 (expect";
    expect(&ping(), resets, Down, was_reset);
    let (refused, _socket) = refusing();
    expect(&ping(), refused, Down, "L4CON: connection refused");
}

#[test]
fn a_server_that_talks_without_end_is_not_listened_to() {
    let address = server(|mut stream| while stream.write_all(&[b'x'; 4_096]).is_ok() {});
    let reason =
        "L7RSP: not within 16 KiB at step 1 (expect \"+PONG\"), got \"xxxxxxxxxxxxxxxxxxxxxxxx…\"";
    expect(&[expects(b"+PONG")], address, ServerState::Down, reason);
}

#[test]
fn a_server_that_takes_nothing_fails_the_step_that_sends() {
    let address = server(|stream| {
        std::thread::sleep(LIMIT);
        drop(stream);
    });
    // More than the buffers of both kernels hold.
    let much = vec![send(&[b'x'; 4_096]); 4_096];
    let mut setup = Setup::new(&[address]);
    setup.probe(quick(ProbeKind::SendExpect(dialogue(&much))));
    let proxy = setup.start();
    let reason = "L7TOUT: what was sent was not taken in time at step ";
    expect_state(&proxy, 0, (ServerState::Down, reason));
}

#[test]
fn a_dialogue_is_held_over_tls_too() {
    let authority = Authority::new();
    let settings = settings(&authority, named("127.0.0.1"), &Clients::Anybody);
    let address = tls_server(settings, |stream| {
        if line(stream).as_deref() == Some(b"PING\r\n") {
            // Whoever does not want it is gone.
            drop(stream.write_all(b"+PONG\r\n"));
        }
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
    });
    let over_tls = |tls| {
        ProbeKind::SendExpect(SendExpect {
            tls: Some(tls),
            ..dialogue(&ping())
        })
    };
    let mut setup = Setup::new(&[address]);
    setup.files.insert("ca.pem".into(), authority.pem());
    let mut tls = unverified();
    tls.ca_file = Some("ca.pem".into());
    setup.probe(quick(over_tls(tls)));
    let proxy = setup.start();
    expect_state(&proxy, 0, (ServerState::Up, "L7OK: all 2 steps done"));
    assert!(proxy.board.servers[0].certificate_not_after.get() > 0);
    drop(proxy);
    let plain = server(|mut stream| {
        if stream.write_all(b"+PONG\r\n").is_ok() {
            hold(stream);
        }
    });
    let mut setup = Setup::new(&[plain]);
    setup.probe(quick(over_tls(unverified())));
    expect_state(&setup.start(), 0, (ServerState::Down, "L6RSP: "));
}
