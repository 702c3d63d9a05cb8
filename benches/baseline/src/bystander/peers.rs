//! Clients that behave badly.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real connections, real clocks"
)]

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lab::chain::FRONT;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::hello;
use crate::message::Order;
use crate::subject::fmclb::NAME;

/// More than any buffer holds.
const ENDLESS: u64 = 1 << 40;
/// Connections that are opened at a time.
const OPENERS: u32 = 64;
/// Between two that never read.
const DEAF_PACE: Duration = Duration::from_millis(100);
/// One opener's pace: 5,000 a second in all, as in the storm.
const PACE: Duration = Duration::from_micros(12_800);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// What they do, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peers {
    /// Ask for a stream that does not end and never read.
    Deaf(u32),
    /// Send a byte a second.
    Slow(u32),
    /// Say nothing.
    Silent(u32),
    /// The same where a ClientHello is waited for.
    NoHello(u32),
    /// Send a ClientHello, one byte each millisecond, again and again.
    Split(u32),
}

/// Of the balancer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) plain: u16,
    /// Where a ClientHello is waited for.
    pub(super) hello: u16,
}

/// Behaves badly until the stop. Returns what was done.
///
/// # Errors
/// When it could not be done.
pub(super) async fn run(
    peers: Peers,
    ports: Ports,
    mut stop: watch::Receiver<bool>,
) -> Result<String> {
    match peers {
        Peers::Deaf(count) => {
            let mut streams = Vec::new();
            // One after another: fifty at once are fifty bulk transfers until all buffers are full.
            let mut pace = interval(DEAF_PACE);
            for _ in 0..count {
                pace.tick().await;
                let stream = connect(ports.plain).await?;
                // A fresh connection takes 64 bytes at once.
                let order = Order::Send(ENDLESS).message();
                let written = stream.try_write(&order).context("order a stream")?;
                ensure!(written == order.len(), "only a part of the order was taken");
                streams.push(stream);
            }
            if *stop.borrow() {
                bail!("they had not all come when the measurement ended");
            }
            stopped(&mut stop).await;
            still_open(&streams, Content::Some)?;
            Ok("left it in the buffers".to_owned())
        }
        Peers::Slow(count) => {
            let mut streams = open(ports.plain, count).await?;
            let mut sent = 0;
            let mut ticker = interval(SECOND);
            loop {
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => break,
                    _ = ticker.tick() => {}
                }
                for stream in &mut streams {
                    stream.write_all(b"E").await.context("send a byte")?;
                    sent += 1;
                }
            }
            still_open(&streams, Content::None)?;
            Ok(format!("sent {sent} bytes"))
        }
        Peers::Silent(count) => silent(ports.plain, count, stop).await,
        Peers::NoHello(count) => silent(ports.hello, count, stop).await,
        Peers::Split(count) => split(ports.hello, count, stop).await,
    }
}

async fn silent(port: u16, count: u32, mut stop: watch::Receiver<bool>) -> Result<String> {
    let begin = Instant::now();
    let streams = open(port, count).await?;
    let took = begin.elapsed();
    if *stop.borrow() {
        bail!("it took {took:?} to open them: longer than the measurement");
    }
    stopped(&mut stop).await;
    still_open(&streams, Content::None)?;
    Ok(format!("were open after {:.1} s", took.as_secs_f64()))
}

async fn split(port: u16, count: u32, mut stop: watch::Receiver<bool>) -> Result<String> {
    let bytes = Rc::new(Cell::new(0_u64));
    let hellos = Rc::new(Cell::new(0_u64));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn_local(split_again_and_again(
            port,
            Rc::clone(&bytes),
            Rc::clone(&hellos),
        ));
    }
    tokio::select! {
        biased;
        () = stopped(&mut stop) => {}
        Some(ended) = tasks.join_next() => {
            ended.context("join a task")??;
        }
    }
    if hellos.get() == 0 {
        bail!("no hello was complete");
    }
    let a_second = bytes.get() as f64 / begin.elapsed().as_secs_f64();
    Ok(format!(
        "sent {a_second:.0} bytes a second, {} whole hellos",
        hellos.get()
    ))
}

async fn split_again_and_again(
    port: u16,
    bytes: Rc<Cell<u64>>,
    hellos: Rc<Cell<u64>>,
) -> Result<()> {
    let hello = hello::asking_for(NAME);
    loop {
        let mut stream = connect(port).await?;
        let mut ticker = interval(MILLISECOND);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for byte in &hello {
            ticker.tick().await;
            stream
                .write_all(std::slice::from_ref(byte))
                .await
                .context("send a byte of a hello")?;
            bytes.set(bytes.get() + 1);
        }
        hellos.set(hellos.get() + 1);
    }
}

async fn open(port: u16, count: u32) -> Result<Vec<TcpStream>> {
    let mut openers = JoinSet::new();
    for opener in 0..OPENERS {
        let share = count / OPENERS + u32::from(opener < count % OPENERS);
        openers.spawn_local(async move {
            let mut opened = Vec::new();
            let mut pace = interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for _ in 0..share {
                pace.tick().await;
                opened.push(connect(port).await?);
            }
            Ok::<_, anyhow::Error>(opened)
        });
    }
    let mut all = Vec::new();
    while let Some(opened) = openers.join_next().await {
        all.extend(opened.context("join a task")??);
    }
    Ok(all)
}

async fn connect(port: u16) -> Result<TcpStream> {
    let address = SocketAddr::from(SocketAddrV4::new(FRONT, port));
    let stream = TcpStream::connect(address).await.context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    Ok(stream)
}

/// What waits to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    None,
    Some,
}

/// Who was thrown out was no burden.
fn still_open(streams: &[TcpStream], content: Content) -> Result<()> {
    for stream in streams {
        let seen = match stream.try_read(&mut [0]) {
            Ok(0) => bail!("the balancer has closed a connection"),
            Ok(_) => Content::Some,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Content::None,
            Err(error) => return Err(error).context("look at a connection"),
        };
        if seen != content {
            bail!("there is {seen:?} to be read, not {content:?}");
        }
    }
    Ok(())
}

/// A sender that is gone is a stop, too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
