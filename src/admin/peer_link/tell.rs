//! The connection that this node makes: it tells.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "connects to the other node's admin"
)]

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use common::time::Moment;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Interval, MissedTickBehavior, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ask::{Asks, Unanswered};
use super::frame::{self, Kind, LONGEST_BODY, frame};
use super::ledger::{Ledger, Pass};
use super::message::{Hello, Summary, VERSION};
use super::{ALIVE, Link, OPENING, SILENCE};
use crate::admin::clock;
use crate::admin::pause::Pause;

/// What has changed is told this often.
const PACE: Duration = Duration::from_millis(100);

type Reader = ReadHalf<TlsStream<TcpStream>>;
type Writer = WriteHalf<TlsStream<TcpStream>>;

/// Connects, tells, and begins anew whenever that ends.
pub(super) async fn tell_for_ever(
    link: Arc<Link>,
    asks: Arc<tokio::sync::Mutex<Asks>>,
) -> Infallible {
    // The link before this one has let go of it, or does so now.
    let mut asks = asks.lock().await;
    let mut pause = Pause::default();
    let slot = link.slot;
    slot.problem.set("it has not been reached yet");
    loop {
        let Err(error) = tell(&link, &mut asks).await;
        let error = format!("{error:#}");
        slot.failures.add(1);
        if slot.telling.get().is_some() {
            slot.telling.clear();
            slot.told.set(0);
            pause.reset();
            tracing::info!(
                peer = link.peer.name,
                error,
                "its admin process is not told any more of this node's sessions"
            );
        } else {
            tracing::debug!(
                peer = link.peer.name,
                error,
                "its admin process is not reached"
            );
        }
        slot.problem.set(&error);
        tokio::time::sleep(pause.after_error()).await;
    }
}

async fn tell(link: &Link, asks: &mut Asks) -> anyhow::Result<Infallible> {
    let (mut reader, mut writer) = open(link).await?;
    let table = link.own_sessions;
    let (threads, parts) = (table.threads(), table.parts());
    let hello = Hello {
        version: VERSION,
        node: link.own.name.clone(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        threads,
        vips: link.vips.clone(),
    };
    let hello = serde_json::to_vec(&hello).context("write a hello")?;
    send(&mut writer, &frame(Kind::Hello, &hello)).await?;
    let mut body = Vec::new();
    let answer = timeout(OPENING, frame::read(&mut reader, &mut body)).await;
    let kind = answer
        .context("it says nothing")?
        .context("it does not say hello")?;
    if kind != Kind::Hello {
        bail!("its first word is no hello");
    }
    let peer: Hello = serde_json::from_slice(&body).context("understand its hello")?;
    let mut telling = Telling {
        link,
        ledger: Ledger::new(parts, link.vips.len()),
        writer,
    };
    telling.pass().await?;
    send(&mut telling.writer, &frame(Kind::Listed, &[])).await?;
    link.slot.telling.set(clock::now());
    link.slot.connects.add(1);
    link.slot.problem.set("");
    tracing::info!(
        peer = link.peer.name,
        software = peer.software,
        sessions = telling.ledger.count(),
        "its admin process is told of this node's sessions"
    );
    let unanswered = Unanswered::default();
    tokio::select! {
        ended = listen(&mut reader, &unanswered) => ended,
        ended = telling.go_on(asks, &unanswered) => ended,
    }
}

/// Nothing more is said on this side but replies, and that it has ended.
async fn listen(
    reader: &mut (impl AsyncRead + Unpin),
    unanswered: &Unanswered,
) -> anyhow::Result<Infallible> {
    let mut body = Vec::new();
    loop {
        let read = frame::read(reader, &mut body).await;
        match read.context("it has ended the connection")? {
            Kind::Reply => unanswered.reply(&body)?,
            Kind::Hello | Kind::Sessions | Kind::Listed | Kind::Summary | Kind::Task => {}
        }
    }
}

async fn open(link: &Link) -> anyhow::Result<(Reader, Writer)> {
    let to = SocketAddr::new(link.peer.address, link.port);
    let stream = timeout(OPENING, connect(link, to))
        .await
        .with_context(|| format!("no answer from {to}"))?
        .with_context(|| format!("connect to {to}"))?;
    let name = ServerName::IpAddress(link.peer.address.into());
    let connector = TlsConnector::from(Arc::clone(&link.identity.client));
    let stream = timeout(OPENING, connector.connect(name, stream))
        .await
        .with_context(|| format!("no handshake with {to}"))?
        .with_context(|| format!("shake hands with {to}"))?;
    Ok(tokio::io::split(stream))
}

/// From this node's own address: the other one takes no other.
async fn connect(link: &Link, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(link.own.address, 0))?;
    let stream = socket.connect(to).await?;
    let options = SockRef::from(&stream);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_user_timeout(Some(SILENCE))?;
    options.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE))?;
    Ok(stream)
}

struct Telling<'a> {
    link: &'a Link,
    ledger: Ledger,
    writer: Writer,
}

impl Telling<'_> {
    /// Tells what has changed, each [`PACE`]; how this node is, each [`ALIVE`]; and what it asks for.
    async fn go_on(
        &mut self,
        asks: &mut Asks,
        unanswered: &Unanswered,
    ) -> anyhow::Result<Infallible> {
        let mut ticker = ticker();
        let mut summed_up = None;
        loop {
            let ask = tokio::select! {
                _ = ticker.tick() => None,
                Some(ask) = asks.recv() => Some(ask),
                () = self.link.farewell.wanted.notified() => {
                    self.pass().await?;
                    self.sum_up(clock::now()).await?;
                    self.link.farewell.said.notify_one();
                    continue;
                }
            };
            if let Some(ask) = ask {
                if let Some(frame) = unanswered.ask(ask)? {
                    send(&mut self.writer, &frame).await?;
                }
                continue;
            }
            let now = clock::now();
            self.pass().await?;
            if summed_up.is_none_or(|last| now.since(last) >= ALIVE) {
                summed_up = Some(now);
                self.sum_up(now).await?;
            }
        }
    }

    /// How this node is.
    async fn sum_up(&mut self, now: Moment) -> anyhow::Result<()> {
        let summary = Summary::of(&self.link.left.own(), now);
        let summary = serde_json::to_vec(&summary).context("sum up")?;
        send(&mut self.writer, &frame(Kind::Summary, &summary)).await
    }

    /// Looks at the whole table.
    async fn pass(&mut self) -> anyhow::Result<()> {
        loop {
            let mut body = Vec::with_capacity(LONGEST_BODY);
            let pass = self.ledger.go_on(self.link.own_sessions, &mut body);
            if pass == Pass::Divided {
                bail!("another proxy has begun: everything is told anew");
            }
            if !body.is_empty() {
                send(&mut self.writer, &frame(Kind::Sessions, &body)).await?;
            }
            if pass == Pass::Complete {
                self.link.slot.told.set(self.ledger.count());
                self.link
                    .slot
                    .untold
                    .set(self.link.own_sessions.untold.get());
                return Ok(());
            }
        }
    }
}

fn ticker() -> Interval {
    let mut ticker = tokio::time::interval(PACE);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Sends all of it, within the time in which a living peer takes it.
async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> anyhow::Result<()> {
    let sent = timeout(SILENCE, async {
        to.write_all(bytes).await?;
        to.flush().await
    });
    sent.await
        .context("it takes nothing")?
        .context("send to it")
}
