//! The threads: one for each core that relays, one that probes; their start, their heartbeats,
//! their end.
#![expect(
    clippy::disallowed_types,
    reason = "hands listening sockets to threads"
)]

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::board::{HoldSlot, LAYOUT, ProxyBoard};
use common::config::capacity::RESERVED_DESCRIPTORS;
use common::config::{Config, MAX_THREADS};
use common::roster::Roster;
use nix::sys::resource::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::access::Access;
use crate::balance::slow_start;
use crate::clock;
use crate::context::{Proxy, Thread};
use crate::control::Order;
use crate::drain::drain_sessions;
use crate::keeper::{self, Keeper, Verdicts};
use crate::lack::Warnings;
use crate::limit::Limits;
use crate::listener::{accept_loop, adopt};
use crate::lists::{ListError, Lists};
use crate::names::resolver;
use crate::pace::Paces;
use crate::pool::{AgentShare, Pool, Snapshot, Standing};
use crate::probing::Probing;
use crate::registry::Registry;
use crate::relay;
use crate::route::Router;
use crate::session_log::SessionLog;
use crate::source::Sources;
use crate::tls::Tls;
use crate::tls::files::TlsError;
use crate::waiting::Waiting;
use crate::{Control, Inputs, ListeningSocket, orders};

/// Interval of the heartbeats; a node gives its VIPs up when one is 100 ms old.
const TICK: Duration = Duration::from_millis(10);
/// Tasks that run before a runtime looks at sockets and timers again: few, so that a heartbeat is
/// on time under load.
const TASKS_IN_A_ROW: u32 = 16;
/// Outcomes of probes that wait for the keeper.
const WAITING_OUTCOMES: usize = 64;
/// For the last lines of the session log at a stop; its disk may stand still.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Why the data plane does not run (any more).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("starting {0} relay threads, 1 to {MAX_THREADS} are possible")]
    ThreadCount(usize),
    #[error("taking over the socket of bind {bind} of listener {listener} for thread {thread}")]
    UnknownSocket {
        listener: usize,
        bind: usize,
        thread: usize,
    },
    #[error("preparing TLS")]
    Tls(#[source] TlsError),
    #[error("reading the lists of networks")]
    Lists(#[source] ListError),
    #[error("starting thread {name}")]
    Start {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("taking over a listening socket of {listener}")]
    Adopt {
        listener: String,
        #[source]
        source: io::Error,
    },
    #[error("thread {0} has ended unasked")]
    Ended(String),
}

/// See [`crate::run`].
pub(crate) fn run(inputs: Inputs, control: &Arc<Control>) -> Result<(), RunError> {
    check(&inputs)?;
    let log_slot = &inputs.board.session_log;
    let (session_log, writing) = SessionLog::start(&inputs.config, log_slot, inputs.process_log)
        .map_err(|source| RunError::Start {
            name: "session-log".into(),
            source,
        })?;
    let proxy = prepare(&inputs, session_log)?;
    let keeper = Keeper::new(Arc::clone(&proxy));
    sign_on(inputs.board, inputs.threads);
    control.attach(&proxy);

    let (ended, endings) = mpsc::channel();
    let (probe_stop, stopped) = oneshot::channel();
    let board = inputs.board;
    let orders = control.take_orders();
    let names = inputs.config.names().count();
    let (resolved, found) = tokio::sync::mpsc::channel(WAITING_OUTCOMES);
    let (dns_stop, dns_stopped) = oneshot::channel();
    let probes = move || probe_thread(keeper, (orders, found), board, stopped);
    spawn("probe".into(), &ended, probes)?;
    if names > 0 {
        let config = Arc::clone(&inputs.config);
        let dns = move || {
            in_runtime("dns", async {
                resolver::ask_all(config, resolved, dns_stopped)
                    .await
                    .map_err(|()| RunError::Ended("dns".into()))
            })
        };
        spawn("dns".into(), &ended, dns)?;
    }
    for (index, sockets) in by_thread(inputs.sockets, inputs.threads)
        .into_iter()
        .enumerate()
    {
        let thread = Arc::new(Thread::new(Arc::clone(&proxy), index, clock::now()));
        let stop = control.stop_signal();
        let relay = move || relay_thread(thread, sockets, stop);
        spawn(format!("relay-{index}"), &ended, relay)?;
    }
    info!(threads = inputs.threads, "the data plane serves");

    for _ in 0..inputs.threads {
        wait_for_end(&endings, control)?;
    }
    // These end last: an end before this is unasked.
    drop(dns_stop);
    if names > 0 {
        wait_for_end(&endings, control)?;
    }
    drop(probe_stop);
    wait_for_end(&endings, control)?;
    // The last one who could send a line.
    drop(proxy);
    if let Some(writing) = writing {
        writing.wait(LAST_LINES);
    }
    info!("the data plane has stopped");
    Ok(())
}

fn check(inputs: &Inputs) -> Result<(), RunError> {
    if !(1..=MAX_THREADS).contains(&inputs.threads) {
        return Err(RunError::ThreadCount(inputs.threads));
    }
    let known = |socket: &ListeningSocket| {
        let listener = inputs.config.listeners.get(socket.listener);
        let bind = listener.and_then(|listener| listener.binds.get(socket.bind));
        bind.is_some_and(|bind| socket.port < bind.ports()) && socket.thread < inputs.threads
    };
    match inputs.sockets.iter().find(|socket| !known(socket)) {
        Some(socket) => Err(RunError::UnknownSocket {
            listener: socket.listener,
            bind: socket.bind,
            thread: socket.thread,
        }),
        None => Ok(()),
    }
}

/// Reads what an earlier proxy left on the board, and builds what the threads share.
fn prepare(inputs: &Inputs, session_log: SessionLog) -> Result<Arc<Proxy>, RunError> {
    let Inputs {
        config,
        node,
        board,
        ..
    } = inputs;
    let verdicts = match board.header.pid.load(Ordering::Acquire) {
        0 => Verdicts::None,
        _ => Verdicts::Earlier,
    };
    let roster = Roster::read(config, board);
    keeper::first_states((config, &roster), board, (verdicts, clock::now()));
    let now = clock::now();
    let standing = |place: usize| Standing {
        candidacy: keeper::candidacy(&board.servers[place], now),
        ramp: slow_start::FULL,
        weight: board.servers[place]
            .admin_weight(now)
            .map(|said| said.value),
        share: AgentShare::of(&board.servers[place].agent),
    };
    let sources = Sources::new(config, *node, is_of_this_node);
    for backend in sources.without_any(config) {
        warn!(
            backend,
            "this node has no address of the backend's `source`: the kernel chooses one"
        );
    }
    let lists = Lists::new(config, &inputs.files).map_err(RunError::Lists)?;
    let listeners = config.listeners.iter();
    Ok(Arc::new(Proxy {
        config: Arc::clone(config),
        board,
        admin: inputs.admin,
        pool: Pool::new(
            config,
            Snapshot::new(config, &roster, standing),
            now.as_nanos(),
        ),
        roster: ArcSwap::from_pointee(roster),
        paces: Paces::default(),
        waiting: Waiting::new(config),
        session_log,
        sources,
        lack_warnings: Warnings::default(),
        limits: Limits::new(
            config,
            (board, &lists),
            possible_sessions(inputs.sockets.len()),
        ),
        access: listeners.map(|one| Access::new(one, &lists)).collect(),
        lists,
        routers: config.listeners.iter().map(Router::new).collect(),
        tls: Tls::new(config, &inputs.files, board).map_err(RunError::Tls)?,
        registries: (0..inputs.threads)
            .map(|thread| Arc::new(Registry::new(thread, now)))
            .collect(),
        named: AtomicU64::new(0),
        began: now.as_nanos(),
    }))
}

/// The kernel lets a socket be bound to an address of the machine only (without IP_FREEBIND).
fn is_of_this_node(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// Each session has two descriptors, and so has each listening socket, one of which is kept for the
/// next supervisor; probes and the process itself need a few more.
fn possible_sessions(sockets: usize) -> u64 {
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    let free = most.saturating_sub(RESERVED_DESCRIPTORS + 2 * sockets as u64);
    (free / 2).max(1)
}

/// The board is ours from here on: gauges of an earlier proxy are cleared, counters and verdicts
/// live on.
fn sign_on(board: &ProxyBoard, threads: usize) {
    for slot in &board.listeners {
        slot.sessions.set(0);
        slot.clients_at_limit.set(0);
    }
    board.holding.iter().for_each(HoldSlot::clear);
    // One that was stopping before us is gone.
    board.drain.until.clear();
    for slot in &board.backends {
        slot.queued.set(0);
        slot.waiting_since.clear();
    }
    for slot in &board.servers {
        slot.sessions.set(0);
        slot.errors_in_row.set(0);
    }
    for heartbeat in &board.accepting {
        heartbeat.clear();
    }
    let now = clock::now();
    board.threads.set(threads as u64);
    board.header.layout.store(LAYOUT, Ordering::Release);
    board.header.started.set(now);
    board.header.heartbeat.set(now);
    board
        .header
        .pid
        .store(std::process::id(), Ordering::Release);
}

fn by_thread(sockets: Vec<ListeningSocket>, threads: usize) -> Vec<Vec<ListeningSocket>> {
    let mut sorted: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(threads).collect();
    for socket in sockets {
        sorted[socket.thread].push(socket);
    }
    sorted
}

/// The end of a thread: its name, and how.
type Ending = (String, Result<(), RunError>);

/// Starts a thread whose end, whatever it is, is told.
fn spawn(
    name: String,
    ended: &mpsc::Sender<Ending>,
    work: impl FnOnce() -> Result<(), RunError> + Send + 'static,
) -> Result<(), RunError> {
    let ended = ended.clone();
    let thread = name.clone();
    let body = move || {
        let work = std::panic::AssertUnwindSafe(work);
        let result =
            std::panic::catch_unwind(work).unwrap_or_else(|_| Err(RunError::Ended(thread.clone())));
        // Nobody listens any more when `run` has returned after another thread's failure.
        let _nobody_listens = ended.send((thread, result));
    };
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(body)
        .map(drop)
        .map_err(|source| RunError::Start { name, source })
}

fn wait_for_end(endings: &mpsc::Receiver<Ending>, control: &Control) -> Result<(), RunError> {
    let (name, result) = endings.recv().expect("`run` holds a sender itself");
    result?;
    if control.stop_requested() {
        Ok(())
    } else {
        Err(RunError::Ended(name))
    }
}

fn relay_thread(
    thread: Arc<Thread>,
    sockets: Vec<ListeningSocket>,
    stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let name = format!("relay-{}", thread.index);
    let threads = thread.proxy.board.threads.get();
    let threads = usize::try_from(threads).unwrap_or(1).max(1);
    relay::share_pipes(thread.index, threads);
    in_runtime(&name, async move {
        let adopted = adopt_all(&thread.proxy.config, sockets)?;
        accept_until_stop(&thread, adopted, stop).await?;
        drain_sessions(&thread, thread.proxy.config.proxy.drain).await;
        Ok(())
    })
}

/// Runs `work` on a runtime of this thread. What is left on the runtime then is dropped with it,
/// which resets the sessions.
///
/// `work` is what the runtime polls itself, before the tasks that wait in its queue: its heartbeat
/// says that the thread turns. With thousands of busy sessions in the queue it is late by no more
/// than [`TASKS_IN_A_ROW`] of them; as a task among them it would look hung just when the node has
/// most to do, and the VIPs would move for nothing.
fn in_runtime(
    name: &str,
    work: impl Future<Output = Result<(), RunError>>,
) -> Result<(), RunError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_IN_A_ROW)
        .build()
        .map_err(|source| RunError::Start {
            name: name.into(),
            source,
        })?;
    runtime.block_on(work)
}

fn adopt_all(
    config: &Config,
    sockets: Vec<ListeningSocket>,
) -> Result<Vec<(usize, TcpListener)>, RunError> {
    let adopt_one = |socket: ListeningSocket| {
        let listener = &config.listeners[socket.listener];
        match adopt(socket.socket, listener) {
            Ok(adopted) => Ok((socket.listener, adopted)),
            Err(source) => Err(RunError::Adopt {
                listener: listener.name.clone(),
                source,
            }),
        }
    };
    sockets.into_iter().map(adopt_one).collect()
}

/// Accepts until the stop. The heartbeat says that this thread turns and its accept loops live: when
/// one of them ends, so does the thread. That accept(2) fails for want of descriptors is counted
/// and no reason for silence, since the sessions that hold them are served.
async fn accept_until_stop(
    thread: &Arc<Thread>,
    sockets: Vec<(usize, TcpListener)>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let heartbeat = &thread.proxy.board.accepting[thread.index];
    let mut accepting = JoinSet::new();
    for (listener, socket) in sockets {
        accepting.spawn(accept_loop(socket, listener, Arc::clone(thread)));
    }
    let mut ticker = ticker();
    let ended = loop {
        tokio::select! {
            biased;
            _ = ticker.tick() => {
                let now = clock::now();
                thread.tick(now);
                heartbeat.set(now);
            }
            // A closed channel means that the handle is gone, which is a stop as well.
            _ = stop.wait_for(|stop| *stop) => break Ok(()),
            Some(_) = accepting.join_next() => {
                break Err(RunError::Ended(format!("relay-{}", thread.index)));
            }
        }
    };
    accepting.shutdown().await;
    heartbeat.clear();
    ended
}

pub(crate) fn ticker() -> tokio::time::Interval {
    let mut ticker = interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// The next command, `None` when nobody can give any more.
async fn next_order(orders: &mut Option<tokio::sync::mpsc::Receiver<Order>>) -> Option<Order> {
    orders.as_mut()?.recv().await
}

fn obey(order: Order, keeper: &mut Keeper) {
    let now = clock::now();
    if now < order.deadline {
        // Who gave it may have just stopped waiting.
        let _nobody_waits = order
            .reply
            .try_send(orders::execute(order.command, keeper, now));
    }
}

/// Probes, keeps the verdicts and the process's heartbeat until `stopped`'s sender is dropped.
fn probe_thread(
    mut keeper: Keeper,
    (mut orders, mut names): (
        Option<tokio::sync::mpsc::Receiver<Order>>,
        tokio::sync::mpsc::Receiver<resolver::Outcome>,
    ),
    board: &'static ProxyBoard,
    mut stopped: oneshot::Receiver<std::convert::Infallible>,
) -> Result<(), RunError> {
    in_runtime("probe", async move {
        let (sender, mut outcomes) = tokio::sync::mpsc::channel(WAITING_OUTCOMES);
        let (reporter, mut reports) = tokio::sync::mpsc::channel(WAITING_OUTCOMES);
        let mut probing = Probing::new(keeper.proxy(), (sender, reporter));
        let mut ticker = ticker();
        loop {
            probing.follow(&keeper.roster());
            tokio::select! {
                biased;
                _ = ticker.tick() => {
                    let now = clock::now();
                    board.header.heartbeat.set(now);
                    keeper.tick(now);
                }
                _ = &mut stopped => return Ok(()),
                Some(outcome) = outcomes.recv() => keeper.handle_outcome(outcome),
                Some(report) = reports.recv() => keeper.handle_agent(report),
                Some(found) = names.recv() => keeper.handle_names(found, clock::now()),
                Some(order) = next_order(&mut orders) => obey(order, &mut keeper),
                () = probing.ended() => return Err(RunError::Ended("probe".into())),
            }
        }
    })
}
