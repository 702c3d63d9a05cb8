//! Who owns a virtual IP.
//!
//! Two nodes carry the same VIPs and must agree, at any moment and without asking anybody else,
//! which one answers for each. They do it by VRRP (RFC 9568): the Active of a VIP sends adverts,
//! the Backup takes over when they stop.
//!
//! The crate has two halves. The pure one decides: [`packet`] reads and writes what is on the wire,
//! [`router`] is the state machine of one VIP, [`timing`] its arithmetic, [`fitness`] judges
//! whether this node can hold a VIP at all, [`tracking`] what follows from trackers, [`pair`] is the
//! authenticated channel between the nodes, [`silence`] tells a lost machine from a lost
//! heartbeat, [`death`] a lost machine from one that pauses, `neighbour` the other node's hardware address from those that others
//! say it has, [`rival`] a foreign machine from the other node. None of it reads a clock or opens a socket. The other half does: `driver` is the loop
//! (one thread, no lock, nothing that blocks), `socket` its sockets, [`link`] the kernel's
//! addresses and interfaces, `realtime` its place in the scheduler.
//!
//! To hold a VIP means to have its *lease*: the address as a /32 (/128) with a lifetime of seconds on its
//! interface, renewed before the adverts. When this process hangs or dies the kernel drops the
//! address by itself. Apart from that, every node always carries every VIP as a *shadow* on `lo`
//! ([`shadow`]), so that sockets survive when a lease goes.
//!
//! [`run`] returns after a stop was requested by [`Control`], when every VIP has been given up: handed over where the
//! other node can be asked, else lease removed, then priority 0 in an advert, so that it takes over in milliseconds.
//! For a process that cannot do this any more the supervisor executes its last will ([`release`]).
//! One that is replaced on purpose gives nothing up: its successor was started beside it
//! ([`run_beside`]), finds the lease alive and goes on.

mod announce;
mod clock;
mod control;
pub mod death;
mod driver;
pub mod fitness;
mod flap;
pub mod handover;
pub mod link;
mod macvlan;
mod neighbour;
pub mod packet;
pub mod pair;
mod ports;
pub mod preflight;
mod realtime;
pub mod release;
pub mod rival;
pub mod router;
pub mod shadow;
pub mod signature;
pub mod silence;
mod socket;
mod syscall;
pub mod timing;
pub mod tracking;

use std::io;
use std::sync::Arc;

use common::board::{AdminBoard, ForwardBoard, ProxyBoard, SupervisorBoard, VrrpBoard};
use common::config::key::KeyFileError;
use common::config::{Config, NodeIndex};

use self::clock::Clocks;
pub use self::clock::now;
pub use self::control::{Beginning, Control};
use self::driver::Driver;
pub use self::driver::{End, Leftovers};
use self::link::LinkError;
pub use self::syscall::{schedule_fifo, schedule_normal};

/// What the process needs; everything was opened by the supervisor.
#[derive(Debug)]
pub struct Inputs {
    pub config: Arc<Config>,
    pub node: NodeIndex,
    /// Hash of the effective configuration, told to the other node.
    pub config_hash: u64,
    pub board: &'static VrrpBoard,
    pub proxy: &'static ProxyBoard,
    pub supervisor: &'static SupervisorBoard,
    /// Where admin says what the trackers have found that it looks at.
    pub admin: &'static AdminBoard,
    /// The board of the TC program of flow forwarding; `None` = there is no program.
    pub forward: Option<&'static ForwardBoard>,
    /// Contents of the pair's key file; `None` = the pair channel is off, and nothing is signed.
    pub pair_key: Option<String>,
    /// Called on the loop's thread once real-time priority and locked memory were asked for: gives
    /// up the rights that only those two need.
    pub settle: fn() -> io::Result<()>,
}

/// The loop could not start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel refused a request about interfaces or addresses, or gave no answer.
    #[error("prepare the interfaces")]
    Link(#[from] LinkError),
    /// epoll or timerfd failed.
    #[error("wait for events")]
    Loop(#[source] io::Error),
    #[error("read the key file of the pair channel")]
    PairKey(#[source] KeyFileError),
    #[error("set up the pair channel")]
    PairNoKey(#[source] pair::NoKey),
    #[error("open the socket of the pair channel")]
    PairSocket(#[source] io::Error),
    #[error("draw random bytes for the pair channel")]
    Random,
    #[error("give up the rights that real-time priority needed")]
    Settle(#[source] io::Error),
}

/// Runs the virtual routers of a node on the calling thread until [`Control::request_stop`], then
/// gives the VIPs up and returns; or until [`Control::request_leave`], which leaves them to a
/// successor. Needs `CAP_NET_ADMIN` and `CAP_NET_RAW`; real-time priority and
/// locked memory are taken if the host allows them (limits `RLIMIT_RTPRIO` and `RLIMIT_MEMLOCK`, or
/// `CAP_SYS_NICE` and `CAP_IPC_LOCK`).
///
/// # Errors
/// If the loop cannot start or its wake-ups fail. Leases that are held then lapse by themselves.
pub fn run(inputs: Inputs, control: Arc<Control>) -> Result<End, RunError> {
    control.begin(Beginning::Anew);
    run_beside(inputs, control, || ())
}

/// The same for a process that was started beside the one that runs: it prepares itself, calls
/// `prepared` and waits for [`Control::begin`], so that it is on air within a millisecond of that.
///
/// # Errors
/// As [`run`]. Nothing was touched if it fails before it has begun.
pub fn run_beside(
    inputs: Inputs,
    control: Arc<Control>,
    prepared: impl FnOnce(),
) -> Result<End, RunError> {
    let realtime = realtime::enter();
    (inputs.settle)().map_err(RunError::Settle)?;
    driver::rehearse(&inputs)?;
    prepared();
    let Some(beginning) = control.wait_for_beginning() else {
        return Ok(End::Stopped);
    };
    let driver = Driver::start(&inputs, control, Clocks::read(), beginning)?;
    driver.publish_realtime(realtime);
    driver.run(Clocks::read)
}
