//! Client, balancer and servers in a row: the smallest network on which one balancer can be measured.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::namespace::{self, Namespace};
use crate::topology::run_folder;
use crate::{command, limits};

/// Addresses that the client's machine has.
pub const CLIENTS: u8 = 8;
/// The balancer's address on the client's side.
pub const FRONT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The balancer's interface on the client's side.
pub const FRONT_INTERFACE: &str = "front";
/// The balancer's address on the servers' side.
pub const BACK: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 254);
/// Addresses that the servers' machine has.
pub const SERVERS: u8 = 100;

/// Three fresh network namespaces. Dropping it ends what runs in them and removes them with the run's folder.
#[derive(Debug)]
pub struct Chain {
    client: Namespace,
    balancer: Namespace,
    servers: Namespace,
    // Last: what runs in the namespaces writes there.
    folder: TempDir,
}

impl Chain {
    /// Makes the namespaces, after a sweep of what killed runs have left.
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
        let make = |name: &str| {
            Namespace::create(format!("{prefix}-{name}"))
                .with_context(|| format!("make the namespace {name}"))
        };
        let chain = Self {
            client: make("client")?,
            balancer: make("balancer")?,
            servers: make("servers")?,
            folder,
        };
        chain.wire().context("connect the namespaces")?;
        Ok(chain)
    }

    /// Where the client is.
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// Where the balancer is.
    pub fn balancer(&self) -> &Namespace {
        &self.balancer
    }

    /// Where the servers are.
    pub fn servers(&self) -> &Namespace {
        &self.servers
    }

    /// The folder of this run: configuration files, runtime folders, logs. Removed at the end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn wire(&self) -> Result<()> {
        for namespace in [&self.client, &self.balancer, &self.servers] {
            namespace.quiet_ipv6()?;
        }
        let lines = self.balancer_lines();
        command::ip_batch(self.balancer.name(), &lines).context("make the balancer's links")?;
        command::ip_batch(self.client.name(), &client_lines()).context("set the client up")?;
        command::ip_batch(self.servers.name(), &server_lines()).context("set the servers up")?;
        // Without a balancer the client reaches the servers directly, over the same links.
        self.balancer.sysctl("net.ipv4.ip_forward", "1")?;
        for namespace in [&self.client, &self.balancer] {
            // Tens of thousands of short connections: neither ports nor TIME_WAIT may become the limit.
            namespace.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
            namespace.sysctl("net.ipv4.tcp_tw_reuse", "1")?;
        }
        for namespace in [&self.balancer, &self.servers] {
            // Bursts of connections wait instead of being tried again a second later.
            namespace.sysctl("net.core.somaxconn", "8192")?;
            namespace.sysctl("net.ipv4.tcp_max_syn_backlog", "8192")?;
        }
        Ok(())
    }

    /// The far ends are made in the other namespaces: nothing is ever in the root namespace.
    fn balancer_lines(&self) -> Vec<String> {
        let (client, servers) = (self.client.name(), self.servers.name());
        vec![
            "link set lo up".to_owned(),
            format!("link add {FRONT_INTERFACE} type veth peer name eth0 netns {client}"),
            format!("link add back type veth peer name eth0 netns {servers}"),
            format!("addr add {FRONT}/24 dev {FRONT_INTERFACE}"),
            format!("addr add {BACK}/24 dev back"),
            format!("link set {FRONT_INTERFACE} up"),
            "link set back up".to_owned(),
        ]
    }
}

/// The address of a server, counted from 0.
///
/// # Panics
/// From [`SERVERS`] on.
pub const fn server(index: u8) -> Ipv4Addr {
    assert!(index < SERVERS, "there are no more servers");
    Ipv4Addr::new(10, 2, 0, index + 1)
}

/// An address of the client, counted from 0; the first one is what it connects from unless it says otherwise.
///
/// # Panics
/// From [`CLIENTS`] on.
pub fn client(index: u8) -> Ipv4Addr {
    assert!(index < CLIENTS, "the client has {CLIENTS} addresses");
    Ipv4Addr::new(10, 1, 0, index + 2)
}

fn client_lines() -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    lines.extend((0..CLIENTS).map(|index| format!("addr add {}/24 dev eth0", client(index))));
    lines.push("link set eth0 up".to_owned());
    lines.push(format!("route add default via {FRONT}"));
    lines
}

fn server_lines() -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    lines.extend((0..SERVERS).map(|index| format!("addr add {}/24 dev eth0", server(index))));
    lines.push("link set eth0 up".to_owned());
    lines.push(format!("route add default via {BACK}"));
    lines
}
