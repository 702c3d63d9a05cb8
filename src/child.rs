//! `fmc-lb child`: the entry of each process that the supervisor starts.
//!
//! Two threads matter: the first one does the work (`vrrp::run`, `lb_proxy::run`, `admin::run`),
//! another one listens to the supervisor and passes on what it says. It outlives the supervisor and
//! waits for the next one.

mod boards;
mod link;
mod peer;
mod reload;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use common::board::{Child, SessionLane, SessionTable};
use common::command::Reply;
use common::config::{Config, NodeIndex};
use forward::Program;
use nix::sys::signal::SigSet;
use tracing_appender::non_blocking::WorkerGuard;
use vrrp::{Beginning, End};

use self::link::{Event, Kept, Link};
use self::reload::Reload;
use crate::admin::Proxies;
use crate::cli::ChildKind;
use crate::control::{Body, CommandEnd, Given, Handle, Setup, Whose, Writer};
use crate::memory::{self, Shared};
use crate::{admin, commands, logging, rights};

/// The control thread receives, and sends a few messages: its buffers are on the heap. A small
/// stack, because vrrp locks its memory.
const CONTROL_STACK: usize = 128 * 1024;

pub(crate) fn run(kind: ChildKind) -> anyhow::Result<ExitCode> {
    let child = Child::from(kind);
    // The supervisor blocks signals to read them; for a child they mean what they always mean.
    SigSet::all().thread_unblock().context("unblock signals")?;
    // Before the first thread: capabilities belong to threads, and the kernel grows the table of
    // descriptors of a process with two threads only after all processors have passed through a
    // quiet state (synchronize_rcu, 5 ms and more).
    let link = Link::accept(child)?;
    let (setup, handles) = link.receive_setup()?;
    let refused = rights::enter(child, setup.user.as_ref()).context("give up rights")?;
    let table = match child {
        Child::Proxy => rights::make_room_for_descriptors(),
        Child::Vrrp | Child::Admin => Ok(()),
    };
    let _log = start_log()?;
    if let Err(error) = table {
        tracing::warn!(%error, "sessions will wait now and then while their number grows");
    }
    for what in refused {
        tracing::warn!(what, "a right could not be given up or set");
    }
    let kept = Kept::new(setup.clone(), &handles).context("keep the set-up")?;
    let work = Work::read(setup, handles, None)?;
    let result = match child {
        Child::Vrrp => run_vrrp(work, link, kept),
        Child::Proxy => run_proxy(work, link, kept),
        Child::Admin => run_admin(work, link, kept),
    };
    // Nothing is urgent any more, and the end waits for the thread that writes the log.
    if let Err(error) = vrrp::schedule_normal() {
        tracing::warn!(%error, "real-time priority is kept to the end");
    }
    match &result {
        Ok(()) => tracing::info!(process = child.word(), "stopped"),
        Err(error) => tracing::error!(process = child.word(), "{error:#}"),
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// What came with the set-up, sorted.
struct Work {
    config: Arc<Config>,
    /// Of the configuration as its file has it, as vrrp says it to the other node.
    config_hash: u64,
    node: NodeIndex,
    threads: usize,
    beside: bool,
    /// Of the table of sessions.
    lane: usize,
    boards: BTreeMap<usize, OwnedFd>,
    /// Boards of proxies that have retired, each with its place.
    retired: Vec<(usize, OwnedFd)>,
    /// Where those take commands.
    retired_commands: Vec<(usize, OwnedFd)>,
    /// Counts of those that have ended.
    past: Option<OwnedFd>,
    listeners: Vec<lb_proxy::ListeningSocket>,
    admin_socket: Option<OwnedFd>,
    http: Vec<OwnedFd>,
    asking: Option<OwnedFd>,
    serving: Option<OwnedFd>,
    tasks: Option<OwnedFd>,
    /// The map that is the board of the TC program.
    forward: Option<OwnedFd>,
    sessions: Option<OwnedFd>,
    peer_sessions: Option<OwnedFd>,
    peer_socket: Option<OwnedFd>,
    admin_key: Option<OwnedFd>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Work {
    /// `before` is what this process runs by until now.
    fn read(
        setup: Setup,
        handles: Vec<(Handle, OwnedFd)>,
        before: Option<&Config>,
    ) -> anyhow::Result<Self> {
        let Given { config, hash, .. } = Given::read(&handles, before)?;
        let node = config
            .nodes
            .iter()
            .position(|node| node.name == setup.node)
            .map(NodeIndex)
            .with_context(|| format!("the configuration has no node {}", setup.node))?;
        let mut work = Self {
            config: Arc::new(config),
            config_hash: hash,
            node,
            threads: setup.threads,
            beside: setup.beside,
            lane: setup.lane,
            boards: BTreeMap::new(),
            retired: Vec::new(),
            retired_commands: Vec::new(),
            past: None,
            listeners: Vec::new(),
            admin_socket: None,
            http: Vec::new(),
            asking: None,
            serving: None,
            tasks: None,
            forward: None,
            sessions: None,
            peer_sessions: None,
            peer_socket: None,
            admin_key: None,
            files: BTreeMap::new(),
        };
        for (handle, descriptor) in handles {
            work.sort(handle, descriptor)?;
        }
        Ok(work)
    }

    fn sort(&mut self, handle: Handle, descriptor: OwnedFd) -> anyhow::Result<()> {
        match handle {
            Handle::Board { writer } => {
                self.boards.insert(writer as usize, descriptor);
            }
            Handle::Listener {
                listener,
                bind,
                port,
                thread,
            } => self.listeners.push(lb_proxy::ListeningSocket {
                listener,
                bind,
                port,
                thread,
                socket: descriptor,
            }),
            Handle::AdminSocket => self.admin_socket = Some(descriptor),
            Handle::Http { .. } => self.http.push(descriptor),
            Handle::Commands { end } => match end {
                CommandEnd::Asking => self.asking = Some(descriptor),
                CommandEnd::Serving => self.serving = Some(descriptor),
            },
            Handle::Tasks { end } => {
                // The other end lives on in what is kept, for the next supervisor.
                if end == CommandEnd::Asking {
                    self.tasks = Some(descriptor);
                }
            }
            Handle::Forward { part } => {
                // The others live on in what is kept, for the next supervisor.
                if part == Program::STATE {
                    self.forward = Some(descriptor);
                }
            }
            Handle::File { path } => {
                let content = memory::read_text(&descriptor)
                    .with_context(|| format!("read {}", path.display()))?;
                self.files.insert(path, content);
            }
            Handle::Sessions { whose } => match whose {
                Whose::Own => self.sessions = Some(descriptor),
                Whose::Peer => self.peer_sessions = Some(descriptor),
            },
            Handle::PeerSocket => self.peer_socket = Some(descriptor),
            Handle::AdminKey => self.admin_key = Some(descriptor),
            Handle::Retired { place } => self.retired.push((place, descriptor)),
            Handle::RetiredCommands { place } => self.retired_commands.push((place, descriptor)),
            Handle::Past => self.past = Some(descriptor),
            // The name lives on in what is kept for the next supervisor.
            Handle::Config | Handle::Arrangement | Handle::NodeName => {}
            // Said later, and by somebody else.
            Handle::Successor | Handle::Unknown => {}
        }
        Ok(())
    }

    /// Where a proxy writes its sessions; `None` = nobody is told.
    fn session_lane(&self) -> io::Result<Option<SessionLane>> {
        let Some(memory) = &self.sessions else {
            return Ok(None);
        };
        let table: &SessionTable = memory::map_writable(memory)?;
        let lane = table.lane(self.lane);
        lane.map(Some).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn own_board<T: Shared>(&self, writer: Writer) -> anyhow::Result<&'static T> {
        memory::map_writable(self.board_memory(writer)?)
            .with_context(|| format!("map the board of {writer:?}"))
    }

    fn board<T: Shared>(&self, writer: Writer) -> anyhow::Result<&'static T> {
        memory::map_read_only(self.board_memory(writer)?)
            .with_context(|| format!("map the board of {writer:?}"))
    }

    fn board_memory(&self, writer: Writer) -> anyhow::Result<&OwnedFd> {
        self.boards
            .get(&(writer as usize))
            .with_context(|| format!("no board of {writer:?} in the set-up"))
    }
}

fn run_vrrp(work: Work, link: Link, kept: Kept) -> anyhow::Result<()> {
    let pair_key = work
        .config
        .pair
        .key_file
        .as_ref()
        .and_then(|path| work.files.get(path))
        .map(|key| String::from_utf8(key.clone()).context("the key file is no text"))
        .transpose()?;
    let forward = work.forward.as_ref().map(forward::map_state);
    let forward = forward.transpose().context("map the TC program's board")?;
    let control = vrrp::Control::new().context("make the control handle")?;
    let inputs = vrrp::Inputs {
        board: work.own_board(Writer::Vrrp)?,
        proxy: work.board(Writer::Proxy)?,
        supervisor: work.board(Writer::Supervisor)?,
        admin: work.board(Writer::Admin)?,
        config_hash: work.config_hash,
        config: Arc::clone(&work.config),
        node: work.node,
        pair_key,
        forward,
        settle: rights::settle,
    };
    let (told, voice, beside) = (Arc::clone(&control), link.voice(), work.beside);
    let mut reload = Reload::new(work.config);
    listen(link, kept, move |event| {
        match event {
            Event::Stop(_) => told.request_stop(),
            Event::Gone => told.supervisor_present(false),
            Event::Back => told.supervisor_present(true),
            Event::Prepare(setup, handles) => {
                let next = reload.read(setup, handles)?;
                reload.next = Some((next.config, next.config_hash));
            }
            Event::GoOver => {
                reload.is_for_this_vrrp()?;
                let (config, hash) = reload.go_over()?;
                told.reconfigure(config, hash);
            }
            Event::Abandon => reload.next = None,
            Event::Leave => {
                let next = reload.next.take();
                told.request_leave(next.map(|(config, _)| config));
            }
            Event::Begin { go_on } => told.begin(if go_on {
                Beginning::GoOn
            } else {
                Beginning::Anew
            }),
            Event::Boards(given) => boards::of_vrrp(&told, &given)?,
            // Its key is read at the start only.
            Event::Files(_) | Event::Retire => {}
        }
        Ok(())
    })?;
    let ended = if beside {
        vrrp::run_beside(inputs, control, || voice.say(Body::Waits))
    } else {
        vrrp::run(inputs, control)
    };
    match ended? {
        End::Stopped => {}
        // First this, then the sockets: the successor waits for it.
        End::Left(leftovers) => {
            voice.say(Body::Left);
            drop(leftovers);
        }
    }
    Ok(())
}

fn run_proxy(work: Work, link: Link, kept: Kept) -> anyhow::Result<()> {
    let control = lb_proxy::Control::new();
    let serving = work.serving.as_ref().map(OwnedFd::try_clone);
    if let Some(socket) = serving.transpose().context("keep the commands' socket")? {
        obey(socket, Arc::clone(&control))?;
    }
    boards::of_elders(&control, &work.retired)?;
    let sessions = work.session_lane().context("map the table of sessions")?;
    let inputs = lb_proxy::Inputs {
        board: work.own_board(Writer::Proxy)?,
        admin: work.board(Writer::Admin)?,
        sessions,
        config: Arc::clone(&work.config),
        node: work.node,
        threads: work.threads,
        sockets: work.listeners,
        files: work.files,
        process_log: logging::write_lines,
    };
    let told = Arc::clone(&control);
    let mut reload = Reload::new(work.config);
    listen(link, kept, move |event| {
        match event {
            Event::Stop(drain) => told.request_stop(drain),
            Event::Files(files) => told.replace_files(files),
            Event::Prepare(setup, handles) => {
                let next = reload.read(setup, handles)?;
                reload.next = Some((Arc::clone(&next.config), next.config_hash));
                told.prepare(lb_proxy::Change {
                    config: next.config,
                    sockets: next.listeners,
                    files: next.files,
                })?;
            }
            Event::GoOver => {
                told.switch()?;
                reload.go_over()?;
            }
            Event::Abandon => {
                reload.next = None;
                told.abandon();
            }
            Event::Retire => told.request_retirement(),
            Event::Boards(given) => boards::of_proxy(&told, &given)?,
            // It serves whoever watches over it.
            Event::Gone | Event::Back => {}
            Event::Leave | Event::Begin { .. } => {}
        }
        Ok(())
    })?;
    Ok(lb_proxy::run(inputs, control)?)
}

fn run_admin(mut work: Work, link: Link, kept: Kept) -> anyhow::Result<()> {
    let control = admin::Control::new();
    let current = work.board_memory(Writer::Proxy)?;
    let proxies = Proxies::new(current, &work.retired, work.past.as_ref())
        .context("add up what proxies have counted")?;
    let boards = admin::Boards {
        supervisor: work.board(Writer::Supervisor)?,
        vrrp: work.board(Writer::Vrrp)?,
        proxy: work.board(Writer::Proxy)?,
        admin: work.own_board(Writer::Admin)?,
        retired: proxies.retired(),
    };
    let supervisor = work.tasks.take();
    let supervisor = supervisor.map(|socket| commands::Asker::new(socket, commands::SUPERVISOR));
    let supervisor = supervisor.map(Arc::new);
    let peer = work.peer_inputs(supervisor.clone())?;
    let elders = work.retired_commands.into_iter();
    let elders = elders.map(|(place, end)| (place, commands::Asker::new(end, commands::RETIRED)));
    let elders = admin::Elders::new(elders.collect());
    let socket = work.admin_socket.context("no admin socket in the set-up")?;
    let inputs = admin::Inputs {
        config_hash: work.config_hash,
        config: Arc::clone(&work.config),
        node: work.node,
        boards,
        proxies,
        socket: socket.into(),
        http: work.http,
        proxy: work
            .asking
            .map(|socket| commands::Asker::new(socket, commands::PROXY)),
        elders,
        supervisor,
        peer,
    };
    let told = Arc::clone(&control);
    let mut reload = Reload::new(work.config);
    let mut key = None;
    listen(link, kept, move |event| {
        match event {
            Event::Stop(_) => told.request_stop(),
            Event::Prepare(setup, handles) => {
                let mut next = reload.read(setup, handles)?;
                key = next.read_admin_key()?;
                reload.next = Some((next.config, next.config_hash));
            }
            Event::GoOver => {
                let (config, hash) = reload.go_over()?;
                let next = (config, hash, key.take());
                told.go_over(next).map_err(anyhow::Error::msg)?;
            }
            Event::Abandon => reload.next = None,
            Event::Gone | Event::Back | Event::Files(_) => {}
            Event::Leave | Event::Begin { .. } | Event::Retire | Event::Boards(_) => {}
        }
        Ok(())
    })?;
    admin::run(inputs, control)
}

/// Executes the commands that admin gives, on a thread of their own.
fn obey(socket: OwnedFd, control: Arc<lb_proxy::Control>) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("commands".to_owned())
        .stack_size(CONTROL_STACK)
        .spawn(move || {
            let served = commands::serve(&socket, commands::PROXY, |command, limit| {
                let reply = control.command(command, limit);
                reply.unwrap_or_else(|error| Reply::error(error.to_string()))
            });
            if let Err(error) = served {
                tracing::error!(%error, "no command is heard any more");
            }
        })
        .map(drop)
        .context("start the thread for commands")
}

fn listen(
    link: Link,
    kept: Kept,
    on: impl FnMut(Event) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("control".to_owned())
        .stack_size(CONTROL_STACK)
        .spawn(move || {
            if let Err(error) = rights::settle() {
                tracing::warn!(%error, "the control thread keeps rights that it does not need");
            }
            link.serve(kept, on);
        })
        .context("start the control thread")?;
    Ok(())
}

/// The thread that writes the log is made by one without the loop's rights.
fn start_log() -> anyhow::Result<WorkerGuard> {
    let start = || rights::settle().map(|()| logging::start());
    let settled = std::thread::spawn(start).join();
    settled
        .map_err(|_| anyhow!("the log could not be started"))?
        .context("give up rights for the log")
}

impl From<ChildKind> for Child {
    fn from(kind: ChildKind) -> Self {
        match kind {
            ChildKind::Vrrp => Self::Vrrp,
            ChildKind::Proxy => Self::Proxy,
            ChildKind::Admin => Self::Admin,
        }
    }
}
