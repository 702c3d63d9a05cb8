//! Boards + configuration → [`Status`]. Pure: both clocks are passed in.

use std::time::Duration;

use common::addr::Mac;
use common::board::{AdminState, Hold, Presence, ProbeStatus, ServerSlot, ServerState, VipState};
use common::config::{Backend, BackendIndex, VipIndex};
use common::roster::{Member, Roster};
use common::status::{BackendStatus, ListenerStatus, ServerStatus, Status, VipStatus};
use common::time::Moment;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::clock::Clocks;
use super::expiry::Expiry;
use super::processes::{Process, ProcessState, Processes};
use super::rates::{Rates, Totals};
use super::view::{View, hash_word, millis};
use super::{
    agents, drain, files, forwarding, macs, peer, reload, rescue, routes, session_log, stalls,
    succession, tls, trackers, warnings,
};
use crate::status::human;

impl View {
    /// The state of this node.
    pub(crate) fn status(&self, rates: &Rates, clocks: Clocks) -> Status {
        let now = clocks.now;
        let processes = Processes::read(&self.boards, now);
        let started = self.boards.supervisor.header.started.get();
        let roster = Roster::read(&self.config, self.boards.proxy);
        let maintenance = self.boards.admin.maintenance.get(now);
        let mut status = Status {
            node: self.config.nodes[self.node.0].name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: started.map_or(0, |at| millis(now, at)),
            config_hash: hash_word(self.config_hash),
            reload: reload::status(self, now),
            warnings: Vec::new(),
            maintenance: maintenance.is_some(),
            maintenance_ms_left: maintenance.and_then(|said| left(said.until, now)),
            processes: processes.all().map(|one| one.status(now)).to_vec(),
            vips: self
                .config
                .live_vips()
                .map(|(vip, _)| self.vip(vip, &processes.vrrp, clocks))
                .collect(),
            trackers: trackers::status::status(self, now),
            machine: stalls::status(self, now),
            peer: peer::status(self, now),
            forwarding: forwarding::status(self),
            rescue: rescue::status(self, now),
            listeners: self.listeners(&processes.proxy, rates, clocks),
            backends: self
                .config
                .backends
                .iter()
                .enumerate()
                .map(|(index, backend)| {
                    let whose = (BackendIndex(index), backend, &roster);
                    self.backend(whose, &processes.proxy, clocks)
                })
                .collect(),
            files: files::status(self, now),
            session_log: session_log::status(self, now),
            drain: None,
            upgrade: succession::upgrade(self, now),
            retired: succession::retired(self, now),
        };
        status.drain = drain::status(self, now);
        status.warnings = warnings::of((self, rates), &processes, &status, now);
        // Of what a reload has taken away only what is left of it.
        status
            .listeners
            .retain(|one| !one.removed || one.sessions > 0);
        status
            .backends
            .retain(|one| !one.removed || !one.servers.is_empty());
        status
    }

    fn vip(&self, index: VipIndex, vrrp: &Process, clocks: Clocks) -> VipStatus {
        let vip = &self.config.vips[index.0];
        let slot = &self.boards.vrrp.vips[index.0];
        let (state, since, reason) = self.vip_state(index, vrrp, clocks.now);
        let configured = u64::from(vip.priorities[self.node.0].value());
        let priority = match slot.priority.get() {
            0 => configured,
            advertised => advertised,
        };
        let rival = &self.boards.vrrp.rivals[index.0];
        VipStatus {
            name: vip.name.clone(),
            address: vip.address.to_string(),
            vrid: vip.vrid.value(),
            interface: vip.interface.clone(),
            state: state.word().to_owned(),
            since: since.map_or_else(String::new, |at| rfc3339(at, clocks.epoch)),
            since_ms_ago: since.map(|at| millis(clocks.now, at)),
            reason,
            priority,
            configured_priority: (priority != configured).then_some(configured),
            // That of a dead vrrp ended with it.
            pinned: vrrp.alive && self.boards.vrrp.pinned[index.0].get() == 1,
            trackers_down: trackers::status::down(self, index),
            mac: macs::status(self, index, vrrp.alive),
            health: self.boards.proxy.vip_health[index.0].get(),
            rival: rival
                .seen
                .get()
                .map(|_| Mac::from_bits(rival.mac.get()).to_string()),
            rival_ms_ago: rival.seen.get().map(|at| millis(clocks.now, at)),
            rival_claims: rival.claims.get(),
            leases_refused: self.boards.vrrp.leases_refused[index.0].get(),
            routes: routes::status(self, index, vrrp.alive),
        }
    }

    /// What vrrp says, while it lives. A vrrp that died or hangs has said nothing true since: its leases were taken
    /// away by the supervisor or run out.
    fn vip_state(
        &self,
        vip: VipIndex,
        vrrp: &Process,
        now: Moment,
    ) -> (VipState, Option<Moment>, String) {
        let slot = &self.boards.vrrp.vips[vip.0];
        let state = VipState::from_board(slot.state.get());
        if vrrp.alive {
            return (state, slot.since.get(), slot.reason.get());
        }
        let Some(last) = vrrp.heartbeat else {
            return (VipState::Init, None, "vrrp has not started yet".to_owned());
        };
        if matches!(vrrp.state, ProcessState::Stopping | ProcessState::Stopped) {
            // Also of one that was killed on the way: its leases were taken away.
            let since = slot.since.get().filter(|_| state == VipState::Init);
            let reason = "this node stops, as it was told to".to_owned();
            return (VipState::Init, since.or(Some(last)), reason);
        }
        let silent = human::age(now.since(last));
        let reason = match vrrp.state {
            ProcessState::Dead | ProcessState::CrashLoop => format!(
                "vrrp is dead ({}), it was {} until then",
                vrrp.last_end,
                state.word()
            ),
            ProcessState::Hung
            | ProcessState::Running
            | ProcessState::Stopping
            | ProcessState::Stopped => format!(
                "vrrp has not turned for {silent}, it was {} until then",
                state.word()
            ),
        };
        (VipState::Fault, Some(last), reason)
    }

    fn listeners(&self, proxy: &Process, rates: &Rates, clocks: Clocks) -> Vec<ListenerStatus> {
        let now = clocks.now;
        let slots = &self.boards.proxy.listeners;
        let listeners = self.config.listeners.iter().zip(slots).enumerate();
        listeners
            .map(|(index, (listener, slot))| {
                let per_second = rates.of(index, now, Totals::of(slot));
                ListenerStatus {
                    name: listener.name.clone(),
                    removed: listener.retired,
                    binds: listener.binds.iter().map(ToString::to_string).collect(),
                    backend: self.config.backends[listener.backend.0].name.clone(),
                    sessions: sessions(proxy, slot.sessions.get()),
                    accepted: slot.accepted.get(),
                    denied: slot.denied.get(),
                    failed: slot.failed.get(),
                    accept_errors: slot.accept_errors.get(),
                    bytes_in: slot.bytes_in.get(),
                    bytes_out: slot.bytes_out.get(),
                    idle_closed: slot.idle_closed.get(),
                    lifetime_closed: slot.lifetime_closed.get(),
                    aborted: slot.aborted.get(),
                    dropped: slot.dropped.get(),
                    limited_sessions: slot.limited_sessions.get(),
                    limited_rate: slot.limited_rate.get(),
                    clients_at_limit: sessions(proxy, slot.clients_at_limit.get()),
                    bad_headers: slot.bad_headers.get(),
                    not_tls: slot.not_tls.get(),
                    hello_timeouts: slot.hello_timeouts.get(),
                    hold: match slot.paused(now) {
                        Some(_) => Hold::Paused,
                        None => self.boards.proxy.hold(index),
                    }
                    .word()
                    .to_owned(),
                    paused: slot.paused(now).is_some(),
                    pause_ms_left: slot.paused(now).and_then(|said| left(said.until, now)),
                    killed: slot.killed.get(),
                    holds: slot.holds.get(),
                    accepted_per_second: per_second.accepted,
                    bytes_in_per_second: per_second.bytes_in,
                    bytes_out_per_second: per_second.bytes_out,
                    tls: self.tls(index, clocks),
                }
            })
            .collect()
    }

    /// `traefik-http/10.17.4.24:80`
    fn followed_by(&self, member: &Member, roster: &Roster) -> String {
        let probed = roster.probed_as(member.place);
        match roster.at(probed).filter(|of| of.place != member.place) {
            Some(of) => {
                let backend = &self.config.backends[of.backend.0].name;
                format!("{backend}/{}", of.server.address)
            }
            None => String::new(),
        }
    }

    fn backend(
        &self,
        (index, backend, roster): (BackendIndex, &Backend, &Roster),
        proxy: &Process,
        clocks: Clocks,
    ) -> BackendStatus {
        let own = &self.boards.proxy.backends[index.0];
        // A dead proxy tries nothing.
        let fail_open = own.fail_open.get().filter(|_| proxy.pid != 0);
        let speaks_tls = backend
            .probe
            .as_ref()
            .is_some_and(|probe| probe.kind.tls().is_some());
        let certificate = |slot: &ServerSlot| {
            let not_after = slot.certificate_not_after.get();
            let expiry = Expiry::of(not_after, clocks);
            expiry.filter(|_| speaks_tls)
        };
        let now = clocks.now;
        BackendStatus {
            name: backend.name.clone(),
            removed: backend.retired,
            balance: backend.balance.word().to_owned(),
            probe: match (&backend.probe, backend.follows()) {
                (Some(probe), _) => probe.kind.word(),
                (None, true) => "track",
                (None, false) => "none",
            }
            .to_owned(),
            servers: roster
                .of(index)
                .iter()
                .map(|member| {
                    let slot = &self.boards.proxy.servers[member.place];
                    let replaced = member.replaces.and_then(|place| roster.at(place));
                    let status = ServerStatus {
                        follows: self.followed_by(member, roster),
                        name: member
                            .name
                            .and_then(|name| self.config.names().nth(name))
                            .map_or_else(String::new, |(_, named)| named.name.to_string()),
                        replaces: replaced
                            .map_or_else(String::new, |of| of.server.address.to_string()),
                        agent: backend
                            .agent
                            .as_ref()
                            .map(|_| agents::status(&slot.agent, now)),
                        ..self::server((member, slot), proxy, now)
                    };
                    with_certificate(status, certificate(slot))
                })
                .collect(),
            names: super::names::status(self, index, roster, now),
            queued: sessions(proxy, own.queued.get()),
            queue_oldest_ms: match sessions(proxy, own.queued.get()) {
                0 => None,
                _ => own.waiting_since.get().map(|since| millis(now, since)),
            },
            queue_longest_ms: own.longest_wait.get() / 1_000_000,
            waited: own.waited.get(),
            queue_full: own.queue_full.get(),
            queue_timeouts: own.queue_timeouts.get(),
            all_down: backend.all_down.word().to_owned(),
            fail_open: fail_open.is_some(),
            fail_open_ms_ago: fail_open.map(|since| millis(now, since)),
            fail_open_sessions: own.fail_open_sessions.get(),
            tls: backend
                .tls
                .as_ref()
                .map(|_| tls::handshakes(&self.boards.proxy.server_tls[index.0])),
        }
    }
}

fn server((member, slot): (&Member, &ServerSlot), proxy: &Process, now: Moment) -> ServerStatus {
    let server = &member.server;
    let said = slot.admin_state(now);
    let weight = slot.admin_weight(now);
    ServerStatus {
        address: server.address.to_string(),
        client_port: server
            .port_offset
            .map_or_else(String::new, |offset| offset.to_string()),
        state: state(member, slot, now).word().to_owned(),
        presence: member.presence.word().to_owned(),
        presence_ms_left: left(member.until, now),
        since_ms_ago: slot.since.get().map(|at| millis(now, at)),
        reason: reason(slot, now),
        sessions: sessions(proxy, slot.sessions.get()),
        weight: weight.map_or(server.weight, |said| said.value).into(),
        configured_weight: weight.map(|_| server.weight.into()),
        weight_ms_left: weight.and_then(|said| left(said.until, now)),
        administrative: said.map_or("", |said| said.value.word()).to_owned(),
        administrative_ms_left: said.and_then(|said| left(said.until, now)),
        follows: String::new(),
        inherited: match slot.inherited_state() {
            AdminState::None => String::new(),
            said @ (AdminState::Drain | AdminState::Maintenance) => said.word().to_owned(),
        },
        probe_state: ServerState::from_board(slot.state.get()).word().to_owned(),
        connected: slot.connected.get(),
        connect_errors: slot.connect_errors.get(),
        errors_in_row: sessions(proxy, slot.errors_in_row.get()),
        error_limits: slot.error_limits.get(),
        probes: slot.probes.get(),
        probe_failures: slot.probe_failures.get(),
        probe_ms_ago: slot.probed.get().map(|at| millis(now, at)),
        probe_time_ms: slot
            .probed
            .get()
            .map(|_| slot.probe_time.get() as f64 / 1e6),
        probe_status: ProbeStatus::from_board(slot.probe_status.get())
            .word()
            .to_owned(),
        probe_code: Some(slot.probe_code.get()).filter(|code| *code != 0),
        downs: slot.downs.get(),
        cut: slot.cut.get(),
        backup: server.backup,
        slow_start_percent: match slot.ramp.get() {
            0 => 100,
            ramp => (100 * ramp / 256).max(1),
        },
        ..ServerStatus::default()
    }
}

/// Who leaves gets nothing new, and who has left gets nothing at all.
fn state(member: &Member, slot: &ServerSlot, now: Moment) -> ServerState {
    match member.presence {
        Presence::Configured | Presence::Added => slot.effective_state(now),
        Presence::Leaving => ServerState::Draining,
        Presence::Removed => ServerState::Maintenance,
    }
}

fn with_certificate(status: ServerStatus, expiry: Option<Expiry>) -> ServerStatus {
    let Some(expiry) = expiry else {
        return status;
    };
    ServerStatus {
        certificate_not_after: expiry.date,
        certificate_not_after_timestamp: Some(expiry.timestamp),
        certificate_days_left: Some(expiry.days_left),
        ..status
    }
}

/// "by administrator, 12m 05s left; probes: up, L4OK: connected"
fn reason(slot: &ServerSlot, now: Moment) -> String {
    let reason = slot.reason.get();
    let verdict = ServerState::from_board(slot.state.get()).word();
    let said = slot.admin_state(now);
    let who = match (said, slot.inherited_state()) {
        (Some(said), _) => said.until.map_or("by administrator".to_owned(), |end| {
            format!("by administrator, {} left", human::age(end.since(now)))
        }),
        (None, AdminState::Drain | AdminState::Maintenance) => {
            "by administrator of whom it follows".to_owned()
        }
        (None, AdminState::None) => match agents::reason(&slot.agent) {
            Some(who) => who,
            None => return reason,
        },
    };
    format!("{who}; probes: {verdict}, {reason}")
}

fn left(until: Option<Moment>, now: Moment) -> Option<u64> {
    until.map(|end| millis(end, now))
}

/// The sessions of a dead proxy ended with it; its gauges stay until the next one clears them.
fn sessions(proxy: &Process, gauge: u64) -> u64 {
    if proxy.pid == 0 { 0 } else { gauge }
}

fn rfc3339(at: Moment, epoch: Duration) -> String {
    // Both parts in whole milliseconds, so that the same moment is always written alike.
    let unix = epoch.as_millis() + u128::from(at.as_nanos() / 1_000_000);
    i128::try_from(unix)
        .ok()
        .and_then(|unix| OffsetDateTime::from_unix_timestamp_nanos(unix * 1_000_000).ok())
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
