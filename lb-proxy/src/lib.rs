//! Where the bytes go.
//!
//! One relay thread per core, each a current-thread runtime with listening sockets of its own
//! (SO_REUSEPORT spreads the clients over them). A connection stays on the thread that accepted it;
//! its life is [`session`], top to bottom: accept, `allow`, pick a server, connect, relay, account.
//! Beside them one probe thread asks the servers how they are, on a runtime of its own, so that a
//! TLS handshake never delays a byte; and one that asks the DNS for servers with names (`dns`), and
//! gives what it finds to the probe thread.
//!
//! What the threads share, and who writes it:
//!
//! | what | written by | read by |
//! |---|---|---|
//! | the pool: one snapshot of all backends, swapped whole | probe thread | every pick |
//! | whose turn it is in a round-robin backend | every pick, under a lock held for nanoseconds | the same |
//! | the roster: who the servers are, swapped whole, and on the board | probe thread | commands, session log; the next proxy |
//! | verdicts and health of the VIPs on the board | probe thread | vrrp, admin; the next proxy starts from them |
//! | what an administrator has said, on the board | probe thread | keeper, probes, accept loops; the next proxy |
//! | a generation: the configuration and what is made of it; a reload makes another ([`generation`]) | thread that [`Control::switch`] is called on | accept loops, sessions that begin, probes, commands |
//! | registry of a thread's sessions | the thread: their start and end; each its bytes | commands: listing, cutting |
//! | table of the sessions that came to a VIP | the thread: their start and end | admin, for the other node |
//! | lists of networks in files, certificates and authorities, each swapped whole | thread that [`Control::replace_files`] is called on | accept loops, handshakes |
//! | closed entries of the session log, in a bounded queue | relay threads; full = the line is lost, and counted | the log's thread |
//! | heartbeat of each relay thread on the board | the future that its runtime polls itself | vrrp: 100 ms old = no VIP here |
//! | sessions, counters on the board | relay threads (bytes: each thread's sums, each 10 ms) | admin; least-connections |
//!
//! An abort stays an abort: both sockets of a session carry SO_LINGER 0 from birth, so whatever
//! ends the session (an error, a panic, a killed process) resets both sides; only an orderly end
//! takes it off first, and a stream that was cut never looks complete.
//!
//! Shutdown: [`Control::request_stop`] → every relay thread closes its listening sockets, waits
//! until its sessions have ended, at most `config.proxy.drain` or what the stop says, and drops its runtime, which resets
//! what is left → the probe thread ends → what waits for the session log is written, for at most a
//! second → [`run`] returns. A thread that ends unasked makes [`run`]
//! return an error at once: the process is to be replaced. [`Control::request_retirement`] is the same without
//! a limit: another process accepts from the same sockets, and this one has its sessions until they
//! have ended.
//!
//! The parts without sockets and clocks that are worth measuring are public: benches/micro does it.
//!
//! The crate never learns who owns a VIP and changes nothing of the network configuration. It opens
//! the files of session logs, and reads /etc/resolv.conf where servers have names and the
//! configuration no name server; every other file is opened by the supervisor.

mod accepting;
pub mod access;
mod agent;
mod announce;
pub mod balance;
mod census;
mod clock;
mod connect;
mod context;
mod control;
mod drain;
mod entrance;
mod fail_open;
mod finding;
mod generation;
mod hash;
mod health;
pub mod hello;
mod http_answer;
mod http_check;
mod keeper;
mod lack;
pub mod limit;
mod listener;
pub mod lists;
#[cfg(test)]
mod mangled;
mod names;
pub mod net_set;
mod observe;
mod opening;
mod orders;
mod pace;
mod pool;
mod probe;
mod probing;
pub mod proxy_protocol;
mod readyz;
mod registry;
mod relay;
mod rounds;
mod route;
mod send_expect;
mod session;
mod session_log;
mod source;
mod spread;
mod termination;
mod threads;
mod tls;
mod turns;
mod vip_health;
mod waiting;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use common::board::{AdminBoard, ProxyBoard, SessionLane};
use common::config::{Config, NodeIndex};

pub use self::control::{Control, Unanswered};
pub use self::generation::{Change, ChangeError};
pub use self::lists::ListError;
pub use self::probe::tls::check_files;
pub use self::session_log::ProcessLog;
pub use self::threads::RunError;
pub use self::tls::files::TlsError;
pub use self::tls::{check_listener_files, check_tls_files};

/// What the process needs; everything was opened by the supervisor.
#[derive(Debug)]
pub struct Inputs {
    pub config: Arc<Config>,
    pub node: NodeIndex,
    pub board: &'static ProxyBoard,
    /// What the admin process says: how programs that are probes have ended.
    pub admin: &'static AdminBoard,
    /// Where sessions that come to a VIP are written for the other node; `None` = nobody tells it.
    pub sessions: Option<SessionLane>,
    /// Relay threads; there is one socket for each port of each bind and thread.
    pub threads: usize,
    pub sockets: Vec<ListeningSocket>,
    /// Contents of the files that the configuration names: certificates, keys, lists.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Where session logs without a file go. Called by the thread that writes them.
    pub process_log: ProcessLog,
}

/// A listening socket that the supervisor bound. SO_LINGER 0 is set on it since before it listened.
#[derive(Debug)]
pub struct ListeningSocket {
    /// Index into [`Config::listeners`].
    pub listener: usize,
    /// Index into the listener's binds.
    pub bind: usize,
    /// Place in the bind's range of ports.
    pub port: usize,
    /// The thread that accepts from it, below [`Inputs::threads`].
    pub thread: usize,
    pub socket: OwnedFd,
}

/// Serves until [`Control::request_stop`], then drains; or until [`Control::request_retirement`]. Blocks the
/// calling thread.
///
/// # Errors
///
/// Whatever keeps the data plane from starting, and a thread that ended unasked. Other threads may
/// still run then: the caller ends the process, which resets their sessions.
pub fn run(inputs: Inputs, control: Arc<Control>) -> Result<(), RunError> {
    threads::run(inputs, &control)
}
