//! The generations of the data plane: the one that it begins with, and one for each reload after that.
//!
//! A generation is a [`Proxy`]: a configuration and all that is made of it. Sessions keep the one that
//! they began with to their end; accept loops, probes and commands go over to the next one. What
//! outlives a generation is shared by all: the pool, the roster, registries, queues, what clients have
//! of their limits, TLS that a reload leaves as it is. So nothing is forgotten of what did not change,
//! and nothing is done to a connection.
#![expect(
    clippy::disallowed_types,
    reason = "asks the kernel whether an address is this node's"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use common::config::Config;
use common::config::capacity::RESERVED_DESCRIPTORS;
use common::roster::Roster;
use nix::sys::resource::{Resource, getrlimit};
use tracing::warn;

use crate::access::Access;
use crate::balance::slow_start;
use crate::clock;
use crate::context::Proxy;
use crate::keeper::{self, Verdicts};
use crate::limit::Limits;
use crate::lists::{ListError, Lists};
use crate::pool::{AgentShare, Pool, Snapshot, Standing};
use crate::registry::Registry;
use crate::route::Router;
use crate::session_log::SessionLog;
use crate::source::Sources;
use crate::threads::{RunError, by_thread, is_known};
use crate::tls::Tls;
use crate::tls::files::TlsError;
use crate::waiting::Waiting;
use crate::{Inputs, ListeningSocket};

/// What a running data plane is to change to.
#[derive(Debug)]
pub struct Change {
    /// Everything that stays has the place that it has now (`common::config::Arrangement`); what the
    /// pair and the VIPs are is as it was.
    pub config: Arc<Config>,
    /// Those that stay are among them: a socket is known by its inode.
    pub sockets: Vec<ListeningSocket>,
    /// Contents of all files that the configuration names.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Why a data plane does not change.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the data plane is still starting, or stopping")]
    NotRunning,
    #[error("nothing was prepared")]
    NothingPrepared,
    #[error("preparing TLS")]
    Tls(#[source] TlsError),
    #[error("reading the lists of networks")]
    Lists(#[source] ListError),
    #[error("starting the thread of the session log")]
    SessionLog(#[source] io::Error),
    #[error("a listening socket belongs to nothing in the configuration")]
    UnknownSocket,
    #[error("{0} was given away meanwhile, try again")]
    Taken(String),
    #[error("a thread of the data plane does not answer")]
    Late,
}

/// A generation that may begin.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) proxy: Arc<Proxy>,
    /// By relay thread.
    pub(crate) sockets: Vec<Vec<ListeningSocket>>,
}

/// The first one: reads what an earlier proxy left on the board, and builds what the threads share.
pub(crate) fn first(inputs: &Inputs, session_log: SessionLog) -> Result<Arc<Proxy>, RunError> {
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
    let lists = Lists::new(config, &inputs.files).map_err(RunError::Lists)?;
    let possible = possible_sessions(inputs.sockets.len());
    let pool = Pool::new(
        config,
        Snapshot::new(config, &roster, standing),
        now.as_nanos(),
    );
    if let Some(sessions) = inputs.sessions {
        // Those of an earlier proxy have ended with it.
        sessions.begin(inputs.threads);
    }
    let registries = (0..inputs.threads).map(|thread| {
        let told = inputs.sessions.map(|lane| lane.part(thread));
        Arc::new(Registry::new(thread, now, told))
    });
    let proxy = Arc::new(Proxy {
        config: Arc::clone(config),
        node: *node,
        board,
        admin: inputs.admin,
        pool: Arc::new(pool),
        roster: Arc::new(ArcSwap::from_pointee(roster)),
        paces: Arc::default(),
        waiting: Waiting::new(config),
        session_log,
        sources,
        lack_warnings: Arc::default(),
        limits: Limits::new(config, (board, &lists), possible),
        access: accesses(config, &lists),
        lists,
        routers: config.listeners.iter().map(Router::new).collect(),
        tls: Tls::new(config, &inputs.files, board).map_err(RunError::Tls)?,
        registries: registries.collect(),
        named: Arc::new(AtomicU64::new(0)),
        began: now.as_nanos(),
    });
    proxy.take_over();
    Ok(proxy)
}

/// The one after a running one. Nothing of it is in force yet.
pub(crate) fn next(running: &Proxy, change: Change) -> Result<Prepared, ChangeError> {
    let Change {
        config,
        sockets,
        files,
    } = change;
    let threads = running.registries.len();
    if sockets.iter().any(|one| !is_known(one, (&config, threads))) {
        return Err(ChangeError::UnknownSocket);
    }
    let board = running.board;
    let lists = running.lists.after(&config, &files);
    let lists = lists.map_err(ChangeError::Lists)?;
    let before = Some((&*running.config, &running.tls));
    let tls = Tls::after(before, (&config, &files), board).map_err(ChangeError::Tls)?;
    let session_log = running.session_log.after(&config);
    let possible = possible_sessions(sockets.len());
    let proxy = Proxy {
        node: running.node,
        board,
        admin: running.admin,
        pool: Arc::clone(&running.pool),
        roster: Arc::clone(&running.roster),
        paces: Arc::clone(&running.paces),
        waiting: running.waiting.after(&config),
        session_log: session_log.map_err(ChangeError::SessionLog)?,
        sources: running
            .sources
            .after(&config, running.node, is_of_this_node),
        lack_warnings: Arc::clone(&running.lack_warnings),
        limits: running.limits.after(&config, (board, &lists), possible),
        access: accesses(&config, &lists),
        lists,
        routers: config.listeners.iter().map(Router::new).collect(),
        tls,
        registries: running.registries.clone(),
        named: Arc::clone(&running.named),
        began: running.began,
        config,
    };
    Ok(Prepared {
        proxy: Arc::new(proxy),
        sockets: by_thread(sockets, threads),
    })
}

impl Proxy {
    /// What it says of limits, certificates and lists is in force from now on.
    pub(crate) fn take_over(&self) {
        self.limits.take_over();
        self.session_log.take_over();
        self.tls.show(self.board);
        self.count_entries();
        for backend in self.sources.without_any(&self.config) {
            warn!(
                backend,
                "this node has no address of the backend's `source`: the kernel chooses one"
            );
        }
    }
}

fn accesses(config: &Config, lists: &Lists) -> Vec<Access> {
    let listeners = config.listeners.iter();
    listeners.map(|one| Access::new(one, lists)).collect()
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
