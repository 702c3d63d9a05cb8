//! Stopping.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::time::Moment;

use crate::harness::*;

#[test]
fn a_stop_refuses_new_clients_and_lets_old_sessions_end() {
    let setup = Setup::new(&[echo_server()]);
    // What a proxy before it has left, which was stopping.
    setup.board.drain.until.set(Moment::from_nanos(1));
    let mut proxy = setup.start();
    let mut client = proxy.connect();
    ping(&mut client);
    assert_eq!(proxy.board.drain.until.get(), None);
    let start = Instant::now();
    proxy.control.request_stop(None);
    eventually("the listening socket is closed", || {
        TcpStream::connect(proxy.address).is_err()
    });
    assert_eq!(proxy.board.accepting[0].get(), None);
    ping(&mut client);
    drop(client);
    proxy.join().expect("an orderly end");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(proxy.listener().sessions.get(), 0);
    assert_eq!(proxy.listener().aborted.get(), 0);
    assert_eq!(proxy.board.drain_reset.get(), 0);
}

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn what_is_left_at_the_end_of_the_drain_is_reset_and_counted() {
    is_reset_after_short(|setup| {
        setup.config.proxy.drain = SHORT;
        None
    });
}

#[test]
fn a_stop_may_say_how_long_its_drain_is() {
    is_reset_after_short(|setup| {
        setup.config.proxy.drain = Duration::from_secs(60);
        Some(SHORT)
    });
}

fn is_reset_after_short(drain: impl FnOnce(&mut Setup) -> Option<Duration>) {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    let drain = drain(&mut setup);
    let mut proxy = setup.start();
    let mut pairs: Vec<_> = (0..3).map(|_| (proxy.connect(), accept(&socket))).collect();
    // One of them ends in time.
    drop(pairs.pop());
    eventually("its end is noticed", || {
        proxy.listener().sessions.get() == 2
    });
    let start = Instant::now();
    proxy.control.request_stop(drain);
    proxy.join().expect("an orderly end");
    let took = start.elapsed();
    assert!(took >= SHORT && took < Duration::from_secs(2), "{took:?}");
    for (mut client, mut server) in pairs {
        expect_reset(&mut client);
        expect_reset(&mut server);
    }
    assert_eq!(proxy.listener().sessions.get(), 0);
    assert_eq!(proxy.board.drain_reset.get(), 2);
}

#[test]
fn a_stop_that_was_asked_for_before_the_start_counts() {
    let setup = Setup::new(&[echo_server()]);
    let control = lb_proxy::Control::new();
    control.request_stop(None);
    let inputs = lb_proxy::Inputs {
        config: setup.config.into(),
        node: common::config::NodeIndex(0),
        board: setup.board,
        admin: setup.admin,
        sessions: None,
        threads: 2,
        sockets: Vec::new(),
        files: setup.files,
        process_log: setup.process_log,
    };
    lb_proxy::run(inputs, control).expect("an orderly end");
}

#[test]
fn too_many_threads_are_refused() {
    let setup = Setup::new(&[echo_server()]);
    let inputs = lb_proxy::Inputs {
        config: setup.config.into(),
        node: common::config::NodeIndex(0),
        board: setup.board,
        admin: setup.admin,
        sessions: None,
        threads: common::config::MAX_THREADS + 1,
        sockets: Vec::new(),
        files: setup.files,
        process_log: setup.process_log,
    };
    let error = lb_proxy::run(inputs, lb_proxy::Control::new()).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "starting 65 relay threads, 1 to 64 are possible"
    );
}

#[test]
fn quiet_sessions_are_closed_in_order_all_over_the_drain() {
    drains(|_| {});
}

#[test]
fn those_of_a_proxy_that_has_retired_are_closed_likewise() {
    drains(|proxy| {
        proxy.control.request_retirement();
        eventually("it accepts no more", || {
            proxy.board.accepting[0].get().is_none()
        });
        eventually("what is left is counted", || {
            proxy.board.ages[0].counts[0].get() == 21
        });
    });
}

fn drains(before: impl FnOnce(&RunningProxy)) {
    let mut setup = Setup::new(&[echo_server()]);
    setup.config.proxy.drain = Duration::from_secs(12);
    let mut proxy = setup.start();
    let mut clients: Vec<_> = (0..20).map(|_| proxy.connect()).collect();
    clients.iter_mut().for_each(ping);
    let mut busy = proxy.connect();
    ping(&mut busy);
    before(&proxy);
    let start = Instant::now();
    proxy.control.request_stop(None);
    let mut ends = Vec::new();
    while !clients.is_empty() && start.elapsed() < Duration::from_secs(11) {
        ping(&mut busy);
        std::thread::sleep(Duration::from_millis(50));
        clients.retain_mut(|client| {
            client.set_nonblocking(true).expect("a socket");
            match client.read(&mut [0; 1]) {
                Ok(0) => {
                    ends.push(start.elapsed());
                    false
                }
                Ok(_) => panic!("nobody has said anything"),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
                    true
                }
            }
        });
    }
    assert_eq!(ends.len(), 20, "{ends:?}");
    let (first, last) = (ends[0], ends[19]);
    assert!(
        last - first > Duration::from_secs(4),
        "{first:?} to {last:?}"
    );
    assert_eq!(proxy.board.drain.closed.get(), 20);
    assert!(proxy.board.drain.until.get().is_some());
    drop(busy);
    proxy.join().expect("an orderly end");
    assert_eq!(proxy.listener().aborted.get(), 0);
}
