//! `fmc-lb status` as a user runs it, against an admin socket that answers one fixed status.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::status::{BackendStatus, ServerStatus, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn status() -> Status {
    let server = ServerStatus {
        address: "10.17.4.24:80".to_owned(),
        state: "down".to_owned(),
        since_ms_ago: Some(4_200),
        reason: "connection refused".to_owned(),
        sessions: 0,
        weight: 1,
        connected: 7,
        connect_errors: 2,
        probes: 40,
        probe_failures: 3,
        probe_ms_ago: Some(350),
        probe_time_ms: Some(0.5),
        downs: 1,
        ..ServerStatus::default()
    };
    Status {
        node: "lb1".to_owned(),
        version: "0.1.0".to_owned(),
        uptime_ms: 61_000,
        config_hash: "9f2c41d07be85a10".to_owned(),
        warnings: vec!["backend traefik-http: no server is usable".to_owned()],
        processes: Vec::new(),
        vips: Vec::new(),
        peer: None,
        listeners: Vec::new(),
        backends: vec![BackendStatus {
            name: "traefik-http".to_owned(),
            balance: "round-robin".to_owned(),
            probe: "tcp".to_owned(),
            servers: vec![server],
            ..BackendStatus::default()
        }],
        ..Status::default()
    }
}

/// Answers every question on the folder's admin socket; the thread ends with the test's process.
fn serve(folder: &Path) {
    let listener = UnixListener::bind(folder.join("admin.sock")).expect("a socket");
    let status = serde_json::to_string(&status()).expect("a status is JSON");
    let answer = format!("{{\"version\":1,\"ok\":{status}}}\n");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut request = String::new();
            stream.read_to_string(&mut request).expect("a request");
            // A client that went away meanwhile is none of this server's business.
            stream.write_all(answer.as_bytes()).ok();
        }
    });
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fmc-lb"));
    command
        .arg("status")
        .args(args)
        .arg("--runtime-dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("fmc-lb starts")
}

/// Waits at most ten seconds for its end, and kills it then.
fn end_of(mut child: Child) -> Option<i32> {
    for _ in 0..1_000 {
        if let Some(status) = child.try_wait().expect("our child") {
            return status.code();
        }
        pause();
    }
    child.kill().expect("our child");
    child.wait().expect("our child").code()
}

#[expect(clippy::disallowed_methods, reason = "std has no wait with a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

#[test]
fn without_a_node_it_names_the_socket_and_the_remedy_and_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = output(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    let socket = folder.path().join("admin.sock");
    assert!(error.contains(socket.to_str().expect("UTF-8")), "{error}");
    assert!(error.contains("--runtime-dir"), "{error}");
}

#[test]
fn the_table_is_for_people_and_the_json_is_the_status() {
    let folder = tempfile::tempdir().expect("a folder");
    serve(folder.path());
    let table = output(folder.path(), &[]);
    assert!(table.status.success());
    let text = String::from_utf8(table.stdout).expect("UTF-8");
    assert!(text.starts_with("lb1  fmc-lb 0.1.0  up 1m 01s"), "{text}");
    assert!(
        text.contains("! backend traefik-http: no server is usable\n"),
        "{text}"
    );
    let json = output(folder.path(), &["--json"]);
    assert!(json.status.success());
    let found: Status = serde_json::from_slice(&json.stdout).expect("a status");
    assert_eq!(found, status());
}

#[test]
fn an_admin_process_that_closes_early_is_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = UnixListener::bind(folder.path().join("admin.sock")).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    // Closes as early as it can, so that some requests meet a closed socket.
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let server = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            drop(listener.accept());
        }
    });
    for _ in 0..50 {
        let output = output(folder.path(), &[]);
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("closed"), "{error}");
    }
    over.store(true, Ordering::Relaxed);
    server.join().expect("it does not panic");
}

#[test]
fn watching_goes_on_until_an_interrupt_and_ends_well() {
    let folder = tempfile::tempdir().expect("a folder");
    serve(folder.path());
    let mut child = command(folder.path(), &["--watch", "--json"])
        .spawn()
        .expect("fmc-lb starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("UTF-8");
        let found: Status = serde_json::from_str(&line).expect("one status a line");
        assert_eq!(found.node, "lb1");
    }
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    assert_eq!(end_of(child), Some(0));
}

#[test]
fn watching_into_a_file_or_pipe_never_clears_a_screen() {
    let folder = tempfile::tempdir().expect("a folder");
    serve(folder.path());
    let mut child = command(folder.path(), &["--watch"])
        .spawn()
        .expect("fmc-lb starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    out.read_line(&mut first).expect("a line");
    assert!(first.starts_with("lb1  fmc-lb"), "{first:?}");
    // The reader goes: the next table finds a broken pipe, and that is no failure.
    drop(out);
    assert_eq!(end_of(child), Some(0));
}
