//! What `fmc-lb status --json` prints and the admin socket answers. Other tools rely on these keys.
//!
//! A key that an older node does not know is read as empty, one that a newer node has added is
//! skipped: `status` of one version can ask a node of another.

mod agent;
mod forwarding;
mod machine;
mod reload;
mod rescue;
mod route;
mod succession;
mod tls;
mod tracker;

use serde::{Deserialize, Serialize};

pub use self::agent::AgentStatus;
pub use self::forwarding::ForwardingStatus;
pub use self::machine::MachineStatus;
pub use self::reload::ReloadStatus;
pub use self::rescue::{LinkStatus, RescueStatus, StoppedStatus};
pub use self::route::RouteStatus;
pub use self::succession::{
    RemainingOf, RemainingOfAge, RemainingStatus, RetiredStatus, UpgradeStatus,
};
pub use self::tls::{CertificateStatus, HandshakeStatus, TlsStatus};
pub use self::tracker::TrackerStatus;

/// The state of one node, as its admin process read it from the boards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// Version of the admin process that answers.
    pub version: String,
    /// Milliseconds since the supervisor that made the boards started.
    pub uptime_ms: u64,
    /// Hash of the running configuration, 16 hex digits.
    pub config_hash: String,
    pub reload: ReloadStatus,
    /// What a human should look at; empty = nothing.
    pub warnings: Vec<String>,
    /// It takes VIPs only for want of another node, because an administrator wants it.
    pub maintenance: bool,
    /// Until that ends by itself; `None` = it does not.
    pub maintenance_ms_left: Option<u64>,
    pub processes: Vec<ProcessStatus>,
    pub vips: Vec<VipStatus>,
    pub trackers: Vec<TrackerStatus>,
    pub machine: MachineStatus,
    /// `None` with one node.
    pub peer: Option<PeerStatus>,
    /// `None` with one node.
    pub forwarding: Option<ForwardingStatus>,
    /// `None` without a pair channel.
    pub rescue: Option<RescueStatus>,
    pub listeners: Vec<ListenerStatus>,
    pub backends: Vec<BackendStatus>,
    /// Files that are watched for changes.
    pub files: Vec<FileStatus>,
    /// `None` if no listener logs its sessions.
    pub session_log: Option<SessionLogStatus>,
    /// `None` unless the node stops.
    pub drain: Option<DrainStatus>,
    /// `None` = there was no upgrade in place since the node started.
    pub upgrade: Option<UpgradeStatus>,
    /// Proxies that accept nothing any more and have sessions, which `listeners` and `backends` count too.
    pub retired: Vec<RetiredStatus>,
}

/// How the sessions of a stopping node come to their end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainStatus {
    /// When the stop was asked for; `None` = by a version that does not say it.
    pub since_ms_ago: Option<u64>,
    /// Milliseconds until what is left is reset.
    pub ms_left: u64,
    /// Closed at a quiet moment.
    pub closed: u64,
    /// Reset: their time was over.
    pub reset: u64,
    #[serde(flatten)]
    pub left: RemainingStatus,
}

/// What became of the lines of the session logs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionLogStatus {
    pub written: u64,
    /// Because too many waited, or a log could not be written.
    pub lost: u64,
    pub lost_ms_ago: Option<u64>,
    /// Which log cannot be written or opened anew, and why; empty = none.
    pub problem: String,
}

/// A file that is watched for changes, or several that are used together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileStatus {
    pub path: String,
    /// `networks`, `certificate`, `authorities`, `revocations`, or several of them.
    pub holds: String,
    /// Of the list in use; `None` for what is no list.
    pub entries: Option<u64>,
    /// Since the contents in use came into use.
    pub since_ms_ago: Option<u64>,
    /// Times that it changed and its new contents came into use.
    pub changes: u64,
    /// Times that it changed and its new contents were refused, or it was gone.
    pub refusals: u64,
    /// Why what is on disk is not in use; empty = it is.
    pub refused: String,
}

/// One of our processes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessStatus {
    pub name: String,
    pub pid: u64,
    /// Of its software; empty = not known.
    pub version: String,
    /// `running`, `hung`, `dead` or `crash-loop`; of a node that stops also `stopping` (the proxy: until its sessions have
    /// ended) and `stopped`.
    pub state: String,
    pub heartbeat_ms_ago: Option<u64>,
    pub deaths: u64,
    /// How it ended the last time; empty if it never did.
    pub last_end: String,
}

/// One virtual IP on this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VipStatus {
    pub name: String,
    pub address: String,
    pub vrid: u8,
    pub interface: String,
    /// `active`, `backup`, `init` or `fault`.
    pub state: String,
    /// When that began, RFC 3339 in UTC; empty if unknown.
    pub since: String,
    pub since_ms_ago: Option<u64>,
    pub reason: String,
    /// The one that counts.
    pub priority: u64,
    /// The configuration's, where trackers that are down have taken from it, or have no better node to
    /// give the VIP to.
    pub configured_priority: Option<u64>,
    /// It came by a handover, and is kept against preemption.
    pub pinned: bool,
    /// Trackers that are down and concern it, each with what it does: `uplink -20`, `disk fault`.
    pub trackers_down: Vec<String>,
    /// Hardware address that it is reached at on this node; `None` = its lease is not here.
    pub mac: Option<String>,
    /// This node's health byte for it (0 = a required listener has no usable server).
    pub health: u64,
    /// Hardware address of the foreign machine that claimed it last by ARP or neighbour discovery; `None` = none did.
    pub rival: Option<String>,
    pub rival_ms_ago: Option<u64>,
    /// Claims of foreign machines.
    pub rival_claims: u64,
    /// Times that the kernel did not take its lease, new or renewed.
    pub leases_refused: u64,
    /// Routes and rules that follow it.
    pub routes: Vec<RouteStatus>,
}

/// The other node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    pub name: String,
    pub address: String,
    /// Last advert or heartbeat; `None` = never.
    pub heard_ms_ago: Option<u64>,
    /// Last heartbeat of the pair channel; `None` = never, or the channel is off.
    pub heartbeat_ms_ago: Option<u64>,
    /// `on`, `silent`, or `off: ` and why, which may be that either node stops or has stopped.
    pub pair_channel: String,
    /// How adverts are signed: `enforce`, `permissive`, `receive-only` or `off`.
    pub signing: String,
    /// Whether its VIPs are taken over as soon as it is silent: `auto`, `off` or `always`.
    pub silent_takeover: String,
    /// Questions to its kernel, when it had not been heard for nearly three heartbeats.
    pub questions: u64,
    /// Times that nothing was heard of it and nobody answered.
    pub silences: u64,
    /// Times that only an answer kept three missing heartbeats from being a silence.
    pub silences_averted: u64,
    pub version: Option<String>,
    pub config_hash: Option<String>,
    /// It is on maintenance; `None` without a fresh heartbeat.
    pub maintenance: Option<bool>,
    /// `None` without a pair channel.
    pub link: Option<LinkStatus>,
    pub vips: Vec<PeerVipStatus>,
}

/// One virtual IP at the other node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerVipStatus {
    pub name: String,
    /// Priority in its last advert or heartbeat.
    pub priority: Option<u64>,
    /// `active`, `backup`, `init` or `fault`; `None` without a fresh heartbeat.
    pub state: Option<String>,
    pub health: Option<u64>,
}

/// One listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerStatus {
    pub name: String,
    /// The configuration has it no more; its last sessions go on.
    pub removed: bool,
    pub binds: Vec<String>,
    pub backend: String,
    pub sessions: u64,
    pub accepted: u64,
    pub denied: u64,
    pub failed: u64,
    pub accept_errors: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub idle_closed: u64,
    /// Ended because they had lasted as long as they may.
    pub lifetime_closed: u64,
    /// Ended by a reset or an error of either side, also while a server was looked for.
    pub aborted: u64,
    /// Closed without an answer because of `drop`.
    pub dropped: u64,
    /// Refused because their client had as many sessions as it may have.
    pub limited_sessions: u64,
    /// Refused because their client came too fast.
    pub limited_rate: u64,
    /// Clients that have as many sessions as each may have now.
    pub clients_at_limit: u64,
    /// Closed because of a PROXY protocol header that was bad, late or cut.
    pub bad_headers: u64,
    /// Given the default backend because they did not begin with a ClientHello.
    pub not_tls: u64,
    /// Given the default backend because they said nothing, or too little, in time.
    pub hello_timeouts: u64,
    /// The limit because of which more connections wait now: `none`, `max_sessions`,
    /// `proxy.max_sessions`, `accept_rate` or `paused`.
    pub hold: String,
    /// Times that a relay thread has held connections back because of a limit.
    pub holds: u64,
    /// An administrator has paused it.
    pub paused: bool,
    /// Until the pause ends by itself.
    pub pause_ms_left: Option<u64>,
    /// Sessions that an administrator has ended.
    pub killed: u64,
    /// New connections a second, over the last few seconds.
    pub accepted_per_second: f64,
    pub bytes_in_per_second: f64,
    pub bytes_out_per_second: f64,
    /// `None` = it ends no TLS.
    pub tls: Option<TlsStatus>,
}

/// One backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendStatus {
    pub name: String,
    /// The configuration has it no more; the last sessions of its servers go on.
    pub removed: bool,
    pub balance: String,
    /// `tcp`, `kube-apiserver`, `track` (all servers follow others) or `none`.
    pub probe: String,
    pub servers: Vec<ServerStatus>,
    /// The names that stand for some of them.
    pub names: Vec<NameStatus>,
    /// Clients that wait because every server is full.
    pub queued: u64,
    /// How long the one of them has waited that came first; `None` = nobody waits.
    pub queue_oldest_ms: Option<u64>,
    /// Longest wait that has ended, since the node's start.
    pub queue_longest_ms: u64,
    /// Clients that had to wait.
    pub waited: u64,
    /// Clients that were refused because as many waited already as may.
    pub queue_full: u64,
    /// Clients that were refused because they waited too long.
    pub queue_timeouts: u64,
    /// What becomes of new sessions while the probes say that every server is down: `refuse` or
    /// `try_all`.
    pub all_down: String,
    /// That is so, and sessions are tried on all servers.
    pub fail_open: bool,
    /// Since when.
    pub fail_open_ms_ago: Option<u64>,
    /// Sessions that were placed so.
    pub fail_open_sessions: u64,
    /// `None` = its servers are spoken to in plain.
    pub tls: Option<HandshakeStatus>,
}

/// A name that stands for servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NameStatus {
    /// `api.example.org:6443`, or `_api._tcp.example.org`.
    pub name: String,
    /// `resolved`; `stale`: the last answers have failed, and its servers are those of an earlier one; `unresolved`: there
    /// was none.
    pub state: String,
    /// Servers that it stands for now.
    pub servers: u64,
    /// The last answer that named servers.
    pub answered_ms_ago: Option<u64>,
    /// Since when every answer has failed, in whole or in part; `None` = the last one was good.
    pub failing_ms: Option<u64>,
    /// How the last one failed; empty = it did not.
    pub reason: String,
    pub queries: u64,
    pub failures: u64,
    /// Addresses of the last good answer that became no servers.
    pub left_out: u64,
    /// Why the first of them did not.
    pub left_out_reason: String,
}

/// One server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerStatus {
    /// With port 0 where it has none of its own.
    pub address: String,
    /// What is added to the port that a client came to, `+0` or `+1000`; empty = the port is the address's.
    pub client_port: String,
    /// `up`, `down`, `draining`, `maintenance`, or `unknown` before its first probe.
    pub state: String,
    pub since_ms_ago: Option<u64>,
    pub reason: String,
    pub sessions: u64,
    /// The one that counts.
    pub weight: u64,
    /// The configuration's, where an administrator has said another one.
    pub configured_weight: Option<u64>,
    /// Until the weight is the configured one again by itself.
    pub weight_ms_left: Option<u64>,
    /// What an administrator says of it: `drain` or `maintenance`; empty = nothing.
    pub administrative: String,
    /// Until that ends by itself.
    pub administrative_ms_left: Option<u64>,
    /// `configured`; at run time `added`, `leaving` (its last sessions go on) or `removed`.
    pub presence: String,
    /// Until that ends by itself.
    pub presence_ms_left: Option<u64>,
    /// The address of the server of the configuration for which it was added; empty = none.
    pub replaces: String,
    /// The name of which the DNS says it; empty = none.
    pub name: String,
    /// The server that it follows (`track`), as `BACKEND/ADDRESS:PORT`; empty = it is probed itself.
    pub follows: String,
    /// What an administrator says of that one: `drain` or `maintenance`; empty = nothing.
    pub inherited: String,
    /// What the probes say: a word as in `state`.
    pub probe_state: String,
    pub connected: u64,
    pub connect_errors: u64,
    /// Connections for sessions that have failed since one has succeeded, while they are observed.
    pub errors_in_row: u64,
    /// Times that there were as many of them as `error_limit` says.
    pub error_limits: u64,
    pub probes: u64,
    pub probe_failures: u64,
    pub probe_ms_ago: Option<u64>,
    pub probe_time_ms: Option<f64>,
    /// How the last probe ended, in HAProxy's words: `L4OK`, `L7STS`, …; `INI` before the first one, `UNK` where nobody
    /// probes.
    pub probe_status: String,
    /// The number that it was answered with, as HTTP's 200.
    pub probe_code: Option<u64>,
    /// Last second of the certificate that it shows to probes, RFC 3339 in UTC; empty = not known.
    pub certificate_not_after: String,
    /// The same in seconds since 1970.
    pub certificate_not_after_timestamp: Option<u64>,
    /// Whole days until then; negative = it has expired.
    pub certificate_days_left: Option<i64>,
    pub downs: u64,
    /// Sessions that were ended because it went down.
    pub cut: u64,
    /// Serves only while no other server does.
    pub backup: bool,
    /// What slow start leaves of its share, in percent.
    pub slow_start_percent: u64,
    /// `None` = it has none.
    pub agent: Option<AgentStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_other_versions_are_read() {
        let text = r#"{"node":"lb1","vips":[{"name":"api","state":"active","later":1}],"new":{}}"#;
        let status: Status = serde_json::from_str(text).expect("it is read");
        assert_eq!(status.vips[0].state, "active");
        assert_eq!(status.listeners, []);
    }
}
