//! The admin socket: reads for everybody who can open it (the file's mode decides), one JSON line for one.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this file serves the admin socket"
)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answers::Answers;
use super::clock::Clocks;
use super::pause::Pause;
use super::wire::{self, Answer};

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// How long a client may take for one request, and to read one answer.
const IDLE: Duration = Duration::from_secs(5);
/// Connections at a time that are told that there is no place; beyond these they are closed without a word.
const REFUSALS: usize = 64;
/// How long a refused client may take for its request.
const REFUSAL: Duration = Duration::from_millis(500);

/// The socket that the supervisor bound, in this process's runtime.
pub(crate) fn listener(socket: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

/// Accepts for ever.
pub(crate) async fn serve(listener: UnixListener, answers: Arc<Answers>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut pause = Pause::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the admin socket");
                tokio::time::sleep(pause.after_error()).await;
                continue;
            }
        };
        pause.reset();
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = refuse(stream).await {
                        tracing::debug!(%error, "an admin connection could not be refused");
                    }
                });
            }
            continue;
        };
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = talk(stream, &answers).await {
                tracing::debug!(%error, "an admin connection ended");
            }
        });
    }
}

/// Says that there is no place. The request is read first: closing a unix socket with unread input resets the client,
/// which then may not see what was said.
async fn refuse(mut stream: UnixStream) -> io::Result<()> {
    let line = wire::line(&Answer::error(format!(
        "{CONNECTIONS} connections are open already, try again"
    )));
    let mut request = Vec::new();
    let mut bounded = BufReader::new(&mut stream).take(wire::LONGEST_REQUEST as u64);
    // Who asks nothing in that time is told all the same.
    if let Ok(read) = timeout(REFUSAL, bounded.read_until(b'\n', &mut request)).await {
        read?;
    }
    // The socket is new and its buffer empty: it takes the line at once.
    timeout(REFUSAL, stream.write_all(&line)).await?
}

async fn talk(stream: UnixStream, answers: &Answers) -> io::Result<()> {
    let who = stream.peer_cred()?;
    tracing::debug!(uid = who.uid(), pid = who.pid(), "an admin connection");
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut read).take(wire::LONGEST_REQUEST as u64);
        if timeout(IDLE, bounded.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n") || line.len() < wire::LONGEST_REQUEST;
        let answer = if whole {
            Answer::to(&line, || answers.status(Clocks::read()))
        } else {
            Answer::error(format!(
                "a request has at most {} bytes",
                wire::LONGEST_REQUEST
            ))
        };
        timeout(IDLE, write.write_all(&wire::line(&answer))).await??;
        if !whole {
            return Ok(());
        }
    }
}
