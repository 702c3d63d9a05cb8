//! What a human should look at. Pure.

use std::time::Duration;

use common::board::{ServerState, Text};
use common::config::{BackendIndex, NodeIndex};
use common::roster::Roster;
use common::status::{BackendStatus, Status, StoppedStatus, VipStatus};
use common::time::Moment;

use super::adverts;
use super::agents;
use super::drain;
use super::expiry;
use super::files;
use super::macs;
use super::peer::Channel;
use super::processes::{Process, ProcessState, Processes};
use super::rates::{Rates, Totals};
use super::reload;
use super::rescue;
use super::routes;
use super::session_log;
use super::stalls;
use super::succession;
use super::tls;
use super::trackers;
use super::view::View;
use crate::status::human;

/// A second owner that was not heard for so long is gone.
const OWNER_HEARD: Duration = Duration::from_secs(60);
/// A machine on the same network answers within this.
const ANSWER: Duration = Duration::from_secs(1);
/// A foreign machine that has not claimed a VIP for so long has gone. It is asked each ten seconds.
const RIVAL_RECENT: Duration = Duration::from_secs(60);

/// All warnings, the most pressing first.
pub(crate) fn of(
    (view, rates): (&View, &Rates),
    processes: &Processes,
    status: &Status,
    now: Moment,
) -> Vec<String> {
    let mut found = Vec::new();
    for process in processes.all() {
        found.extend(process_warning(process, now));
    }
    found.extend(maintenance_warnings(status));
    for vip in status.vips.iter().filter(|vip| vip.state == "fault") {
        found.push(format!("VIP {} is in fault: {}", vip.name, vip.reason));
    }
    found.extend(status.vips.iter().filter_map(rival_warning));
    found.extend(status.vips.iter().flat_map(routes::warnings));
    found.extend(macs::warnings(view, processes.vrrp.alive));
    found.extend(trackers::status::warnings(&status.trackers));
    for (vip, _) in view.config.live_vips() {
        found.extend(owner_warning(view, vip.0, now));
    }
    for (vip, _) in view.config.live_vips() {
        found.extend(adverts::of_others(view, vip, now));
    }
    if let Some(peer) = view.config.peer_of(view.node) {
        peer_warnings(view, peer, now, &mut found);
    }
    found.extend(reload::warnings(&status.reload));
    let drain = status.drain.as_ref();
    found.extend(drain.map(|drain| drain::warning(drain, &status.node)));
    found.extend(succession::warnings(status.upgrade.as_ref()));
    found.extend(accept_warnings(view, rates, now));
    let roster = Roster::read(&view.config, view.boards.proxy);
    for (index, shown) in status.backends.iter().enumerate() {
        let whose = (BackendIndex(index), shown);
        found.extend(backend_warning((view, &roster), whose, now));
    }
    found.extend(status.backends.iter().flat_map(super::names::warnings));
    found.extend(files::warnings(view, &status.files, now));
    found.extend(status.listeners.iter().flat_map(tls::warnings));
    let backends = view.config.backends.iter().zip(&status.backends);
    found.extend(backends.flat_map(|(config, status)| expiry::warnings(config, status)));
    found.extend(status.backends.iter().filter_map(agents::warning));
    found.extend(session_log::warnings(status.session_log.as_ref()));
    found.extend(stalls::warnings(view, &status.machine, now));
    if processes.vrrp.alive {
        rights_warnings(view, &mut found);
    }
    let said = view.boards.supervisor.warnings.iter().map(Text::get);
    found.extend(said.filter(|one| !one.is_empty()));
    found
}

fn process_warning(process: &Process, now: Moment) -> Option<String> {
    let name = process.name;
    let silent = process.heartbeat.map(|at| human::age(now.since(at)));
    match process.state {
        // That it stops is said of the node.
        ProcessState::Running | ProcessState::Stopping | ProcessState::Stopped => None,
        ProcessState::Hung => Some(match silent {
            Some(age) => format!("{name} has not turned for {age}"),
            None => format!("{name} has no heartbeat"),
        }),
        ProcessState::Dead => Some(match process.last_end.as_str() {
            "" => format!("{name} does not run"),
            end => format!("{name} is dead: {end}"),
        }),
        ProcessState::CrashLoop => Some(format!(
            "{name} is in a crash loop, {} deaths, the last: {}",
            process.deaths, process.last_end
        )),
    }
}

/// Of each node that is on maintenance: what it does not do meanwhile is easily forgotten.
fn maintenance_warnings(status: &Status) -> Vec<String> {
    let mut found = Vec::new();
    if status.maintenance {
        let left = status.maintenance_ms_left.map(Duration::from_millis);
        let left = left.map_or_else(String::new, |left| format!(", {} left", human::age(left)));
        found.push(format!(
            "{} is on maintenance{left}: it takes VIPs only for want of another node",
            status.node
        ));
    }
    if let Some(peer) = status.peer.as_ref()
        && peer.maintenance == Some(true)
    {
        found.push(format!("{} is on maintenance", peer.name));
    }
    found
}

fn rival_warning(vip: &VipStatus) -> Option<String> {
    let (mac, ago) = (
        vip.rival.as_ref()?,
        Duration::from_millis(vip.rival_ms_ago?),
    );
    (ago < RIVAL_RECENT).then(|| {
        format!(
            "VIP {}: a foreign machine, {mac}, answers for {} too ({} ago): a DHCP lease or a static address?",
            vip.name,
            vip.address,
            human::age(ago)
        )
    })
}

fn peer_warnings(view: &View, peer: NodeIndex, now: Moment, found: &mut Vec<String>) {
    let name = &view.config.nodes[peer.0].name;
    let board = &view.boards.vrrp.peer;
    let channel = Channel::of(view, peer, now);
    match channel {
        Channel::On => {
            let hash = board.config_hash.get();
            if hash != 0 && hash != view.config_hash {
                found.push(format!("{name} runs another configuration than this node"));
            }
            found.extend(rescue::warning(view, name, now));
        }
        Channel::Silent => found.push(silence(view, name, now)),
        Channel::NoKey => found.push(format!(
            "[pair] has no key_file: the pair channel is off, and nothing proves that an advert is {name}'s"
        )),
        Channel::PeerStops | Channel::PeerStopped => found.extend(peer_stop(view, name, now)),
        Channel::Off | Channel::NoHeartbeat | Channel::Keepalived => {}
    }
    for (vip, _) in view.config.live_vips() {
        found.extend(adverts::of_peer(view, (name, channel), vip, now));
    }
}

/// The other node stops or has stopped because it was told to.
fn peer_stop(view: &View, name: &str, now: Moment) -> Option<String> {
    let alone = "until it is back no node takes over from this one";
    let link = rescue::link(view, now)?;
    if let Some(drain) = link.drain {
        return Some(format!("{}; {alone}", drain::warning(&drain, name)));
    }
    let StoppedStatus {
        ms_ago,
        closed,
        reset,
    } = link.stopped?;
    let ago = human::age(Duration::from_millis(ms_ago));
    Some(format!(
        "{name} has stopped {ago} ago, as it was told to: {closed} sessions closed at a quiet moment, {reset} reset; {alone}"
    ))
}

/// The pair channel is silent; adverts may still come.
fn silence(view: &View, name: &str, now: Moment) -> String {
    let board = &view.boards.vrrp.peer;
    let port = view.config.pair.port;
    let Some(heard) = board.heard.get() else {
        return format!("{name} was never heard{}", its_machine(view, now));
    };
    let heartbeat = board.heartbeat.get();
    if heartbeat.is_none_or(|at| heard > at) {
        let since = heartbeat.map_or("never came".to_owned(), |at| {
            format!("stopped {} ago", human::age(now.since(at)))
        });
        return format!(
            "adverts of {name} come, its heartbeats {since}: is UDP port {port} blocked, or its key another?"
        );
    }
    let age = human::age(now.since(heard));
    format!("{name} has been silent for {age}{}", its_machine(view, now))
}

/// Whether the kernel of a node that is not heard answers, as far as it was asked.
fn its_machine(view: &View, now: Moment) -> &'static str {
    let board = view.boards.vrrp;
    let Some(asked) = board.peer_asked.get() else {
        return "";
    };
    match board.peer_answered.get() {
        Some(answered) if answered >= asked => {
            "; its machine answers: does fmc-lb run there, and does a firewall let it speak?"
        }
        Some(_) | None if now.since(asked) >= ANSWER => {
            "; nor does its machine answer: it is down, or the network between"
        }
        Some(_) | None => "",
    }
}

/// Another machine has said of late that it owns a VIP that is this node's.
fn owner_warning(view: &View, vip: usize, now: Moment) -> Option<String> {
    let age = now.since(view.boards.vrrp.owner_heard[vip].get()?);
    (age < OWNER_HEARD).then(|| {
        format!(
            "VIP {}: another machine says that it owns it, too (priority 255), {} ago",
            view.config.vips[vip].name,
            human::age(age)
        )
    })
}

/// Listeners whose accept(2) has failed in the last seconds: their clients wait in the queue.
fn accept_warnings(view: &View, rates: &Rates, now: Moment) -> Vec<String> {
    let slots = &view.boards.proxy.listeners;
    let listeners = view.config.listeners.iter().zip(slots).enumerate();
    let failing = listeners
        .filter(|(index, (_, slot))| rates.of(*index, now, Totals::of(slot)).accept_errors > 0.0);
    failing
        .map(|(_, (listener, _))| {
            format!(
                "listener {} cannot accept connections: are descriptors used up?",
                listener.name
            )
        })
        .collect()
}

fn backend_warning(
    (view, roster): (&View, &Roster),
    (index, shown): (BackendIndex, &BackendStatus),
    now: Moment,
) -> Option<String> {
    let backend = &view.config.backends[index.0];
    if backend.retired {
        return None;
    }
    if let Some(millis) = shown.fail_open_ms_ago {
        return Some(format!(
            "backend {}: every server is down, for {} sessions have been tried on all of them (all_down)",
            backend.name,
            human::age(Duration::from_millis(millis))
        ));
    }
    let usable = roster.present(index).any(|member| {
        let slot = &view.boards.proxy.servers[member.place];
        let weight = slot.admin_weight(now);
        weight.map_or(member.server.weight, |said| said.value) > 0
            && match slot.effective_state(now) {
                ServerState::Unknown | ServerState::Up => true,
                ServerState::Down | ServerState::Draining | ServerState::Maintenance => false,
            }
    });
    (!usable).then(|| format!("backend {}: no server is usable", backend.name))
}

fn rights_warnings(view: &View, found: &mut Vec<String>) {
    if view.boards.vrrp.realtime.get() == 0 {
        found.push(
            "vrrp has no real-time priority (CAP_SYS_NICE): a busy machine may delay adverts"
                .to_owned(),
        );
    }
    if view.boards.vrrp.memory_locked.get() == 0 {
        found.push(
            "the memory of vrrp is not locked (CAP_IPC_LOCK or LimitMEMLOCK): paging may delay adverts"
                .to_owned(),
        );
    }
}
