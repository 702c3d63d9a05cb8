//! The servers: one process that answers on every address of its machine. A process of its own, so that its CPU is
//! nobody else's.

#![expect(
    clippy::disallowed_types,
    clippy::print_stderr,
    reason = "accepts and answers real connections, says what fails"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::message::{Order, SIZE, Stream, verdict};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 8_192;
/// Bytes of an echo that are read at once.
const ECHO: usize = 4_096;
/// Bytes of a stream that are read at once.
const CHUNK: usize = 256 * 1_024;
/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(10);

/// Serves until it is killed.
///
/// # Errors
/// When the port cannot be bound.
pub(crate) fn serve(port: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("make an event loop")?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let socket = TcpSocket::new_v4().context("make a socket")?;
        socket.set_reuseaddr(true).context("share the port")?;
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        socket
            .bind(address)
            .with_context(|| format!("bind {address}"))?;
        let listener = socket.listen(BACKLOG).context("listen")?;
        accept(&listener).await;
        Ok(())
    })
}

async fn accept(listener: &TcpListener) {
    let bulk = Rc::new(Stream::new());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let bulk = Rc::clone(&bulk);
                // A client that leaves early is seen at the client; here it just ends.
                tokio::task::spawn_local(async move { drop(answer(stream, &bulk).await) });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                pause().await;
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a failed accept is retried later"
)]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

async fn answer(mut stream: TcpStream, bulk: &Stream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0; SIZE];
    stream.read_exact(&mut first).await?;
    match Order::of(&first) {
        Some(Order::Echo) => {
            stream.write_all(&first).await?;
            echo(&mut stream).await
        }
        Some(Order::Send(length)) => send(&mut stream, bulk, length).await,
        Some(Order::Take(length)) => take(&mut stream, bulk, length).await,
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn echo(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        // Waits without a buffer: thousands of idle connections cost little.
        stream.readable().await?;
        let mut buffer = [0; ECHO];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count]).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn send(stream: &mut TcpStream, bulk: &Stream, length: u64) -> io::Result<()> {
    let mut sent = 0;
    while sent < length {
        let part = bulk.at(sent, length - sent);
        stream.write_all(part).await?;
        sent += part.len() as u64;
    }
    stream.shutdown().await
}

async fn take(stream: &mut TcpStream, bulk: &Stream, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut taken = 0;
    let mut correct = true;
    while taken < length {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        correct &= bulk.matches(taken, &buffer[..count]);
        taken += count as u64;
    }
    stream.write_all(&verdict(taken, correct)).await?;
    // The client closes first.
    stream.read(&mut buffer).await.map(drop)
}
