//! Sessions of random shape: sizes, segments, pauses and half-closes, each way on its own. Whatever
//! they are, every byte arrives once, in order, and the FIN behind the last one.
//!
//! A few seconds by default; `FMC_LB_SEGMENTS_SECONDS` says how long (`scripts/prove segments`).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::*;

const SECONDS: &str = "FMC_LB_SEGMENTS_SECONDS";
/// Sessions at the same time.
const SESSIONS: u64 = 12;

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Mostly small, now and then large: half of all sizes are below the square root.
    fn size(&mut self, largest: u64) -> usize {
        let bits = 64 - largest.leading_zeros();
        let limit = 1 << self.below(u64::from(bits) + 1);
        usize::try_from(self.below(limit + 1).min(largest)).expect("a size")
    }
}

/// One way of a session; both ends make the same one from its seed.
struct Stream {
    total: usize,
    bytes: Random,
    shape: Random,
}

impl Stream {
    fn new(seed: u64) -> Self {
        let mut shape = Random(seed | 1);
        shape.next();
        let total = shape.size(4 << 20);
        Self {
            total,
            bytes: Random(seed.rotate_left(17) | 1),
            shape,
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.bytes.next().to_le_bytes()[3];
        }
    }

    fn pause(&mut self) {
        if self.shape.below(64) == 0 {
            std::thread::sleep(Duration::from_micros(self.shape.below(3_000)));
        }
    }

    fn send(mut self, mut to: &TcpStream) {
        let mut left = self.total;
        while left > 0 {
            let size = self.shape.size(200_000).clamp(1, left);
            let mut segment = vec![0; size];
            self.fill(&mut segment);
            to.write_all(&segment).expect("the other end reads");
            left -= size;
            self.pause();
        }
        to.shutdown(Shutdown::Write).expect("shutdown");
    }

    fn check(mut self, mut from: &TcpStream) {
        let mut left = self.total;
        let mut buffer = vec![0; 200_000];
        loop {
            let size = self.shape.size(200_000).max(1);
            let read = from.read(&mut buffer[..size]).expect("the stream goes on");
            if read == 0 {
                assert_eq!(left, 0, "bytes are missing");
                return;
            }
            let mut expected = vec![0; read];
            self.fill(&mut expected);
            assert!(
                expected == buffer[..read],
                "bytes differ, {left} before the end"
            );
            left = left.checked_sub(read).expect("not more than were sent");
            self.pause();
        }
    }
}

/// Both ways at once, from one end of the session.
fn run(stream: &TcpStream, sends: u64, checks: u64) {
    std::thread::scope(|scope| {
        scope.spawn(|| Stream::new(sends).send(stream));
        Stream::new(checks).check(stream);
    });
}

#[test]
fn random_segments_and_half_closes_are_byte_exact() {
    let seconds = std::env::var(SECONDS).map_or(3, |text| text.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    // The first eight bytes name the session, so that the server makes the same streams.
    let address = server(|stream| {
        let mut seed = [0; 8];
        (&stream).read_exact(&mut seed).expect("the seed");
        let seed = u64::from_be_bytes(seed);
        run(&stream, !seed, seed);
    });
    let mut setup = Setup::new(&[address]);
    setup.threads = 2;
    let proxy = setup.start();
    let start = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos();
    let next = AtomicU64::new(u64::try_from(start).expect("before 2554"));
    println!("first seed {}", next.load(Ordering::Relaxed));
    let sessions = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SESSIONS {
            scope.spawn(|| {
                while Instant::now() < end {
                    let seed = next.fetch_add(0x9e37_79b9, Ordering::Relaxed);
                    let client = proxy.connect();
                    (&client).write_all(&seed.to_be_bytes()).expect("write");
                    run(&client, seed, !seed);
                    sessions.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let slot = proxy.listener();
    eventually("all have ended", || slot.sessions.get() == 0);
    println!(
        "{} sessions, {} MiB up, {} MiB down",
        sessions.load(Ordering::Relaxed),
        slot.bytes_in.get() >> 20,
        slot.bytes_out.get() >> 20
    );
    assert!(sessions.load(Ordering::Relaxed) > SESSIONS);
    assert_eq!((slot.aborted.get(), slot.failed.get()), (0, 0));
}
