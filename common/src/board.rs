//! Shared memory between the processes of a node: heartbeats, verdicts, counters.
//!
//! There is one board for each writing process, so that a broken process can spoil what it says of itself and nothing
//! else: its board is mapped writable by it alone (and by the supervisor, which made it), read-only by everybody else.
//! A board is nothing but atomics. Zeroed memory is a valid, empty board. Readers trust no value: an unknown number
//! of an enum is read as its first variant, a text is cut at its length.
//!
//! Layout rule: fields are only ever added at the end of a board, and [`LAYOUT`] is raised then. The memory of a board
//! has room behind it, zeroed, so processes of versions before and after that share it: each reads what it knows, and finds
//! zero where an older one has written nothing. Whatever else changes raises [`OLDEST`] too, and then a node has to be
//! restarted for it.
//!
//! | board | written by | read by |
//! |---|---|---|
//! | [`SupervisorBoard`] | supervisor | vrrp, admin |
//! | [`VrrpBoard`] | vrrp | supervisor, admin |
//! | [`ProxyBoard`] | proxy | vrrp, supervisor, admin |
//! | [`AdminBoard`] | admin | supervisor, proxy, vrrp |

mod overrides;
mod text;

use std::array;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use self::admin::AdminBoard;
pub use self::agent::{AgentSlot, AgentWord};
pub use self::drain::{AGES, Ages, AgesSlot, DrainSlot, StopSlot};
pub use self::drops::{AdvertWarning, DropReason, PairDrop};
pub use self::external::{ExternalAnswer, ExternalEnd, ExternalGroup, ExternalWish};
pub use self::forward::{ForwardBoard, Forwarding, ForwardingSlot, MAX_CAUSES};
pub use self::handover::{
    HandoverEnd, HandoverResult, HandoverResultSlot, HandoverWish, HandoverWishSlot, Refusal,
};
pub use self::hold::{Hold, HoldSlot};
pub use self::lateness::{LATENESS_BOUNDS, LatenessSlot, VRRP_HUNG, count_lateness};
pub use self::names::{NameRecord, NameSlot};
pub use self::overrides::{Override, Said};
pub use self::probe_status::ProbeStatus;
pub use self::reload::{ReloadEnd, ReloadSlot};
pub use self::rescue::{LinkSlot, RescueSlot};
pub use self::roster::{Entrant, Presence, RosterSlot};
pub use self::route::{RouteSlot, RouteState};
pub use self::session_log::SessionLogSlot;
pub use self::sessions::{
    MAX_TABLE_SESSIONS, SessionLane, SessionPart, SessionRow, SessionTable, VipSession,
};
pub use self::succession::{
    MAX_RETIRED, OBEY_RETIRED, OLDEST, ROOM, RetiredSlot, UpgradeSlot, UpgradeStage, can_share,
};
pub use self::supervisor::{Child, ChildSlot, FileSlot, SupervisorBoard};
pub use self::text::Text;
pub use self::tls::{CertificateSlot, TlsFailure, TlsHandshake, TlsSlot};
pub use self::tracker::{TrackerSlot, TrackerState, tracker_slot};
pub use self::vrrp::{MacPreflight, PeerSlot, RivalSlot, VipSlot, VrrpBoard, WireSlot};
pub use self::withdrawal::WithdrawalSlot;
use crate::config::{
    MAX_CERTIFICATES, MAX_LISTENERS, MAX_NAMES, MAX_SERVERS, MAX_THREADS, MAX_VIPS, MAX_WATCHED,
};
use crate::time::Moment;

/// Version of the boards' layout.
pub const LAYOUT: u32 = 17;

/// First words of every board.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Header {
    /// [`LAYOUT`] of the writer.
    pub layout: AtomicU32,
    /// Process id of the writer; 0 = none yet.
    pub pid: AtomicU32,
    /// Last turn of the writer's loop, a [`Moment`]; 0 = never.
    pub heartbeat: MomentCell,
    /// When the writer started, a [`Moment`].
    pub started: MomentCell,
}

/// A [`Moment`] on a board; zero means "never".
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct MomentCell(AtomicU64);

impl MomentCell {
    /// Sets the moment.
    pub fn set(&self, moment: Moment) {
        self.0.store(moment.as_nanos(), Ordering::Release);
    }

    /// Back to "never".
    pub fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// The moment, `None` if it was never set.
    pub fn get(&self) -> Option<Moment> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(Moment::from_nanos(nanos)),
        }
    }
}

/// A counter or gauge on a board.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds to a counter.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes from a gauge.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Adds one to a gauge; its value with it.
    pub fn count(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Raises a maximum.
    pub fn raise(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Release);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

macro_rules! board_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant = $value,)+ }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value with this number on a board; an unknown number is the first value.
            pub fn from_board(number: u64) -> Self {
                Self::ALL.iter().copied().find(|value| *value as u64 == number).unwrap_or(Self::ALL[0])
            }

            /// The number that stands on a board.
            pub const fn on_board(self) -> u64 {
                self as u64
            }

            /// The word in JSON, tables and metrics.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

// Behind the macro that they are made with.
mod admin;
mod agent;
mod drain;
mod drops;
mod external;
mod forward;
mod handover;
mod hold;
mod lateness;
mod names;
mod probe_status;
mod reload;
mod rescue;
mod roster;
mod route;
mod session_log;
mod sessions;
mod succession;
mod supervisor;
mod tls;
mod tracker;
mod vrrp;
mod withdrawal;

board_enum! {
    /// State of a virtual router (RFC 9568, section 6.4; Fault is Initialize with a cause, as Keepalived has it).
    VipState {
        Init = 0 => "init",
        Backup = 1 => "backup",
        Active = 2 => "active",
        Fault = 3 => "fault",
    }
}

board_enum! {
    /// State of a server.
    ServerState {
        /// Not probed yet: gets sessions.
        Unknown = 0 => "unknown",
        Up = 1 => "up",
        Down = 2 => "down",
        /// No new session, old ones go on (an API server that answers "not ready").
        Draining = 3 => "draining",
        Maintenance = 4 => "maintenance",
    }
}

board_enum! {
    /// What an administrator has said of a server's state.
    AdminState {
        /// Nothing.
        None = 0 => "none",
        /// No new session.
        Drain = 1 => "drain",
        /// No new session and no probe.
        Maintenance = 2 => "maintenance",
    }
}

/// What the proxy says. Gauges are cleared by the next proxy, counters and verdicts live on.
#[repr(C)]
#[derive(Debug)]
pub struct ProxyBoard {
    pub header: Header,
    /// Threads that accept.
    pub threads: Cell,
    /// Last turn of each accept loop. The node gives its VIPs up when one is 100 ms old.
    pub accepting: [MomentCell; MAX_THREADS],
    /// For each VIP: 0 = a required listener has no usable server, otherwise the smallest share of usable servers of
    /// its required listeners in percent, 1 to 100 (100 if it has no required listener).
    pub vip_health: [Cell; MAX_VIPS],
    /// The same, but a server whose last probe failed does not count: what is sure. The other node is told this one, so
    /// that it gives nothing up for servers that are about to be missed here, too.
    pub vip_sure: [Cell; MAX_VIPS],
    /// The same, but a server whose last probe was good counts: what may be hoped for.
    pub vip_hope: [Cell; MAX_VIPS],
    /// 1 = every server was probed at least once since the node started.
    pub probed: Cell,
    pub listeners: [ListenerSlot; MAX_LISTENERS],
    /// By place in the configuration; each backend has a server at least.
    pub backends: [BackendSlot; MAX_SERVERS],
    pub servers: [ServerSlot; MAX_SERVERS],
    /// Entries of each list of networks that is in use, by place in [`crate::config::Config::watched`].
    pub list_entries: [Cell; MAX_WATCHED],
    /// Certificates of the listeners that end TLS, in the order of the configuration.
    pub certificates: [CertificateSlot; MAX_CERTIFICATES],
    pub session_log: SessionLogSlot,
    /// By place, as `servers`: who came and went at run time. See [`crate::roster`].
    pub roster: [RosterSlot; MAX_SERVERS],
    /// TLS towards the servers, by backend.
    pub server_tls: [TlsSlot; MAX_SERVERS],
    /// Programs that are to be run as probes, by place of their servers.
    pub external: [ExternalWish; MAX_SERVERS],
    /// Servers by name, in the order of the configuration.
    pub names: [NameSlot; MAX_NAMES],
    /// By listener: see [`ProxyBoard::hold`].
    pub holding: [HoldSlot; MAX_LISTENERS],
    pub drain: DrainSlot,
    /// By place, as `servers`. Since layout 16.
    pub withdrawals: [WithdrawalSlot; MAX_SERVERS],
    /// By relay thread. Since layout 16.
    pub ages: [AgesSlot; MAX_THREADS],
    /// Sessions that were reset at the end of the drain. Since layout 17.
    pub drain_reset: Cell,
}

/// As nobody has written it yet.
impl Default for ProxyBoard {
    fn default() -> Self {
        Self {
            header: Default::default(),
            threads: Default::default(),
            accepting: array::from_fn(|_| Default::default()),
            vip_health: array::from_fn(|_| Default::default()),
            vip_sure: array::from_fn(|_| Default::default()),
            vip_hope: array::from_fn(|_| Default::default()),
            probed: Default::default(),
            backends: array::from_fn(|_| Default::default()),
            listeners: array::from_fn(|_| Default::default()),
            servers: array::from_fn(|_| Default::default()),
            list_entries: array::from_fn(|_| Default::default()),
            certificates: array::from_fn(|_| Default::default()),
            session_log: Default::default(),
            roster: array::from_fn(|_| Default::default()),
            server_tls: array::from_fn(|_| Default::default()),
            external: array::from_fn(|_| Default::default()),
            names: array::from_fn(|_| Default::default()),
            holding: array::from_fn(|_| Default::default()),
            drain: Default::default(),
            withdrawals: array::from_fn(|_| Default::default()),
            ages: array::from_fn(|_| Default::default()),
            drain_reset: Default::default(),
        }
    }
}

/// One listener, by its place in the configuration.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct ListenerSlot {
    /// Gauge: connections that are being relayed, or wait for a server.
    pub sessions: Cell,
    pub accepted: Cell,
    /// Closed at once because of `allow` or `deny`.
    pub denied: Cell,
    /// No server could be reached.
    pub failed: Cell,
    /// accept(2) failed (descriptors used up, …).
    pub accept_errors: Cell,
    /// From clients, in bytes.
    pub bytes_in: Cell,
    /// To clients, in bytes.
    pub bytes_out: Cell,
    /// Ended because nothing was said for the idle timeout.
    pub idle_closed: Cell,
    /// Ended because they had lasted as long as they may.
    pub lifetime_closed: Cell,
    /// Ended by a reset or an error of either side, also while a server was looked for.
    pub aborted: Cell,
    /// Closed at once, without an answer, because of `drop`.
    pub dropped: Cell,
    /// Closed at once because their client had as many sessions as it may have.
    pub limited_sessions: Cell,
    /// Closed at once because their client came too fast.
    pub limited_rate: Cell,
    /// Closed because of a PROXY protocol header that was bad, late or cut.
    pub bad_headers: Cell,
    /// Given the default backend because they did not begin with a ClientHello.
    pub not_tls: Cell,
    /// Given the default backend because they said nothing, or too little, in time.
    pub hello_timeouts: Cell,
    /// Before layout 6, [`Hold`]: why nothing is accepted now.
    pub hold: Cell,
    /// Times that a relay thread has stopped accepting because of a limit.
    pub holds: Cell,
    /// Ended by an administrator.
    pub killed: Cell,
    /// Not 0 = an administrator has paused it. Outlives the proxy, as the other overrides do.
    pub pause: Override,
    /// Gauge: clients that have as many sessions as each may have.
    pub clients_at_limit: Cell,
    pub tls: TlsSlot,
}

/// One backend, by its place in the configuration.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct BackendSlot {
    /// Gauge: clients that wait because every server is full.
    pub queued: Cell,
    /// Clients that had to wait.
    pub waited: Cell,
    /// Clients that were refused because as many waited already as may.
    pub queue_full: Cell,
    /// Clients that were refused because they waited too long.
    pub queue_timeouts: Cell,
    /// Since when sessions are tried on servers of which the probes say that all are down; "never" =
    /// they are not.
    pub fail_open: MomentCell,
    /// Sessions that such a server has taken.
    pub fail_open_sessions: Cell,
    /// Since when the client waits that has waited longest; "never" = nobody waits.
    pub waiting_since: MomentCell,
    /// Longest wait of a client that waits no more, in nanoseconds.
    pub longest_wait: Cell,
}

/// One server, by its place in the configuration (backends in order, servers in order), or by the place that it got at
/// run time.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct ServerSlot {
    /// [`ServerState`] that the probes find, see [`ServerSlot::effective_state`].
    pub state: Cell,
    pub since: MomentCell,
    /// Why it is in this state ("L4CON: connection refused", "[-]etcd failed: reason withheld").
    pub reason: Text,
    /// Gauge.
    pub sessions: Cell,
    pub connected: Cell,
    pub connect_errors: Cell,
    pub probes: Cell,
    pub probe_failures: Cell,
    /// When the last probe ended.
    pub probed: MomentCell,
    /// How long it took, in nanoseconds.
    pub probe_time: Cell,
    /// Changes from usable to not usable.
    pub downs: Cell,
    /// What slow start leaves of its share, in 1/256: 1 to 256 (0 = nobody has said).
    pub ramp: Cell,
    /// Sessions that were ended because it went down.
    pub cut: Cell,
    /// [`AdminState`], see [`ServerSlot::admin_state`].
    pub state_override: Override,
    /// See [`ServerSlot::admin_weight`].
    pub weight_override: Override,
    /// [`ProbeStatus`]: how the last probe ended.
    pub probe_status: Cell,
    /// The number that it was answered with, as HTTP's 200; 0 = none.
    pub probe_code: Cell,
    /// Gauge: sessions' connections to it that have failed since one has succeeded, while they are
    /// observed.
    pub errors_in_row: Cell,
    /// How the last of them failed, as errno; 0 = it took too long.
    pub last_error: Cell,
    /// Times that there were as many of them as `error_limit` says.
    pub error_limits: Cell,
    /// Last second of the certificate that it has shown to probes, since 1970; 0 = it is not known.
    pub certificate_not_after: Cell,
    /// [`AdminState`] of the server that it follows.
    pub inherited: Cell,
    pub agent: AgentSlot,
}
