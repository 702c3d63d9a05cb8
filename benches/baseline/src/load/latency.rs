//! Round trips at a fixed rate, whatever the answers do: each is timed from the moment at which it was due, so that a
//! stall is seen by all that were due meanwhile.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real connections, real clocks"
)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lab::epoll::Ticker;

use super::talk::PATIENCE;
use super::{LIMIT, Target};
use crate::message::{SIZE, echo};
use crate::plan::{LATENCY_CONNECTIONS, LATENCY_RATE};

/// After the last question.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Not counted: the first ones find nothing in any cache.
const WARM_UP: u32 = LATENCY_RATE / 4;

/// A connection and what is under way on it.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    waiting: VecDeque<(u64, Instant)>,
    partial: Vec<u8>,
}

/// Latencies in microseconds, in ascending order.
///
/// # Errors
/// When a connection fails, an answer is wrong, or some do not come.
pub(crate) fn run(target: Target, length: Duration) -> Result<Vec<f64>> {
    let interval = Duration::from_secs(1) / LATENCY_RATE;
    let questions = WARM_UP + whole(length.as_secs_f64() * f64::from(LATENCY_RATE));
    let mut lines = open(target)?;
    let mut ticker = Ticker::new(interval).context("make a timer")?;
    for (token, line) in (0..).zip(&lines) {
        ticker
            .add(&line.stream, token)
            .context("watch a connection")?;
    }
    let begin = Instant::now();
    let end = begin + length.min(LIMIT) + LAST_ANSWERS;
    let mut asked = 0;
    let mut latencies = Vec::new();
    let mut answered = 0;
    while answered < questions {
        if Instant::now() > end {
            bail!("{answered} of {questions} answers came");
        }
        let turn = ticker.wait().context("wait")?;
        for (token, _) in turn.ready {
            let index = usize::try_from(token).context("a token is an index")?;
            lines[index].receive(|number, latency| {
                answered += 1;
                if number >= u64::from(WARM_UP) {
                    latencies.push(latency.as_secs_f64() * 1e6);
                }
            })?;
        }
        while asked < questions && begin + interval * asked <= Instant::now() {
            let index = (asked % LATENCY_CONNECTIONS) as usize;
            lines[index].ask(u64::from(asked), begin + interval * asked)?;
            asked += 1;
        }
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of questions, some ten thousands"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

fn open(target: Target) -> Result<Vec<Line>> {
    let address = SocketAddr::from(target.address);
    let lines = (0..LATENCY_CONNECTIONS).map(|_| {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).context("connect")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        stream
            .set_nonblocking(true)
            .context("make it non-blocking")?;
        Ok(Line {
            stream,
            waiting: VecDeque::new(),
            partial: Vec::new(),
        })
    });
    lines.collect()
}

impl Line {
    fn ask(&mut self, number: u64, due: Instant) -> Result<()> {
        // A full send buffer means that thousands are unanswered: the load is not carried at all.
        self.stream
            .write_all(&echo(number))
            .context("send a message")?;
        self.waiting.push_back((number, due));
        Ok(())
    }

    /// Takes all that has come.
    fn receive(&mut self, mut answer: impl FnMut(u64, Duration)) -> Result<()> {
        let mut buffer = [0; 64 * SIZE];
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the connection was closed"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("receive"),
            };
            let now = Instant::now();
            self.partial.extend(&buffer[..count]);
            let whole = self.partial.len() / SIZE * SIZE;
            for message in self.partial[..whole].chunks_exact(SIZE) {
                let expected = self.waiting.pop_front();
                let (number, due) = expected.context("an answer to nothing")?;
                if message != echo(number) {
                    bail!("the echo is not what was sent");
                }
                answer(number, now.saturating_duration_since(due));
            }
            self.partial.drain(..whole);
        }
    }
}
