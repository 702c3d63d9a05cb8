//! Boards and a configuration for the tests of the admin process.

use std::array;
use std::sync::Arc;
use std::time::Duration;

use common::addr::{Priority, Vrid};
use common::board::{
    AdminBoard, Cell, Header, MomentCell, PeerSlot, ProxyBoard, ServerSlot, ServerState,
    SupervisorBoard, Text, VipSlot, VipState, VrrpBoard,
};
use common::config::{
    Admin, Backend, BackendIndex, Balance, Bind, ChecksumForm, Config, Listener, MAX_THREADS, Node,
    NodeIndex, Pair, Probe, ProbeKind, Proxy, Runs, Server, Transport, Vip, VipIndex,
};
use common::time::Moment;

use super::Boards;
use super::clock::Clocks;
use super::view::View;

/// An hour after the monotonic clock's zero, 2026-05-01 12:00:00 UTC.
pub(crate) const CLOCKS: Clocks = Clocks {
    now: Moment::from_nanos(3_600_000_000_000),
    epoch: Duration::from_secs(1_777_636_800 - 3_600),
};
pub(crate) const CONFIG_HASH: u64 = 0x9f2c_41d0_7be8_5a10;

fn cells<const N: usize>() -> [Cell; N] {
    array::from_fn(|_| Cell::default())
}

fn server_slot() -> ServerSlot {
    ServerSlot {
        state: Cell::default(),
        since: MomentCell::default(),
        reason: Text::default(),
        sessions: Cell::default(),
        connected: Cell::default(),
        connect_errors: Cell::default(),
        probes: Cell::default(),
        probe_failures: Cell::default(),
        probed: MomentCell::default(),
        probe_time: Cell::default(),
        downs: Cell::default(),
    }
}

/// Boards of a node that has not started.
pub(crate) fn empty_boards() -> Boards {
    let vrrp = VrrpBoard {
        header: Header::default(),
        vips: array::from_fn(|_| VipSlot::default()),
        peer: PeerSlot::default(),
        drops: cells(),
        pair_drops: cells(),
        realtime: Cell::default(),
        memory_locked: Cell::default(),
        worst_lateness: Cell::default(),
    };
    let proxy = ProxyBoard {
        header: Header::default(),
        threads: Cell::default(),
        accepting: array::from_fn::<_, MAX_THREADS, _>(|_| MomentCell::default()),
        vip_health: cells(),
        probed: Cell::default(),
        listeners: array::from_fn(|_| Default::default()),
        servers: array::from_fn(|_| server_slot()),
    };
    let supervisor = SupervisorBoard {
        header: Header::default(),
        children: Default::default(),
        warnings: array::from_fn(|_| Text::default()),
    };
    Boards {
        supervisor: Box::leak(Box::new(supervisor)),
        vrrp: Box::leak(Box::new(vrrp)),
        proxy: Box::leak(Box::new(proxy)),
        admin: Box::leak(Box::new(AdminBoard::default())),
    }
}

fn ago(millis: u64) -> Moment {
    CLOCKS.now - Duration::from_millis(millis)
}

/// Node lb1 of a pair in its usual state: active for both VIPs, everything up, lb2 heard 8 ms ago.
pub(crate) fn healthy() -> View {
    let view = View {
        config: Arc::new(config()),
        node: NodeIndex(0),
        config_hash: CONFIG_HASH,
        boards: empty_boards(),
    };
    alive(&view.boards);
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
    for (index, slot) in view.boards.proxy.servers[..view.config.server_count()]
        .iter()
        .enumerate()
    {
        slot.state.set(ServerState::Up.on_board());
        slot.since.set(ago(3_000_000));
        slot.reason.set("probe answered");
        slot.sessions.set(index as u64);
        slot.probed.set(ago(400));
        slot.probe_time.set(1_250_000);
    }
    view
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
    let node = |name: &str, last: u8| Node {
        name: name.to_owned(),
        address: [192, 168, 0, last].into(),
        runs: Runs::FmcLb,
    };
    Config {
        nodes: vec![node("lb1", 11), node("lb2", 12)],
        pair: Pair {
            interface: "eth0".to_owned(),
            key_file: Some("/etc/fmc-lb/pair.key".into()),
            heartbeat: Some(Duration::from_millis(20)),
            port: 9601,
        },
        vips: vec![vip("api", 10, 51), vip("web", 14, 52)],
        listeners: vec![
            listener("api", "192.168.0.10:6443", 0),
            listener("https", "192.168.0.14:443", 1),
        ],
        backends: backends(),
        proxy: Proxy {
            threads: None,
            drain: Duration::from_secs(30),
        },
        admin: Admin {
            http: None,
            allow: vec!["127.0.0.0/8".parse().expect("a network")],
        },
    }
}

fn backends() -> Vec<Backend> {
    let probe = Probe {
        kind: ProbeKind::Tcp,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 3,
    };
    vec![
        Backend {
            probe: Some(Probe {
                kind: ProbeKind::KubeApiserver {
                    ca_file: None,
                    client: None,
                },
                ..probe.clone()
            }),
            balance: Balance::LeastConnections,
            ..backend("k3s-api", 21, 6443)
        },
        Backend {
            first_server: 3,
            probe: Some(probe),
            ..backend("traefik-https", 24, 443)
        },
    ]
}

fn vip(name: &str, last: u8, vrid: u8) -> Vip {
    let priority = |value| Priority::new(value).expect("not zero");
    Vip {
        name: name.to_owned(),
        address: [192, 168, 0, last].into(),
        prefix_len: 24,
        vrid: Vrid::new(vrid).expect("not zero"),
        interface: "eth0".to_owned(),
        priorities: vec![priority(250), priority(240)],
        advert_interval: Duration::from_millis(100),
        preempt: true,
        preempt_delay: Duration::from_secs(10),
        transport: Transport::Multicast,
        checksum: ChecksumForm::Pseudo,
    }
}

fn listener(name: &str, bind: &str, index: usize) -> Listener {
    Listener {
        name: name.to_owned(),
        binds: vec![Bind {
            address: bind.parse().expect("an address"),
            vip: Some(VipIndex(index)),
        }],
        backend: BackendIndex(index),
        allow: None,
        required: true,
        client_timeout: None,
        tunnel_timeout: None,
        keepalive: None,
    }
}

fn backend(name: &str, first: u8, port: u16) -> Backend {
    Backend {
        name: name.to_owned(),
        servers: (first..first + 3)
            .map(|last| Server {
                address: ([10, 17, 4, last], port).into(),
                weight: 1,
            })
            .collect(),
        first_server: 0,
        balance: Balance::RoundRobin,
        probe: None,
        connect_timeout: Duration::from_secs(5),
        retries: 3,
        server_timeout: None,
        keepalive: None,
    }
}

/// The same node on a bad day: the proxy died, a VIP is lost, a server is down and one drains, lb2 is silent.
pub(crate) fn troubled() -> View {
    let view = healthy();
    let (supervisor, vrrp, proxy) = (view.boards.supervisor, view.boards.vrrp, view.boards.proxy);
    supervisor.children[1].deaths.set(2);
    supervisor.children[1].last_end.set("killed by signal 9");
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
    servers[1].reason.set("[-]etcd failed: reason withheld");
    servers[2].state.set(ServerState::Down.on_board());
    servers[2].since.set(ago(900));
    servers[2].reason.set("connection refused");
    proxy.listeners[0].sessions.set(12);
    proxy.listeners[0].denied.set(3);
    proxy.listeners[1].failed.set(1);
    view
}
