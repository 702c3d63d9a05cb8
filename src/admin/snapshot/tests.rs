use std::collections::BTreeSet;
use std::sync::Arc;

use common::board::{AdminState, ServerState, VipState};
use common::config::{AllDown, BackendIndex, Config, Runs, Track};
use serde_json::Value;

use super::*;
use crate::admin::fixture::{self, CLOCKS};

mod runtime;

fn status(view: &View) -> Status {
    view.status(&Rates::default(), CLOCKS)
}

fn ago(millis: u64) -> Moment {
    CLOCKS.now - Duration::from_millis(millis)
}

fn with_config(change: impl FnOnce(&mut Config)) -> View {
    let mut view = fixture::healthy();
    let mut config = fixture::config();
    change(&mut config);
    view.config = Arc::new(config);
    view
}

/// Every key of a JSON value: "vips[].name".
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}{}{name}", if path.is_empty() { "" } else { "." });
                found.insert(path.clone());
                keys(value, &path, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                keys(item, &format!("{path}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Other tools rely on these keys: one may be added, none may go.
#[test]
fn the_keys_of_the_json_are_a_promise() {
    let json = serde_json::to_value(status(&fixture::healthy())).expect("a status is JSON");
    let mut found = BTreeSet::new();
    keys(&json, "", &mut found);
    let tracked = serde_json::to_value(status(&fixture::with_trackers()));
    let tracked = tracked.expect("a status is JSON");
    keys(&tracked["trackers"], "trackers", &mut found);
    let followed = serde_json::to_value(status(&fixture::with_routes()));
    let followed = followed.expect("a status is JSON");
    keys(&followed["vips"], "vips", &mut found);
    let promised = "maintenance maintenance_ms_left peer.maintenance vips[].pinned backends backends[].balance backends[].name backends[].probe backends[].servers \
        backends[].servers[].address backends[].servers[].agent backends[].servers[].agent.administrative \
        backends[].servers[].agent.asked backends[].servers[].agent.failures backends[].servers[].agent.heard_ms_ago \
        backends[].servers[].agent.max_sessions backends[].servers[].agent.problem backends[].servers[].agent.says \
        backends[].servers[].agent.weight_percent backends[].servers[].agent.word backends[].servers[].client_port backends[].servers[].connect_errors backends[].servers[].connected \
        backends[].servers[].follows backends[].servers[].inherited backends[].servers[].errors_in_row backends[].servers[].error_limits backends[].servers[].downs backends[].servers[].probe_failures backends[].servers[].probe_ms_ago \
        backends[].servers[].probe_time_ms backends[].servers[].probes backends[].servers[].reason \
        backends[].servers[].sessions backends[].servers[].since_ms_ago backends[].servers[].state \
        backends[].servers[].weight backends[].servers[].backup backends[].servers[].slow_start_percent \
        backends[].all_down backends[].fail_open backends[].fail_open_ms_ago backends[].fail_open_sessions backends[].queued backends[].queue_oldest_ms backends[].queue_longest_ms backends[].waited backends[].queue_full backends[].queue_timeouts config_hash listeners listeners[].aborted listeners[].accept_errors listeners[].accepted \
        listeners[].accepted_per_second listeners[].backend listeners[].binds listeners[].bytes_in \
        listeners[].bytes_in_per_second listeners[].bytes_out listeners[].bytes_out_per_second \
        listeners[].denied listeners[].dropped listeners[].failed listeners[].hold listeners[].holds \
        listeners[].bad_headers listeners[].hello_timeouts listeners[].not_tls listeners[].idle_closed listeners[].lifetime_closed listeners[].limited_rate listeners[].limited_sessions listeners[].name \
        listeners[].clients_at_limit listeners[].sessions listeners[].paused listeners[].pause_ms_left listeners[].killed \
        backends[].servers[].configured_weight backends[].servers[].weight_ms_left \
        backends[].servers[].administrative backends[].servers[].administrative_ms_left \
        backends[].servers[].probe_state backends[].servers[].probe_status backends[].servers[].probe_code \
        backends[].servers[].certificate_not_after backends[].servers[].certificate_not_after_timestamp \
        backends[].servers[].certificate_days_left \
        backends[].servers[].cut backends[].servers[].presence backends[].servers[].presence_ms_left backends[].servers[].replaces backends[].servers[].name backends[].names \
        files files[].changes files[].entries files[].holds files[].path files[].refusals \
        files[].refused files[].since_ms_ago \
        listeners[].removed backends[].removed reload reload.since_ms_ago reload.last reload.last_ms_ago reload.reason reload.applied reload.failed reload.file_differs \
        machine machine.worst_lateness_ms machine.patience_ms machine.slips machine.slip_ms_ago \
        machine.stolen_percent machine.stolen_ms \
        forwarding forwarding.state forwarding.reason forwarding.peer_forwards forwarding.peer_deaths \
        forwarding.packets forwarding.bytes \
        forwarding.packets.from-peer forwarding.bytes.from-peer forwarding.packets.peer-dead forwarding.bytes.peer-dead \
        forwarding.packets.syn-here forwarding.bytes.syn-here forwarding.packets.socket forwarding.bytes.socket \
        forwarding.packets.cookie forwarding.bytes.cookie forwarding.packets.icmp-here forwarding.bytes.icmp-here \
        forwarding.packets.unreadable forwarding.bytes.unreadable forwarding.packets.syn-there forwarding.bytes.syn-there \
        forwarding.packets.foreign forwarding.bytes.foreign forwarding.packets.unknown forwarding.bytes.unknown \
        forwarding.packets.icmp-there forwarding.bytes.icmp-there forwarding.packets.fragment forwarding.bytes.fragment \
        node peer peer.address peer.config_hash peer.heard_ms_ago peer.heartbeat_ms_ago peer.name \
        peer.pair_channel peer.questions peer.signing peer.silences peer.silences_averted \
        peer.link peer.link.telling_ms peer.link.hearing_ms peer.link.told peer.link.heard peer.link.connects peer.link.failures peer.link.refused peer.link.untold peer.link.strangers peer.link.problem peer.link.drain peer.link.stopped peer.link.retired rescue rescue.runs rescue.clients rescue.freed rescue.pokes rescue.refused rescue.cut_short rescue.problem rescue.last_ms_ago rescue.last_took_ms rescue.last_clients rescue.last_freed peer.silent_takeover peer.version peer.vips peer.vips[].health peer.vips[].name peer.vips[].priority \
        peer.vips[].state processes processes[].deaths processes[].heartbeat_ms_ago processes[].last_end \
        processes[].name processes[].pid processes[].state uptime_ms version vips vips[].address \
        vips[].health vips[].interface vips[].mac vips[].name vips[].priority vips[].reason vips[].rival vips[].rival_claims vips[].leases_refused \
        vips[].rival_ms_ago vips[].since vips[].routes vips[].routes[].kind vips[].routes[].text \
        vips[].routes[].state vips[].routes[].reason vips[].routes[].restored \
        vips[].since_ms_ago vips[].state vips[].vrid vips[].configured_priority vips[].trackers_down warnings \
        trackers trackers[].name trackers[].kind trackers[].state trackers[].since_ms_ago trackers[].reason \
        trackers[].weight trackers[].vips trackers[].looked_ms_ago trackers[].looks trackers[].failures trackers[].downs \
        listeners[].tls listeners[].tls.handshakes listeners[].tls.handshakes.1.2-full \
        listeners[].tls.handshakes.1.2-resumed listeners[].tls.handshakes.1.3-full \
        listeners[].tls.handshakes.1.3-resumed listeners[].tls.failures listeners[].tls.failures.other \
        listeners[].tls.failures.timeout listeners[].tls.failures.gone listeners[].tls.failures.not_tls \
        listeners[].tls.failures.incompatible listeners[].tls.failures.name \
        listeners[].tls.failures.protocol listeners[].tls.failures.refused \
        listeners[].tls.failures.no_certificate listeners[].tls.failures.bad_certificate \
        listeners[].tls.failures.expired_certificate listeners[].tls.failures.revoked_certificate listeners[].tls.failures.wrong_name listeners[].tls.failures.unknown_authority \
        listeners[].tls.failures.misbehaved listeners[].tls.truncated listeners[].tls.certificates \
        listeners[].tls.certificates[].file listeners[].tls.certificates[].names \
        listeners[].tls.certificates[].not_after listeners[].tls.certificates[].not_after_timestamp \
        listeners[].tls.certificates[].days_left \
        session_log session_log.written session_log.lost session_log.lost_ms_ago session_log.problem drain upgrade retired processes[].version";
    let mut promised: BTreeSet<_> = promised.split_whitespace().map(str::to_owned).collect();
    // Of the servers the same is counted.
    let handshakes = |key: &&String| {
        key.starts_with("listeners[].tls")
            && !key.contains("certificates")
            && !key.ends_with("truncated")
    };
    let of_servers = promised.iter().filter(handshakes);
    let of_servers: Vec<_> = of_servers
        .map(|key| key.replacen("listeners", "backends", 1))
        .collect();
    promised.extend(of_servers);
    assert_eq!(found, promised);
}

#[test]
fn a_healthy_node_has_the_promised_values_and_no_warning() {
    let status = status(&fixture::healthy());
    assert_eq!(status.warnings, Vec::<String>::new());
    assert_eq!(status.node, "lb1");
    assert_eq!(status.uptime_ms, 3_000_000);
    assert_eq!(status.config_hash, "9f2c41d07be85a10");
    let api = &status.vips[0];
    assert_eq!(
        (api.name.as_str(), api.address.as_str()),
        ("api", "192.168.0.10")
    );
    assert_eq!(
        (api.state.as_str(), api.vrid, api.priority),
        ("active", 51, 250)
    );
    assert_eq!(api.since, "2026-05-01T11:56:48Z");
    assert_eq!(api.since_ms_ago, Some(192_000));
    let peer = status.peer.expect("two nodes");
    assert_eq!(peer.address, "192.168.0.12");
    assert_eq!(
        (peer.heard_ms_ago, peer.pair_channel.as_str()),
        (Some(8), "on")
    );
    assert_eq!(peer.version.as_deref(), Some("0.1.0"));
    assert_eq!(peer.vips[1].state.as_deref(), Some("backup"));
    assert_eq!(peer.vips[1].health, Some(100));
    let server = &status.backends[1].servers[2];
    assert_eq!(
        (server.address.as_str(), server.state.as_str()),
        ("10.17.4.26:443", "up")
    );
    assert_eq!((server.sessions, server.weight), (5, 1));
    assert_eq!(
        (server.probe_ms_ago, server.probe_time_ms),
        (Some(400), Some(1.25))
    );
    assert_eq!(
        (server.probe_status.as_str(), server.probe_code),
        ("L4OK", None)
    );
    let asked = &status.backends[0].servers[0];
    assert_eq!(
        (asked.probe_status.as_str(), asked.probe_code),
        ("L7OK", Some(200))
    );
    assert_eq!(
        (
            asked.certificate_not_after.as_str(),
            asked.certificate_not_after_timestamp,
            asked.certificate_days_left
        ),
        ("2026-07-30T12:00:00Z", Some(1_785_412_800), Some(90))
    );
    assert_eq!(server.certificate_days_left, None, "without TLS");
    assert_eq!(status.backends[0].probe, "kube-apiserver");
    assert_eq!(status.listeners[1].binds, ["192.168.0.14:443"]);
    assert_eq!(status.listeners[1].backend, "traefik-https");
}

#[test]
fn since_is_utc_with_milliseconds_where_there_are_some() {
    let epoch = CLOCKS.epoch;
    assert_eq!(rfc3339(CLOCKS.now, epoch), "2026-05-01T12:00:00Z");
    assert_eq!(rfc3339(ago(1), epoch), "2026-05-01T11:59:59.999Z");
    assert_eq!(
        rfc3339(Moment::from_nanos(0), Duration::ZERO),
        "1970-01-01T00:00:00Z"
    );
    // No date beyond year 9999 and no panic, whatever stands on a board.
    assert_eq!(rfc3339(Moment::from_nanos(1), Duration::MAX), "");
}

#[test]
fn every_state_of_a_vip_has_its_word() {
    let view = fixture::healthy();
    for (state, word) in [
        (VipState::Init, "init"),
        (VipState::Backup, "backup"),
        (VipState::Active, "active"),
        (VipState::Fault, "fault"),
    ] {
        view.boards.vrrp.vips[0].state.set(state.on_board());
        assert_eq!(status(&view).vips[0].state, word);
    }
    view.boards.vrrp.vips[0].state.set(99);
    assert_eq!(status(&view).vips[0].state, "init");
}

#[test]
fn a_dead_vrrp_holds_nothing_whatever_its_board_says() {
    let view = fixture::healthy();
    let slot = &view.boards.supervisor.children[0];
    slot.pid.set(0);
    slot.last_end.set("killed by signal 9");
    let status = status(&view);
    assert_eq!(status.vips[0].state, "fault");
    assert_eq!(
        status.vips[0].reason,
        "vrrp is dead (killed by signal 9), it was active until then"
    );
    assert_eq!(status.vips[0].since_ms_ago, Some(5));
    assert_eq!(status.processes[1].state, "dead");
}

#[test]
fn a_hung_vrrp_holds_nothing_either() {
    let view = fixture::healthy();
    view.boards.vrrp.header.heartbeat.set(ago(312));
    let status = status(&view);
    assert_eq!(status.vips[1].state, "fault");
    assert_eq!(
        status.vips[1].reason,
        "vrrp has not turned for 312 ms, it was active until then"
    );
}

#[test]
fn sessions_of_a_dead_proxy_are_gone() {
    let view = fixture::healthy();
    view.boards.proxy.listeners[0].sessions.set(40);
    assert_eq!(status(&view).listeners[0].sessions, 40);
    view.boards.supervisor.children[1].pid.set(0);
    let status = status(&view);
    assert_eq!(status.listeners[0].sessions, 0);
    assert_eq!(status.backends[1].servers[2].sessions, 0);
}

#[test]
fn the_pair_channel_says_why_it_is_off() {
    let channel = |view: &View| status(view).peer.expect("two nodes").pair_channel;
    let view = fixture::healthy();
    assert_eq!(channel(&view), "on");
    view.boards.vrrp.peer.heartbeat.set(ago(200));
    assert_eq!(channel(&view), "silent");
    let no_key = with_config(|config| config.pair.key_file = None);
    assert_eq!(channel(&no_key), "off: no key");
    let off = with_config(|config| config.pair.heartbeat = None);
    assert_eq!(channel(&off), "off: heartbeat = off");
    let keepalived = with_config(|config| config.nodes[1].runs = Runs::Keepalived);
    assert_eq!(channel(&keepalived), "off: lb2 runs keepalived");
    let slow = with_config(|config| config.pair.heartbeat = Some(Duration::from_secs(1)));
    slow.boards.vrrp.peer.heartbeat.set(ago(2_999));
    assert_eq!(channel(&slow), "on");
}

#[test]
fn what_the_peer_said_is_forgotten_with_its_heartbeat() {
    let view = fixture::healthy();
    let peer = |view: &View| status(view).peer.expect("two nodes").vips[0].clone();
    // Not heard yet, but it runs the same file.
    assert_eq!(peer(&view).priority, Some(240));
    view.boards.vrrp.vips[0].peer_priority.set(200);
    assert_eq!(peer(&view).priority, Some(200));
    view.boards.vrrp.vips[0].peer_priority.set(0);
    view.boards.vrrp.peer.config_hash.set(1);
    assert_eq!(peer(&view).priority, None);
    view.boards.vrrp.peer.heartbeat.set(ago(5_000));
    assert_eq!((peer(&view).state, peer(&view).health), (None, None));
}

#[test]
fn rates_reach_the_listeners() {
    let view = fixture::healthy();
    let mut rates = Rates::default();
    rates.record(ago(4_000), vec![Totals::default(); 2]);
    view.boards.proxy.listeners[1].accepted.set(80);
    view.boards.proxy.listeners[1].bytes_out.set(4_000);
    let status = view.status(&rates, CLOCKS);
    assert_eq!(status.listeners[1].accepted_per_second, 20.0);
    assert_eq!(status.listeners[1].bytes_out_per_second, 1_000.0);
    assert_eq!(status.listeners[0].accepted_per_second, 0.0);
}

fn assert_warns(view: &View, wanted: &str) {
    let warnings = status(view).warnings;
    assert!(
        warnings.iter().any(|one| one == wanted),
        "no {wanted:?} in {warnings:#?}"
    );
}

#[test]
fn missing_rights_and_settings_are_warnings() {
    let view = fixture::healthy();
    view.boards.vrrp.realtime.set(0);
    view.boards.vrrp.memory_locked.set(0);
    view.boards.supervisor.warnings[0].set("one thing");
    view.boards.supervisor.warnings[1].set("another");
    assert_warns(
        &view,
        "vrrp has no real-time priority (CAP_SYS_NICE): a busy machine may delay adverts",
    );
    assert_warns(
        &view,
        "the memory of vrrp is not locked (CAP_IPC_LOCK or LimitMEMLOCK): paging may delay adverts",
    );
    assert_warns(&view, "one thing");
    assert_warns(&view, "another");
    let no_key = with_config(|config| config.pair.key_file = None);
    assert_warns(
        &no_key,
        "[pair] has no key_file: the pair channel is off, and nothing proves that an advert is lb2's",
    );
}

#[test]
fn a_listener_that_cannot_accept_is_a_warning_while_it_lasts() {
    let view = fixture::healthy();
    let slot = &view.boards.proxy.listeners[0];
    let mut rates = Rates::default();
    let then = CLOCKS.now - Duration::from_secs(2);
    let totals = view.boards.proxy.listeners.iter().map(Totals::of).collect();
    rates.record(then, totals);
    let warned = |rates: &Rates| {
        let warnings = view.status(rates, CLOCKS).warnings;
        let wanted = "listener api cannot accept connections: are descriptors used up?";
        warnings.iter().any(|one| one == wanted)
    };
    assert!(!warned(&rates));
    slot.accept_errors.add(1);
    assert!(warned(&rates));
    for seconds in 0..5 {
        let totals = view.boards.proxy.listeners.iter().map(Totals::of).collect();
        rates.record(then + Duration::from_millis(seconds), totals);
    }
    assert!(!warned(&rates));
}

#[test]
fn a_peer_that_is_silent_or_differs_is_a_warning() {
    let view = fixture::healthy();
    let peer = &view.boards.vrrp.peer;
    peer.config_hash.set(1);
    assert_warns(&view, "lb2 runs another configuration than this node");
    peer.heartbeat.set(ago(3_000));
    assert_warns(
        &view,
        "adverts of lb2 come, its heartbeats stopped 3.0 s ago: is UDP port 9601 blocked, or its key another?",
    );
    peer.heard.set(ago(3_000));
    assert_warns(&view, "lb2 has been silent for 3.0 s");
    peer.heartbeat.clear();
    peer.heard.clear();
    assert_warns(&view, "lb2 was never heard");
    view.boards.vrrp.peer_asked.set(ago(2_000));
    assert_warns(
        &view,
        "lb2 was never heard; nor does its machine answer: it is down, or the network between",
    );
    view.boards.vrrp.peer_answered.set(ago(2_000));
    assert_warns(
        &view,
        "lb2 was never heard; its machine answers: does fmc-lb run there, and does a firewall let it speak?",
    );
}

#[test]
fn a_second_owner_is_a_warning_for_a_minute() {
    let view = fixture::healthy();
    let heard = &view.boards.vrrp.owner_heard[1];
    heard.set(fixture::ago(3_000));
    assert_warns(
        &view,
        "VIP web: another machine says that it owns it, too (priority 255), 3.0 s ago",
    );
    heard.set(fixture::ago(60_000));
    assert_eq!(status(&view).warnings, Vec::<String>::new());
}

#[test]
fn two_actives_and_lost_adverts_are_warnings() {
    let view = fixture::healthy();
    let board = view.boards.vrrp;
    board.peer.vip_state[1].set(VipState::Active.on_board());
    assert_warns(&view, "VIP web: both nodes are active");
    // In a handover both are for a moment.
    board.vips[1].since.set(ago(400));
    board.vips[1].advert_heard.set(ago(50));
    assert_eq!(status(&view).warnings, Vec::<String>::new());
    board.vips[1].state.set(VipState::Backup.on_board());
    board.vips[1].advert_heard.set(ago(1_400));
    assert_warns(
        &view,
        "VIP web: lb2 is active and its heartbeats come, its adverts do not (1.4 s): is protocol 112 blocked?",
    );
}

#[test]
fn faults_crash_loops_and_dead_backends_are_warnings() {
    let view = fixture::healthy();
    view.boards.vrrp.vips[1]
        .state
        .set(VipState::Fault.on_board());
    view.boards.vrrp.vips[1].reason.set("eth0 is down");
    assert_warns(&view, "VIP web is in fault: eth0 is down");
    let proxy = &view.boards.supervisor.children[1];
    proxy.deaths.set(3);
    proxy.last_end.set("exit status 101");
    for (index, cell) in proxy.last_deaths.iter().enumerate() {
        cell.set(ago(3_000 - index as u64));
    }
    assert_warns(
        &view,
        "proxy is in a crash loop, 3 deaths, the last: exit status 101",
    );
    for server in &view.boards.proxy.servers[3..6] {
        server.state.set(ServerState::Draining.on_board());
    }
    assert_warns(&view, "backend traefik-https: no server is usable");
    view.boards.proxy.servers[4]
        .state
        .set(ServerState::Unknown.on_board());
    assert!(
        !status(&view)
            .warnings
            .iter()
            .any(|one| one.contains("no server"))
    );
    let supervisor = &view.boards.supervisor.header;
    supervisor.heartbeat.set(ago(2_500));
    assert_warns(&view, "supervisor has not turned for 2.5 s");
}

#[test]
fn a_backend_that_fails_open_is_a_warning_while_its_proxy_lives() {
    let view = with_config(|config| config.backends[1].all_down = AllDown::TryAll);
    let slot = &view.boards.proxy.backends[1];
    slot.fail_open.set(ago(12_000));
    slot.fail_open_sessions.set(7);
    let shown = status(&view).backends.remove(1);
    assert_eq!((&*shown.all_down, shown.fail_open), ("try_all", true));
    assert_eq!(shown.fail_open_ms_ago, Some(12_000));
    assert_eq!(shown.fail_open_sessions, 7);
    assert_warns(
        &view,
        "backend traefik-https: every server is down, for 12.0 s sessions have been tried on all of them (all_down)",
    );
    view.boards.supervisor.children[1].pid.set(0);
    let shown = status(&view).backends.remove(1);
    assert_eq!((shown.fail_open, shown.fail_open_sessions), (false, 7));
}

#[test]
fn a_server_that_follows_another_one_says_whom_and_what_it_has_from_it() {
    let view = with_config(|config| {
        config.backends[1].probe = None;
        config.backends[1].servers[0].track = Some(Track {
            backend: BackendIndex(0),
            server: 1,
        });
    });
    let slot = &view.boards.proxy.servers[3];
    slot.reason
        .set("as k3s-api/10.17.4.22:6443: probe answered");
    slot.inherited.set(AdminState::Drain.on_board());
    let shown = status(&view).backends.remove(1);
    assert_eq!(shown.probe, "track");
    let server = &shown.servers[0];
    assert_eq!(server.follows, "k3s-api/10.17.4.22:6443");
    assert_eq!((&*server.state, &*server.inherited), ("draining", "drain"));
    assert_eq!((&*server.administrative, &*server.probe_state), ("", "up"));
    assert_eq!(
        server.reason,
        "by administrator of whom it follows; probes: up, as k3s-api/10.17.4.22:6443: probe answered"
    );
    assert_eq!(shown.servers[1].follows, "");
}
