//! The connection that comes from the other node: it is heard.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "accepts the other node's admin"
)]

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use common::board::{LinkSlot, MomentCell};
use common::time::Moment;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::frame::{self, Kind, frame};
use super::message::{Hello, Summary, VERSION};
use super::mirror::Mirror;
use super::{Link, OPENING, SILENCE};
use crate::admin::clock;
use crate::admin::pause::Pause;
use crate::admin::remaining::Left;

/// Connections at a time whose handshake is not complete.
const OPENINGS: usize = 4;

/// A socket that the supervisor bound, in this process's runtime.
pub(super) fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// The connection that counts: the last one that was opened.
#[derive(Debug, Default)]
struct Current(Mutex<Option<AbortHandle>>);

impl Current {
    /// Ends the one before.
    fn replace(&self, with: AbortHandle) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = current.replace(with) {
            before.abort();
        }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let current = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.take() {
            current.abort();
        }
    }
}

/// Accepts for ever.
pub(super) async fn serve(listening: TcpListener, link: Arc<Link>) -> Infallible {
    let (places, current) = (Arc::new(Semaphore::new(OPENINGS)), Current::default());
    let (opened, mut heard) = tokio::sync::mpsc::channel(OPENINGS);
    let mut pause = Pause::default();
    loop {
        let (stream, from) = tokio::select! {
            accepted = listening.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept the other node's admin");
                    tokio::time::sleep(pause.after_error()).await;
                    continue;
                }
            },
            Some((stream, hello)) = heard.recv() => {
                let task = tokio::spawn(hear(Arc::clone(&link), stream, hello));
                current.replace(task.abort_handle());
                continue;
            }
        };
        pause.reset();
        let place = Arc::clone(&places).try_acquire_owned();
        let known = from.ip().to_canonical() == link.peer.address;
        let (Ok(place), true) = (place, known) else {
            link.slot.refused.add(1);
            tracing::debug!(%from, known, "no connection for the other node's admin");
            continue;
        };
        let (link, opened) = (Arc::clone(&link), opened.clone());
        tokio::spawn(async move {
            let _place = place;
            match timeout(OPENING, open(&link, stream)).await {
                // The loop above takes it, as long as the process lives.
                Ok(Ok(ready)) => drop(opened.send(ready).await),
                Ok(Err(error)) => {
                    link.slot.refused.add(1);
                    tracing::debug!(%from, "refused: {error:#}");
                }
                Err(_) => {
                    link.slot.refused.add(1);
                    tracing::debug!(%from, "no handshake in time");
                }
            }
        });
    }
}

/// Handshake and hellos.
async fn open(link: &Link, stream: TcpStream) -> anyhow::Result<(TlsStream<TcpStream>, Hello)> {
    let acceptor = TlsAcceptor::from(Arc::clone(&link.identity.server));
    let mut stream = acceptor.accept(stream).await.context("shake hands")?;
    let mut body = Vec::new();
    let kind = frame::read(&mut stream, &mut body).await;
    if kind.context("hear its hello")? != Kind::Hello {
        bail!("its first word is no hello");
    }
    let hello: Hello = serde_json::from_slice(&body).context("understand its hello")?;
    if hello.node != link.peer.name {
        bail!("it calls itself {}", hello.node);
    }
    let ours = Hello {
        version: VERSION,
        node: link.own.name.clone(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        threads: 0,
        vips: Vec::new(),
    };
    let ours = serde_json::to_vec(&ours).context("write a hello")?;
    stream.write_all(&frame(Kind::Hello, &ours)).await?;
    stream.flush().await?;
    Ok((stream, hello))
}

/// Hears the connection to its end. What was told stays then.
async fn hear(link: Arc<Link>, stream: TlsStream<TcpStream>, hello: Hello) {
    let since = clock::now();
    link.slot.hearing.set(since);
    // What it said last is past.
    note(link.slot, &Summary::default());
    tracing::info!(
        peer = link.peer.name,
        software = hello.software,
        "its admin process tells of its sessions"
    );
    let (reader, writer) = tokio::io::split(stream);
    let hearing = Hearing {
        link: &link,
        mirror: Mirror::new(link.peer_sessions, link.slot, (&hello, &link.vips)),
        reader,
        writer: Arc::new(tokio::sync::Mutex::new(writer)),
    };
    let Err(error) = hearing.go_on().await;
    tracing::info!(
        peer = link.peer.name,
        "its admin process tells nothing any more: {error:#}"
    );
    link.slot.hearing.clear();
    link.slot.peer_drain_until.clear();
    link.slot.peer_stops.clear();
    *link.left.peer() = Left::default();
}

/// How the other node is.
fn note(slot: &LinkSlot, summary: &Summary) {
    let now = clock::now();
    slot.peer_drain_closed.set(summary.drain_closed);
    slot.peer_drain_reset.set(summary.drain_reset);
    let goes_on = !summary.has_stopped;
    let after = |left| now + Duration::from_millis(left);
    let before = |passed| now - Duration::from_millis(passed);
    let until = summary.drain_ms_left.filter(|_| goes_on).map(after);
    put(&slot.peer_drain_until, until);
    let stops = summary.stopping_ms.filter(|_| goes_on).map(before);
    put(&slot.peer_stops, stops);
    put(&slot.peer_stopped, summary.has_stopped.then_some(now));
}

fn put(cell: &MomentCell, moment: Option<Moment>) {
    match moment {
        Some(moment) => cell.set(moment),
        None => cell.clear(),
    }
}

struct Hearing<'a> {
    link: &'a Link,
    mirror: Mirror,
    reader: ReadHalf<TlsStream<TcpStream>>,
    /// For replies.
    writer: Arc<tokio::sync::Mutex<WriteHalf<TlsStream<TcpStream>>>>,
}

impl Hearing<'_> {
    async fn go_on(mut self) -> anyhow::Result<Infallible> {
        let mut body = Vec::new();
        loop {
            let read = timeout(SILENCE, frame::read(&mut self.reader, &mut body)).await;
            match read.context("it is silent")?.context("hear it")? {
                Kind::Sessions => self.mirror.take(&body)?,
                Kind::Listed => self.mirror.listed(),
                Kind::Summary => {
                    let summary: Summary =
                        serde_json::from_slice(&body).context("understand it")?;
                    note(self.link.slot, &summary);
                    *self.link.left.peer() = summary.left;
                }
                Kind::Task => self.link.servant.serve(&body, Arc::clone(&self.writer))?,
                Kind::Hello | Kind::Reply => {}
            }
        }
    }
}
