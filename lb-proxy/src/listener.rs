//! The accept loop of one listening socket.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "accepts connections"
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use common::config::Listener;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::connect::keepalive_options;
use crate::context::Thread;
use crate::session;

/// Connections that are accepted before others run.
const BATCH: u32 = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Takes over a listening socket. Accepted sockets inherit what is set here, so that TCP_NODELAY
/// and keepalive cost no system call for each connection.
pub(crate) fn adopt(socket: OwnedFd, listener: &Listener) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_nodelay(true)?;
    match listener.keepalive {
        Some(keepalive) => options.set_tcp_keepalive(&keepalive_options(keepalive))?,
        None => options.set_keepalive(false)?,
    }
    TcpListener::from_std(socket)
}

/// Accepts for ever.
pub(crate) async fn accept_loop(
    socket: TcpListener,
    listener: usize,
    thread: Arc<Thread>,
) -> std::convert::Infallible {
    let slot = &thread.proxy.board.listeners[listener];
    let mut pause = FIRST_PAUSE;
    let mut in_a_row = 0;
    loop {
        match accept(&socket).await {
            Ok((client, address)) => {
                pause = FIRST_PAUSE;
                slot.accepted.add(1);
                let config = &thread.proxy.config.listeners[listener];
                if session::allowed(config, address.ip()) {
                    tokio::spawn(session::serve(client, listener, Arc::clone(&thread)));
                } else {
                    slot.denied.add(1);
                    debug!(listener = config.name, client = %address, "a client was denied");
                    reset(client);
                }
                in_a_row += 1;
                if in_a_row == BATCH {
                    in_a_row = 0;
                    tokio::task::yield_now().await;
                }
            }
            // The connection was reset while it waited: nothing is wrong here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                slot.accept_errors.add(1);
            }
            Err(error) => {
                slot.accept_errors.add(1);
                if pause == FIRST_PAUSE {
                    let listener = &thread.proxy.config.listeners[listener].name;
                    warn!(listener, %error, "connections cannot be accepted, trying again");
                }
                sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }
}

/// The next connection, with SO_LINGER 0: a socket that waited in the queue since before anybody
/// set it on the listening one has not inherited it.
async fn accept(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (client, address) = socket.accept().await?;
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    Ok((client, address))
}

/// Closes with RST, since the socket has SO_LINGER 0.
fn reset(client: TcpStream) {
    drop(client);
}
