//! What the session log says of sessions that went well; its files, and what becomes of lines that
//! cannot be written.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use common::config::{AcceptProxy, LogFormat, ProxyVersions, SessionLog};
use serde_json::Value;

use crate::harness::*;

/// The session log of a proxy's listener, in a file of its own.
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Log {
    pub(crate) fn of(setup: &mut Setup, format: LogFormat) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sessions.log");
        setup.listener().session_log = Some(SessionLog {
            format,
            file: Some(path.clone()),
        });
        Self {
            path,
            _folder: folder,
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Waits for so many lines; there are no more of them.
    #[track_caller]
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        eventually("the lines are written", || {
            self.text().matches('\n').count() >= count
        });
        let text = self.text();
        assert_eq!(text.matches('\n').count(), count, "{text}");
        text.lines().map(str::to_owned).collect()
    }

    /// As [`Log::lines`], for JSON.
    #[track_caller]
    pub(crate) fn json(&self, count: usize) -> Vec<Value> {
        let parse = |line: String| serde_json::from_str(&line).expect("JSON");
        self.lines(count).into_iter().map(parse).collect()
    }
}

#[test]
fn a_session_that_went_well_is_one_line_of_json() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    client.write_all(&[1; 1_000]).expect("write");
    server.read_exact(&mut [0; 1_000]).expect("read");
    server.write_all(&[2; 3_000]).expect("write");
    client.read_exact(&mut [0; 3_000]).expect("read");
    let held = Duration::from_millis(120);
    std::thread::sleep(held);
    let id = crate::runtime::sessions(&proxy).remove(0).id;
    let (own, source) = (
        client.local_addr().expect("own").to_string(),
        server.peer_addr().expect("peer").to_string(),
    );
    assert_eq!(log.text(), "", "it is told at its end");
    client.shutdown(Shutdown::Write).expect("FIN");
    server.shutdown(Shutdown::Write).expect("FIN");
    let line = log.json(1).remove(0);
    assert_eq!(line["id"], id);
    assert_eq!(line["client"], own);
    assert!(line["via"].is_null() && line["sni"].is_null() && line["reason"].is_null());
    assert_eq!(line["listener"], "api");
    assert_eq!(line["bind"], proxy.address.to_string());
    assert_eq!(line["backend"], "k3s-api");
    assert_eq!(line["server"], address.to_string());
    assert_eq!(line["source"], source);
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&1_000.into(), &3_000.into())
    );
    assert_eq!(
        (&line["queue_ms"], &line["queued_ahead"]),
        (&0.into(), &0.into())
    );
    let time = |key: &str| line[key].as_u64().expect("milliseconds");
    assert!(time("total_ms") >= 120, "{line}");
    assert!(time("connect_ms") <= time("total_ms") - 100, "{line}");
    assert_eq!(
        (&line["retries"], &line["redispatched"]),
        (&0.into(), &false.into())
    );
    let one_each = serde_json::json!({ "process": 1, "listener": 1, "backend": 1, "server": 1 });
    assert_eq!(line["sessions"], one_each);
    assert_eq!(line["termination"], "--");
    assert_eq!(proxy.board.session_log.written.get(), 1);
    assert_eq!(proxy.board.session_log.lost.get(), 0);
}

#[test]
fn tcplog_is_what_haproxy_writes() {
    let (refusing, _port) = refusing();
    let echo = echo_server();
    let mut setup = Setup::new(&[refusing, echo]);
    setup.backend().balance = common::config::Balance::First;
    for server in &mut setup.backend().servers {
        server.max_sessions = Some(10);
    }
    let log = Log::of(&mut setup, LogFormat::Tcplog);
    let proxy = setup.start();
    let mut other = proxy.connect();
    ping(&mut other);
    let mut client = proxy.connect();
    ping(&mut client);
    let own = client.local_addr().expect("own");
    drop(client);
    let line = log.lines(1).remove(0);
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words.len(), 9, "{line}");
    assert_eq!(words[0], own.to_string());
    // [29/Nov/2026:13:50:00.123]
    let date = words[1].trim_start_matches('[').trim_end_matches(']');
    assert_eq!((date.len(), words[1].len()), (24, 26), "{line}");
    assert!(date.split(['/', ':', '.']).count() == 7, "{line}");
    assert_eq!(words[2], "api");
    assert_eq!(words[3], format!("k3s-api/{echo}"));
    let timers: Vec<i64> = words[4]
        .split('/')
        .map(|t| t.parse().expect("ms"))
        .collect();
    assert!(
        timers[0] == 0 && timers[1] >= 0 && timers[2] >= timers[1],
        "{line}"
    );
    assert_eq!((words[5], words[6]), ("1", "--"));
    // The first server refused: one retry, on another one. Both sessions are counted.
    assert_eq!((words[7], words[8]), ("2/2/2/2/+1", "0/0"));
}

#[test]
fn who_a_header_names_and_what_a_client_asks_for_are_told() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().accept_proxy = Some(AcceptProxy {
        from: vec![net("127.0.0.0/8")],
        version: ProxyVersions::Any,
        timeout: Duration::from_secs(5),
    });
    setup.listener().routes = vec![crate::opening::route(&["b.example.org"], &[])];
    setup.listener().routes[0].backend = common::config::BackendIndex(0);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let hello = crate::opening::hello("a.example.org", &[]);
    let mut client = proxy.connect();
    client
        .write_all(b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n")
        .expect("write");
    client.write_all(&hello).expect("write");
    client.read_exact(&mut vec![0; hello.len()]).expect("echo");
    let own = client.local_addr().expect("own").to_string();
    drop(client);
    let line = log.json(1).remove(0);
    assert_eq!(line["client"], "198.51.100.7:4711");
    assert_eq!(line["via"], own);
    assert_eq!(line["sni"], "a.example.org");
    assert_eq!(line["bytes_in"], hello.len());
    assert_eq!(line["bytes_out"], hello.len());
}

#[test]
fn a_session_that_waited_in_the_queue_says_how_long_and_behind_whom() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.backend().servers[0].max_sessions = Some(1);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let mut held = proxy.connect();
    ping(&mut held);
    let mut waiting = Vec::new();
    for n in 1..=2 {
        waiting.push(proxy.connect());
        eventually("it waits", || proxy.board.backends[0].queued.get() == n);
    }
    std::thread::sleep(Duration::from_millis(100));
    drop(held);
    for mut client in waiting {
        ping(&mut client);
    }
    let lines = log.json(3);
    let ahead: Vec<u64> = lines
        .iter()
        .filter_map(|line| line["queued_ahead"].as_u64())
        .collect();
    assert_eq!(ahead, [0, 0, 1], "{lines:?}");
    assert_eq!(lines[0]["queue_ms"], 0);
    // The session itself, and two that waited.
    assert_eq!(lines[0]["sessions"]["backend"], 3);
    assert_eq!(lines[0]["sessions"]["server"], 1);
    for line in &lines[1..] {
        assert!(line["queue_ms"].as_u64() >= Some(100), "{line}");
        assert!(line["connect_ms"].as_u64() < Some(100), "{line}");
    }
}

static PROCESS_LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[test]
fn without_a_file_lines_go_where_the_process_logs() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().session_log = Some(SessionLog {
        format: LogFormat::Json,
        file: None,
    });
    setup.process_log = |lines| {
        let mut log = PROCESS_LOG.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(lines);
        Ok(())
    };
    let mut proxy = setup.start();
    for _ in 0..5 {
        ping(&mut proxy.connect());
    }
    // What waits is written before the end.
    proxy.control.request_stop(None);
    proxy.join().expect("an orderly end");
    let log = PROCESS_LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8(log.clone()).expect("text");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 5);
    assert!(
        lines.iter().all(|line| line["termination"] == "--"),
        "{text}"
    );
}

/// Whether the log of the test below stands still.
static STUCK: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());

#[test]
fn a_log_that_stands_still_delays_no_session_and_its_lines_are_counted() {
    let denied = Ipv4Addr::new(127, 0, 0, 5);
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().deny = vec![net("127.0.0.5/32")];
    setup.listener().session_log = Some(SessionLog {
        format: LogFormat::Json,
        file: None,
    });
    setup.process_log = |_| {
        let (stuck, over) = &STUCK;
        let stuck = stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let released = over.wait_timeout_while(stuck, 6 * LIMIT, |stuck| *stuck);
        let _whether_in_time = released.unwrap_or_else(PoisonError::into_inner);
        Ok(())
    };
    let proxy = setup.start();
    let refused = 9_000;
    for _ in 0..refused {
        expect_refusal_from(denied, &proxy);
    }
    ping(&mut proxy.connect());
    let slot = &proxy.board.session_log;
    eventually("lines are lost", || slot.lost.get() > 0);
    assert_eq!(slot.written.get(), 0);
    assert!(slot.lost_at.get().is_some());
    *STUCK.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    STUCK.1.notify_all();
    eventually("every line is accounted for", || {
        slot.written.get() + slot.lost.get() == refused + 1
    });
    // The queue's length was written, and the batch that was under way.
    assert!(slot.written.get() > 8_000, "{slot:?}");
}

#[test]
fn a_file_that_cannot_be_opened_is_told_and_tried_again() {
    let mut setup = Setup::new(&[echo_server()]);
    let log = Log::of(&mut setup, LogFormat::Json);
    // In its place: a folder.
    std::fs::create_dir(&log.path).expect("made");
    let proxy = setup.start();
    let slot = &proxy.board.session_log;
    ping(&mut proxy.connect());
    eventually("its line is lost", || slot.lost.get() == 1);
    eventually("it is said why", || !slot.problem.get().is_empty());
    let problem = slot.problem.get();
    let path = log.path.display().to_string();
    assert!(problem.starts_with(&path), "{problem}");
    assert!(problem.contains("directory"), "{problem}");
    std::fs::remove_dir(&log.path).expect("removed");
    std::thread::sleep(Duration::from_millis(1_010));
    ping(&mut proxy.connect());
    log.json(1);
    eventually("all is well", || slot.problem.get().is_empty());
    assert_eq!((slot.written.get(), slot.lost.get()), (1, 1));
}

#[test]
fn a_rotated_file_is_left_for_the_new_one() {
    let mut setup = Setup::new(&[echo_server()]);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    ping(&mut proxy.connect());
    log.json(1);
    let rotated = log.path.with_extension("1");
    std::fs::rename(&log.path, &rotated).expect("renamed");
    std::thread::sleep(Duration::from_millis(1_010));
    ping(&mut proxy.connect());
    log.json(1);
    let old = std::fs::read_to_string(&rotated).expect("there");
    assert_eq!(old.lines().count(), 1);
    assert_eq!(proxy.board.session_log.lost.get(), 0);
}

#[test]
fn a_full_disk_is_told_and_costs_lines_only() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().session_log = Some(SessionLog {
        format: LogFormat::Json,
        file: None,
    });
    setup.process_log = |_| Err(std::io::ErrorKind::StorageFull.into());
    let proxy = setup.start();
    for _ in 0..3 {
        ping(&mut proxy.connect());
    }
    let slot = &proxy.board.session_log;
    eventually("the lines are counted", || slot.lost.get() == 3);
    eventually("it is said why", || !slot.problem.get().is_empty());
    let problem = slot.problem.get();
    assert_eq!(problem, "standard error: no storage space");
}
