//! Bulk data over a few connections, one direction at a time, every byte checked at its receiver.

#![expect(clippy::disallowed_types, reason = "real connections")]

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Clock, Failures, Spent, Target, settle};
use crate::message::{Order, SIZE, Stream, verdict};
use crate::plan::STREAMS;

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1_024;

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From server to client.
    Down,
    /// From client to server.
    Up,
}

/// Transfers so many bytes, all streams together.
///
/// # Errors
/// When too many transfers fail.
pub(crate) async fn run(target: Target, way: Way, bytes: u64, clock: Clock<'_>) -> Result<Spent> {
    let stream = Rc::new(Stream::new());
    let each = bytes / u64::from(STREAMS);
    let before = clock()?;
    let mut tasks = JoinSet::new();
    for _ in 0..STREAMS {
        let stream = Rc::clone(&stream);
        tasks.spawn_local(async move {
            match way {
                Way::Down => down(target, &stream, each).await.context("download"),
                Way::Up => up(target, &stream, each).await.context("upload"),
            }
        });
    }
    let mut done = 0;
    let mut failures = Failures::default();
    while let Some(ended) = tasks.join_next().await {
        match ended.context("join a task")? {
            Ok(()) => done += each,
            Err(error) => failures.note(&error)?,
        }
    }
    settle().await;
    Ok(Spent {
        cpu: clock()? - before,
        done,
        failures,
    })
}

async fn down(target: Target, stream: &Stream, length: u64) -> Result<()> {
    let mut connection = connect(target).await?;
    connection
        .write_all(&Order::Send(length).message())
        .await
        .context("send the order")?;
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    loop {
        let count = connection.read(&mut buffer).await.context("receive")?;
        if count == 0 {
            break;
        }
        if !stream.matches(received, &buffer[..count]) {
            bail!("wrong bytes from position {received} on");
        }
        received += count as u64;
    }
    if received != length {
        bail!("{received} of {length} bytes came");
    }
    Ok(())
}

async fn up(target: Target, stream: &Stream, length: u64) -> Result<()> {
    let mut connection = connect(target).await?;
    connection
        .write_all(&Order::Take(length).message())
        .await
        .context("send the order")?;
    let mut sent = 0;
    while sent < length {
        let part = stream.at(sent, length - sent);
        connection.write_all(part).await.context("send")?;
        sent += part.len() as u64;
    }
    let mut answer = [0; SIZE];
    connection
        .read_exact(&mut answer)
        .await
        .context("receive the server's verdict")?;
    if answer != verdict(length, true) {
        bail!("the server did not get what was sent");
    }
    Ok(())
}

async fn connect(target: Target) -> Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from(target.address))
        .await
        .context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    Ok(stream)
}
