//! Faults. Each gives an [`Undo`] that mends it when it is dropped.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::pause::Paused;
use crate::process::signal_all;
use crate::{Lab, Node, command};

/// Mends a fault, at the latest when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it mends the fault at once"]
pub struct Undo {
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Run(&'static str, Vec<String>),
    Continue(Vec<Pid>),
    Resume(Paused),
}

impl Undo {
    fn run(program: &'static str, line: &[&str]) -> Self {
        let line = line.iter().map(|word| (*word).to_owned()).collect();
        Self {
            steps: vec![Step::Run(program, line)],
        }
    }

    /// Mends it now.
    ///
    /// # Errors
    /// When a part cannot be mended; the others are.
    pub fn now(mut self) -> Result<()> {
        self.mend()
    }

    fn mend(&mut self) -> Result<()> {
        let mut result = Ok(());
        for step in self.steps.drain(..) {
            let done = match step {
                Step::Run(program, line) => {
                    let line: Vec<&str> = line.iter().map(String::as_str).collect();
                    command::run(program, &line).map(drop)
                }
                Step::Continue(pids) => {
                    signal_all(&pids, Signal::SIGCONT);
                    Ok(())
                }
                Step::Resume(mut paused) => paused.resume(),
            };
            if result.is_ok() {
                result = done.context("mend a fault");
            }
        }
        result
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // The namespaces go soon; what cannot be mended goes with them.
        drop(self.mend());
    }
}

/// The machine's switch port goes down: the machine is lost, and sees that its carrier is gone.
///
/// When it is mended the kernel acts on the new carrier at once or, if the last change is younger than a second, after
/// that second: for an exact end of a cut use [`port_silent`].
///
/// # Errors
/// When `ip` fails.
pub fn port_down(lab: &Lab, node: Node) -> Result<Undo> {
    Cut::arm(lab, node)?.fire()
}

/// A switch port that will go down at once when told to: `ip` already runs and waits for its line.
#[derive(Debug)]
pub struct Cut {
    child: Child,
    input: ChildStdin,
    line: String,
    undo: Vec<String>,
}

impl Cut {
    /// Prepares it.
    ///
    /// # Errors
    /// When `ip` does not start.
    pub fn arm(lab: &Lab, node: Node) -> Result<Self> {
        let switch = lab.node(node.switch()).name();
        let mut child = Command::new("ip")
            .args(["-n", switch, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start ip")?;
        let input = child.stdin.take().context("ip has no standard input")?;
        let undo = ["-n", switch, "link", "set", node.name(), "up"]
            .map(str::to_owned)
            .to_vec();
        Ok(Self {
            child,
            input,
            line: format!("link set {node} down\n"),
            undo,
        })
    }

    /// Pulls the plug.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn fire(self) -> Result<Undo> {
        let Self {
            mut child,
            mut input,
            line,
            undo,
        } = self;
        input.write_all(line.as_bytes()).context("tell ip")?;
        drop(input);
        let status = child.wait().context("wait for ip")?;
        if !status.success() {
            bail!("ip did not {line}: {status}");
        }
        Ok(Undo {
            steps: vec![Step::Run("ip", undo)],
        })
    }
}

/// The switch passes no frame from or to the machine any more; the carrier stays, so the machine does not know.
///
/// # Errors
/// When `bridge` fails.
pub fn port_silent(lab: &Lab, node: Node) -> Result<Undo> {
    let switch = lab.node(node.switch()).name();
    let line = |state| {
        [
            "-n",
            switch,
            "link",
            "set",
            "dev",
            node.name(),
            "state",
            state,
        ]
    };
    command::run("bridge", &line("0"))?;
    Ok(Undo::run("bridge", &line("3")))
}

/// The switch delivers frames to this machine's own hardware address only, as a hypervisor that permits no second one.
/// What goes to everybody still arrives.
///
/// # Errors
/// When `bridge` fails.
pub fn second_mac_refused(lab: &Lab, node: Node) -> Result<Undo> {
    let switch = lab.node(node.switch()).name();
    let (port, mac) = (node.name(), node.mac());
    command::run(
        "bridge",
        &[
            "-n", switch, "fdb", "replace", &mac, "dev", port, "master", "static",
        ],
    )?;
    let port = |state| {
        [
            "-n", switch, "link", "set", "dev", port, "learning", state, "flood", state,
        ]
    };
    command::run("bridge", &port("off"))?;
    Ok(Undo::run("bridge", &port("on")))
}

/// IP protocol 112 between the load balancers is dropped at their switch ports; everything else passes.
///
/// # Errors
/// When the kernel has neither `act_gact` nor `act_mirred` with `ifb`.
pub fn protocol_112_dropped(lab: &Lab) -> Result<Undo> {
    let switch = lab.node(Node::LanSwitch).name();
    let mut undo = Undo { steps: Vec::new() };
    for node in Node::LBS {
        let device = node.name();
        command::run(
            "tc",
            &["-n", switch, "qdisc", "add", "dev", device, "clsact"],
        )?;
        let line = ["-n", switch, "qdisc", "del", "dev", device, "clsact"].map(str::to_owned);
        undo.steps.push(Step::Run("tc", line.to_vec()));
        drop_112(switch, device)?;
    }
    Ok(undo)
}

fn drop_112(switch: &str, device: &str) -> Result<()> {
    let filter = |action: &[&str]| {
        let mut line = vec!["-n", switch, "filter", "add", "dev", device, "ingress"];
        line.extend([
            "protocol", "ip", "u32", "match", "ip", "protocol", "112", "0xff",
        ]);
        line.extend(action);
        command::run("tc", &line)
    };
    if filter(&["action", "drop"]).is_ok() {
        return Ok(());
    }
    // Kernels without act_gact: into a device that is down.
    let sink = format!("ifb-{device}");
    if command::run("ip", &["-n", switch, "link", "show", &sink]).is_err() {
        command::run("ip", &["-n", switch, "link", "add", &sink, "type", "ifb"])?;
    }
    filter(&["action", "mirred", "egress", "redirect", "dev", &sink])
        .context("drop protocol 112")?;
    Ok(())
}

/// The switch loses frames of the load balancers at random, of every kind: `percent` of those that each one sends.
///
/// # Errors
/// When `nft` refuses.
pub fn frames_lost(lab: &Lab, percent: u8) -> Result<Undo> {
    let switch = lab.node(Node::LanSwitch).name();
    let nft = |line: &str| lab.nft(Node::LanSwitch, line);
    nft("add table netdev fault")?;
    let undo = [
        "netns", "exec", switch, "nft", "delete", "table", "netdev", "fault",
    ];
    let undo = Undo::run("ip", &undo);
    for node in Node::LBS {
        let chain = node.name();
        nft(&format!(
            "add chain netdev fault {chain} {{ type filter hook ingress device {chain} priority 0 ; }}"
        ))?;
        nft(&format!(
            "add rule netdev fault {chain} numgen random mod 100 < {percent} drop"
        ))?;
    }
    Ok(undo)
}

/// Nobody hears what a load balancer says of itself any more, by adverts or on the pair channel; it hears the others.
///
/// # Errors
/// When `nft` refuses.
pub fn speaks_to_nobody(lab: &Lab, node: Node) -> Result<Undo> {
    let device = node.name();
    let rules = [
        "ip protocol 112 drop",
        "ip6 nexthdr 112 drop",
        "udp dport 9601 drop",
    ];
    let hook = format!("type filter hook ingress device {device} priority 0 ;");
    let table = format!("refusal_{device}");
    refuse(lab, (node.switch(), "netdev", &table), &hook, &rules)
}

/// The load balancers reach each other no more, and everybody else does reach them: the switch isolates their ports.
///
/// # Errors
/// When `bridge` fails.
pub fn nodes_apart(lab: &Lab) -> Result<Undo> {
    let mut undo = Undo { steps: Vec::new() };
    for node in Node::LBS {
        let switch = lab.node(node.switch()).name();
        let line = |state| {
            [
                "-n",
                switch,
                "link",
                "set",
                "dev",
                node.name(),
                "isolated",
                state,
            ]
        };
        command::run("bridge", &line("on"))?;
        undo.steps
            .push(Step::Run("bridge", line("off").map(str::to_owned).to_vec()));
    }
    Ok(undo)
}

/// A load balancer's own firewall drops the adverts that arrive.
///
/// # Errors
/// When `nft` refuses.
pub fn protocol_112_refused(lab: &Lab, node: Node) -> Result<Undo> {
    let hook = "type filter hook input priority 0 ;";
    refuse(
        lab,
        (node, "inet", "refusal"),
        hook,
        &["ip protocol 112 drop"],
    )
}

/// Adds a chain with these rules to a table of its own.
fn refuse(
    lab: &Lab,
    (place, family, table): (Node, &'static str, &str),
    hook: &str,
    rules: &[&str],
) -> Result<Undo> {
    let name = lab.node(place).name();
    let nft = |line: &str| {
        let mut words = vec!["netns", "exec", name, "nft"];
        words.extend(line.split_whitespace());
        command::run("ip", &words)
    };
    nft(&format!("add table {family} {table}"))?;
    let undo = [
        "netns", "exec", name, "nft", "delete", "table", family, table,
    ];
    let undo = Undo::run("ip", &undo);
    nft(&format!("add chain {family} {table} rules {{ {hook} }}"))?;
    for rule in rules {
        nft(&format!("add rule {family} {table} rules {rule}"))?;
    }
    Ok(undo)
}

/// Somebody deletes a VIP from `eth0` by hand. Nothing mends that but the balancer.
///
/// # Errors
/// When the node does not hold the VIP.
pub fn address_deleted(lab: &Lab, node: Node, vip: Ipv4Addr) -> Result<()> {
    let listed = lab.ip(node, "-o -4 addr show dev eth0")?;
    let wanted = format!("{vip}/");
    let found = listed
        .split_whitespace()
        .find(|word| word.starts_with(&wanted));
    let Some(address) = found else {
        bail!("{node} has no {vip} on eth0");
    };
    lab.ip(node, &format!("addr del {address} dev eth0"))
        .map(drop)
}

/// The machine is paused as a guest is: its processes stand still, its link buffers both ways, and all goes on when it is
/// mended. The kernel's timers (lifetimes of addresses) cannot be stopped and run on.
///
/// # Errors
/// When the kernel has no `sch_tbf`.
pub fn paused(lab: &Lab, node: Node) -> Result<Undo> {
    Ok(Undo {
        steps: vec![Step::Resume(Paused::pause(lab, node)?)],
    })
}

/// The same for so long; returns how long it really was.
///
/// # Errors
/// When the kernel has no `sch_tbf`.
pub fn pause_for(lab: &Lab, node: Node, length: Duration) -> Result<Duration> {
    Paused::pause(lab, node)?.resume_after(length)
}

/// SIGSTOP now, SIGCONT when it is mended.
pub fn stopped(pids: &[Pid]) -> Undo {
    signal_all(pids, Signal::SIGSTOP);
    Undo {
        steps: vec![Step::Continue(pids.to_vec())],
    }
}

/// Busy loops that compete for the processor until dropped.
#[derive(Debug)]
pub struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Starts so many.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(count: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut busy = Self {
            stop,
            threads: Vec::new(),
        };
        for _ in 0..count {
            let ending = Arc::clone(&busy.stop);
            let thread = std::thread::Builder::new()
                .name("busy".to_owned())
                .spawn(move || {
                    while !ending.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            busy.threads.push(thread.context("start a busy loop")?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
