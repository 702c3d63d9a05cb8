//! The client: connections begin at their times, whatever became of the earlier ones.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real connections, real clocks"
)]

use std::cell::RefCell;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lab::chain::{self, CLIENTS};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, sleep, timeout};

use super::Storm;
use crate::message::{SIZE, echo};

/// Those that are due begin together, so often.
const TICK: Duration = Duration::from_millis(1);
/// A connection takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By FIN of both sides, after the answer.
    InOrder,
    /// By the client's RST, after the answer.
    AbortAnswered,
    /// By the client's RST, right behind the question.
    AbortAsked,
}

/// What became of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) in_order: u64,
    /// After the answer and before it.
    pub(crate) aborted: [u64; 2],
    /// Refused, late, wrong, or ended in another way than it should.
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    /// From the connect to the answer, in milliseconds, ascending.
    pub(crate) answered: Vec<f64>,
    /// How late the latest one began.
    pub(crate) latest: Duration,
    under_way: u64,
}

impl Tally {
    /// All of them.
    pub(crate) fn all(&self) -> u64 {
        self.in_order + self.aborted.iter().sum::<u64>() + self.failed
    }

    fn note(&mut self, end: End, result: Result<Option<Duration>>) {
        self.under_way -= 1;
        match result {
            Ok(answered) => {
                self.answered
                    .extend(answered.map(|time| time.as_secs_f64() * 1e3));
                match end {
                    End::InOrder => self.in_order += 1,
                    End::AbortAnswered => self.aborted[0] += 1,
                    End::AbortAsked => self.aborted[1] += 1,
                }
            }
            Err(error) => {
                self.failed += 1;
                self.first_failure
                    .get_or_insert_with(|| format!("{end:?}: {error:#}"));
            }
        }
    }
}

/// Makes the connections and waits for the last one.
///
/// # Errors
/// When some have not ended long after their limit.
pub(crate) async fn run(target: SocketAddrV4, storm: Storm) -> Result<Tally> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let count = u64::from(storm.rate) * storm.length.as_secs();
    let mut ticker = interval(TICK);
    let begin = Instant::now();
    let mut next = 0;
    while next < count {
        ticker.tick().await;
        let elapsed = begin.elapsed();
        let due =
            |number: u64| Duration::from_secs(1).mul_f64(number as f64 / f64::from(storm.rate));
        let late = elapsed.saturating_sub(due(next));
        let mut sums = tally.borrow_mut();
        sums.latest = sums.latest.max(late);
        while next < count && due(next) <= elapsed {
            sums.under_way += 1;
            tokio::task::spawn_local(numbered(target, next, Rc::clone(&tally)));
            next += 1;
        }
    }
    let end = Instant::now() + 2 * PATIENCE;
    while tally.borrow().under_way > 0 {
        if Instant::now() > end {
            bail!("{} connections do not end", tally.borrow().under_way);
        }
        sleep(TICK).await;
    }
    let mut tally = tally.take();
    tally.answered.sort_by(f64::total_cmp);
    Ok(tally)
}

async fn numbered(target: SocketAddrV4, number: u64, tally: Rc<RefCell<Tally>>) {
    let end = match number % 4 {
        1 => End::AbortAnswered,
        3 => End::AbortAsked,
        _ => End::InOrder,
    };
    // Each address has connections of every kind.
    let address = number / 4 % u64::from(CLIENTS);
    let address = u8::try_from(address).expect("less than the addresses");
    let result = match timeout(PATIENCE, one(target, address, (number, end))).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("it took longer than {PATIENCE:?}")),
    };
    tally.borrow_mut().note(end, result);
}

/// The time to the answer, if it was waited for.
async fn one(
    target: SocketAddrV4,
    address: u8,
    (number, end): (u64, End),
) -> Result<Option<Duration>> {
    let begin = Instant::now();
    let socket = TcpSocket::new_v4().context("make a socket")?;
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).context("leave the port open")?;
    socket
        .bind((chain::client(address), 0).into())
        .context("bind an address")?;
    if end != End::InOrder {
        socket.set_zero_linger().context("set SO_LINGER 0")?;
    }
    let mut stream = socket.connect(target.into()).await.context("connect")?;
    let question = echo(number);
    stream.write_all(&question).await.context("ask")?;
    if end == End::AbortAsked {
        return Ok(None);
    }
    let mut answer = [0; SIZE];
    stream
        .read_exact(&mut answer)
        .await
        .context("receive the answer")?;
    let answered = begin.elapsed();
    if answer != question {
        bail!("the answer is not the question");
    }
    if end == End::InOrder {
        close_in_order(&mut stream).await?;
    }
    Ok(Some(answered))
}

async fn close_in_order(stream: &mut TcpStream) -> Result<()> {
    stream.shutdown().await.context("send FIN")?;
    match stream.read(&mut [0]).await.context("receive FIN")? {
        0 => Ok(()),
        _ => bail!("there is more than the answer"),
    }
}
