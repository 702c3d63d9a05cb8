#![expect(clippy::disallowed_methods, reason = "tests wait")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use common::board::{ExternalEnd, ProbeStatus};

use super::*;
use crate::admin::fixture;

/// A node whose backends are probed by a script.
struct Node {
    folder: tempfile::TempDir,
    config: Arc<Config>,
    proxy: &'static ProxyBoard,
    board: &'static AdminBoard,
}

impl Node {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the folder is writable");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("it is ours");
        let mut config = fixture::config();
        let probe = config.backends[1].probe.as_mut().expect("it is probed");
        probe.kind = ProbeKind::External(common::config::ExternalProbe {
            program: path,
            arguments: vec!["{port}".into(), folder.path().display().to_string()],
        });
        probe.timeout = Duration::from_secs(10);
        let boards = fixture::empty_boards();
        Self {
            folder,
            config: Arc::new(config),
            proxy: boards.proxy,
            board: boards.admin,
        }
    }

    /// Runs what is wanted until `done`, and then no more.
    fn serve_until(&self, done: impl Fn() -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let limit = Instant::now() + Duration::from_secs(20);
        runtime.block_on(async {
            let boards = (self.proxy, self.board);
            let runner = Runner::new((&self.config, "lb1".into()), boards);
            let mut runner = runner.expect("a pipe");
            tokio::select! {
                never = runner.serve() => match never {},
                () = async {
                    while !done() {
                        assert!(Instant::now() < limit, "it did not come to pass");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                } => {}
            }
        });
    }

    fn answer(&self, place: usize, number: u64) -> Option<ExternalEnd> {
        self.board.external[place].to(number)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

#[test]
fn what_the_proxy_wants_is_run_and_answered() {
    let node = Node::new("echo $FMC_LB_NODE $FMC_LB_BACKEND $FMC_LB_SERVER_PORT $1; exit 7");
    let number = node.proxy.external[5].ask(1, "10.17.4.24:443");
    node.serve_until(|| node.answer(5, number).is_some());
    let end = node.answer(5, number).expect("it is there");
    assert_eq!((end.status, end.code), (ProbeStatus::ProcErr, Some(7)));
    let name = &node.config.backends[1].name;
    assert_eq!(end.words, format!("exit code 7: lb1 {name} 443 443"));
    assert_eq!(node.board.external_runs.get(), 1);
    // A later process does not run it again.
    let second = node.proxy.external[6].ask(1, "10.17.4.25:443");
    node.serve_until(|| node.answer(6, second).is_some());
    assert_eq!(node.board.external_runs.get(), 2);
}

#[test]
fn a_few_run_at_a_time_and_all_have_their_turn() {
    let node = Node::new("echo + >> $2/log; sleep 0.2; echo - >> $2/log");
    let places = 0..3 * MOST_AT_ONCE;
    let numbers: Vec<u64> = places
        .clone()
        .map(|place| node.proxy.external[place].ask(1, "10.17.4.24:443"))
        .collect();
    node.serve_until(|| {
        assert!(node.board.external_running.get() <= MOST_AT_ONCE as u64);
        places
            .clone()
            .all(|place| node.answer(place, numbers[place]).is_some())
    });
    let log = node.file("log");
    let mut running = 0;
    let mut most = 0;
    for line in log.lines() {
        running = if line == "+" {
            running + 1
        } else {
            running - 1
        };
        most = most.max(running);
    }
    assert_eq!(log.lines().count(), 2 * places.len());
    assert!((2..=MOST_AT_ONCE).contains(&most), "{most} at a time");
}

#[test]
fn nothing_but_a_program_of_the_configuration_is_run() {
    let node = Node::new("echo ran >> $2/log");
    for (place, (backend, server)) in [(0, "10.17.4.24:443"), (9, "10.17.4.24:443"), (1, "/bin/sh")]
        .into_iter()
        .enumerate()
    {
        node.proxy.external[place].ask(backend, server);
    }
    let number = node.proxy.external[3].ask(1, "10.17.4.24:443");
    node.serve_until(|| node.answer(3, number).is_some());
    assert_eq!(node.board.external_runs.get(), 1);
    assert_eq!(node.file("log"), "ran\n");
}

#[test]
fn programs_end_with_the_runner() {
    let node = Node::new("echo $$ > $2/pid.new; mv $2/pid.new $2/pid; exec sleep 300");
    node.proxy.external[0].ask(1, "10.17.4.24:443");
    node.serve_until(|| !node.file("pid").is_empty());
    let stat = format!("/proc/{}/stat", node.file("pid").trim());
    let state = fs::read_to_string(stat).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z"), "{state}");
    assert_eq!(
        node.board.external[0].number(),
        0,
        "it says nothing of the server"
    );
}

#[test]
fn programs_are_run_from_the_reload_on_that_brings_them() {
    let node = Node::new("exit 0");
    let without = Arc::new(fixture::config());
    let (sender, configs) = watch::channel(None);
    let number = node.proxy.external[3].ask(1, "10.17.4.24:443");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let limit = Instant::now() + Duration::from_secs(20);
    runtime.block_on(async {
        let boards = (node.proxy, node.board);
        let programs = Programs::new((&without, "lb1".into()), boards);
        tokio::select! {
            () = programs.serve(configs) => panic!("it has ended"),
            () = async {
                tokio::time::sleep(LOOK * 3).await;
                assert!(node.answer(3, number).is_none(), "nobody may run it");
                sender.send_replace(Some(Arc::clone(&node.config)));
                while node.answer(3, number).is_none() {
                    assert!(Instant::now() < limit, "it was not run");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => {}
        }
    });
}
