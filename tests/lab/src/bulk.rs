//! A bulk stream through an echo, checked byte by byte, for as long as it is held.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::payload::{self, Check};
use crate::{Lab, Node, client};

/// Bytes written at once.
const CHUNK: usize = 64 * 1_024;

/// What became of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that came back, each of them checked.
    pub length: u64,
    /// Position of the first one that was another than was sent.
    pub first_wrong: Option<u64>,
    /// Why it ended before its time; empty = it did not.
    pub broken: String,
}

/// A stream that flows. Dropping it ends it.
#[derive(Debug)]
pub struct Bulk {
    outcome: Arc<Mutex<Outcome>>,
    stop: Arc<AtomicBool>,
    stream: TcpStream,
    threads: Vec<JoinHandle<()>>,
}

impl Bulk {
    /// Connects from a machine and sends so many bytes a second from then on.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn start(lab: &Lab, from: Node, to: SocketAddr, rate: u64) -> Result<Self> {
        let stream = lab.run_in(from, || client::connect(to))?;
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut bulk = Self {
            outcome: Arc::clone(&outcome),
            stop: Arc::clone(&stop),
            stream: stream.try_clone().context("share the stream")?,
            threads: Vec::new(),
        };
        let writing = stream.try_clone().context("share the stream")?;
        let (ending, told) = (Arc::clone(&stop), Arc::clone(&outcome));
        bulk.thread(move || {
            if let Err(error) = send(&writing, rate, &ending) {
                note(&told, &ending, &error);
            }
        })?;
        bulk.thread(move || {
            if let Err(error) = check(stream, &outcome) {
                note(&outcome, &stop, &error);
            }
        })?;
        Ok(bulk)
    }

    /// What became of it so far.
    pub fn outcome(&self) -> Outcome {
        lock(&self.outcome).clone()
    }

    fn thread(&mut self, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name("bulk".to_owned());
        self.threads
            .push(thread.spawn(work).context("start a thread")?);
        Ok(())
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It may be gone already.
        drop(self.stream.shutdown(Shutdown::Both));
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn send(mut to: &TcpStream, rate: u64, stop: &AtomicBool) -> io::Result<()> {
    let began = Instant::now();
    let mut buffer = vec![0; CHUNK];
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = Duration::from_secs_f64(sent as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        payload::fill(sent, &mut buffer);
        to.write_all(&buffer)?;
        sent += CHUNK as u64;
    }
    Ok(())
}

fn check(from: TcpStream, outcome: &Mutex<Outcome>) -> io::Result<()> {
    let mut from = BufReader::with_capacity(CHUNK, from);
    from.read_line(&mut String::new())?;
    let mut check = Check::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        check.update(&buffer[..length]);
        let mut outcome = lock(outcome);
        outcome.length = check.length();
        outcome.first_wrong = check.first_wrong();
    }
}

/// The first reason counts, and none once the stream was to end.
fn note(outcome: &Mutex<Outcome>, stop: &AtomicBool, error: &io::Error) {
    let mut outcome = lock(outcome);
    if outcome.broken.is_empty() && !stop.load(Ordering::Relaxed) {
        outcome.broken = error.to_string();
    }
}

fn lock(outcome: &Mutex<Outcome>) -> std::sync::MutexGuard<'_, Outcome> {
    outcome
        .lock()
        .expect("nothing panics while it holds the outcome")
}
