//! Sessions of which one side has ended its direction: how long the other one may say nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::config::LogFormat;

use crate::harness::*;
use crate::session_log::Log;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// A session that is relayed: client's and server's end.
fn relayed(change: impl FnOnce(&mut Setup)) -> (RunningProxy, Log, TcpStream, TcpStream) {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    // Looked at each two seconds, but for what is said here.
    setup.listener().tunnel_timeout = Some(LONG);
    change(&mut setup);
    let log = Log::of(&mut setup, LogFormat::Json);
    let proxy = setup.start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    client.write_all(b"?").expect("write");
    server.read_exact(&mut [0]).expect("it is relayed");
    (proxy, log, client, server)
}

fn end(stream: &TcpStream) -> Instant {
    stream.shutdown(Shutdown::Write).expect("FIN");
    Instant::now()
}

#[track_caller]
fn assert_took_short(began: Instant) {
    let took = began.elapsed();
    // The relay's clock is up to 10 ms behind.
    assert!(took >= SHORT - Duration::from_millis(20), "{took:?}");
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}

#[track_caller]
fn assert_logged(log: &Log, letters: &str, why: &str) {
    let line = log.json(1).remove(0);
    assert_eq!(line["termination"], letters, "{line}");
    assert!(line["reason"].to_string().contains(why), "{line}");
}

#[test]
fn a_server_that_says_nothing_more_to_a_client_that_has_ended() {
    let (proxy, log, mut client, mut server) = relayed(|setup| {
        setup.backend().server_fin_timeout = Some(SHORT);
        setup.listener().client_fin_timeout = Some(LONG);
    });
    // Both speak, and neither has ended: the limit is not in force.
    std::thread::sleep(2 * SHORT);
    let began = end(&client);
    assert_eq!(read_to_end(&mut server).expect("FIN"), 0);
    assert_eq!(read_to_end(&mut client).expect("in order"), 0);
    assert_took_short(began);
    assert_eq!(proxy.listener().idle_closed.get(), 1);
    assert_eq!(proxy.listener().aborted.get(), 0);
    assert_logged(&log, "sD", "server_fin");
}

#[test]
fn a_client_that_says_nothing_more_to_a_server_that_has_ended() {
    let (proxy, log, mut client, mut server) = relayed(|setup| {
        setup.listener().client_fin_timeout = Some(SHORT);
        setup.backend().server_fin_timeout = Some(LONG);
    });
    let began = end(&server);
    assert_eq!(read_to_end(&mut client).expect("FIN"), 0);
    assert_eq!(read_to_end(&mut server).expect("in order"), 0);
    assert_took_short(began);
    assert_eq!(proxy.listener().idle_closed.get(), 1);
    assert_logged(&log, "cD", "client_fin");
}

#[test]
fn whoever_goes_on_speaking_is_not_cut_off() {
    let (proxy, _log, mut client, mut server) =
        relayed(|setup| setup.backend().server_fin_timeout = Some(SHORT));
    end(&client);
    for _ in 0..10 {
        std::thread::sleep(SHORT / 4);
        server.write_all(b"still here").expect("write");
        client.read_exact(&mut [0; 10]).expect("it is relayed");
    }
    let began = Instant::now();
    assert_eq!(read_to_end(&mut client).expect("in order"), 0);
    assert_took_short(began);
    drop(proxy);
}

#[test]
fn it_supersedes_the_other_limits_of_silence() {
    let (proxy, _log, client, mut server) = relayed(|setup| {
        setup.listener().tunnel_timeout = Some(SHORT);
        setup.backend().server_fin_timeout = Some(LONG);
    });
    end(&client);
    std::thread::sleep(4 * SHORT);
    assert_eq!(
        proxy.listener().sessions.get(),
        1,
        "the tunnel timeout holds on"
    );
    server.write_all(b"late").expect("write");
    expect(client, b"late");
}

fn expect(mut from: TcpStream, word: &[u8]) {
    let mut got = vec![0; word.len()];
    from.read_exact(&mut got).expect("it is relayed");
    assert_eq!(got, word);
}

/// It is the client that is slow then, not the server.
#[test]
fn a_server_whose_bytes_wait_for_the_client_is_not_blamed() {
    let (proxy, _log, mut client, mut server) =
        relayed(|setup| setup.backend().server_fin_timeout = Some(SHORT));
    end(&client);
    server.set_write_timeout(Some(SHORT)).expect("set");
    let mut sent = 0;
    while let Ok(n) = server.write(&[5; 65_536]) {
        sent += n;
    }
    std::thread::sleep(3 * SHORT);
    assert_eq!(proxy.listener().sessions.get(), 1);
    // When it takes them, the limit is in force again.
    let mut got = 0;
    let mut buffer = vec![0; 65_536];
    loop {
        match client.read(&mut buffer).expect("in order") {
            0 => break,
            n => got += n,
        }
    }
    assert_eq!(got, sent);
    assert_eq!(proxy.listener().idle_closed.get(), 1);
}
