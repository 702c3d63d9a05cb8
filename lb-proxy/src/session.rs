//! The life of one connection, top to bottom: allow → pick and connect → relay → account.
#![expect(
    clippy::disallowed_types,
    reason = "holds the two sockets of a session"
)]

use std::sync::Arc;
use std::time::Duration;

use common::config::Config;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tracing::debug;

use crate::connect::{self, Link};
use crate::context::{Counted, Thread};
use crate::limit::Admitted;
use crate::relay::{End, Meter, relay};

/// An accepted connection, counted as a session of its listener and of its client from before the
/// next one is accepted.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    _admitted: Option<Admitted>,
    _counted: Counted,
}

impl Client {
    pub(crate) fn new(
        stream: TcpStream,
        admitted: Option<Admitted>,
        gauge: &'static common::board::Cell,
    ) -> Self {
        Self {
            stream,
            _admitted: admitted,
            _counted: Counted::new(gauge),
        }
    }
}

/// Serves an accepted connection to its end. Both sockets reset when dropped, unless they were
/// closed in order.
pub(crate) async fn serve(client: Client, listener: usize, thread: Arc<Thread>) {
    let Client {
        stream: mut client,
        _admitted,
        _counted,
    } = client;
    let _alive = thread.sessions.enter();
    let slot = &thread.proxy.board.listeners[listener];
    let Some(mut server) = server_for(&client, listener, &thread).await else {
        return;
    };
    let meter = Meter {
        clock: &thread.clock,
        traffic: &thread.traffic[listener],
        idle: idle_limit(&thread.proxy.config, listener),
    };
    match relay(&mut client, &mut server.stream, meter).await {
        End::Finished => close_in_order(client, server),
        End::Idle => {
            slot.idle_closed.add(1);
            close_in_order(client, server);
        }
        End::Stuck => slot.idle_closed.add(1),
        End::Aborted(error) => {
            slot.aborted.add(1);
            let listener = &thread.proxy.config.listeners[listener].name;
            debug!(listener, %error, "a session was aborted");
        }
    }
}

/// Connects to a server, unless the client goes away first.
async fn server_for(client: &TcpStream, listener: usize, thread: &Thread) -> Option<Link> {
    let slot = &thread.proxy.board.listeners[listener];
    let config = &thread.proxy.config.listeners[listener];
    let connected = tokio::select! {
        biased;
        connected = connect::to_backend(&thread.proxy, config.backend) => connected,
        // Its RST only: a client may well have sent its FIN behind its request.
        _ = client.ready(Interest::ERROR) => {
            slot.aborted.add(1);
            return None;
        }
    };
    match connected {
        Ok(link) => Some(link),
        Err(error) => {
            slot.failed.add(1);
            let error = with_causes(&error);
            debug!(listener = config.name, error, "no server for a client");
            None
        }
    }
}

/// Limit of silence in both directions: the tunnel timeout; without one the shorter of the client's
/// and the server's.
fn idle_limit(config: &Config, listener: usize) -> Option<Duration> {
    let listener = &config.listeners[listener];
    let server_timeout = config.backends[listener.backend.0].server_timeout;
    let sides = [listener.client_timeout, server_timeout];
    listener
        .tunnel_timeout
        .or_else(|| sides.into_iter().flatten().min())
}

/// Closes both sockets with FIN; what the kernel still holds is delivered.
fn close_in_order(client: TcpStream, server: Link) {
    for stream in [&client, &server.stream] {
        if let Err(error) = SockRef::from(stream).set_linger(None) {
            debug!(%error, "a session is reset instead of closed");
        }
    }
}

/// An error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
