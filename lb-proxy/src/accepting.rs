//! The accept loops of one relay thread, over the generations of the data plane.
//!
//! A loop belongs to a listening socket, and lives as long as that does: a reload gives it another
//! post, the listener and the configuration for the connections to come. A client that it holds back is
//! held back by what holds now.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use common::config::Config;
use common::time::Moment;
use nix::sys::stat::fstat;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tracing::warn;

use crate::ListeningSocket;
use crate::clock;
use crate::context::{Proxy, Thread};
use crate::control::Want;
use crate::entrance::Entrance;
use crate::listener::{accept_loop, adopt, set_options};
use crate::threads::{RunError, ticker};

/// A relay thread is to go over to the next generation.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) proxy: Arc<Proxy>,
    /// All that it accepts from, also those that it has already.
    pub(crate) sockets: Vec<ListeningSocket>,
    /// Told when it has.
    pub(crate) done: SyncSender<()>,
}

/// Where an accept loop looks what it accepts for.
#[derive(Debug)]
pub(crate) struct Door {
    post: ArcSwap<Post>,
    /// Where its clients come to: no reload changes that.
    entrance: Entrance,
    closes: Notify,
    /// Another process accepts from the same socket.
    retired: AtomicBool,
}

/// What connections are accepted for.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) thread: Arc<Thread>,
    pub(crate) listener: usize,
}

impl Door {
    pub(crate) fn new(post: Post, entrance: Entrance) -> Self {
        Self {
            post: ArcSwap::from_pointee(post),
            entrance,
            closes: Notify::new(),
            retired: AtomicBool::new(false),
        }
    }

    /// Closes, because another process accepts from the same socket: who waits there is its.
    fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.closes.notify_one();
    }

    pub(crate) fn has_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(crate) fn post(&self) -> Arc<Post> {
        self.post.load_full()
    }

    pub(crate) fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// Returns when nothing is to be accepted here any more.
    pub(crate) async fn closes(&self) {
        self.closes.notified().await;
    }
}

/// The sessions' generations on one thread: the one that runs, and those of which sessions are left.
#[derive(Debug)]
pub(crate) struct Generations {
    pub(crate) current: Arc<Thread>,
    earlier: Vec<Weak<Thread>>,
}

impl Generations {
    pub(crate) fn new(first: Arc<Thread>) -> Self {
        Self {
            current: first,
            earlier: Vec::new(),
        }
    }

    /// A turn of the thread's loop.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.current.tick(now);
        self.earlier.retain(|one| match one.upgrade() {
            Some(one) => {
                one.flush();
                true
            }
            None => false,
        });
    }

    fn go_over(&mut self, proxy: Arc<Proxy>) {
        let next = Arc::new(self.current.after(proxy));
        let before = std::mem::replace(&mut self.current, next);
        self.earlier.push(Arc::downgrade(&before));
    }
}

/// What is accepted from, by the inode of its socket.
#[derive(Default)]
struct Doors {
    open: BTreeMap<u64, Arc<Door>>,
    accepting: JoinSet<()>,
}

impl Doors {
    /// Opens, keeps and closes, so that exactly these sockets are accepted from.
    fn follow(
        &mut self,
        thread: &Arc<Thread>,
        sockets: Vec<ListeningSocket>,
    ) -> Result<(), RunError> {
        let config = &thread.proxy.config;
        let mut wanted = BTreeMap::new();
        for socket in sockets {
            let failed = |source| adoption((config, socket.listener), source);
            wanted.insert(inode(socket.socket.as_fd()).map_err(failed)?, socket);
        }
        self.open.retain(|inode, door| {
            let stays = wanted.contains_key(inode);
            if !stays {
                door.closes.notify_one();
            }
            stays
        });
        for (inode, socket) in wanted {
            let listener = socket.listener;
            let settings = &config.listeners[listener];
            let post = Post {
                thread: Arc::clone(thread),
                listener,
            };
            if let Some(door) = self.open.get(&inode) {
                // Another descriptor of the same socket: what new connections inherit is set for both.
                if let Err(error) = set_options(socket.socket.as_fd(), settings) {
                    warn!(listener = settings.name, %error, "options of its sockets stay as they were");
                }
                door.post.store(Arc::new(post));
                continue;
            }
            let failed = |source| adoption((config, listener), source);
            let adopted = adopt(socket.socket, settings).map_err(failed)?;
            let entrance = Entrance::new(adopted.local_addr(), config);
            let door = Arc::new(Door::new(post, entrance));
            self.accepting
                .spawn(accept_loop(adopted, Arc::clone(&door)));
            self.open.insert(inode, door);
        }
        Ok(())
    }

    /// Returns when a loop has ended that was not told to.
    async fn ended(&mut self) {
        loop {
            match self.accepting.join_next().await {
                None => std::future::pending().await,
                // One whose socket is gone.
                Some(Ok(())) => {}
                Some(Err(_)) => return,
            }
        }
    }
}

/// Accepts until the end is wanted; the accept loops that are left, which serve whom they hold back. The heartbeat says that this thread turns and its accept loops live: when
/// one of them ends, so does the thread. That accept(2) fails for want of descriptors is counted
/// and no reason for silence, since the sessions that hold them are served.
pub(crate) async fn accept_until_end(
    generations: &mut Generations,
    sockets: Vec<ListeningSocket>,
    (turns, wants): (
        &mut mpsc::UnboundedReceiver<Turn>,
        &mut watch::Receiver<Want>,
    ),
) -> Result<JoinSet<()>, RunError> {
    let index = generations.current.index;
    let board = generations.current.proxy.board;
    let heartbeat = &board.accepting[index];
    let mut doors = Doors::default();
    doors.follow(&generations.current, sockets)?;
    let mut ticker = ticker();
    let ended = loop {
        tokio::select! {
            biased;
            _ = ticker.tick() => {
                let now = clock::now();
                generations.tick(now);
                heartbeat.set(now);
            }
            // A closed channel means that the handle is gone, which is a stop as well.
            _ = wants.wait_for(|want| *want != Want::Serve) => break Ok(()),
            Some(turn) = turns.recv() => {
                let Turn { proxy, sockets, done } = turn;
                generations.go_over(proxy);
                if let Err(error) = doors.follow(&generations.current, sockets) {
                    break Err(error);
                }
                // Who gave it may have just stopped waiting.
                let _nobody_waits = done.try_send(());
            }
            () = doors.ended() => break Err(RunError::Ended(format!("relay-{index}"))),
        }
    };
    heartbeat.clear();
    let retires = *wants.borrow() == Want::Retire;
    let Doors {
        open,
        mut accepting,
    } = doors;
    if retires {
        open.values().for_each(|door| door.retire());
    } else {
        accepting.shutdown().await;
    }
    ended.map(|()| accepting)
}

fn adoption((config, listener): (&Config, usize), source: io::Error) -> RunError {
    RunError::Adopt {
        listener: config.listeners[listener].name.clone(),
        source,
    }
}

/// What all descriptors of a socket have in common, whichever process they came from.
fn inode(socket: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(fstat(socket)?.st_ino)
}
