//! Boards and a configuration for the tests of the admin process.

use std::sync::Arc;
use std::time::Duration;

use common::board::{AgentSlot, AgentWord, ProbeStatus, ServerState, VipState};
use common::config::{Config, NamedServers, NodeIndex};
use common::time::Moment;

use super::Boards;
use super::clock::Clocks;
use super::view::View;

/// An hour after the monotonic clock's zero, 2026-05-01 12:00:00 UTC.
pub(crate) const CLOCKS: Clocks = Clocks {
    now: Moment::from_nanos(3_600_000_000_000),
    epoch: Duration::from_secs(1_777_636_800 - 3_600),
};
const CONFIG: &str = r#"
[nodes.lb1]
address = "192.168.0.11"
priority = 250
[nodes.lb2]
address = "192.168.0.12"
priority = 240
[pair]
interface = "eth0"
key_file = "/etc/fmc-lb/pair.key"
[vrrp]
advert_interval = "100ms"
[vips.api]
address = "192.168.0.10/24"
vrid = 51
[vips.web]
address = "192.168.0.14/24"
vrid = 52
[listeners.api]
bind = ["vips.api:6443"]
backend = "k3s-api"
[listeners.https]
bind = ["vips.web:443"]
backend = "traefik-https"
session_log = "json"
deny_file = "/etc/fmc-lb/deny.txt"
tls = { certificates = ["/etc/fmc-lb/tls/web.pem"] }
[backends.k3s-api]
servers = ["10.17.4.21:6443", "10.17.4.22:6443", "10.17.4.23:6443"]
balance = "least-connections"
probe = { kind = "kube-apiserver" }
[backends.traefik-https]
servers = ["10.17.4.24:443", "10.17.4.25:443", "10.17.4.26:443"]
tls = { verify = false }
agent = { port = 9777 }
[admin]
http = "off"
"#;
pub(crate) const CONFIG_HASH: u64 = 0x9f2c_41d0_7be8_5a10;

/// Boards of a node that has not started.
pub(crate) fn empty_boards() -> Boards {
    Boards {
        supervisor: Box::leak(Box::default()),
        vrrp: Box::leak(Box::default()),
        proxy: Box::leak(Box::default()),
        admin: Box::leak(Box::default()),
        retired: &[],
    }
}

pub(crate) fn ago(millis: u64) -> Moment {
    CLOCKS.now - Duration::from_millis(millis)
}

/// Node lb1 of a pair in its usual state: active for both VIPs, everything up, lb2 heard 8 ms ago.
pub(crate) fn healthy() -> View {
    let view = View {
        config: Arc::new(config()),
        node: NodeIndex(0),
        config_hash: CONFIG_HASH,
        boards: empty_boards(),
        left: Box::leak(Box::default()),
    };
    alive(&view.boards);
    view.boards.supervisor.reload.since.set(ago(3_000_000));
    let vrrp = view.boards.vrrp;
    vrrp.realtime.set(1);
    vrrp.memory_locked.set(1);
    for (index, vip) in view.config.vips.iter().enumerate() {
        let slot = &vrrp.vips[index];
        slot.state.set(VipState::Active.on_board());
        slot.since.set(ago(192_000));
        slot.reason.set("no advert from 192.168.0.12 for 361 ms");
        slot.leased.set(1);
        slot.priority.set(u64::from(vip.priorities[0].value()));
        vrrp.peer.vip_state[index].set(VipState::Backup.on_board());
        vrrp.peer.vip_health[index].set(100);
        view.boards.proxy.vip_health[index].set(100);
    }
    vrrp.peer.heard.set(ago(8));
    vrrp.peer.heartbeat.set(ago(8));
    vrrp.peer.version.set(1 << 16);
    vrrp.peer.config_hash.set(CONFIG_HASH);
    for since in [
        &view.boards.admin.link.telling,
        &view.boards.admin.link.hearing,
    ] {
        since.set(ago(190_000));
    }
    let certificate = &view.boards.proxy.certificates[0];
    certificate.names.set("web.example.org");
    // In 60 days.
    certificate.not_after.set(1_777_636_800 + 60 * 86_400);
    for (index, slot) in view.boards.proxy.servers[..view.config.server_count()]
        .iter()
        .enumerate()
    {
        slot.state.set(ServerState::Up.on_board());
        slot.since.set(ago(3_000_000));
        let (status, code, words) = if index < 3 {
            (ProbeStatus::L7Ok, 200, "answers 200")
        } else {
            (ProbeStatus::L4Ok, 0, "connected")
        };
        slot.reason.set(&format!("{}: {words}", status.word()));
        slot.probe_status.set(status.on_board());
        slot.probe_code.set(code);
        // 2026-07-30; the ones that are probed without TLS show none, whatever stands here.
        slot.certificate_not_after.set(1_785_412_800);
        slot.sessions.set(index as u64);
        slot.probed.set(ago(400));
        slot.probe_time.set(1_250_000);
        if index >= 3 {
            agent_is_content(&slot.agent);
        }
    }
    view
}

fn agent_is_content(slot: &AgentSlot) {
    slot.word.set(AgentWord::Up.on_board());
    slot.set_percent(100);
    slot.set_max_sessions(30);
    slot.asked.set(1_500);
    slot.heard.set(ago(700));
    slot.said.set("up 100% maxconn:30");
}

/// The same with a name that stands for more servers of the second backend.
pub(crate) fn with_name() -> View {
    let mut config = config();
    config.backends[1].names.push(NamedServers {
        name: "web.example.org:443".parse().expect("a name"),
        max_addresses: 8,
        weight: Some(1),
        backup: false,
        max_sessions: None,
    });
    View {
        config: Arc::new(config),
        ..healthy()
    }
}

/// The same with two trackers: `uplink`, at which vrrp looks, and `maintenance`, at which admin does.
pub(crate) fn with_trackers() -> View {
    const TRACKERS: &str = r#"
[trackers.uplink]
kind = "gateway"
address = "192.168.0.1"
weight = -20
[trackers.maintenance]
kind = "file"
path = "/run/fmc-lb/maintenance"
vips = ["web"]
"#;
    let named = with_name();
    let text = format!("{CONFIG}{TRACKERS}");
    let trackers = Config::from_running(&text).expect("it is valid").trackers;
    let config = Config {
        trackers,
        ..Config::clone(&named.config)
    };
    View {
        config: Arc::new(config),
        ..named
    }
}

/// The same with a route and a rule that follow the first VIP, which is at the hardware address of its virtual router.
pub(crate) fn with_routes() -> View {
    const ROUTES: &str = r#"vrid = 51
virtual_mac = "auto"
routes = [{ to = "10.99.0.0/16", via = "192.168.0.1" }]
rules = [{ to = "10.99.0.0/16", table = 100, priority = 1000 }]"#;
    let tracked = with_trackers();
    let text = CONFIG.replacen("vrid = 51", ROUTES, 1);
    let vips = Config::from_running(&text).expect("it is valid").vips;
    let mac = vips[0].router_mac().to_bits();
    tracked.boards.vrrp.macs[0].set(mac);
    let config = Config {
        vips,
        ..Config::clone(&tracked.config)
    };
    View {
        config: Arc::new(config),
        ..tracked
    }
}

/// Heartbeats of every process at one moment.
pub(crate) fn beat(boards: &Boards, now: Moment) {
    boards.supervisor.header.heartbeat.set(now);
    boards.vrrp.header.heartbeat.set(now);
    boards.admin.header.heartbeat.set(now);
    for accepting in &boards.proxy.accepting[..2] {
        accepting.set(now);
    }
}

fn alive(boards: &Boards) {
    let (supervisor, proxy) = (boards.supervisor, boards.proxy);
    supervisor.header.started.set(ago(3_000_000));
    supervisor.files[0].since.set(ago(3_000_000));
    supervisor.header.heartbeat.set(ago(20));
    supervisor
        .header
        .pid
        .store(70, std::sync::atomic::Ordering::Release);
    for (index, child) in supervisor.children.iter().enumerate() {
        child.pid.set(71 + index as u64);
    }
    boards.vrrp.header.started.set(ago(3_000_000));
    boards.vrrp.header.heartbeat.set(ago(5));
    boards.admin.header.heartbeat.set(ago(50));
    proxy.threads.set(2);
    proxy.accepting[0].set(ago(10));
    proxy.accepting[1].set(ago(12));
}

/// Two nodes, two VIPs, two listeners, two backends.
pub(crate) fn config() -> Config {
    Config::from_running(CONFIG).expect("it is valid")
}

/// The same node on a bad day: the proxy died, a VIP is lost, a server is down and one drains, lb2 is silent.
pub(crate) fn troubled() -> View {
    let view = healthy();
    let (supervisor, vrrp, proxy) = (view.boards.supervisor, view.boards.vrrp, view.boards.proxy);
    supervisor.children[1].deaths.set(2);
    supervisor.children[1].last_end.set("killed by signal 9");
    let file = &supervisor.files[0];
    file.refusals.set(1);
    file.refused
        .set("line 3: `10.0.0.300` is neither a network nor an address");
    supervisor.warnings[0].set("proxy runs as root: there is no user fmc-lb-proxy");
    vrrp.realtime.set(0);
    vrrp.vips[1].state.set(VipState::Fault.on_board());
    vrrp.vips[1].since.set(ago(4_200));
    vrrp.vips[1].reason.set("eth0 is down");
    vrrp.peer.heard.set(ago(75_000));
    vrrp.peer.heartbeat.set(ago(75_000));
    vrrp.vips[0].peer_priority.set(240);
    let servers = &proxy.servers;
    servers[1].state.set(ServerState::Draining.on_board());
    servers[1].since.set(ago(62_000));
    servers[1]
        .reason
        .set("L7OKC: [-]etcd failed: reason withheld");
    servers[1].probe_status.set(ProbeStatus::L7Okc.on_board());
    servers[1].probe_code.set(500);
    servers[2].state.set(ServerState::Down.on_board());
    servers[2].since.set(ago(900));
    servers[2].reason.set("L4CON: connection refused");
    servers[2].probe_status.set(ProbeStatus::L4Con.on_board());
    servers[2].probe_code.set(0);
    proxy.listeners[0].sessions.set(12);
    proxy.listeners[0].denied.set(3);
    proxy.listeners[1].failed.set(1);
    view
}
