//! The baseline: Debian's HAProxy and Keepalived, set up as the reference site has them, with its mistakes mended (the
//! check script works, adverts are VRRPv3 so that intervals below a second are possible).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::balancer::{Balancer, Part, Settings};
use crate::process::{Process, kill_together, processes};
use crate::{Lab, Node, keepalived};

/// The program, where Debian puts it.
const HAPROXY: &str = "/usr/sbin/haproxy";
/// A stop or a kill is over within this.
const GONE: Duration = Duration::from_secs(10);

/// A pair of HAProxy + Keepalived. Dropping it kills what runs.
#[derive(Debug)]
pub struct HaproxyKeepalived {
    lab: Lab,
    running: BTreeMap<Node, Running>,
}

/// What Keepalived speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    V3,
    /// Version 2 with this password, as the reference site has it: intervals of whole seconds.
    V2(&'static str),
}

#[derive(Debug)]
struct Running {
    haproxy: Process,
    keepalived: Process,
}

impl HaproxyKeepalived {
    /// Writes the configuration of both nodes.
    ///
    /// # Errors
    /// When the programs are not installed or a file cannot be written.
    pub fn new(lab: &Lab, settings: &Settings) -> Result<Self> {
        Self::speaking(lab, settings, Dialect::V3)
    }

    /// The same in another dialect.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn speaking(lab: &Lab, settings: &Settings, dialect: Dialect) -> Result<Self> {
        for program in [HAPROXY, keepalived::PROGRAM] {
            if !Path::new(program).exists() {
                bail!("no {program}: the baseline needs Debian's packages haproxy and keepalived");
            }
        }
        for node in Node::LBS {
            // So the site lets HAProxy listen on a VIP that the other node has.
            lab.sysctl(node, "net.ipv4.ip_nonlocal_bind", "1")?;
            write(&file(lab, node, "haproxy.cfg"), &haproxy_config())?;
            write(
                &file(lab, node, "keepalived.conf"),
                &keepalived_config(lab, node, settings, dialect),
            )?;
            write(&file(lab, node, "check.sh"), &check_script(lab, node))?;
            make_executable(&file(lab, node, "check.sh"))?;
        }
        Ok(Self {
            lab: lab.clone(),
            running: BTreeMap::new(),
        })
    }

    fn running(&mut self, node: Node) -> Result<&mut Running> {
        let running = self.running.get_mut(&node);
        running.with_context(|| format!("no HAProxy + Keepalived on {node}"))
    }

    fn start_haproxy(&self, node: Node) -> Result<Process> {
        let config = file(&self.lab, node, "haproxy.cfg").display().to_string();
        let process = Process::start(&self.lab, node, "haproxy", &[HAPROXY, "-db", "-f", &config])?;
        let pid = file(&self.lab, node, "haproxy.pid");
        write(&pid, &format!("{}\n", process.pid()))?;
        Ok(process)
    }

    /// Ends Keepalived alone, as an administrator does who wants the VIPs elsewhere.
    ///
    /// # Errors
    /// When it does not run, or not end.
    pub fn stop_keepalived(&mut self, node: Node) -> Result<()> {
        self.running(node)?.keepalived.stop(GONE)?;
        Ok(())
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When nothing runs on the node, or it does not start.
    pub fn start_keepalived(&mut self, node: Node) -> Result<()> {
        let keepalived = self.spawn_keepalived(node)?;
        self.running(node)?.keepalived = keepalived;
        Ok(())
    }

    /// Keepalived's processes on a node, parent and child.
    ///
    /// # Errors
    /// When none runs.
    pub fn keepalived(&self, node: Node) -> Result<Vec<Pid>> {
        let parts: Vec<_> = processes(&self.lab, node)
            .into_iter()
            .filter(|seen| {
                let program = seen.arguments.first();
                program.is_some_and(|word| word == keepalived::PROGRAM)
            })
            .map(|seen| seen.pid)
            .collect();
        ensure!(!parts.is_empty(), "no keepalived runs on {node}");
        Ok(parts)
    }

    fn spawn_keepalived(&self, node: Node) -> Result<Process> {
        let path = |name: &str| file(&self.lab, node, name);
        let pids = [&*path("keepalived.pid"), &*path("keepalived-vrrp.pid")];
        keepalived::spawn(&self.lab, node, &path("keepalived.conf"), pids)
    }
}

impl Balancer for HaproxyKeepalived {
    fn name(&self) -> &'static str {
        "HAProxy + Keepalived"
    }

    fn start(&mut self, node: Node) -> Result<()> {
        let haproxy = self.start_haproxy(node)?;
        let keepalived = self.spawn_keepalived(node)?;
        let mut evidence = self.lab.evidence();
        evidence.log(format!("{node} haproxy"), haproxy.log());
        evidence.log(format!("{node} keepalived"), keepalived.log());
        drop(evidence);
        self.running.insert(
            node,
            Running {
                haproxy,
                keepalived,
            },
        );
        Ok(())
    }

    fn ask_to_stop(&mut self, node: Node) -> Result<()> {
        let running = self.running(node)?;
        running.keepalived.signal(Signal::SIGTERM)?;
        running.haproxy.signal(Signal::SIGTERM)
    }

    fn stop(&mut self, node: Node) -> Result<()> {
        let mut running = self.running.remove(&node).context("it runs")?;
        running.keepalived.stop(GONE)?;
        running.haproxy.stop(GONE)?;
        Ok(())
    }

    fn kill_all(&mut self, node: Node) -> Result<()> {
        let Some(mut running) = self.running.remove(&node) else {
            return Ok(());
        };
        let all: Vec<_> = processes(&self.lab, node)
            .into_iter()
            .map(|seen| seen.pid)
            .collect();
        kill_together(&all);
        running.haproxy.kill()?;
        running.keepalived.kill()
    }

    fn kill_part(&mut self, node: Node, part: Part) -> Result<bool> {
        match part {
            Part::Proxy => {
                // Collected at once: a check by `kill -0` takes an uncollected process for alive.
                self.running(node)?.haproxy.kill()?;
                Ok(true)
            }
            Part::Vrrp | Part::Supervisor => {
                let parts = self.keepalived(node)?;
                kill_together(&parts);
                self.running(node)?.keepalived.kill()?;
                Ok(true)
            }
            Part::Admin => Ok(false),
        }
    }
}

impl Drop for HaproxyKeepalived {
    fn drop(&mut self) {
        for node in Node::LBS {
            // What is left dies with its namespace.
            drop(self.kill_all(node));
        }
    }
}

fn file(lab: &Lab, node: Node, name: &str) -> PathBuf {
    lab.folder().join(format!("{node}-{name}"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))
}

/// The site's template: TCP mode, its timeouts and checks; maxconn raised so that 8,000 held sessions fit.
fn haproxy_config() -> String {
    let mut text = String::from(
        "global\n    maxconn 9000\n\ndefaults\n    mode tcp\n    timeout connect 5s\n    \
         timeout client 60s\n    timeout server 60s\n    retries 3\n",
    );
    section(
        &mut text,
        "k8s_api",
        "192.168.0.10:6443",
        &Node::MASTERS,
        6_443,
    );
    section(
        &mut text,
        "ingress_http",
        "192.168.0.14:80",
        &Node::WORKERS,
        80,
    );
    section(
        &mut text,
        "ingress_https",
        "192.168.0.14:443",
        &Node::WORKERS,
        443,
    );
    text
}

fn section(text: &mut String, name: &str, bind: &str, servers: &[Node], port: u16) {
    let written = (|| {
        write!(
            text,
            "\nfrontend {name}\n    bind {bind}\n    default_backend {name}_backend\n"
        )?;
        write!(
            text,
            "\nbackend {name}_backend\n    balance roundrobin\n    option tcp-check\n"
        )?;
        servers.iter().try_for_each(|node| {
            let address = node.address();
            writeln!(
                text,
                "    server {node} {address}:{port} check inter 3s fall 3 rise 2"
            )
        })
    })();
    written.expect("writing into a string cannot fail");
}

fn keepalived_config(lab: &Lab, node: Node, settings: &Settings, dialect: Dialect) -> String {
    let state = if node == Node::Lb1 {
        "MASTER"
    } else {
        "BACKUP"
    };
    let priority = settings.priority(node);
    let advert = settings.advert.as_secs_f64();
    let check = file(lab, node, "check.sh");
    let (version, password) = match dialect {
        Dialect::V3 => (3, String::new()),
        Dialect::V2(password) => (
            2,
            format!(
                "    authentication {{\n        auth_type PASS\n        auth_pass {password}\n    }}\n"
            ),
        ),
    };
    let instance = |name: &str, vrid: u8, vip: &str| {
        format!(
            "vrrp_instance {name} {{\n    state {state}\n    interface eth0\n    \
             virtual_router_id {vrid}\n    priority {priority}\n    advert_int {advert}\n{password}    \
             virtual_ipaddress {{\n        {vip}/32\n    }}\n    track_script {{\n        \
             chk_haproxy\n    }}\n    track_interface {{\n        eth0\n    }}\n}}\n"
        )
    };
    format!(
        "global_defs {{\n    router_id {node}\n    vrrp_version {version}\n    script_user root\n}}\n\
         vrrp_script chk_haproxy {{\n    script \"{}\"\n    interval 1\n    fall 2\n    rise 1\n}}\n{}{}",
        check.display(),
        instance("VI_API", 51, "192.168.0.10"),
        instance("VI_INGRESS", 52, "192.168.0.14"),
    )
}

/// The site asks for a process of that name; here the other node's would answer for it, so it is asked by its id.
fn check_script(lab: &Lab, node: Node) -> String {
    format!(
        "#!/bin/sh\nexec kill -0 \"$(cat {})\"\n",
        file(lab, node, "haproxy.pid").display()
    )
}
