//! A small network for the tests of this crate: namespaces that the test makes itself, joined by a
//! bridge in one more.
#![expect(
    clippy::disallowed_methods,
    reason = "tests wait for conditions of a real kernel"
)]
#![allow(dead_code, reason = "each test file uses its own part of this module")]

pub(crate) mod node;

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// First VIP of the tests.
pub(crate) const VIP: [u8; 4] = [192, 0, 2, 10];
/// Second one.
pub(crate) const OTHER_VIP: [u8; 4] = [192, 0, 2, 14];

/// An IPv6 one.
pub(crate) const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10);

/// Every namespace begins with it and the id of its process.
const PREFIX: &str = "fmcv";

/// Distinguishes the networks of one test process.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// A bridge with some hosts on it: `eth0` of host n has 192.0.2.n/24, its port on the bridge is
/// `pn`.
#[derive(Debug)]
pub(crate) struct Lan {
    prefix: String,
    hosts: u8,
}

impl Lan {
    /// Makes the namespaces, after a sweep of what killed test processes have left; they are deleted when the value is
    /// dropped.
    pub(crate) fn new(hosts: u8) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        sweep();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let lan = Self {
            prefix: format!("{PREFIX}{}-{number}", std::process::id()),
            hosts,
        };
        let bridge = lan.bridge();
        ip(&["netns", "add", &bridge]);
        ip(&["-n", &bridge, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &bridge, "link", "set", "br0", "up"]);
        for host in 1..=hosts {
            ip(&["netns", "add", &lan.host(host)]);
            ip(&["-n", &lan.host(host), "link", "set", "lo", "up"]);
            lan.plug_in(host);
        }
        lan
    }

    /// Gives a host its `eth0`.
    pub(crate) fn plug_in(&self, host: u8) {
        let (bridge, name, port) = (self.bridge(), self.host(host), format!("p{host}"));
        let mac = format!("02:00:00:00:00:{host:02x}");
        let link = ["-n", &name, "link"];
        let veth = [
            "add", "eth0", "address", &mac, "type", "veth", "peer", "name", &port, "netns", &bridge,
        ];
        ip(&[&link[..], &veth].concat());
        ip(&["-n", &bridge, "link", "set", &port, "master", "br0", "up"]);
        let address = format!("192.0.2.{host}/24");
        ip(&["-n", &name, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", &name, "link", "set", "eth0", "up"]);
    }

    /// Gives the hosts IPv6: `eth0` of host n has fd00::n/64 and a link-local address from the start.
    pub(crate) fn with_ipv6(self) -> Self {
        for host in 1..=self.hosts {
            self.inside(host, || {
                // The addresses need no second in which nobody may use them.
                for (setting, value) in [("accept_dad", "0"), ("router_solicitations", "0")] {
                    let path = format!("/proc/sys/net/ipv6/conf/eth0/{setting}");
                    std::fs::write(path, value).expect("the kernel has IPv6");
                }
            });
            self.ip(host, &["link", "set", "eth0", "down"]);
            self.ip(host, &["link", "set", "eth0", "up"]);
            let address = format!("fd00::{host}/64");
            self.ip(host, &["address", "add", &address, "dev", "eth0", "nodad"]);
        }
        self
    }

    /// Name of a host's namespace.
    pub(crate) fn host(&self, host: u8) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Name of the bridge's namespace.
    pub(crate) fn bridge(&self) -> String {
        format!("{}-br", self.prefix)
    }

    /// Runs `ip -n HOST …`.
    pub(crate) fn ip(&self, host: u8, arguments: &[&str]) -> String {
        let name = self.host(host);
        ip(&[&["-n", &name], arguments].concat())
    }

    /// Runs a function on a thread inside a host.
    pub(crate) fn inside<T: Send>(&self, host: u8, function: impl FnOnce() -> T + Send) -> T {
        let name = self.host(host);
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    enter(&name);
                    function()
                })
                .join()
                .expect("a test's thread ends without a panic")
        })
    }

    /// Whether a host has a VIP on an interface now.
    pub(crate) fn has(&self, host: u8, interface: &str, address: impl Into<IpAddr>) -> bool {
        let wanted = match address.into() {
            IpAddr::V4(address) => format!("inet {address}/32"),
            IpAddr::V6(address) => format!("inet6 {address}/128"),
        };
        self.ip(host, &["-o", "address", "show", "dev", interface])
            .contains(&wanted)
    }
}

/// Deletes the namespaces of processes that are gone: one that was killed had no time for it.
fn sweep() {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten();
    for name in names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let owner = owner.and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            // Two processes may sweep at once.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let hosts = (1..=self.hosts).map(|host| self.host(host));
        for name in hosts.chain([self.bridge()]) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

/// Moves the calling thread into a namespace.
pub(crate) fn enter(name: &str) {
    let file = File::open(format!("/run/netns/{name}")).expect("the namespace was made");
    setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
}

/// Runs ip(8).
pub(crate) fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Room for a busy machine; `FMC_LB_ROOM=1` asserts the bounds themselves.
pub(crate) fn room() -> u32 {
    let set = std::env::var("FMC_LB_ROOM").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Waits for a condition; says how long that took.
pub(crate) fn wait_for(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    loop {
        if condition() {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}
