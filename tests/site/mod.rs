//! The reference site with fmc-lb on both balancers, for the tests beside this folder.

#![allow(dead_code, reason = "each test target uses a part of it")]

pub(crate) mod load;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::{Balancer as _, Settings};
use lab::cluster::Cluster;
use lab::fmclb::{FmcLb, confinement, reference_config, with_web6};
use lab::process::Process;
use lab::topology::{API_VIP, WEB_VIP, WEB_VIP_V6};
use lab::{Lab, Node, capture, client, lease, limits, scenario};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_fmc-lb");

/// Users of [`start_with_users`].
pub(crate) const PROXY_UID: u32 = 61_002;
pub(crate) const ADMIN_UID: u32 = 61_003;
pub(crate) const RESCUE_UID: u32 = 61_004;

/// A running site. Fields are dropped in this order: balancers, servers, namespaces.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) pair: FmcLb,
    pub(crate) cluster: Cluster,
    pub(crate) lab: Lab,
    _turn: limits::Turn,
}

impl Site {
    /// Both nodes run, lb1 holds both VIPs, the workers speak `web` on port 80.
    pub(crate) fn start(config: &str, web: Service) -> Result<Self> {
        let mut site = Self::build(config, web)?;
        site.pair.start(Node::Lb1)?;
        site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
        site.pair.start(Node::Lb2)?;
        site.wait_ready(Node::Lb1)?;
        site.wait_ready(Node::Lb2)?;
        Ok(site)
    }

    /// Everything but running balancers.
    pub(crate) fn build(config: &str, web: Service) -> Result<Self> {
        let turn = limits::measure_alone()?;
        let lab = Lab::start()?;
        let cluster = Cluster::start(&lab, web)?;
        let pair = FmcLb::new(&lab, Path::new(BINARY), config)?;
        Ok(Self {
            pair,
            cluster,
            lab,
            _turn: turn,
        })
    }

    /// The same as [`scenario::start_pair`], with an advert interval.
    pub(crate) fn steady(settings: &Settings, config: &str) -> Result<Self> {
        let mut site = Self::build(config, Service::Echo)?;
        scenario::start_pair(&site.lab, &mut site.pair, settings.advert)?;
        site.wait_ready(Node::Lb2)?;
        Ok(site)
    }

    /// Starts both nodes with [`config_with_v6`]: lb1 holds all VIPs, and both forward.
    pub(crate) fn start_with_v6(&mut self) -> Result<()> {
        self.lab.enable_ipv6()?;
        self.lab.route_ipv6(load::ROUTED)?;
        self.pair.start(Node::Lb1)?;
        self.wait("lb1 holds all VIPs", |site| site.holds_all(Node::Lb1))?;
        self.pair.start(Node::Lb2)?;
        for node in Node::LBS {
            self.wait_ready(node)?;
        }
        self.wait_home()
    }

    /// Runs a test's body; when it fails, the packets of both nodes, their logs and what they say of
    /// themselves are kept in `lab-failures/NAME` of the target folder.
    pub(crate) fn watched(
        mut self,
        name: &str,
        body: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let lab = self.lab.clone();
        capture::around(&lab, name, || body(&mut self))
    }

    pub(crate) fn holds_both(&self, node: Node) -> bool {
        lease::is_holder(&self.lab, node, API_VIP) && lease::is_holder(&self.lab, node, WEB_VIP)
    }

    /// Both, and that of IPv6.
    pub(crate) fn holds_all(&self, node: Node) -> bool {
        self.holds_both(node) && lease::is_holder(&self.lab, node, WEB_VIP_V6)
    }

    /// Waits until lb1 holds all VIPs and both nodes forward.
    pub(crate) fn wait_home(&self) -> Result<()> {
        self.wait("lb1 holds all VIPs, and both forward", |site| {
            site.holds_all(Node::Lb1) && !site.holds_all(Node::Lb2) && site.both_forward()
        })
    }

    /// Both nodes forward, and know it of each other: a machine that is silent is lost.
    pub(crate) fn both_forward(&self) -> bool {
        Node::LBS
            .into_iter()
            .all(|node| self.pair.is_forwarding(node))
    }

    /// Waits ten seconds at most.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        self.lab
            .wait_until(Duration::from_secs(10), what, || condition(self))
    }

    /// Waits until every probe was made and every server is up, as the node says itself.
    pub(crate) fn wait_ready(&self, node: Node) -> Result<()> {
        self.wait(&format!("{node} has probed every server"), |site| {
            site.servers(node).is_ok_and(|servers| {
                !servers.is_empty() && servers.iter().all(|(_, state, _)| state == "up")
            })
        })
    }

    /// When each VIP of each node got into its state: any move changes it, however short.
    pub(crate) fn changes(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for node in Node::LBS {
            let status = self.pair.status(node)?;
            for vip in status["vips"].as_array().into_iter().flatten() {
                let (name, state, since) = (&vip["name"], &vip["state"], &vip["since"]);
                all.push(format!("{node} {name} {state} {since}"));
            }
        }
        ensure!(all.len() == 4, "{all:?}");
        Ok(all)
    }

    /// Every server with its state and the reason, as a node says it.
    pub(crate) fn servers(&self, node: Node) -> Result<Vec<(String, String, String)>> {
        let status = self.pair.status(node)?;
        let backends = status["backends"]
            .as_array()
            .context("status has no backends")?;
        let servers = backends
            .iter()
            .filter_map(|backend| backend["servers"].as_array())
            .flatten();
        Ok(servers
            .map(|server| {
                let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
                (text("address"), text("state"), text("reason"))
            })
            .collect())
    }
}

/// A supervisor on lb1 with users of their own for its processes: a view of the user database that
/// only its process has. It has the rights that the unit for systemd leaves it.
pub(crate) fn start_with_users(site: &Site, folder: &Path) -> Result<Process> {
    let mut users = fs::read_to_string("/etc/passwd")?;
    for (name, uid) in [
        ("vrrp", 61_001),
        ("proxy", PROXY_UID),
        ("admin", ADMIN_UID),
        ("rescue", RESCUE_UID),
    ] {
        users.push_str(&format!("fmc-lb-{name}:x:{uid}:{uid}::/:/bin/false\n"));
    }
    let database = folder.join("passwd");
    fs::write(&database, users)?;
    let script = "mount --bind \"$0\" /etc/passwd && exec \"$@\"";
    let (database, config) = (database.display().to_string(), site.pair.config_file());
    let (config, runtime) = (
        config.display().to_string(),
        site.pair.runtime_dir(Node::Lb1).display().to_string(),
    );
    let confinement = confinement();
    let mut line = vec!["unshare", "--mount", "--propagation", "private"];
    line.extend(["sh", "-c", script, &database]);
    line.extend(confinement.iter().map(String::as_str));
    line.extend([BINARY, "run", "--config", &config, "--node", "lb1"]);
    line.extend(["--runtime-dir", &runtime]);
    Process::start(&site.lab, Node::Lb1, "with-users", &line)
}

/// The value of a node's line of `/metrics` that begins so.
pub(crate) fn metric(site: &Site, node: Node, series: &str) -> Result<f64> {
    let last = if node == Node::Lb1 { 11 } else { 12 };
    let address = SocketAddr::from(([192, 168, 0, last], 9600));
    let page = client::http(&site.lab, node, address, "/metrics")?.body;
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.with_context(|| format!("no {series} on the page"))?;
    value
        .parse()
        .with_context(|| format!("{series} is {value}"))
}

/// The web VIP's port 80.
pub(crate) fn web() -> SocketAddr {
    SocketAddr::from((WEB_VIP, 80))
}

/// Port 80 of the web VIP of IPv6.
pub(crate) fn web6() -> SocketAddr {
    SocketAddr::from((WEB_VIP_V6, 80))
}

/// The API VIP.
pub(crate) fn api() -> SocketAddr {
    SocketAddr::from((API_VIP, 6443))
}

/// The reference site at an advert interval; below 100 ms with heartbeats that keep up.
pub(crate) fn config_at(advert: Duration) -> String {
    reference_config(&Settings::ours(advert))
}

/// The same with the web VIP over IPv6 too, and a node that takes its VIPs back after a second.
pub(crate) fn config_with_v6(advert: Duration) -> String {
    let config = config_at(advert).replace("[vrrp]", "[vrrp]\npreempt_delay = \"1s\"");
    with_web6(&config)
}

/// The file that is shipped.
pub(crate) fn shipped() -> &'static str {
    include_str!("../../configs/flatcarmicrocloud.toml")
}
