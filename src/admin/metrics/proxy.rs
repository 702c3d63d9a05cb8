//! Metrics of the data plane: listeners and servers.

use common::board::{Hold, Presence, ProbeStatus, ServerState};
use common::status::{BackendStatus, ListenerStatus, ServerStatus, Status};

use super::{Family, Page, flag, seconds};

const LISTENER: &[&str] = &["listener"];
const BACKEND: &[&str] = &["backend"];
const SERVER: &[&str] = &["backend", "server"];

static VIP_HEALTH: Family = Family::gauge(
    "fmc_lb_proxy_vip_health_ratio",
    &["vip"],
    "Smallest share of usable servers among the VIP's required listeners on this node, 0 to 1.",
);
static SESSIONS: Family = Family::gauge(
    "fmc_lb_listener_sessions",
    LISTENER,
    "Connections that are being relayed or wait for a server.",
);
static ACCEPTED: Family = Family::counter(
    "fmc_lb_listener_accepted_total",
    LISTENER,
    "Connections accepted.",
);
static DENIED: Family = Family::counter(
    "fmc_lb_listener_denied_total",
    LISTENER,
    "Connections closed at once by RST because of the listener's allow and deny lists.",
);
static FAILED: Family = Family::counter(
    "fmc_lb_listener_failed_total",
    LISTENER,
    "Connections closed because no server could be reached.",
);
static ACCEPT_ERRORS: Family = Family::counter(
    "fmc_lb_listener_accept_errors_total",
    LISTENER,
    "Times that the kernel refused to hand over a connection (descriptors used up, …).",
);
static RECEIVED: Family = Family::counter(
    "fmc_lb_listener_received_bytes_total",
    LISTENER,
    "Bytes relayed from clients.",
);
static SENT: Family = Family::counter(
    "fmc_lb_listener_sent_bytes_total",
    LISTENER,
    "Bytes relayed to clients.",
);
static IDLE_CLOSED: Family = Family::counter(
    "fmc_lb_listener_idle_closed_total",
    LISTENER,
    "Sessions ended because nothing was said for the idle timeout.",
);
static ABORTED: Family = Family::counter(
    "fmc_lb_listener_aborted_total",
    LISTENER,
    "Sessions ended by a reset or an error of either side, also while a server was looked for.",
);
static DROPPED: Family = Family::counter(
    "fmc_lb_listener_dropped_total",
    LISTENER,
    "Connections closed without an answer because of the listener's drop list.",
);
static LIMITED: Family = Family::counter(
    "fmc_lb_listener_limited_total",
    &["listener", "limit"],
    "Connections refused because their client had too many sessions (sessions) or came too fast (rate).",
);
static CLIENTS_AT_LIMIT: Family = Family::gauge(
    "fmc_lb_listener_clients_at_limit",
    LISTENER,
    "Clients that have as many sessions as each may have (source_limit).",
);
static BAD_HEADERS: Family = Family::counter(
    "fmc_lb_listener_bad_headers_total",
    LISTENER,
    "Connections closed because of a PROXY protocol header that was bad, late or cut.",
);
static UNROUTED: Family = Family::counter(
    "fmc_lb_listener_unrouted_total",
    &["listener", "cause"],
    "Connections given the default backend because they were not TLS (not_tls) or said too little in time (timeout).",
);
static HOLD: Family = Family::gauge(
    "fmc_lb_listener_hold",
    &["listener", "limit"],
    "1 for the limit because of which more connections wait now (none, max_sessions, proxy.max_sessions, accept_rate, paused), 0 for the others.",
);
static HOLDS: Family = Family::counter(
    "fmc_lb_listener_holds_total",
    LISTENER,
    "Times that a relay thread has held connections back because of a limit.",
);
static LIFETIME_CLOSED: Family = Family::counter(
    "fmc_lb_listener_lifetime_closed_total",
    LISTENER,
    "Sessions ended because they had lasted as long as they may.",
);
static QUEUED: Family = Family::gauge(
    "fmc_lb_backend_queued",
    BACKEND,
    "Clients that wait because every server of the backend is full.",
);
static QUEUE_OLDEST: Family = Family::gauge(
    "fmc_lb_backend_queue_oldest_seconds",
    BACKEND,
    "How long the client has waited that waits longest now; 0 = nobody waits.",
);
static QUEUE_LONGEST: Family = Family::gauge(
    "fmc_lb_backend_queue_longest_seconds",
    BACKEND,
    "Longest wait of a client for a server with a free slot since the node's start.",
);
static WAITED: Family = Family::counter(
    "fmc_lb_backend_waited_total",
    BACKEND,
    "Clients that had to wait for a server with a free slot.",
);
static QUEUE_REFUSED: Family = Family::counter(
    "fmc_lb_backend_queue_refused_total",
    &["backend", "cause"],
    "Clients refused because as many waited already as may (full) or because they waited too long (timeout).",
);
static FAIL_OPEN: Family = Family::gauge(
    "fmc_lb_backend_fail_open",
    BACKEND,
    "1 while every server of the backend is down and sessions are tried on all of them (all_down), otherwise 0.",
);
static FAIL_OPEN_SESSIONS: Family = Family::counter(
    "fmc_lb_backend_fail_open_sessions_total",
    BACKEND,
    "Sessions that were placed on a server while every server of the backend was down (all_down).",
);
static OVERRIDES: Family = Family::gauge(
    "fmc_lb_administrative_overrides",
    &["kind"],
    "What an administrator has said at run time and holds now: servers that drain, are in maintenance, were added or removed, weights, paused listeners.",
);
static KILLED: Family = Family::counter(
    "fmc_lb_listener_killed_total",
    LISTENER,
    "Sessions ended by an administrator.",
);
static CUT: Family = Family::counter(
    "fmc_lb_server_cut_total",
    SERVER,
    "Sessions ended because their server went down (on_marked_down), or is a backup and another one came up (on_marked_up).",
);
static PRESENCE: Family = Family::gauge(
    "fmc_lb_server_presence",
    &["backend", "server", "presence"],
    "1 for whether the server is one of the configuration or was changed at run time (configured, added, leaving, removed), 0 for the others.",
);
static SERVER_STATE: Family = Family::gauge(
    "fmc_lb_server_state",
    &["backend", "server", "state"],
    "1 for the state that the server is in (unknown, up, down, draining, maintenance), 0 for the others.",
);
static SERVER_SESSIONS: Family =
    Family::gauge("fmc_lb_server_sessions", SERVER, "Sessions to the server.");
static WEIGHT: Family = Family::gauge(
    "fmc_lb_server_weight",
    SERVER,
    "Weight of the server; 0 = no new sessions.",
);
static CONNECTED: Family = Family::counter(
    "fmc_lb_server_connected_total",
    SERVER,
    "Connections made to the server for clients.",
);
static CONNECT_ERRORS: Family = Family::counter(
    "fmc_lb_server_connect_errors_total",
    SERVER,
    "Connections to the server for clients that failed.",
);
static ERRORS_IN_ROW: Family = Family::gauge(
    "fmc_lb_server_errors_in_row",
    SERVER,
    "Connections to the server for clients that failed since one succeeded, while they are observed (observe).",
);
static ERROR_LIMITS: Family = Family::counter(
    "fmc_lb_server_error_limits_total",
    SERVER,
    "Times that as many connections to the server in a row failed as error_limit says.",
);
static PROBES: Family = Family::counter(
    "fmc_lb_server_probes_total",
    SERVER,
    "Probes of the server that ended.",
);
static PROBE_FAILURES: Family = Family::counter(
    "fmc_lb_server_probe_failures_total",
    SERVER,
    "Probes of the server that failed.",
);
static PROBE_DURATION: Family = Family::gauge(
    "fmc_lb_server_probe_duration_seconds",
    SERVER,
    "How long the last probe took; absent before the first.",
);
static PROBE_AGE: Family = Family::gauge(
    "fmc_lb_server_probe_age_seconds",
    SERVER,
    "Time since the last probe ended; absent before the first.",
);
static PROBE_STATUS: Family = Family::gauge(
    "fmc_lb_server_probe_status",
    &["backend", "server", "status"],
    "1 for how the last probe ended (HAProxy's words: L4OK, L7STS, …; INI before the first, UNK without probes), 0 for the others.",
);
static PROBE_CODE: Family = Family::gauge(
    "fmc_lb_server_probe_code",
    SERVER,
    "Number that the last probe was answered with, as HTTP's 200; absent where there was none.",
);
static CERTIFICATE: Family = Family::gauge(
    "fmc_lb_server_certificate_expiry_timestamp_seconds",
    SERVER,
    "When the certificate expires that the server shows to probes, in seconds since 1970; absent while unknown.",
);
static SLOW_START: Family = Family::gauge(
    "fmc_lb_server_slow_start_ratio",
    SERVER,
    "What slow start leaves of the server's share, 0 to 1.",
);
static DOWNS: Family = Family::counter(
    "fmc_lb_server_downs_total",
    SERVER,
    "Times that the server went from usable to not usable.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &VIP_HEALTH,
    &SESSIONS,
    &ACCEPTED,
    &DENIED,
    &FAILED,
    &ACCEPT_ERRORS,
    &RECEIVED,
    &SENT,
    &IDLE_CLOSED,
    &ABORTED,
    &DROPPED,
    &LIMITED,
    &CLIENTS_AT_LIMIT,
    &BAD_HEADERS,
    &UNROUTED,
    &LIFETIME_CLOSED,
    &HOLD,
    &HOLDS,
    &KILLED,
    &OVERRIDES,
    &CUT,
    &QUEUED,
    &QUEUE_OLDEST,
    &QUEUE_LONGEST,
    &WAITED,
    &QUEUE_REFUSED,
    &FAIL_OPEN,
    &FAIL_OPEN_SESSIONS,
    &PRESENCE,
    &SERVER_STATE,
    &SERVER_SESSIONS,
    &WEIGHT,
    &CONNECTED,
    &CONNECT_ERRORS,
    &ERRORS_IN_ROW,
    &ERROR_LIMITS,
    &PROBES,
    &PROBE_FAILURES,
    &PROBE_DURATION,
    &PROBE_AGE,
    &PROBE_STATUS,
    &PROBE_CODE,
    &CERTIFICATE,
    &SLOW_START,
    &DOWNS,
];

pub(super) fn fill(page: &mut Page, status: &Status) {
    for vip in &status.vips {
        page.gauge(&VIP_HEALTH, &[&vip.name], vip.health as f64 / 100.0);
    }
    fill_overrides(page, status);
    for listener in &status.listeners {
        fill_listener(page, listener);
    }
    for backend in &status.backends {
        fill_backend(page, backend);
        for server in &backend.servers {
            fill_server(page, &backend.name, server);
        }
    }
}

fn fill_overrides(page: &mut Page, status: &Status) {
    let servers = || status.backends.iter().flat_map(|backend| &backend.servers);
    let say = |state: &str| servers().filter(|one| one.administrative == state).count();
    let said = || servers().filter(|one| one.name.is_empty());
    let present = |word: &str| said().filter(|one| one.presence == word).count();
    let gone = present("removed") + present("leaving");
    let weights = servers().filter(|one| one.configured_weight.is_some());
    let paused = status.listeners.iter().filter(|one| one.paused);
    for (kind, count) in [
        ("drain", say("drain")),
        ("maintenance", say("maintenance")),
        ("weight", weights.count()),
        ("added", present("added")),
        ("removed", gone),
        ("pause", paused.count()),
    ] {
        page.gauge(&OVERRIDES, &[kind], count as f64);
    }
}

fn fill_listener(page: &mut Page, listener: &ListenerStatus) {
    let labels = [listener.name.as_str()];
    page.gauge(&SESSIONS, &labels, listener.sessions as f64);
    page.count(&ACCEPTED, &labels, listener.accepted);
    page.count(&DENIED, &labels, listener.denied);
    page.count(&FAILED, &labels, listener.failed);
    page.count(&ACCEPT_ERRORS, &labels, listener.accept_errors);
    page.count(&RECEIVED, &labels, listener.bytes_in);
    page.count(&SENT, &labels, listener.bytes_out);
    page.count(&IDLE_CLOSED, &labels, listener.idle_closed);
    page.count(&ABORTED, &labels, listener.aborted);
    page.count(&DROPPED, &labels, listener.dropped);
    for (limit, count) in [
        ("sessions", listener.limited_sessions),
        ("rate", listener.limited_rate),
    ] {
        page.count(&LIMITED, &[labels[0], limit], count);
    }
    let at_limit = listener.clients_at_limit as f64;
    page.gauge(&CLIENTS_AT_LIMIT, &labels, at_limit);
    page.count(&LIFETIME_CLOSED, &labels, listener.lifetime_closed);
    page.count(&BAD_HEADERS, &labels, listener.bad_headers);
    for (cause, count) in [
        ("not_tls", listener.not_tls),
        ("timeout", listener.hello_timeouts),
    ] {
        page.count(&UNROUTED, &[labels[0], cause], count);
    }
    let holds = Hold::ALL.iter().map(|hold| hold.word());
    page.one_of(&HOLD, &labels, (&listener.hold, holds));
    page.count(&HOLDS, &labels, listener.holds);
    page.count(&KILLED, &labels, listener.killed);
}

fn fill_backend(page: &mut Page, backend: &BackendStatus) {
    let labels = [backend.name.as_str()];
    page.gauge(&QUEUED, &labels, backend.queued as f64);
    let oldest = backend.queue_oldest_ms.unwrap_or(0);
    page.gauge(&QUEUE_OLDEST, &labels, seconds(oldest));
    page.gauge(&QUEUE_LONGEST, &labels, seconds(backend.queue_longest_ms));
    page.count(&WAITED, &labels, backend.waited);
    for (cause, count) in [
        ("full", backend.queue_full),
        ("timeout", backend.queue_timeouts),
    ] {
        page.count(&QUEUE_REFUSED, &[labels[0], cause], count);
    }
    page.gauge(&FAIL_OPEN, &labels, flag(backend.fail_open));
    page.count(&FAIL_OPEN_SESSIONS, &labels, backend.fail_open_sessions);
}

fn fill_server(page: &mut Page, backend: &str, server: &ServerStatus) {
    let labels = [backend, server.address.as_str()];
    let states = ServerState::ALL.iter().map(|state| state.word());
    let presences = Presence::ALL.iter().map(|presence| presence.word());
    page.one_of(&PRESENCE, &labels, (&server.presence, presences));
    page.one_of(&SERVER_STATE, &labels, (&server.state, states));
    page.gauge(&SERVER_SESSIONS, &labels, server.sessions as f64);
    page.gauge(&WEIGHT, &labels, server.weight as f64);
    page.count(&CUT, &labels, server.cut);
    page.count(&CONNECTED, &labels, server.connected);
    page.count(&CONNECT_ERRORS, &labels, server.connect_errors);
    page.gauge(&ERRORS_IN_ROW, &labels, server.errors_in_row as f64);
    page.count(&ERROR_LIMITS, &labels, server.error_limits);
    page.count(&PROBES, &labels, server.probes);
    page.count(&PROBE_FAILURES, &labels, server.probe_failures);
    let took = server.probe_time_ms.map(|millis| millis / 1e3);
    page.gauge_if_known(&PROBE_DURATION, &labels, took);
    page.gauge_if_known(&PROBE_AGE, &labels, server.probe_ms_ago.map(seconds));
    let statuses = ProbeStatus::ALL.iter().map(|status| status.word());
    page.one_of(&PROBE_STATUS, &labels, (&server.probe_status, statuses));
    let code = server.probe_code.map(|code| code as f64);
    page.gauge_if_known(&PROBE_CODE, &labels, code);
    let expiry = server.certificate_not_after_timestamp;
    page.gauge_if_known(&CERTIFICATE, &labels, expiry.map(|end| end as f64));
    let share = server.slow_start_percent as f64 / 100.0;
    page.gauge(&SLOW_START, &labels, share);
    page.count(&DOWNS, &labels, server.downs);
}
