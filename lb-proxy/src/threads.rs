//! The threads: one for each core that relays, one that probes; their start, their heartbeats,
//! their end.
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use common::board::{Ages, HoldSlot, LAYOUT, ProxyBoard};
use common::config::{Config, MAX_THREADS};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::accepting::{Generations, Turn, accept_until_end};
use crate::clock;
use crate::context::Thread;
use crate::control::{Order, Want};
use crate::drain;
use crate::generation;
use crate::keeper::{Keeper, KeeperTurn};
use crate::lists::ListError;
use crate::names::resolver;
use crate::probing::Probing;
use crate::relay;
use crate::session_log::SessionLog;
use crate::tls::files::TlsError;
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
    let session_log = SessionLog::start(&inputs.config, log_slot, inputs.process_log);
    let session_log = session_log.map_err(|source| RunError::Start {
        name: "session-log".into(),
        source,
    })?;
    let writing = session_log.writing();
    let proxy = generation::first(&inputs, session_log)?;
    let keeper = Keeper::new(Arc::clone(&proxy), control.kin());
    sign_on(inputs.board, inputs.threads);
    let channels = (0..inputs.threads).map(|_| tokio::sync::mpsc::unbounded_channel());
    let (relays, turns): (Vec<_>, Vec<_>) = channels.unzip();
    control.attach(&proxy, relays);

    let (ended, endings) = mpsc::channel();
    let (probe_stop, stopped) = oneshot::channel();
    let board = inputs.board;
    let inboxes = Inboxes {
        orders: control.take_orders(),
        turns: control.take_turns(),
    };
    let (resolved, found) = tokio::sync::mpsc::channel(WAITING_OUTCOMES);
    let (dns_stop, dns_stopped) = oneshot::channel();
    let names = keeper.names_wanted();
    let heard = (inboxes, found, control.wants());
    let probes = move || probe_thread(keeper, heard, board, stopped);
    spawn("probe".into(), &ended, probes)?;
    let dns = move || {
        in_runtime("dns", async {
            resolver::ask_all(names, resolved, dns_stopped)
                .await
                .map_err(|()| RunError::Ended("dns".into()))
        })
    };
    spawn("dns".into(), &ended, dns)?;
    let sockets = by_thread(inputs.sockets, inputs.threads).into_iter();
    for (index, (sockets, turns)) in sockets.zip(turns).enumerate() {
        let thread = Arc::new(Thread::new(Arc::clone(&proxy), index, clock::now()));
        let told = (turns, control.wants());
        let relay = move || relay_thread(thread, sockets, told);
        spawn(format!("relay-{index}"), &ended, relay)?;
    }
    info!(threads = inputs.threads, "the data plane serves");

    for _ in 0..inputs.threads {
        wait_for_end(&endings, control)?;
    }
    // These end last: an end before this is unasked.
    drop(dns_stop);
    wait_for_end(&endings, control)?;
    drop(probe_stop);
    wait_for_end(&endings, control)?;
    // The last ones who could send a line.
    control.detach();
    drop(proxy);
    writing.wait(LAST_LINES);
    info!("the data plane has stopped");
    Ok(())
}

fn check(inputs: &Inputs) -> Result<(), RunError> {
    if !(1..=MAX_THREADS).contains(&inputs.threads) {
        return Err(RunError::ThreadCount(inputs.threads));
    }
    let whose = (&*inputs.config, inputs.threads);
    match inputs
        .sockets
        .iter()
        .find(|socket| !is_known(socket, whose))
    {
        Some(socket) => Err(RunError::UnknownSocket {
            listener: socket.listener,
            bind: socket.bind,
            thread: socket.thread,
        }),
        None => Ok(()),
    }
}

/// Whether the configuration has what a socket is bound to, and there is its thread.
pub(crate) fn is_known(socket: &ListeningSocket, (config, threads): (&Config, usize)) -> bool {
    let listener = config.listeners.get(socket.listener);
    let bind = listener.and_then(|listener| listener.binds.get(socket.bind));
    bind.is_some_and(|bind| socket.port < bind.ports()) && socket.thread < threads
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
    for slot in &board.ages {
        slot.set(&Ages::default());
    }
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

pub(crate) fn by_thread(
    sockets: Vec<ListeningSocket>,
    threads: usize,
) -> Vec<Vec<ListeningSocket>> {
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
    if control.end_requested() {
        Ok(())
    } else {
        Err(RunError::Ended(name))
    }
}

fn relay_thread(
    thread: Arc<Thread>,
    sockets: Vec<ListeningSocket>,
    (mut turns, mut wants): (
        tokio::sync::mpsc::UnboundedReceiver<Turn>,
        watch::Receiver<Want>,
    ),
) -> Result<(), RunError> {
    let name = format!("relay-{}", thread.index);
    let threads = thread.proxy.board.threads.get();
    let threads = usize::try_from(threads).unwrap_or(1).max(1);
    relay::share_pipes(thread.index, threads);
    let mut generations = Generations::new(thread);
    in_runtime(&name, async move {
        let told = (&mut turns, &mut wants);
        let accepting = accept_until_end(&mut generations, sockets, told).await?;
        drain::come_to_an_end(&mut generations, accepting, wants).await;
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

pub(crate) fn ticker() -> tokio::time::Interval {
    let mut ticker = interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// What the probe thread is told.
struct Inboxes {
    orders: Option<tokio::sync::mpsc::Receiver<Order>>,
    turns: Option<tokio::sync::mpsc::Receiver<KeeperTurn>>,
}

/// The next one, `None` when nobody can give any more.
async fn next<T>(inbox: &mut Option<tokio::sync::mpsc::Receiver<T>>) -> Option<T> {
    inbox.as_mut()?.recv().await
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

/// Returns when a probe has ended unasked.
async fn probes_ended(probing: &mut Option<Probing>) {
    match probing {
        Some(probing) => probing.ended().await,
        None => std::future::pending().await,
    }
}

/// Probes, keeps the verdicts and the process's heartbeat until `stopped`'s sender is dropped.
fn probe_thread(
    mut keeper: Keeper,
    (mut inboxes, mut names, mut wants): (
        Inboxes,
        tokio::sync::mpsc::Receiver<resolver::Outcome>,
        watch::Receiver<Want>,
    ),
    board: &'static ProxyBoard,
    mut stopped: oneshot::Receiver<std::convert::Infallible>,
) -> Result<(), RunError> {
    in_runtime("probe", async move {
        let (sender, mut outcomes) = tokio::sync::mpsc::channel(WAITING_OUTCOMES);
        let (reporter, mut reports) = tokio::sync::mpsc::channel(WAITING_OUTCOMES);
        let mut probing = Some(Probing::new(keeper.proxy(), (sender, reporter)));
        let mut ticker = ticker();
        loop {
            if let Some(probing) = &mut probing {
                probing.follow(&keeper.roster());
            }
            tokio::select! {
                biased;
                _ = ticker.tick() => {
                    let now = clock::now();
                    board.header.heartbeat.set(now);
                    match probing {
                        Some(_) => keeper.tick(now),
                        None => keeper.tick_retired(),
                    }
                }
                _ = &mut stopped => return Ok(()),
                // From now on its successor asks them, and acts on what they say.
                _ = wants.wait_for(|want| *want == Want::Retire), if probing.is_some() => probing = None,
                Some(turn) = next(&mut inboxes.turns) => {
                    turn.take(&mut keeper, clock::now());
                    if let Some(probing) = &mut probing {
                        probing.go_over(keeper.proxy());
                    }
                }
                Some(outcome) = outcomes.recv() => keeper.handle_outcome(outcome),
                Some(report) = reports.recv() => keeper.handle_agent(report),
                Some(found) = names.recv() => {
                    // Else its successor acts on what they are.
                    if probing.is_some() {
                        keeper.handle_names(found, clock::now());
                    }
                }
                Some(order) = next(&mut inboxes.orders) => obey(order, &mut keeper),
                () = probes_ended(&mut probing) => return Err(RunError::Ended("probe".into())),
            }
        }
    })
}
