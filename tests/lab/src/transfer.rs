//! A download and an upload that are longer than any test, at a pace, and how they learn of their end.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use socket2::SockRef;

use crate::payload::{self, Check};
use crate::{Lab, Node, client};

/// Bytes that are promised: days of them.
const LENGTH: u64 = 1 << 42;
/// Bytes read or written at once.
const CHUNK: usize = 16 * 1_024;
/// What waits in a download's queue is read before its end is seen: a few milliseconds at any pace of the tests.
const QUEUE: usize = 32 * 1_024;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Down,
    /// To the server.
    Up,
}

/// How it ended before its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// RST.
    Reset,
    /// FIN: who does not count the bytes takes it for the whole.
    Fin,
    /// Another error of the socket.
    Otherwise(ErrorKind),
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that arrived or were sent.
    pub length: u64,
    /// Position of the first byte that arrived and was wrong.
    pub first_wrong: Option<u64>,
    /// `None` = it goes on.
    pub ended: Option<(Instant, Ended)>,
}

/// A transfer from or to an HTTP backend. Dropping it ends it.
#[derive(Debug)]
pub struct Transfer {
    outcome: Arc<Mutex<Outcome>>,
    stop: Arc<AtomicBool>,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

/// What its thread works with: the only one that reads or writes, so that the error of the socket is its own.
struct Moving {
    stream: TcpStream,
    rate: u64,
    outcome: Arc<Mutex<Outcome>>,
    stop: Arc<AtomicBool>,
}

impl Transfer {
    /// Begins it, so many bytes a second.
    ///
    /// # Errors
    /// When there is no connection, or no answer on it.
    pub fn start(
        lab: &Lab,
        (from, to): (Node, SocketAddr),
        direction: Direction,
        rate: u64,
    ) -> Result<Self> {
        let stream = lab.run_in(from, || client::connect(to))?;
        request(&stream, direction)?;
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let moving = Moving {
            stream: stream.try_clone().context("share the stream")?,
            rate,
            outcome: Arc::clone(&outcome),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("transfer".to_owned());
        let thread = thread
            .spawn(move || moving.run(direction))
            .context("start a thread")?;
        Ok(Self {
            outcome,
            stop,
            stream,
            thread: Some(thread),
        })
    }

    /// What became of it so far.
    pub fn outcome(&self) -> Outcome {
        lock(&self.outcome).clone()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It may be gone already.
        drop(self.stream.shutdown(Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Moving {
    fn run(self, direction: Direction) {
        let ended = match direction {
            Direction::Down => self.receive(),
            Direction::Up => self.send(),
        };
        let at = Instant::now();
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let how = match ended.map_err(|error| error.kind()) {
            // The first after a FIN was answered with RST.
            Ok(()) | Err(ErrorKind::BrokenPipe) => Ended::Fin,
            Err(ErrorKind::ConnectionReset) => Ended::Reset,
            Err(kind) => Ended::Otherwise(kind),
        };
        lock(&self.outcome).ended = Some((at, how));
    }

    /// Returns when nothing comes any more.
    fn receive(&self) -> io::Result<()> {
        let began = Instant::now();
        let mut check = Check::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = (&self.stream).read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            check.update(&buffer[..length]);
            {
                let mut outcome = lock(&self.outcome);
                outcome.length = check.length();
                outcome.first_wrong = check.first_wrong();
            }
            self.pause(began, check.length());
        }
    }

    fn send(&self) -> io::Result<()> {
        let began = Instant::now();
        let mut buffer = vec![0; CHUNK];
        let mut sent = 0;
        while !self.stop.load(Ordering::Relaxed) {
            payload::fill(sent, &mut buffer);
            (&self.stream).write_all(&buffer)?;
            sent += CHUNK as u64;
            lock(&self.outcome).length = sent;
            self.pause(began, sent);
        }
        Ok(())
    }

    fn pause(&self, began: Instant, moved: u64) {
        let due = Duration::from_secs_f64(moved as f64 / self.rate as f64);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

/// Says what is wanted, of a server that has answered on this connection.
fn request(mut stream: &TcpStream, direction: Direction) -> Result<()> {
    match direction {
        Direction::Down => {
            SockRef::from(stream)
                .set_recv_buffer_size(QUEUE)
                .context("keep the queue short")?;
            write!(stream, "GET /file/{LENGTH} HTTP/1.1\r\nHost: lab\r\n\r\n")?;
            let head = read_to(stream, b"\r\n\r\n")?;
            ensure!(head.contains(" 200 "), "{head}");
        }
        Direction::Up => {
            write!(stream, "GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
            read_to(stream, b"\r\n\r\n")?;
            let who = read_to(stream, b"\n")?;
            ensure!(who.starts_with("I am "), "{who}");
            write!(
                stream,
                "PUT /upload HTTP/1.1\r\nHost: lab\r\nContent-Length: {LENGTH}\r\n\r\n"
            )?;
        }
    }
    Ok(())
}

/// Byte by byte, so that nothing is taken of what follows.
fn read_to(mut stream: &TcpStream, end: &[u8]) -> Result<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(end) {
        stream.read_exact(&mut byte).context("read an answer")?;
        text.extend(byte);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn lock(outcome: &Mutex<Outcome>) -> std::sync::MutexGuard<'_, Outcome> {
    outcome
        .lock()
        .expect("nothing panics while it holds the outcome")
}
