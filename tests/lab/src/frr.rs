//! FRR's vrrpd on one node. Its virtual routers live on macvlan devices with the hardware addresses of RFC 9568, section
//! 7.3, which stay there and are switched off ("protodown") where it is no master.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::unistd::{User, chown};
use serde_json::Value;

use crate::process::Process;
use crate::{Lab, Node, command, wait};

/// Where Debian puts its daemons.
const DAEMONS: &str = "/usr/lib/frr";
/// What they run as; another one is not allowed by Debian's build.
const USER: &str = "frr";
/// Of the IPv4 and of the IPv6 router.
pub(crate) const DEVICES: [&str; 2] = ["vrrp4", "vrrp6"];
/// A start or a stop is over within this.
const LIMIT: Duration = Duration::from_secs(10);

/// An IPv4 and an IPv6 virtual router with the same VRID on `eth0`.
#[derive(Debug, Clone)]
pub struct Routers {
    pub vrid: u8,
    pub priority: u8,
    /// Milliseconds, a multiple of ten.
    pub advert_interval: u16,
    /// Whether a higher priority takes the VIPs.
    pub preempt: bool,
    /// IPv4 VIP with its prefix length.
    pub vip: String,
    /// IPv6 VIP with its prefix length.
    pub vip_v6: String,
    /// The IPv6 virtual router's link-local address, which the macvlan device makes of its hardware address.
    pub link_local: String,
}

/// A running vrrpd with its zebra. Dropping it kills both.
#[derive(Debug)]
pub struct Frr {
    lab: Lab,
    node: Node,
    vrid: u8,
    folder: PathBuf,
    vrrpd: Process,
    _zebra: Process,
}

impl Frr {
    /// Makes the devices, if they are not there yet, and starts the daemons.
    ///
    /// # Errors
    /// When they are not installed or do not start.
    pub fn start(lab: &Lab, node: Node, routers: &Routers) -> Result<Self> {
        let folder = lab.folder().join(format!("{node}-frr"));
        if !folder.exists() {
            fs::create_dir(&folder).context("make the folder of FRR")?;
            let user = User::from_name(USER).context("look up FRR's user")?;
            let user =
                user.with_context(|| format!("no user {USER}: install Debian's package frr"))?;
            chown(&folder, Some(user.uid), Some(user.gid)).context("give FRR its folder")?;
        }
        if lab.ip(node, "link show dev vrrp4").is_err() {
            devices(lab, node, routers)?;
        }
        for left in ["zserv.api", "zebra.vty", "vrrpd.vty"] {
            // A killed one leaves them, and they look as if it were up.
            if let Err(error) = fs::remove_file(folder.join(left))
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error).with_context(|| format!("remove {left}"));
            }
        }
        fs::write(folder.join("zebra.conf"), "").context("write zebra.conf")?;
        fs::write(folder.join("vrrpd.conf"), config(routers)).context("write vrrpd.conf")?;
        let daemon = |name: &str| {
            let path = |file: String| folder.join(file).display().to_string();
            let program = format!("{DAEMONS}/{name}");
            if !PathBuf::from(&program).exists() {
                bail!("no {program}: install Debian's package frr");
            }
            let (config, pid) = (path(format!("{name}.conf")), path(format!("{name}.pid")));
            let (socket, vty) = (path("zserv.api".to_owned()), folder.display().to_string());
            let line = [
                &program,
                "-f",
                &config,
                "-i",
                &pid,
                "-z",
                &socket,
                "--vty_socket",
                &vty,
                "-P",
                "0",
                "-u",
                USER,
                "-g",
                USER,
                "--log",
                "stdout",
            ];
            let process = Process::start(lab, node, name, &line)?;
            lab.evidence().log(format!("{node} {name}"), process.log());
            Ok(process)
        };
        let zebra = daemon("zebra")?;
        let ready = || folder.join("zserv.api").exists() && folder.join("zebra.vty").exists();
        wait::wait_until(LIMIT, "zebra is up", ready)?;
        let vrrpd = daemon("vrrpd")?;
        let frr = Self {
            lab: lab.clone(),
            node,
            vrid: routers.vrid,
            folder: folder.clone(),
            vrrpd,
            _zebra: zebra,
        };
        wait::wait_until(LIMIT, "vrrpd is up", || frr.states().is_ok())?;
        Ok(frr)
    }

    /// "Master" or "Backup" of the IPv4 and of the IPv6 router.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn states(&self) -> Result<[String; 2]> {
        let answer: Value = serde_json::from_str(&self.tell(&["show vrrp json"])?)?;
        let state = |family: &str| {
            let status = answer[0][family]["status"].as_str();
            status.map(str::to_owned).context("vrrpd has no router")
        };
        Ok([state("v4")?, state("v6")?])
    }

    /// Gives both routers another priority while they run.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn set_priority(&self, priority: u8) -> Result<()> {
        let set = format!("vrrp {} priority {priority}", self.vrid);
        self.tell(&["configure terminal", "interface eth0", &set])
            .map(drop)
    }

    fn tell(&self, commands: &[&str]) -> Result<String> {
        let folder = self.folder.display().to_string();
        let mut line = vec!["--vty_socket", &folder, "-d", "vrrpd"];
        line.extend(commands.iter().flat_map(|command| ["-c", command]));
        command::run("vtysh", &line)
    }

    /// Kills it, and takes away what it leaves: devices that answer for its addresses.
    ///
    /// # Errors
    /// When it is still there after ten seconds.
    pub fn kill(mut self) -> Result<()> {
        self.vrrpd.kill()?;
        for device in DEVICES {
            self.lab.ip(self.node, &format!("link del {device}"))?;
        }
        Ok(())
    }

    /// Ends it as an administrator does.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<()> {
        self.vrrpd.stop(LIMIT).map(drop)
    }
}

fn devices(lab: &Lab, node: Node, routers: &Routers) -> Result<()> {
    let addresses = [(1, &routers.vip), (2, &routers.vip_v6)];
    for (device, (family, address)) in DEVICES.into_iter().zip(addresses) {
        let mac = format!("00:00:5e:00:{family:02x}:{:02x}", routers.vrid);
        lab.ip(
            node,
            &format!("link add {device} link eth0 address {mac} type macvlan mode bridge"),
        )?;
        if family == 2 {
            for (setting, value) in [("accept_dad", "0"), ("disable_ipv6", "0")] {
                lab.sysctl(node, &format!("net.ipv6.conf.{device}.{setting}"), value)?;
            }
        }
        lab.ip(node, &format!("addr add {address} dev {device}"))?;
        // Until it is a master it does not answer.
        lab.ip(node, &format!("link set {device} protodown on"))?;
        lab.ip(node, &format!("link set {device} up"))?;
    }
    Ok(())
}

/// FRR counts in milliseconds, and knows addresses without their prefix length.
fn config(routers: &Routers) -> String {
    let bare = |address: &str| address.split('/').next().unwrap_or_default().to_owned();
    let vrid = routers.vrid;
    let preempt = match routers.preempt {
        true => String::new(),
        false => format!(" no vrrp {vrid} preempt\n"),
    };
    format!(
        "interface eth0\n vrrp {vrid} version 3\n vrrp {vrid} priority {}\n vrrp {vrid} advertisement-interval {}\n \
         {preempt} vrrp {vrid} ip {}\n vrrp {vrid} ipv6 {}\n vrrp {vrid} ipv6 {}\n",
        routers.priority,
        routers.advert_interval,
        bare(&routers.vip),
        routers.link_local,
        bare(&routers.vip_v6),
    )
}
