//! Probes of kind `external`, with the test in the place of the admin process.

use std::time::Duration;

use common::board::{AdminBoard, ExternalEnd, ProbeStatus, ProxyBoard, ServerState};
use common::config::{ExternalProbe, Probe, ProbeKind};

use crate::harness::*;
use crate::probe::{expect_state, quick, status};

fn external() -> Probe {
    quick(ProbeKind::External(ExternalProbe {
        program: "/usr/local/bin/is-well".into(),
        arguments: Vec::new(),
    }))
}

fn end(status: ProbeStatus, code: Option<u8>, words: &str) -> ExternalEnd {
    ExternalEnd {
        status,
        code,
        words: words.to_owned(),
    }
}

/// Waits for the next question about the first server.
fn asked(proxy: &ProxyBoard, after: u64) -> u64 {
    eventually("it is asked", || proxy.external[0].number() > after);
    proxy.external[0].number()
}

fn answer(board: &AdminBoard, number: u64, how: &ExternalEnd) {
    board.header.heartbeat.set(now());
    board.external[0].set(number, how, now());
}

#[test]
fn how_the_program_ended_decides() {
    let address = echo_server();
    let mut setup = Setup::new(&[address]);
    setup.probe(external());
    let admin = setup.admin;
    let proxy = setup.start();
    let mut number = asked(proxy.board, 0);
    assert_eq!(proxy.board.external[0].backend.get(), 0);
    assert_eq!(proxy.board.external[0].server.get(), address.to_string());
    // An answer to an earlier question is none.
    answer(admin, number - 1, &end(ProbeStatus::ProcErr, Some(1), "?"));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(proxy.board.servers[0].probes.get(), 0);
    answer(
        admin,
        number,
        &end(ProbeStatus::ProcOk, Some(0), "exit code 0"),
    );
    expect_state(&proxy, 0, (ServerState::Up, "PROCOK: exit code 0"));
    for _ in 0..3 {
        number = asked(proxy.board, number);
        let code = end(ProbeStatus::ProcErr, Some(3), "exit code 3: disk full");
        answer(admin, number, &code);
    }
    let reason = "PROCERR: exit code 3: disk full";
    expect_state(&proxy, 0, (ServerState::Down, reason));
    assert_eq!(proxy.board.servers[0].probe_code.get(), 3);
    number = asked(proxy.board, number);
    answer(
        admin,
        number,
        &end(ProbeStatus::ProcTout, None, "killed after 2s"),
    );
    let late = "PROCTOUT: killed after 2s";
    expect_state(&proxy, 0, (ServerState::Down, late));
}

#[test]
fn a_program_that_cannot_be_started_or_is_not_run_changes_nothing_and_is_told() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.probe(external());
    let admin = setup.admin;
    let proxy = setup.start();
    let number = asked(proxy.board, 0);
    answer(
        admin,
        number,
        &end(ProbeStatus::ProcOk, Some(0), "exit code 0"),
    );
    expect_state(&proxy, 0, (ServerState::Up, "PROCOK"));
    let number = asked(proxy.board, number);
    let absent = end(ProbeStatus::SockErr, None, "not started: no such file");
    answer(admin, number, &absent);
    let told = "SOCKERR: not started: no such file; before: PROCOK: exit code 0";
    expect_state(&proxy, 0, (ServerState::Up, told));
    // Nobody answers any more.
    let dead = "SOCKERR: the admin process has not run the program; before: PROCOK";
    expect_state(&proxy, 0, (ServerState::Up, dead));
    assert_eq!(status(&proxy.board.servers[0]), ProbeStatus::SockErr);
    // The next admin process goes on.
    let number = asked(proxy.board, number + 1);
    answer(
        admin,
        number,
        &end(ProbeStatus::ProcOk, Some(0), "exit code 0"),
    );
    expect_state(&proxy, 0, (ServerState::Up, "PROCOK"));
}

#[test]
fn while_admin_lives_a_program_may_wait_its_turn() {
    let mut setup = Setup::new(&[echo_server()]);
    let mut probe = external();
    probe.timeout = Duration::from_millis(40);
    setup.probe(probe);
    let admin = setup.admin;
    let proxy = setup.start();
    let number = asked(proxy.board, 0);
    // Longer than its time and the start of an admin process.
    for _ in 0..30 {
        admin.header.heartbeat.set(now());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(proxy.board.servers[0].probes.get(), 0);
    assert_eq!(proxy.board.external[0].number(), number);
    answer(
        admin,
        number,
        &end(ProbeStatus::ProcOk, Some(0), "exit code 0"),
    );
    expect_state(&proxy, 0, (ServerState::Up, "PROCOK: exit code 0"));
}
