//! Bytes, FIN, RST and silence through one session.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::*;

/// Bytes that nobody mistakes for others: xorshift64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(len).collect()
    }
}

/// Writes noise in segments of random size, then FIN.
fn send_noise(mut stream: TcpStream, seed: u64, total: usize) {
    let (mut noise, mut sizes) = (Noise(seed), Noise(seed ^ 77));
    let mut left = total;
    while left > 0 {
        // A multiple of 8, so that writer and reader cut the same words.
        let limit = if sizes.next() % 4 == 0 { 32_768 } else { 200 };
        let size = (8 * (1 + sizes.next() % limit) as usize).min(left);
        stream.write_all(&noise.bytes(size)).expect("write");
        left -= size;
        if sizes.next() % 500 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    stream.shutdown(Shutdown::Write).expect("shutdown");
}

/// Reads noise to FIN, slowly now and then.
fn check_noise(mut stream: TcpStream, seed: u64, total: usize) {
    let (mut noise, mut pauses) = (Noise(seed), Noise(seed ^ 99));
    let mut left = total;
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let size = buffer.len().min(left);
        stream.read_exact(&mut buffer[..size]).expect("read");
        assert!(
            noise.bytes(size) == buffer[..size],
            "bytes differ, {left} before the end"
        );
        left -= size;
        if pauses.next() % 20 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(stream.read(&mut buffer).expect("FIN"), 0);
}

#[test]
fn tens_of_megabytes_are_byte_exact_both_ways_at_once() {
    const UP: usize = 40 << 20;
    const DOWN: usize = (32 << 20) + 8 * 12_345;
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let client = proxy.connect();
    let server = accept(&socket);
    std::thread::scope(|scope| {
        let clone = |stream: &TcpStream| stream.try_clone().expect("clone");
        let (c, s) = (clone(&client), clone(&server));
        scope.spawn(move || send_noise(c, 11, UP));
        scope.spawn(move || check_noise(s, 11, UP));
        scope.spawn(move || send_noise(server, 22, DOWN));
        scope.spawn(move || check_noise(client, 22, DOWN));
    });
    eventually("all bytes are on the board", || {
        proxy.listener().bytes_in.get() == UP as u64
            && proxy.listener().bytes_out.get() == DOWN as u64
    });
    eventually("the session has ended", || {
        proxy.listener().sessions.get() == 0
    });
    assert_eq!(proxy.listener().aborted.get(), 0);
}

#[test]
fn a_half_closed_upload_gets_its_answer() {
    let address = server(|mut stream| {
        let n = read_to_end(&mut stream).expect("FIN");
        stream.write_all(format!("{n}").as_bytes()).expect("answer");
    });
    let proxy = Setup::new(&[address]).start();
    let mut client = proxy.connect();
    client.write_all(&vec![7; 5_000_000]).expect("upload");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("answer and FIN");
    assert_eq!(answer, "5000000");
}

#[test]
fn the_servers_fin_leaves_the_clients_direction_open() {
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    server.write_all(b"bye").expect("write");
    server.shutdown(Shutdown::Write).expect("shutdown");
    let mut word = String::new();
    client.read_to_string(&mut word).expect("FIN");
    assert_eq!(word, "bye");
    client.write_all(b"still here").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    word.clear();
    server.read_to_string(&mut word).expect("FIN");
    assert_eq!(word, "still here");
    eventually("the session has ended", || {
        proxy.listener().sessions.get() == 0
    });
}

#[test]
fn everything_is_delivered_after_an_orderly_close() {
    let address = server(|mut stream| {
        stream.write_all(&vec![1; 3_000_000]).expect("write");
    });
    let proxy = Setup::new(&[address]).start();
    let mut client = proxy.connect();
    client.shutdown(Shutdown::Write).expect("shutdown");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(read_to_end(&mut client).expect("FIN"), 3_000_000);
}

#[test]
fn a_reset_of_the_client_resets_the_server() {
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let client = proxy.connect();
    let mut server = accept(&socket);
    reset(client);
    expect_reset(&mut server);
    eventually("it was counted", || proxy.listener().aborted.get() == 1);
}

#[test]
fn a_reset_of_the_server_resets_the_client() {
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let mut client = proxy.connect();
    client.write_all(b"?").expect("write");
    let mut server = accept(&socket);
    server.read_exact(&mut [0]).expect("the session is relayed");
    reset(server);
    expect_reset(&mut client);
    eventually("it was counted", || proxy.listener().aborted.get() == 1);
}

#[test]
fn a_reset_behind_a_fin_is_heard() {
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let client = proxy.connect();
    let mut server = accept(&socket);
    client.shutdown(Shutdown::Write).expect("shutdown");
    expect_fin(&mut server);
    reset(client);
    // A read says FIN again; the error of the reset is EPIPE (tcp_reset in CLOSE_WAIT).
    eventually("the server was reset", || {
        let error = server.take_error().expect("SO_ERROR");
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    });
    assert_eq!(proxy.listener().aborted.get(), 1);
}

/// Writes until nothing more is taken for a while.
fn fill(stream: &mut TcpStream) {
    let slow = Duration::from_millis(300);
    stream.set_write_timeout(Some(slow)).expect("write timeout");
    while stream.write(&[5; 65_536]).is_ok() {}
}

#[test]
fn a_reset_is_heard_while_the_other_side_does_not_read() {
    let (address, socket) = accepting_server();
    let proxy = Setup::new(&[address]).start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    fill(&mut client);
    let start = Instant::now();
    reset(client);
    eventually("the session has ended", || {
        proxy.listener().aborted.get() == 1
    });
    assert!(start.elapsed() < Duration::from_secs(1));
    expect_reset(&mut server);
}

#[test]
fn silence_ends_a_session_in_order() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().tunnel_timeout = Some(Duration::from_millis(200));
    // Superseded by the tunnel timeout.
    setup.listener().client_timeout = Some(Duration::from_millis(20));
    let proxy = setup.start();
    let start = Instant::now();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    expect_fin(&mut client);
    let lived = start.elapsed();
    // The relay's clock is up to 10 ms behind.
    assert!(lived >= Duration::from_millis(180), "{lived:?}");
    assert!(lived < Duration::from_secs(2), "{lived:?}");
    expect_fin(&mut server);
    assert_eq!(proxy.listener().idle_closed.get(), 1);
    assert_eq!(proxy.listener().aborted.get(), 0);
}

/// Limits from ten seconds on are looked at each two seconds, for all sessions of a thread.
#[test]
fn a_long_silence_ends_a_session_in_order_too() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().tunnel_timeout = Some(Duration::from_secs(10));
    let proxy = setup.start();
    let mut client = proxy.connect();
    client.set_read_timeout(Some(2 * LIMIT)).expect("set");
    client.write_all(b"?").expect("write");
    let mut server = accept(&socket);
    server.read_exact(&mut [0]).expect("the session is relayed");
    let start = Instant::now();
    expect_fin(&mut client);
    let took = start.elapsed();
    let limits = Duration::from_millis(9_900)..Duration::from_millis(13_500);
    assert!(limits.contains(&took), "{took:?}");
    assert_eq!(proxy.listener().idle_closed.get(), 1);
}

#[test]
fn the_shorter_of_client_and_server_timeout_holds_without_a_tunnel_timeout() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().client_timeout = Some(Duration::from_secs(60));
    setup.backend().server_timeout = Some(Duration::from_millis(100));
    let proxy = setup.start();
    let mut client = proxy.connect();
    let _server = accept(&socket);
    expect_fin(&mut client);
    assert_eq!(proxy.listener().idle_closed.get(), 1);
}

#[test]
fn a_session_that_speaks_now_and_then_outlives_the_idle_timeout() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().tunnel_timeout = Some(Duration::from_millis(250));
    let proxy = setup.start();
    let mut client = proxy.connect();
    for _ in 0..10 {
        ping(&mut client);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(proxy.listener().idle_closed.get(), 0);
    expect_fin(&mut client);
    assert_eq!(proxy.listener().idle_closed.get(), 1);
}

#[test]
fn an_idle_session_with_bytes_left_is_reset() {
    let (address, socket) = accepting_server();
    let mut setup = Setup::new(&[address]);
    setup.listener().tunnel_timeout = Some(Duration::from_millis(500));
    let proxy = setup.start();
    let mut client = proxy.connect();
    let mut server = accept(&socket);
    fill(&mut client);
    eventually("it is closed", || proxy.listener().idle_closed.get() == 1);
    expect_reset(&mut server);
}

#[test]
fn a_long_session_shows_its_bytes_while_it_lives() {
    let proxy = Setup::new(&[echo_server()]).start();
    let mut client = proxy.connect();
    for round in 1..=3 {
        ping(&mut client);
        let start = Instant::now();
        eventually("the bytes are on the board", || {
            proxy.listener().bytes_in.get() == round && proxy.listener().bytes_out.get() == round
        });
        assert!(start.elapsed() < Duration::from_millis(500));
    }
}

/// A reader that does not read, and many of them: each holds a full pipe, and the others copy.
#[test]
fn more_bulk_transfers_than_pipes_are_byte_exact() {
    const STREAMS: u64 = 40;
    const TOTAL: usize = 3_000_000;
    let address = server(|mut stream| {
        let mut seed = [0; 8];
        stream.read_exact(&mut seed).expect("the seed");
        send_noise(stream, u64::from_be_bytes(seed), TOTAL);
    });
    let proxy = Setup::new(&[address]).start();
    let clients: Vec<_> = (1..=STREAMS)
        .map(|seed| {
            let mut client = proxy.connect();
            client.write_all(&seed.to_be_bytes()).expect("write");
            client
        })
        .collect();
    // Nobody reads: all buffers and pipes are full now.
    std::thread::sleep(Duration::from_millis(300));
    let readers: Vec<_> = clients
        .into_iter()
        .zip(1..)
        .map(|(client, seed)| std::thread::spawn(move || check_noise(client, seed, TOTAL)))
        .collect();
    for reader in readers {
        reader.join().expect("its bytes are right");
    }
}
