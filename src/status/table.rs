//! The table of `fmc-lb status`: whatever the names, no line is wider than 80 columns. Pure.

mod files;
mod forwarding;
mod grid;
mod rescue;
mod routes;
mod succession;
mod trackers;

use std::time::Duration;

use common::board::{Hold, ProbeStatus};
use common::status::{
    BackendStatus, ListenerStatus, NameStatus, PeerStatus, ServerStatus, Status, VipStatus,
};

use self::grid::{Column, Grid, wrap};
use super::human;

/// The whole table, with a newline at its end.
pub(crate) fn render(status: &Status) -> String {
    let mut lines = head(status);
    lines.extend(processes(status));
    lines.extend(succession::lines(&status.retired));
    lines.extend(vips(status));
    lines.extend(trackers::lines(&status.trackers));
    lines.extend(listeners(&status.listeners));
    for backend in &status.backends {
        lines.extend(self::backend(backend, &status.listeners));
    }
    lines.extend(files::lines(&status.files));
    lines
        .iter()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

fn head(status: &Status) -> Vec<String> {
    let reload = &status.reload;
    let since = reload.since_ms_ago.filter(|_| reload.applied > 0);
    let since = since.map_or_else(String::new, |millis| {
        format!(", loaded {} ago", age(millis))
    });
    let this = format!(
        "{}  fmc-lb {}  up {}  configuration {}{since}",
        status.node,
        status.version,
        age(status.uptime_ms),
        status.config_hash
    );
    let mut lines = wrap(&this, "", "  ");
    if let Some(peer) = &status.peer {
        lines.extend(wrap(&peer_line(peer), "", "  "));
        let forwarding = status.forwarding.as_ref();
        let line = forwarding.and_then(|one| forwarding::line(one, peer));
        let told = rescue::lines((peer.link.as_ref(), status.rescue.as_ref()), &peer.name);
        let said = line.iter().chain(&told);
        lines.extend(said.flat_map(|line| wrap(line, "", "  ")));
    }
    let upgrade = status.upgrade.as_ref().and_then(succession::line);
    lines.extend(upgrade.iter().flat_map(|line| wrap(line, "", "  ")));
    let drain = status
        .drain
        .as_ref()
        .map(|drain| succession::left(&drain.left));
    let drain = drain.filter(|left| !left.is_empty());
    let drain = drain.map(|left| format!("left here: {left}"));
    lines.extend(drain.iter().flat_map(|line| wrap(line, "", "  ")));
    for warning in &status.warnings {
        lines.extend(wrap(warning, "! ", "  "));
    }
    lines
}

fn peer_line(peer: &PeerStatus) -> String {
    let heard = peer.heard_ms_ago.map_or_else(
        || "never heard".to_owned(),
        |millis| format!("heard {} ago", age(millis)),
    );
    let version = peer
        .version
        .as_ref()
        .map_or_else(String::new, |version| format!("  fmc-lb {version}"));
    // What is as it should be needs no word.
    let adverts = match peer.signing.as_str() {
        "enforce" => String::new(),
        "off" => "  adverts not signed".to_owned(),
        mode => format!("  signing {mode}"),
    };
    let silences = match (peer.silences, peer.silences_averted) {
        (0, 0) => String::new(),
        (silent, averted) => format!("  silent {silent} times, {averted} averted by an answer"),
    };
    format!(
        "{}  {}{version}  {heard}  pair channel {}{adverts}{silences}",
        peer.name, peer.address, peer.pair_channel
    )
}

/// Shown only when a process is not plainly running.
fn processes(status: &Status) -> Vec<String> {
    let plain = |state: &str, deaths: u64| state == "running" && deaths == 0;
    if status
        .processes
        .iter()
        .all(|one| plain(&one.state, one.deaths))
    {
        return Vec::new();
    }
    let mut grid = Grid::new(&[
        Column::name("PROCESS"),
        Column::word("STATE"),
        Column::number("PID"),
        Column::number("TURNED"),
        Column::number("DEATHS"),
        Column::text("LAST END"),
    ]);
    for process in &status.processes {
        grid.row([
            process.name.clone(),
            process.state.clone(),
            known(Some(process.pid).filter(|pid| *pid != 0)),
            since(process.heartbeat_ms_ago),
            process.deaths.to_string(),
            process.last_end.clone(),
        ]);
    }
    section(grid.lines())
}

fn vips(status: &Status) -> Vec<String> {
    let name = status.peer.as_ref().map(|peer| peer.name.to_uppercase());
    let mut columns = vec![
        Column::name("VIP"),
        Column::address("ADDRESS"),
        Column::word("STATE"),
        Column::number("FOR"),
        Column::number("PRIO"),
    ];
    if let Some(name) = &name {
        columns.extend([Column::name(name), Column::number("PRIO")]);
    }
    let mut grid = Grid::new(&columns);
    for vip in &status.vips {
        let mut row = vec![
            vip.name.clone(),
            vip.address.clone(),
            vip.state.clone(),
            since(vip.since_ms_ago),
            vip.priority.to_string(),
        ];
        if let Some(peer) = &status.peer {
            row.extend(peer_cells(peer, &vip.name));
        }
        grid.row(row);
        grid.note(vip_note(vip));
        grid.note(trackers::note(vip));
        if vip.pinned {
            grid.note("kept against preemption since a handover".to_owned());
        }
        grid.note(routes::note(vip));
    }
    section(grid.lines())
}

fn peer_cells(peer: &PeerStatus, vip: &str) -> [String; 2] {
    let at_peer = peer.vips.iter().find(|one| one.name == vip);
    [
        at_peer
            .and_then(|one| one.state.clone())
            .unwrap_or_else(|| UNKNOWN.to_owned()),
        known(at_peer.and_then(|one| one.priority)),
    ]
}

/// "since 2026-05-01 11:56:48 UTC: no advert from 192.168.0.12 for 361 ms"
fn vip_note(vip: &VipStatus) -> String {
    let reason = if vip.reason.is_empty() {
        "no reason given"
    } else {
        &vip.reason
    };
    match (vip.since.get(..10), vip.since.get(11..19)) {
        (Some(date), Some(time)) => format!("since {date} {time} UTC: {reason}"),
        _ => reason.to_owned(),
    }
}

fn listeners(listeners: &[ListenerStatus]) -> Vec<String> {
    if listeners.is_empty() {
        return Vec::new();
    }
    let mut grid = Grid::new(&[
        Column::name("LISTENER"),
        Column::address("BIND"),
        Column::number("SESSIONS"),
        Column::number("CONN/S"),
        Column::number("IN B/S"),
        Column::number("OUT B/S"),
    ]);
    for listener in listeners {
        grid.row([
            listener.name.clone(),
            match listener.removed {
                true => "removed".to_owned(),
                false => listener.binds.first().cloned().unwrap_or_default(),
            },
            listener.sessions.to_string(),
            human::quantity(listener.accepted_per_second),
            human::quantity(listener.bytes_in_per_second),
            human::quantity(listener.bytes_out_per_second),
        ]);
        if listener.binds.len() > 1 {
            grid.note(format!("also {}", listener.binds[1..].join(", ")));
        }
        grid.note(listener_trouble(listener));
        if listener.clients_at_limit > 0 {
            grid.note(format!(
                "clients that have as many sessions as they may: {}",
                listener.clients_at_limit
            ));
        }
        if listener.paused {
            let time = time_left(listener.pause_ms_left);
            grid.note(format!(
                "paused by administrator{time}: new connections wait"
            ));
        } else if listener.hold != Hold::None.word() && !listener.hold.is_empty() {
            grid.note(format!(
                "more connections wait: {} is reached",
                listener.hold
            ));
        }
    }
    section(grid.lines())
}

/// What went wrong since the start; empty if nothing did.
fn listener_trouble(listener: &ListenerStatus) -> String {
    let counted = [
        ("denied", listener.denied),
        ("no server reached", listener.failed),
        ("accept errors", listener.accept_errors),
        ("aborted", listener.aborted),
        ("too old", listener.lifetime_closed),
        ("dropped", listener.dropped),
        ("client has too many sessions", listener.limited_sessions),
        ("client came too fast", listener.limited_rate),
        ("bad PROXY header", listener.bad_headers),
        ("not TLS", listener.not_tls),
        ("no hello in time", listener.hello_timeouts),
        ("ended by administrator", listener.killed),
        ("TLS handshake failed", failed_handshakes(listener)),
        ("TLS stream cut", cut_streams(listener)),
    ];
    let said: Vec<_> = counted
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{what}: {count}"))
        .collect();
    said.join(", ")
}

fn failed_handshakes(listener: &ListenerStatus) -> u64 {
    let tls = listener.tls.iter();
    tls.flat_map(|tls| tls.failures.values()).sum()
}

fn cut_streams(listener: &ListenerStatus) -> u64 {
    listener.tls.as_ref().map_or(0, |tls| tls.truncated)
}

fn backend(backend: &BackendStatus, listeners: &[ListenerStatus]) -> Vec<String> {
    let used_by: Vec<_> = listeners
        .iter()
        .filter(|listener| listener.backend == backend.name)
        .map(|listener| listener.name.as_str())
        .collect();
    let mut title = format!(
        "BACKEND {}  {}  probe {}",
        backend.name, backend.balance, backend.probe
    );
    if !used_by.is_empty() {
        title += &format!("  for {}", used_by.join(", "));
    }
    if backend.removed {
        title += "  removed";
    }
    if backend.fail_open {
        title += "  FAIL OPEN";
    }
    let mut lines = section(wrap(&title, "", "  "));
    let mut grid = Grid::new(&[
        Column::address("SERVER"),
        Column::word("STATE"),
        Column::number("FOR"),
        Column::number("WEIGHT"),
        Column::number("SESSIONS"),
        Column::number("PROBED"),
        Column::text("RESULT"),
    ])
    .indented();
    for server in &backend.servers {
        grid.row(server_cells(server));
        if !is_plain(server) {
            grid.note(server.reason.clone());
        }
        grid.note(presence(server));
        if !server.follows.is_empty() {
            grid.note(format!("follows {}", server.follows));
        }
        if let Some(configured) = server.configured_weight {
            let time = time_left(server.weight_ms_left);
            grid.note(format!(
                "weight by administrator{time}, configured: {configured}"
            ));
        }
        if server.errors_in_row > 0 {
            grid.note(format!(
                "connections for sessions that failed in a row: {}",
                server.errors_in_row
            ));
        }
        if server.cut > 0 {
            grid.note(format!(
                "sessions ended because it went down: {}",
                server.cut
            ));
        }
        if server.backup {
            grid.note("backup: serves while no other server can".to_owned());
        }
        if server.state == "up" && (1..100).contains(&server.slow_start_percent) {
            grid.note(format!(
                "slow start: {} % of its share",
                server.slow_start_percent
            ));
        }
    }
    grid.note(certificates(backend));
    if backend.queued > 0 {
        let oldest = backend.queue_oldest_ms.unwrap_or(0);
        grid.note(format!(
            "{} clients wait for a server with a free slot, the first for {}",
            backend.queued,
            age(oldest)
        ));
    }
    if backend.queue_full + backend.queue_timeouts > 0 {
        let refused = (backend.queue_full, backend.queue_timeouts);
        grid.note(format!(
            "refused: {} queue full, {} waited too long; longest wait {}",
            refused.0,
            refused.1,
            age(backend.queue_longest_ms)
        ));
    }
    grid.note(handshakes_with_servers(backend));
    for name in &backend.names {
        grid.note(name_note(name));
    }
    grid.note(fail_open_note(backend));
    lines.extend(grid.lines());
    lines
}

/// "added by administrator, 59m left, for 10.17.4.21:6443"; empty = it is one of the configuration.
fn presence(server: &ServerStatus) -> String {
    let time = time_left(server.presence_ms_left);
    match server.presence.as_str() {
        "added" if !server.name.is_empty() => format!("by {}", server.name),
        "added" if server.replaces.is_empty() => format!("added by administrator{time}"),
        "added" => format!("added by administrator{time}, for {}", server.replaces),
        "leaving" => format!("leaves when its last session has ended{time}"),
        "removed" => format!("removed by administrator{time}"),
        _ => String::new(),
    }
}

/// By reason; empty without any.
fn handshakes_with_servers(backend: &BackendStatus) -> String {
    let failures = backend.tls.iter().flat_map(|tls| &tls.failures);
    let failures: Vec<String> = failures
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{count} {}", reason.replace('_', " ")))
        .collect();
    match failures.as_slice() {
        [] => String::new(),
        _ => format!("TLS handshakes that failed: {}", failures.join(", ")),
    }
}

/// "api.example.org:6443: 3 servers, answered 12s ago", or what is wrong with it.
fn name_note(name: &NameStatus) -> String {
    let mut text = format!("{}: {}", name.name, name.state);
    text += &format!(", {} servers", name.servers);
    if let Some(millis) = name.answered_ms_ago {
        text += &format!(", answered {} ago", age(millis));
    }
    if !name.reason.is_empty() {
        text += &format!("; {}", name.reason);
    }
    text
}

fn fail_open_note(backend: &BackendStatus) -> String {
    let placed = backend.fail_open_sessions;
    match backend.fail_open_ms_ago {
        Some(millis) => format!(
            "fail open for {}: sessions are tried on servers that are down, so far {placed} found one",
            age(millis)
        ),
        None if placed > 0 => format!("sessions placed while every server was down: {placed}"),
        None => String::new(),
    }
}

/// The certificate that ends first; empty without any.
fn certificates(backend: &BackendStatus) -> String {
    let servers = backend.servers.iter();
    let days = servers.filter_map(|server| server.certificate_days_left);
    match days.min() {
        None => String::new(),
        Some(i64::MIN..=-1) => "a certificate has expired".to_owned(),
        Some(1) => "certificates are valid for 1 day".to_owned(),
        Some(days) => format!("certificates are valid for {days} days"),
    }
}

fn server_cells(server: &ServerStatus) -> [String; 7] {
    [
        server.address.clone(),
        server.state.clone(),
        since(server.since_ms_ago),
        server.weight.to_string(),
        server.sessions.to_string(),
        since(server.probe_ms_ago),
        probe_result(server),
    ]
}

/// Up, and its last probe does not speak against that: the reason adds nothing.
fn is_plain(server: &ServerStatus) -> bool {
    let status = probe_status(server);
    server.state == "up"
        && status.is_some_and(|status| status == ProbeStatus::Unk || status.is_good())
}

fn probe_status(server: &ServerStatus) -> Option<ProbeStatus> {
    let mut all = ProbeStatus::ALL.iter().copied();
    all.find(|status| status.word() == server.probe_status)
}

/// "L7OK/200 1.2 ms"
fn probe_result(server: &ServerStatus) -> String {
    let word = match probe_status(server) {
        None if server.probe_status.is_empty() => return UNKNOWN.to_owned(),
        Some(ProbeStatus::Unk) => return UNKNOWN.to_owned(),
        // A newer node may have words that are not known here.
        None | Some(_) => &server.probe_status,
    };
    let code = server
        .probe_code
        .map_or_else(String::new, |code| format!("/{code}"));
    let took = match server.probe_time_ms {
        None => String::new(),
        Some(millis) if millis < 10.0 => format!(" {millis:.1} ms"),
        Some(millis) => format!(" {}", human::age(Duration::from_millis(millis as u64))),
    };
    format!("{word}{code}{took}")
}

/// An empty line before what follows.
fn section(lines: Vec<String>) -> Vec<String> {
    std::iter::once(String::new()).chain(lines).collect()
}

fn age(millis: u64) -> String {
    human::age(Duration::from_millis(millis))
}

/// ", 12m 05s left", or nothing where there is no end.
fn time_left(millis: Option<u64>) -> String {
    millis.map_or_else(String::new, |left| format!(", {} left", age(left)))
}

fn since(millis: Option<u64>) -> String {
    millis.map_or_else(|| UNKNOWN.to_owned(), age)
}

fn known(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

const UNKNOWN: &str = "-";

#[cfg(test)]
mod tests;
