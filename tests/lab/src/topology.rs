//! The reference topology: two load balancers, a client and the router on the LAN's switch, the cluster behind the router.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::evidence::Evidence;
use crate::namespace::{self, Namespace};
use crate::pki::Pki;
use crate::{Node, command, limits, wait};

/// The API VIP of the reference configuration.
pub const API_VIP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 168, 0, 10);
/// The web VIP of the reference configuration.
pub const WEB_VIP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 168, 0, 14);

/// The web VIP over IPv6, in a lab that has it.
pub const WEB_VIP_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x14);

/// The running topology. Clones share it; dropping the last one removes every namespace and the run's folder.
#[derive(Debug, Clone)]
pub struct Lab {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    namespaces: Vec<(Node, Namespace)>,
    pki: Pki,
    evidence: Mutex<Evidence>,
    folder: TempDir,
}

impl Lab {
    /// Brings the topology up, after a sweep of what killed runs have left.
    ///
    /// # Errors
    /// Without root, without iproute2, or when the kernel refuses a part of it.
    pub fn start() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab needs root: it makes network namespaces");
        }
        limits::raise_open_files().context("raise the limit of open files")?;
        namespace::sweep().context("sweep what an earlier run has left")?;
        let prefix = namespace::unique_prefix()?;
        let folder = run_folder(&prefix)?;
        let mut namespaces = Vec::new();
        for node in Node::ALL {
            let made = Namespace::create(format!("{prefix}-{node}"))
                .with_context(|| format!("make the namespace of {node}"))?;
            namespaces.push((node, made));
        }
        let pki = Pki::new(folder.path()).context("make the lab's certificates")?;
        let evidence = Mutex::new(Evidence::default());
        let inner = Arc::new(Inner {
            namespaces,
            pki,
            evidence,
            folder,
        });
        let lab = Self { inner };
        lab.wire().context("bring the topology up")?;
        Ok(lab)
    }

    /// The namespace of a machine.
    pub fn node(&self, node: Node) -> &Namespace {
        let found = self.inner.namespaces.iter().find(|(of, _)| *of == node);
        &found
            .expect("every node has its namespace from the start")
            .1
    }

    /// The folder of this run: configuration files, runtime folders, logs. Removed at the end.
    pub fn folder(&self) -> &Path {
        self.inner.folder.path()
    }

    /// The lab's certificate authority and what it signed.
    pub fn pki(&self) -> &Pki {
        &self.inner.pki
    }

    /// Runs a closure on a thread inside the namespace; the sockets it makes belong there. Returns its result.
    ///
    /// # Panics
    /// When the closure panics, or the namespace is gone.
    pub fn run_in<T: Send>(&self, node: Node, work: impl FnOnce() -> T + Send) -> T {
        self.node(node).run(work)
    }

    /// Starts a thread inside the namespace.
    ///
    /// # Errors
    /// When the thread cannot be made. A namespace that cannot be entered ends the thread with a panic.
    pub fn spawn_in<T: Send + 'static>(
        &self,
        node: Node,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let namespace = self.node(node).name().to_owned();
        std::thread::Builder::new()
            .name(format!("{node}-{name}"))
            .spawn(move || {
                namespace::enter(&namespace).expect("the lab's namespaces live as long as it");
                work()
            })
            .with_context(|| format!("start the thread {name} of {node}"))
    }

    /// Runs an `nft` command inside the namespace, given as one line.
    ///
    /// # Errors
    /// With what `nft` said.
    pub fn nft(&self, node: Node, line: &str) -> Result<String> {
        let words: Vec<&str> = ["nft"].into_iter().chain(line.split_whitespace()).collect();
        self.exec(node, &words)
    }

    /// Runs an `ip` command inside the namespace, given as one line.
    ///
    /// # Errors
    /// With what `ip` said.
    pub fn ip(&self, node: Node, line: &str) -> Result<String> {
        let mut arguments = vec!["-n", self.node(node).name()];
        arguments.extend(line.split_whitespace());
        command::run("ip", &arguments)
    }

    /// Runs a program inside the namespace to its end and returns what it printed.
    ///
    /// # Errors
    /// With what the program wrote to stderr.
    pub fn exec(&self, node: Node, line: &[&str]) -> Result<String> {
        let mut arguments = vec!["netns", "exec", self.node(node).name()];
        arguments.extend(line);
        command::run("ip", &arguments)
    }

    /// Sets a kernel setting inside the namespace, e.g. `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, node: Node, key: &str, value: &str) -> Result<()> {
        self.node(node).sysctl(key, value)
    }

    /// Gives the machines of the LAN IPv6: link-local addresses, and those of fd00:0:0:1::/64. They can be used at
    /// once, and nobody asks for routers.
    ///
    /// # Errors
    /// When the kernel has no IPv6.
    pub fn enable_ipv6(&self) -> Result<()> {
        for node in [Node::Router, Node::Lb1, Node::Lb2, Node::Client] {
            for (setting, value) in [
                ("eth0.accept_dad", "0"),
                ("eth0.router_solicitations", "0"),
                ("lo.disable_ipv6", "0"),
                ("eth0.disable_ipv6", "0"),
            ] {
                self.sysctl(node, &format!("net.ipv6.conf.{setting}"), value)?;
            }
            let address = node.address_v6();
            self.ip(node, &format!("addr add {address}/64 dev eth0 nodad"))?;
        }
        Ok(())
    }

    /// Gives a machine behind the router an address of fd00:0:0:2::/64 and a way to and from the LAN's, which has IPv6 by
    /// then.
    ///
    /// # Errors
    /// When the kernel has no IPv6.
    pub fn route_ipv6(&self, node: Node) -> Result<()> {
        for (machine, device) in [(Node::Router, "eth1"), (node, "eth0")] {
            for (setting, value) in [("accept_dad", "0"), ("disable_ipv6", "0")] {
                self.sysctl(machine, &format!("net.ipv6.conf.{device}.{setting}"), value)?;
            }
        }
        self.sysctl(Node::Router, "net.ipv6.conf.all.forwarding", "1")?;
        let [.., host] = node.address().octets();
        self.ip(Node::Router, "addr add fd00:0:0:2::1/64 dev eth1 nodad")?;
        self.ip(
            node,
            &format!("addr add fd00:0:0:2::{host}/64 dev eth0 nodad"),
        )?;
        self.ip(node, "route add default via fd00:0:0:2::1")?;
        let way = format!(
            "route add fd00:0:0:2::/64 via {}",
            Node::Router.address_v6()
        );
        for lb in Node::LBS {
            self.ip(lb, &way)?;
        }
        Ok(())
    }

    /// Gives the load balancers and the client a second network: eth1, 192.168.1.0/24, on a bridge of its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_network(&self) -> Result<()> {
        let switch = self.node(Node::LanSwitch).name();
        let mut lines = vec![
            "link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0".to_owned(),
            "link set br1 up".to_owned(),
        ];
        let nodes = [Node::Lb1, Node::Lb2, Node::Client];
        for node in nodes {
            let far = self.node(node).name();
            lines.push(format!(
                "link add {node}-1 type veth peer name eth1 netns {far}"
            ));
            lines.push(format!("link set {node}-1 master br1 up"));
        }
        command::ip_batch(switch, &lines).context("make the second switch")?;
        for node in nodes {
            let [.., host] = node.address().octets();
            self.ip(
                node,
                &format!("addr add 192.168.1.{host}/24 brd + dev eth1"),
            )?;
            self.ip(node, "link set eth1 up")?;
        }
        Ok(())
    }

    /// What is shown when a wait fails: logs and commands that others add.
    pub fn evidence(&self) -> std::sync::MutexGuard<'_, Evidence> {
        self.inner
            .evidence
            .lock()
            .expect("nothing panics while it holds the evidence")
    }

    /// Waits for a condition; when it does not come true the error carries the evidence: the tail of every log, the
    /// addresses of both load balancers, the status of both.
    ///
    /// # Errors
    /// When it was not true at the deadline.
    pub fn wait_until(
        &self,
        deadline: Duration,
        what: &str,
        condition: impl FnMut() -> bool,
    ) -> Result<()> {
        wait::wait_until(deadline, what, condition).map_err(|error| {
            let shown = self.show_evidence();
            error.context(shown)
        })
    }

    /// The evidence as text.
    pub fn show_evidence(&self) -> String {
        let mut text = self.evidence().show();
        for node in Node::LBS {
            let addresses = self
                .ip(node, "-br addr")
                .unwrap_or_else(|error| format!("{error:#}"));
            text.push_str(&format!("--- {node}: ip -br addr\n{addresses}"));
        }
        text
    }

    fn wire(&self) -> Result<()> {
        for node in Node::ALL {
            self.node(node).quiet_ipv6()?;
        }
        for switch in [Node::LanSwitch, Node::ClusterSwitch] {
            command::ip_batch(self.node(switch).name(), &self.switch_lines(switch))
                .with_context(|| format!("make the switch {switch}"))?;
        }
        for node in Node::ALL {
            command::ip_batch(self.node(node).name(), &node_lines(node))
                .with_context(|| format!("set the addresses of {node}"))?;
        }
        self.sysctl(Node::Router, "net.ipv4.ip_forward", "1")?;
        for node in [Node::Client, Node::Lb1, Node::Lb2] {
            // Thousands of short connections a minute: neither ports nor TIME_WAIT may become the limit.
            self.sysctl(node, "net.ipv4.ip_local_port_range", "10240 65535")?;
            self.sysctl(node, "net.ipv4.tcp_max_tw_buckets", "2000")?;
        }
        Ok(())
    }

    /// The veth pairs are made inside the switch with the far end already in the machine: nothing is ever in the root
    /// namespace.
    fn switch_lines(&self, switch: Node) -> Vec<String> {
        let mut lines = vec![
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0".to_owned(),
            "link set br0 up".to_owned(),
        ];
        let ends = Node::ALL
            .iter()
            .filter(|node| !node.is_switch() && node.switch() == switch);
        for node in ends {
            lines.push(self.cable(*node, "eth0", &node.mac()));
            lines.push(plug(*node));
        }
        if switch == Node::ClusterSwitch {
            lines.push(self.cable(Node::Router, "eth1", "02:00:00:17:00:01"));
            lines.push(plug(Node::Router));
        }
        lines
    }

    fn cable(&self, node: Node, device: &str, mac: &str) -> String {
        let namespace = self.node(node).name();
        format!("link add {node} type veth peer name {device} address {mac} netns {namespace}")
    }
}

fn plug(node: Node) -> String {
    format!("link set {node} master br0 up")
}

fn node_lines(node: Node) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    if node.is_switch() {
        return lines;
    }
    lines.push(format!("addr add {}/24 brd + dev eth0", node.address()));
    lines.push("link set eth0 up".to_owned());
    match node {
        Node::Router => {
            lines.push("addr add 10.17.4.1/24 brd + dev eth1".to_owned());
            lines.push("link set eth1 up".to_owned());
        }
        Node::Lb1 | Node::Lb2 => lines.push("route add 10.17.4.0/24 via 192.168.0.40".to_owned()),
        Node::Master1
        | Node::Master2
        | Node::Master3
        | Node::Worker1
        | Node::Worker2
        | Node::Worker3 => lines.push("route add default via 10.17.4.1".to_owned()),
        Node::Client | Node::LanSwitch | Node::ClusterSwitch => {}
    }
    lines
}

/// A folder that the balancers' own users may pass through.
pub(crate) fn run_folder(prefix: &str) -> Result<TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new()
        .prefix(&format!("{prefix}-"))
        .tempdir()
        .context("make the run's folder")?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
        .context("open the run's folder to all")?;
    Ok(folder)
}
