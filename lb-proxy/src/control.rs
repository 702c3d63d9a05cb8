//! How the owner of the process speaks to the data plane.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use common::board::ProxyBoard;
use common::command::{Command, Reply};
use common::config::Vip;
use common::time::Moment;
use tokio::sync::{mpsc, watch};

use crate::accepting::Turn;
use crate::clock;
use crate::context::Proxy;
use crate::generation::{self, Change, ChangeError, Prepared};
use crate::keeper::KeeperTurn;
use crate::registry::{Cut, Record};

/// Commands that wait; more are refused.
const WAITING: usize = 16;
/// How long a thread may take to hear of a reload; they turn each 10 ms.
const ANSWER: Duration = Duration::from_secs(1);

/// What the owner of the process wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Serve,
    /// Another process accepts from the same sockets: nothing new, and no end for what is going on.
    Retire,
    Stop {
        /// How long sessions may go on; `None` = as long as the configuration says.
        drain: Option<Duration>,
    },
}

/// Boards of the other proxies of the node that may have sessions.
#[derive(Debug, Default)]
pub(crate) struct Kin {
    /// Of those before this one.
    elders: Vec<&'static ProxyBoard>,
    /// Of the one that accepts now, once this one has retired.
    successor: Option<&'static ProxyBoard>,
}

impl Kin {
    /// Sessions that those before this one have with the server at a place.
    pub(crate) fn elder_sessions(&self, place: usize) -> u64 {
        let elders = self.elders.iter();
        elders
            .map(|board| board.servers[place].sessions.get())
            .sum()
    }

    pub(crate) fn successor(&self) -> Option<&'static ProxyBoard> {
        self.successor
    }
}

/// Handle to a running data plane; may be used from any thread.
#[derive(Debug)]
pub struct Control {
    want: watch::Sender<Want>,
    /// Since when it is to retire.
    retired: OnceLock<Moment>,
    kin: watch::Sender<Kin>,
    orders: mpsc::Sender<Order>,
    turns: mpsc::Sender<KeeperTurn>,
    /// Until [`crate::run`] takes them.
    receivers: Mutex<Receivers>,
    files: Mutex<Files>,
    /// The generation that may begin.
    prepared: Mutex<Option<Prepared>>,
}

/// What the probe thread is told.
#[derive(Debug)]
struct Receivers {
    orders: Option<mpsc::Receiver<Order>>,
    turns: Option<mpsc::Receiver<KeeperTurn>>,
}

/// Where new contents of files go.
#[derive(Debug)]
enum Files {
    /// [`crate::run`] has not come so far: what it will find changed already.
    Early(BTreeMap<PathBuf, Vec<u8>>),
    Running {
        proxy: Arc<Proxy>,
        /// The relay threads, in their order.
        relays: Vec<mpsc::UnboundedSender<Turn>>,
    },
    /// It ends.
    Over,
}

/// A command, and where its reply goes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) command: Command,
    /// Nobody waits for it any more, and has said so to whoever gave the command.
    pub(crate) deadline: Moment,
    pub(crate) reply: SyncSender<Reply>,
}

/// Why a command was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("{WAITING} commands wait already")]
    Busy,
    #[error("the data plane does not answer")]
    Late,
    #[error("the data plane has stopped")]
    Stopped,
    #[error("another process is taking its place: ask again in a moment")]
    Retired,
}

impl Control {
    /// A handle for [`crate::run`].
    pub fn new() -> Arc<Self> {
        let (orders, ordered) = mpsc::channel(WAITING);
        let (turns, turned) = mpsc::channel(WAITING);
        Arc::new(Self {
            want: watch::Sender::new(Want::Serve),
            retired: OnceLock::new(),
            kin: watch::Sender::default(),
            orders,
            turns,
            receivers: Mutex::new(Receivers {
                orders: Some(ordered),
                turns: Some(turned),
            }),
            files: Mutex::new(Files::Early(BTreeMap::new())),
            prepared: Mutex::new(None),
        })
    }

    /// No more accepting; sessions go on for at most this time, or the configured drain time, then
    /// [`crate::run`] returns. May be called before `run`, and more than once: the first time counts.
    pub fn request_stop(&self, drain: Option<Duration>) {
        self.want.send_if_modified(|want| {
            let goes_on = !matches!(want, Want::Stop { .. });
            if goes_on {
                *want = Want::Stop { drain };
            }
            goes_on
        });
    }

    /// No more accepting, because another process does from the same sockets. Sessions go on for as
    /// long as they last, then [`crate::run`] returns; [`Control::request_stop`] drains what is left. Servers
    /// are not probed any more, and of all commands those are obeyed that are about sessions: once an admin
    /// process gives them that has begun after this. The one before it knows only this proxy, and would be
    /// told half.
    pub fn request_retirement(&self) {
        self.retired.get_or_init(clock::now);
        self.want.send_if_modified(|want| {
            let serves = *want == Want::Serve;
            if serves {
                *want = Want::Retire;
            }
            serves
        });
    }

    /// A proxy before this one has sessions, which its board counts until they have ended: the places of
    /// their servers are not given away. To be called before `run`.
    pub fn know_elder(&self, board: &'static ProxyBoard) {
        self.kin.send_modify(|kin| kin.elders.push(board));
    }

    /// Once this one has retired: the board of the proxy that accepts now. Whatever server that one takes from
    /// its sessions is taken from those here.
    pub fn follow(&self, board: &'static ProxyBoard) {
        self.kin.send_modify(|kin| kin.successor = Some(board));
    }

    /// Uses new contents of files that [`crate::Inputs::files`] has: for every connection that is
    /// accepted from now on; what is going on is not touched. Contents that cannot be used change
    /// nothing. Takes its time for long lists, on the calling thread. May be called before `run`.
    pub fn replace_files(&self, files: BTreeMap<PathBuf, Vec<u8>>) {
        match &mut *self.files() {
            Files::Early(early) => early.extend(files),
            Files::Running { proxy, .. } => proxy.replace_files(&files),
            Files::Over => {}
        }
    }

    /// Prepares what a reload changes to, in place of what was prepared before; nothing is in force yet,
    /// and nothing that serves is held up. Takes its time on the calling thread.
    ///
    /// # Errors
    ///
    /// Why the data plane cannot change to it.
    pub fn prepare(&self, change: Change) -> Result<(), ChangeError> {
        self.abandon();
        let running = match &*self.files() {
            Files::Running { proxy, .. } => Arc::clone(proxy),
            Files::Early(_) | Files::Over => return Err(ChangeError::NotRunning),
        };
        let prepared = generation::next(&running, change)?;
        let config = Arc::clone(&prepared.proxy.config);
        let taken = self.tell_keeper(|reply| KeeperTurn::Reserve { config, reply })?;
        if let Some(what) = taken {
            self.abandon();
            return Err(ChangeError::Taken(what));
        }
        *self.prepared() = Some(prepared);
        Ok(())
    }

    /// Goes over to what was prepared: for the connections, probes and commands to come. What is going on
    /// is not touched. Returns when every thread has.
    ///
    /// # Errors
    ///
    /// Nothing was prepared, or a thread hangs: then the process is to be replaced.
    pub fn switch(&self) -> Result<(), ChangeError> {
        let prepared = self.prepared().take();
        let Prepared { proxy, sockets } = prepared.ok_or(ChangeError::NothingPrepared)?;
        let mut known = self.files();
        let Files::Running {
            proxy: running,
            relays,
        } = &mut *known
        else {
            return Err(ChangeError::NotRunning);
        };
        // Servers are there before the listeners that want them, and go after.
        let next = Arc::clone(&proxy);
        self.tell_keeper(|done| KeeperTurn::GoOver { proxy: next, done })?;
        proxy.take_over();
        let (done, told) = sync_channel(relays.len().max(1));
        for (relay, sockets) in relays.iter().zip(sockets) {
            let turn = Turn {
                proxy: Arc::clone(&proxy),
                sockets,
                done: done.clone(),
            };
            relay.send(turn).map_err(|_| ChangeError::Late)?;
        }
        for _ in &*relays {
            told.recv_timeout(ANSWER).map_err(|_| ChangeError::Late)?;
        }
        end_homeless(running, &proxy);
        *running = proxy;
        Ok(())
    }

    /// What was prepared will not be.
    pub fn abandon(&self) {
        if self.prepared().take().is_some() {
            // Whoever hangs reserves nothing either.
            let _late = self.tell_keeper(|done| KeeperTurn::Abandon { done });
        }
    }

    fn tell_keeper<T>(
        &self,
        turn: impl FnOnce(SyncSender<T>) -> KeeperTurn,
    ) -> Result<T, ChangeError> {
        let (reply, answer) = sync_channel(1);
        let sent = self.turns.try_send(turn(reply));
        sent.map_err(|_| ChangeError::Late)?;
        answer.recv_timeout(ANSWER).map_err(|_| ChangeError::Late)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> MutexGuard<'_, Option<Prepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on new contents and reloads go to this proxy and its threads; it is given the contents that
    /// came before it.
    pub(crate) fn attach(&self, proxy: &Arc<Proxy>, relays: Vec<mpsc::UnboundedSender<Turn>>) {
        let mut known = self.files();
        if let Files::Early(early) = &*known {
            proxy.replace_files(early);
        }
        *known = Files::Running {
            proxy: Arc::clone(proxy),
            relays,
        };
    }

    /// Nothing goes there any more, and nothing of it is held here.
    pub(crate) fn detach(&self) {
        *self.files() = Files::Over;
        self.prepared().take();
    }

    /// Gives a command and waits for its reply, at most so long. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// There was no reply; a command that waited longer is not executed.
    pub fn command(&self, command: Command, limit: Duration) -> Result<Reply, Unanswered> {
        if !self.may_obey(&command) {
            return Err(Unanswered::Retired);
        }
        let (reply, answer) = sync_channel(1);
        let order = Order {
            command,
            deadline: clock::now() + limit,
            reply,
        };
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopped,
        })?;
        answer.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => Unanswered::Late,
            RecvTimeoutError::Disconnected => Unanswered::Stopped,
        })
    }

    fn may_obey(&self, command: &Command) -> bool {
        let Some(since) = self.retired.get() else {
            return true;
        };
        let Files::Running { proxy, .. } = &*self.files() else {
            return false;
        };
        let asking = proxy.admin.header.started.get();
        command.is_of_sessions() && asking.is_some_and(|began| began > *since)
    }

    /// Whether it is to end, now or when its last session has.
    pub(crate) fn end_requested(&self) -> bool {
        *self.want.borrow() != Want::Serve
    }

    pub(crate) fn kin(&self) -> watch::Receiver<Kin> {
        self.kin.subscribe()
    }

    pub(crate) fn wants(&self) -> watch::Receiver<Want> {
        self.want.subscribe()
    }

    /// Where commands come from; `None` = somebody has it already.
    pub(crate) fn take_orders(&self) -> Option<mpsc::Receiver<Order>> {
        self.receivers().orders.take()
    }

    /// Where the keeper is told of reloads; `None` = somebody has it already.
    pub(crate) fn take_turns(&self) -> Option<mpsc::Receiver<KeeperTurn>> {
        self.receivers().turns.take()
    }

    fn receivers(&self) -> MutexGuard<'_, Receivers> {
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
/// Nothing reaches the sessions of a VIP that is gone: both sides are told.
fn end_homeless(running: &Proxy, next: &Proxy) {
    let is_gone = |vip: &Vip| next.config.vip_at(vip.address).is_none();
    if !running.config.live_vips().any(|(_, vip)| is_gone(vip)) {
        return;
    }
    let is_homeless = |one: &Record| {
        let vip = one.vip().and_then(|vip| running.config.vips.get(vip.0));
        vip.is_some_and(is_gone)
    };
    let sessions = next.cut(Cut::Administrator, is_homeless);
    if sessions > 0 {
        tracing::info!(sessions, "the sessions of VIPs that are gone were ended");
    }
}
