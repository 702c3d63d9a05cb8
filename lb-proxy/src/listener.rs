//! The accept loop of one listening socket: its life is that of the socket, see [`crate::accepting`].
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "accepts connections"
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use common::board::{Hold, HoldSlot};
use common::config::Listener;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::accepting::{Door, Post};
use crate::access::Verdict;
use crate::clock;
use crate::connect::keepalive_options;
use crate::limit::{Refusal, Wait};
use crate::session::{self, Client};
use crate::session_log::refuse;
use crate::termination::Ending;
use crate::tls;

/// Connections that are accepted before others run: few, since a session that begins is several times
/// the work of a round trip of one that is there.
const BATCH: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// While a limit of sessions is reached it is looked at this often.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(2);

/// Clients that are served after the listener was taken away: as many as may have waited before.
const MOST_WAITING: u32 = 4_096;
/// While an administrator has paused a listener it is looked at this often.
const LOOK_FOR_END: Duration = Duration::from_millis(20);

/// Takes over a listening socket. Accepted sockets inherit what is set here, so that TCP_NODELAY
/// and keepalive cost no system call for each connection. SO_LINGER 0 was set before it listened:
/// every connection has it, also one that waited here for this process.
pub(crate) fn adopt(socket: OwnedFd, listener: &Listener) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    set_options(socket.as_fd(), listener)?;
    TcpListener::from_std(socket)
}

/// Sets what the connections to come inherit, as the listener has it.
pub(crate) fn set_options(socket: BorrowedFd<'_>, listener: &Listener) -> io::Result<()> {
    let options = SockRef::from(&socket);
    match listener.keepalive {
        Some(keepalive) => options.set_tcp_keepalive(&keepalive_options(keepalive))?,
        None => options.set_keepalive(false)?,
    }
    options.set_tcp_user_timeout(listener.user_timeout)
}

/// Accepts until the door closes.
pub(crate) async fn accept_loop(socket: TcpListener, door: Arc<Door>) {
    let mut pause = FIRST_PAUSE;
    let mut in_a_row = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.closes() => break,
            accepted = socket.accept() => accepted,
        };
        let post = door.post();
        let slot = &post.thread.proxy.board.listeners[post.listener];
        match accepted {
            Ok(client) => {
                pause = FIRST_PAUSE;
                slot.accepted.add(1);
                admit(client, (post, &door)).await;
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
                    let listener = &post.thread.proxy.config.listeners[post.listener].name;
                    warn!(listener, %error, "connections cannot be accepted, trying again");
                }
                sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }
    if !door.has_retired() {
        serve_who_waits(socket, &door).await;
    }
}

/// A listener that a reload has taken away serves who came before that.
async fn serve_who_waits(socket: TcpListener, door: &Door) {
    let Ok(socket) = socket.into_std() else {
        return;
    };
    for number in 1..=MOST_WAITING {
        let Ok((stream, address)) = socket.accept() else {
            return;
        };
        let adopted = stream.set_nonblocking(true);
        let adopted = adopted.and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = adopted {
            let post = door.post();
            post.thread.proxy.board.listeners[post.listener]
                .accepted
                .add(1);
            admit((stream, address), (post, door)).await;
        }
        if number % BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Serves a client, unless a list says otherwise.
async fn admit((client, address): (TcpStream, SocketAddr), (post, door): (Arc<Post>, &Door)) {
    let (proxy, listener) = (&post.thread.proxy, post.listener);
    let slot = &proxy.board.listeners[listener];
    match proxy.access[listener].verdict(address.ip()) {
        Verdict::Served => serve((client, address), (post, door)).await,
        Verdict::Denied => {
            slot.denied.add(1);
            let listener_name = &proxy.config.listeners[listener].name;
            debug!(listener = listener_name, client = %address, "a client was denied");
            refuse(proxy, listener, (&client, address), &Ending::Denied);
            reset(client);
        }
        Verdict::Dropped => {
            slot.dropped.add(1);
            refuse(proxy, listener, (&client, address), &Ending::Dropped);
            vanish(client);
        }
    }
}

/// Starts a session, unless its client has as much as it may have.
async fn serve((stream, address): (TcpStream, SocketAddr), (post, door): (Arc<Post>, &Door)) {
    let (proxy, listener) = (&post.thread.proxy, post.listener);
    let slot = &proxy.board.listeners[listener];
    match proxy.limits.admit(listener, address.ip(), clock::now()) {
        Ok(admitted) => {
            // It is held here, and those behind it wait in the kernel's queue.
            let held = Held {
                client: Some((stream, address)),
                post: &post,
            };
            let now = wait_for_room(door).await;
            let client = Client::new(held.release(), admitted, (&now, door.entrance()));
            let Post { thread, listener } = &*now;
            let thread = Arc::clone(thread);
            if thread.proxy.tls.is_spoken(*listener) {
                drop(tokio::spawn(tls::session::serve(client, thread)));
            } else {
                drop(tokio::spawn(session::serve(client, thread)));
            }
        }
        Err(refusal) => {
            match refusal {
                Refusal::Sessions => slot.limited_sessions.add(1),
                Refusal::Rate => slot.limited_rate.add(1),
            }
            let ending = Ending::Limited(refusal);
            refuse(proxy, listener, (&stream, address), &ending);
            reset(stream);
        }
    }
}

/// A client that is accepted and not served yet. If the proxy stops before it is, that is its end.
struct Held<'a> {
    client: Option<(TcpStream, SocketAddr)>,
    post: &'a Post,
}

impl Held<'_> {
    fn release(mut self) -> (TcpStream, SocketAddr) {
        self.client.take().expect("it is there until this")
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some((stream, address)) = &self.client {
            let Post { thread, listener } = self.post;
            refuse(
                &thread.proxy,
                *listener,
                (stream, *address),
                &Ending::Stopped,
            );
        }
    }
}

/// Returns when the limits let one more session be served, with what it is served for: who waits while
/// a reload raises a limit waits no longer. Nor does who is the last one here, because another process accepts.
async fn wait_for_room(door: &Door) -> Arc<Post> {
    let mut held: Option<HeldBack> = None;
    loop {
        let (post, now) = (door.post(), clock::now());
        if door.has_retired() {
            return post;
        }
        let (proxy, listener) = (&post.thread.proxy, post.listener);
        let slot = &proxy.board.listeners[listener];
        let (hold, pause) = if slot.paused(now).is_some() {
            (Hold::Paused, LOOK_FOR_END)
        } else {
            match proxy.limits.may_serve(listener, proxy.board, now) {
                Ok(()) => return post,
                Err(Wait::Full(hold)) => (hold, LOOK_FOR_ROOM),
                Err(Wait::Pace(pause)) => (Hold::Rate, pause),
            }
        };
        if held.is_none() {
            slot.holds.add(1);
        }
        if held.as_ref().is_none_or(|held| held.why != hold) {
            held = Some(HeldBack::new(&proxy.board.holding[listener], hold));
        }
        drop(post);
        sleep(pause).await;
    }
}

/// On the board: this thread holds a client back, until dropped.
struct HeldBack {
    slot: &'static HoldSlot,
    why: Hold,
}

impl HeldBack {
    fn new(slot: &'static HoldSlot, why: Hold) -> Self {
        slot.begin(why);
        Self { slot, why }
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        self.slot.end(self.why);
    }
}

/// Closes so that the RST does not get beyond the node's own network.
fn vanish(client: TcpStream) {
    let socket = SockRef::from(&client);
    let near = match client.local_addr() {
        Ok(SocketAddr::V6(_)) => socket.set_unicast_hops_v6(1),
        Ok(SocketAddr::V4(_)) | Err(_) => socket.set_ttl_v4(1),
    };
    if let Err(error) = near {
        debug!(%error, "a client that is not to be answered gets an RST");
    }
    reset(client);
}

/// Closes with RST, since the socket has SO_LINGER 0.
fn reset(client: TcpStream) {
    drop(client);
}
