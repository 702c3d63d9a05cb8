//! The bystander and its server. Both are real-time threads, so that what they wait for is the balancer and not the
//! others' load on their core.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    reason = "real connections, real clocks"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lab::limits::real_time;

use crate::message::{SIZE, echo};

/// Between two trips.
const INTERVAL: Duration = Duration::from_millis(5);
/// An answer takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers one connection at a time, until it is killed.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn serve(address: SocketAddrV4) -> Result<()> {
    if !real_time() {
        eprintln!("no real-time priority: the others' load delays the answers");
    }
    let listener = TcpListener::bind(address).with_context(|| format!("bind {address}"))?;
    loop {
        match listener.accept() {
            // How it ends is seen at the client.
            Ok((stream, _)) => drop(answer(stream)),
            Err(error) => {
                eprintln!("accept: {error}");
                std::thread::sleep(INTERVAL);
            }
        }
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; SIZE];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

/// Latencies of round trips in microseconds, ascending.
///
/// # Errors
/// When the connection fails or an answer is wrong.
pub(crate) fn sample(target: SocketAddrV4, length: Duration) -> Result<Vec<f64>> {
    if !real_time() {
        eprintln!("no real-time priority: the others' load delays the bystander");
    }
    let mut stream = TcpStream::connect_timeout(&target.into(), PATIENCE).context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("set a limit")?;
    // The first one waits for the session.
    trip(&mut stream, 0)?;
    let begin = Instant::now();
    let mut latencies = Vec::new();
    let mut due = begin;
    while due < begin + length {
        let mut asked = Instant::now();
        if asked < due {
            std::thread::sleep(due - asked);
            asked = Instant::now();
        } else {
            // The answer before this one was late, and so is this question.
            asked = due;
        }
        trip(&mut stream, latencies.len() as u64)?;
        latencies.push(asked.elapsed().as_secs_f64() * 1e6);
        due += INTERVAL;
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

fn trip(stream: &mut TcpStream, number: u64) -> Result<()> {
    let question = echo(number);
    stream.write_all(&question).context("ask")?;
    let mut answer = [0; SIZE];
    stream
        .read_exact(&mut answer)
        .context("receive the answer")?;
    if answer != question {
        bail!("the answer is not the question");
    }
    Ok(())
}
