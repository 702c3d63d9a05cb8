//! One connection that plays ping-pong.

#![expect(clippy::disallowed_types, reason = "a real connection")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Target;
use crate::message::{SIZE, echo};

/// A connect, or an answer, takes no longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are opened at a time.
const OPENERS: u32 = 32;

/// A connection to an echo. Dropping it closes it in good order.
#[derive(Debug)]
pub(crate) struct Talk {
    stream: TcpStream,
    sequence: u64,
}

impl Talk {
    /// Connects.
    ///
    /// # Errors
    /// When it is refused or takes too long.
    pub(crate) async fn open(target: Target) -> Result<Self> {
        let connect = TcpStream::connect(SocketAddr::from(target.address));
        let stream = tokio::time::timeout(PATIENCE, connect)
            .await
            .context("connect in time")?
            .context("connect")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        Ok(Self {
            stream,
            sequence: 0,
        })
    }

    /// A message there and back.
    ///
    /// # Errors
    /// When it does not come back as it was.
    pub(crate) async fn trip(&mut self) -> Result<()> {
        let message = echo(self.sequence);
        self.sequence += 1;
        self.stream
            .write_all(&message)
            .await
            .context("send a message")?;
        let mut answer = [0; SIZE];
        self.stream
            .read_exact(&mut answer)
            .await
            .context("receive the echo")?;
        if answer != message {
            bail!("the echo is not what was sent");
        }
        Ok(())
    }

    /// Opens many and makes one round trip on each.
    ///
    /// # Errors
    /// When one of them fails.
    pub(crate) async fn open_many(target: Target, count: u32) -> Result<Vec<Self>> {
        let mut openers = JoinSet::new();
        for opener in 0..OPENERS {
            let share = count / OPENERS + u32::from(opener < count % OPENERS);
            openers.spawn_local(async move {
                let mut opened = Vec::new();
                for _ in 0..share {
                    let mut talk = Self::open(target).await?;
                    tokio::time::timeout(PATIENCE, talk.trip())
                        .await
                        .context("answer in time")??;
                    opened.push(talk);
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
}
