//! What this machine is like: read from `/sys`, `/proc`, `/run`, nft(8) and a running node. Nothing is changed.
#![expect(
    clippy::disallowed_types,
    reason = "asks the kernel which way leads to the other node"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use common::config::{Config, NodeIndex};
use common::status::Status;
use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::pools::{Pool, pools};
use crate::{bpf, status};

/// What was found; what could not be looked at says why.
#[derive(Debug)]
pub(crate) struct Facts {
    /// By name: those that the VIPs are on.
    pub(crate) interfaces: BTreeMap<String, Interface>,
    /// Interfaces that are up, but for `lo`.
    pub(crate) up: usize,
    /// The networks that these are in, by the prefixes of their addresses.
    pub(crate) networks: Vec<(String, IpNet)>,
    /// Address that packets to the other node leave from; `None` without another node.
    pub(crate) to_peer: Option<Result<IpAddr, String>>,
    /// What `nft -j list ruleset` prints.
    pub(crate) ruleset: Result<String, String>,
    /// Tables of the older iptables, which nft(8) does not show.
    pub(crate) legacy_tables: Vec<String>,
    /// By name under `/proc/sys/net`, with slashes.
    pub(crate) settings: BTreeMap<String, String>,
    /// Whether the kernel takes the TC program of flow forwarding, or why not; `None` = nobody needs it.
    pub(crate) forwarding: Option<Result<(), String>>,
    /// What DHCP servers of this machine give out.
    pub(crate) pools: Vec<Pool>,
    /// What a running node says of itself.
    pub(crate) status: Result<Status, String>,
}

/// An interface that carries VIPs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interface {
    pub(crate) exists: bool,
    pub(crate) up: bool,
    /// The cable is in.
    pub(crate) carrier: bool,
    pub(crate) multicast: bool,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) manager: Option<Manager>,
    /// Its address came by DHCP.
    pub(crate) leased: bool,
}

/// Who configures an interface, and may take away what he has not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manager {
    NetworkManager,
    /// With `KeepConfiguration=` as its .network file has it; empty if it has none.
    Networkd {
        file: String,
        keeps: String,
    },
}

/// Everything.
pub(crate) fn facts(config: &Config, node: NodeIndex, runtime_dir: &Path) -> Facts {
    let names = config.vips.iter().map(|vip| &vip.interface);
    let names = names.chain([&config.pair.interface]);
    let interfaces: BTreeMap<String, Interface> =
        names.map(|name| (name.clone(), interface(name))).collect();
    let peer = config.peer_of(node);
    let networks = networks();
    let in_networks = networks.iter().map(|(name, _)| name);
    let looked_at: BTreeSet<&String> = interfaces.keys().chain(in_networks).collect();
    Facts {
        settings: settings(looked_at.into_iter()),
        up: ups(),
        networks,
        to_peer: peer.map(|peer| way_to(config.nodes[peer.0].address, config.pair.port)),
        ruleset: ruleset(),
        legacy_tables: read("/proc/net/ip_tables_names")
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect(),
        forwarding: bpf::is_wanted(config, node).then(forwarding),
        pools: pools(Path::new("/etc")),
        status: ask(runtime_dir),
        interfaces,
    }
}

fn forwarding() -> Result<(), String> {
    bpf::try_load().map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

fn interface(name: &str) -> Interface {
    let of = |file: &str| read(format!("/sys/class/net/{name}/{file}"));
    let Some(flags) = of("flags") else {
        return Interface::default();
    };
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
    let has = |flag: nix::libc::c_int| flags & flag.unsigned_abs() != 0;
    let index = of("ifindex").unwrap_or_default();
    let addresses = getifaddrs().into_iter().flatten();
    let addresses = addresses
        .filter(|one| one.interface_name.split(':').next() == Some(name))
        .filter_map(|one| one.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|one| IpAddr::V4(one.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|one| IpAddr::V6(one.ip())))
        });
    Interface {
        exists: true,
        up: has(nix::libc::IFF_UP),
        multicast: has(nix::libc::IFF_MULTICAST),
        carrier: of("carrier").as_deref() == Some("1"),
        addresses: addresses.collect(),
        manager: manager(&index),
        leased: fs::exists(format!("/run/systemd/netif/leases/{index}")).unwrap_or(false),
    }
}

/// As NetworkManager (`nm-device` state files) and networkd (sd-network(3)) tell it under `/run`.
fn manager(index: &str) -> Option<Manager> {
    let by_manager = read(format!("/run/NetworkManager/devices/{index}"));
    if by_manager.is_some_and(|text| text.contains("managed-type=full")) {
        return Some(Manager::NetworkManager);
    }
    let link = read(format!("/run/systemd/netif/links/{index}"))?;
    let value = |key: &str| {
        let mut lines = link.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let file = value("NETWORK_FILE")?;
    let text = read(file).unwrap_or_default();
    let mut lines = text.lines();
    let keeps = lines.find_map(|line| line.trim().strip_prefix("KeepConfiguration="));
    Some(Manager::Networkd {
        file: file.to_owned(),
        keeps: keeps.unwrap_or_default().trim().to_owned(),
    })
}

fn ups() -> usize {
    let all = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    all.filter(|entry| entry.file_name() != "lo")
        .filter(|entry| {
            let state = read(entry.path().join("operstate"));
            state.is_some_and(|state| state == "up" || state == "unknown")
        })
        .count()
}

/// Of IPv4 addresses alone: over IPv6 an interface answers for its own only. A host's own prefix (a VIP's) is no network.
fn networks() -> Vec<(String, IpNet)> {
    let all = getifaddrs().into_iter().flatten();
    let up = all.filter(|one| {
        one.flags.contains(InterfaceFlags::IFF_UP)
            && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let networks = up.filter_map(|one| {
        let address = one.address?.as_sockaddr_in()?.ip();
        let mask = one.netmask?.as_sockaddr_in()?.ip();
        let network = IpNet::with_netmask(address.into(), mask.into()).ok()?;
        let name = one.interface_name.split(':').next()?.to_owned();
        (network.prefix_len() < network.max_prefix_len()).then_some((name, network.trunc()))
    });
    networks.collect()
}

/// The address that the kernel would send from; no packet is sent for that.
fn way_to(peer: IpAddr, port: u16) -> Result<IpAddr, String> {
    let any: SocketAddr = match peer {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let found = UdpSocket::bind(any).and_then(|socket| {
        socket.connect((peer, port))?;
        socket.local_addr()
    });
    found
        .map(|address| address.ip())
        .map_err(|error| error.to_string())
}

fn ruleset() -> Result<String, String> {
    let output = Command::new("nft").args(["-j", "list", "ruleset"]).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("nft: {error}")),
    }
}

fn settings<'a>(interfaces: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
    let fixed = [
        "ipv4/tcp_tw_reuse",
        "ipv4/ip_local_port_range",
        "ipv4/conf/all/rp_filter",
        "ipv4/conf/all/arp_ignore",
        "ipv4/conf/all/arp_announce",
        "netfilter/nf_conntrack_count",
        "netfilter/nf_conntrack_max",
    ];
    let each = ["rp_filter", "arp_ignore", "arp_announce"];
    let of_interfaces =
        interfaces.flat_map(|name| each.map(|setting| format!("ipv4/conf/{name}/{setting}")));
    fixed
        .map(str::to_owned)
        .into_iter()
        .chain(of_interfaces)
        .filter_map(|name| Some((name.clone(), read(format!("/proc/sys/net/{name}"))?)))
        .collect()
}

fn ask(runtime_dir: &Path) -> Result<Status, String> {
    status::ask(runtime_dir).map_err(|error| format!("{error:#}"))
}
