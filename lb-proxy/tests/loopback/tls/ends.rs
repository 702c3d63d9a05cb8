//! Bytes through TLS, and how streams end: in order, half, cut.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::peer::*;
use crate::harness::*;

/// Bytes that nobody mistakes for others: xorshift64.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut word = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    let words = (0..len.div_ceil(8)).flat_map(|_| word());
    words.take(len).collect()
}

/// Reads to close_notify.
fn rest_of(client: &mut Client) -> Vec<u8> {
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("a whole stream");
    got
}

#[test]
fn megabytes_are_byte_exact_both_ways_at_once() {
    const LEN: usize = 12_345_678;
    for versions in EACH {
        let (address, socket) = accepting_server();
        let setup = TlsSetup::new(&[address]);
        let config = client_config(&setup.authority, versions);
        let (proxy, _) = setup.start();
        let mut client = Client::connect(&proxy, &config, NAME);
        let mut server = accept(&socket);
        let (up, down) = (noise(11, LEN), noise(22, LEN));
        std::thread::scope(|scope| {
            let (mut reading, writing) = (server.try_clone().expect("clone"), &mut server);
            let up = &up;
            scope.spawn(move || {
                let mut got = Vec::new();
                reading.read_to_end(&mut got).expect("FIN");
                assert!(got == *up, "bytes from the client differ");
            });
            let down = &down;
            scope.spawn(move || {
                writing.write_all(down).expect("write");
                writing.shutdown(Shutdown::Write).expect("FIN");
            });
            // One thread of the client: a chunk there, a chunk back.
            let mut got = vec![0; LEN];
            for (there, back) in up.chunks(64 * 1024).zip(got.chunks_mut(64 * 1024)) {
                client.write_all(there).expect("write");
                client.read_exact(back).expect("read");
            }
            client.finish();
            assert!(got == *down, "bytes from the server differ");
            assert_eq!(rest_of(&mut client), b"");
        });
        eventually("the session has ended", || {
            proxy.listener().sessions.get() == 0
        });
        eventually("all bytes are on the board", || {
            proxy.listener().bytes_in.get() == LEN as u64
                && proxy.listener().bytes_out.get() == LEN as u64
        });
        assert_eq!(proxy.listener().aborted.get(), 0);
        assert_eq!(counted(&proxy).truncated.get(), 0);
    }
}

#[test]
fn a_half_closed_upload_gets_its_answer() {
    let address = server(|mut stream| {
        let n = read_to_end(&mut stream).expect("FIN");
        stream.write_all(format!("{n}").as_bytes()).expect("answer");
    });
    for versions in EACH {
        let setup = TlsSetup::new(&[address]);
        let config = client_config(&setup.authority, versions);
        let (proxy, _) = setup.start();
        let mut client = Client::connect(&proxy, &config, NAME);
        client.write_all(&vec![7; 2_000_000]).expect("upload");
        client.finish();
        assert_eq!(rest_of(&mut client), b"2000000");
        eventually("the session has ended", || {
            proxy.listener().sessions.get() == 0
        });
        assert_eq!(counted(&proxy).truncated.get(), 0);
        assert_eq!(proxy.listener().aborted.get(), 0);
    }
}

#[test]
fn the_servers_fin_leaves_the_clients_direction_open() {
    let (address, socket) = accepting_server();
    let (proxy, config) = TlsSetup::new(&[address]).start();
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    server.write_all(b"bye").expect("write");
    server.shutdown(Shutdown::Write).expect("FIN");
    assert_eq!(rest_of(&mut client), b"bye");
    client.write_all(b"still here").expect("write");
    client.finish();
    let mut word = String::new();
    server.read_to_string(&mut word).expect("FIN");
    assert_eq!(word, "still here");
    eventually("the session has ended", || {
        proxy.listener().sessions.get() == 0
    });
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn a_client_that_ends_without_a_word_looks_like_no_whole_stream() {
    let (address, socket) = accepting_server();
    let (proxy, config) = TlsSetup::new(&[address]).start();
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    client.write_all(b"half of i").expect("write");
    // A FIN that anybody on the way may have made up.
    client.socket.shutdown(Shutdown::Write).expect("FIN");
    expect_reset(&mut server);
    expect_reset(&mut client.socket);
    eventually("it is counted", || counted(&proxy).truncated.get() == 1);
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn a_reset_of_the_server_resets_the_client_without_a_close_notify() {
    let (address, socket) = accepting_server();
    let (proxy, config) = TlsSetup::new(&[address]).start();
    let mut client = Client::connect(&proxy, &config, NAME);
    client.write_all(b"?").expect("write");
    let mut server = accept(&socket);
    server.read_exact(&mut [0]).expect("the session is relayed");
    reset(server);
    let error = client.read(&mut [0]).expect_err("no whole stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    eventually("it is counted", || proxy.listener().aborted.get() == 1);
}

#[test]
fn a_reset_of_the_client_resets_the_server_also_behind_its_end() {
    let (address, socket) = accepting_server();
    let (proxy, config) = TlsSetup::new(&[address]).start();
    let client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    reset(client.socket);
    expect_reset(&mut server);
    eventually("it is counted", || proxy.listener().aborted.get() == 1);

    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    client.finish();
    expect_fin(&mut server);
    reset(client.socket);
    eventually("the server was reset", || {
        let error = server.take_error().expect("SO_ERROR");
        error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    });
    eventually("it is counted", || proxy.listener().aborted.get() == 2);
}

#[test]
fn a_reset_is_heard_while_the_other_side_does_not_read() {
    let (address, socket) = accepting_server();
    let (proxy, config) = TlsSetup::new(&[address]).start();
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    let slow = Duration::from_millis(300);
    client.socket.set_write_timeout(Some(slow)).expect("set");
    client.socket.set_read_timeout(Some(slow)).expect("set");
    while client.write_all(&[5; 65_536]).is_ok() {}
    reset(client.socket);
    eventually("the session has ended", || {
        proxy.listener().aborted.get() == 1
    });
    expect_reset(&mut server);
}

#[test]
fn silence_ends_a_session_in_order() {
    let (address, socket) = accepting_server();
    let mut setup = TlsSetup::new(&[address]);
    setup.setup.listener().tunnel_timeout = Some(Duration::from_millis(300));
    let (proxy, config) = setup.start();
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    assert_eq!(rest_of(&mut client), b"");
    expect_fin(&mut server);
    eventually("it is counted", || proxy.listener().idle_closed.get() == 1);
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn a_server_that_says_nothing_more_to_a_client_that_has_ended_is_left_in_order() {
    let (address, socket) = accepting_server();
    let mut setup = TlsSetup::new(&[address]);
    setup.setup.listener().tunnel_timeout = Some(Duration::from_secs(60));
    setup.setup.backend().server_fin_timeout = Some(Duration::from_millis(300));
    let (proxy, config) = setup.start();
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    client.finish();
    assert_eq!(rest_of(&mut client), b"");
    expect_fin(&mut server);
    eventually("it is counted", || proxy.listener().idle_closed.get() == 1);
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn an_idle_session_with_bytes_left_is_reset() {
    let (address, socket) = accepting_server();
    let mut setup = TlsSetup::new(&[address]);
    setup.setup.listener().tunnel_timeout = Some(Duration::from_millis(500));
    let (proxy, config) = setup.start();
    let mut client = Client::connect(&proxy, &config, NAME);
    let mut server = accept(&socket);
    // The client does not read: sockets and TLS are full of the server's bytes.
    let slow = Duration::from_millis(300);
    server.set_write_timeout(Some(slow)).expect("set");
    while server.write(&[5; 65_536]).is_ok() {}
    eventually("it is closed", || proxy.listener().idle_closed.get() == 1);
    let mut all = Vec::new();
    let error = client.read_to_end(&mut all).expect_err("no whole stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn the_server_of_a_session_in_tls_has_its_options() {
    let (address, socket) = accepting_server();
    let mut setup = TlsSetup::new(&[address]);
    setup.setup.backend().keepalive = Some(common::config::Keepalive {
        idle: Duration::from_secs(44),
        interval: Duration::from_secs(7),
        count: 4,
    });
    let (proxy, config) = setup.start();
    let mut client = Client::connect(&proxy, &config, NAME);
    client.write_all(b"?").expect("write");
    let mut server = accept(&socket);
    server.read_exact(&mut [0]).expect("the session is relayed");
    let ours = crate::limits::own_socket(server.peer_addr().expect("peer"), address);
    assert!(ours.tcp_nodelay().expect("an option"));
    assert!(ours.keepalive().expect("an option"));
}
