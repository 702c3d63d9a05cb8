//! Beside Debian's Keepalived on the other node: who holds the VIP after each event, and how soon.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::Balancer as _;
use lab::fmclb::FmcLb;
use lab::keepalived::Keepalived;
use lab::topology::API_VIP;
use lab::{Lab, Node, capture, lease};

const BINARY: &str = env!("CARGO_BIN_EXE_fmc-lb");
const HIGH: u8 = 250;
const LOW: u8 = 240;
/// Two programs start, connect and are asked on a machine that does other things too.
const ROOM: Duration = Duration::from_secs(1);

/// What both speak.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    name: &'static str,
    interval: Duration,
    /// Keys of `[vrrp]`.
    ours: &'static str,
    /// Lines of `vrrp_instance`, but for the addresses of unicast.
    theirs: &'static str,
    unicast: bool,
}

const V2: Dialect = Dialect {
    name: "v2",
    interval: Duration::from_secs(1),
    ours: "version = 2\nadvert_interval = \"1s\"",
    theirs: "version 2\n    advert_int 1",
    unicast: false,
};

const V2_PASS: Dialect = Dialect {
    name: "v2 with a password",
    ours: "version = 2\nadvert_interval = \"1s\"\nauth_pass = \"fmclb-01\"",
    theirs: "version 2\n    advert_int 1\n    authentication {\n        auth_type PASS\n        auth_pass fmclb-01\n    }",
    ..V2
};

const V3: Dialect = Dialect {
    name: "v3",
    interval: Duration::from_millis(100),
    ours: "advert_interval = \"100ms\"",
    theirs: "version 3\n    advert_int 0.1",
    unicast: false,
};

const V3_UNICAST: Dialect = Dialect {
    name: "v3 by unicast",
    ours: "advert_interval = \"100ms\"\ntransport = \"unicast\"",
    unicast: true,
    ..V3
};

impl Dialect {
    /// RFC 9568 and RFC 3768, section 6.1.
    fn skew(self, priority: u8) -> Duration {
        let unit = if self.theirs.starts_with("version 2") {
            Duration::from_secs(1)
        } else {
            self.interval
        };
        unit * (256 - u32::from(priority)) / 256
    }

    fn active_down(self, priority: u8) -> Duration {
        self.interval * 3 + self.skew(priority)
    }
}

/// The other node's priority.
const fn other(priority: u8) -> u8 {
    if priority == HIGH { LOW } else { HIGH }
}

/// lb1 runs fmc-lb, lb2 Keepalived.
struct Mixed {
    lab: Lab,
    dialect: Dialect,
    /// Of lb1.
    ours: u8,
    fmc_lb: FmcLb,
    keepalived: Option<Keepalived>,
}

impl Mixed {
    fn new(dialect: Dialect, ours: u8) -> Result<Self> {
        let lab = Lab::start()?;
        let theirs = other(ours);
        let config = format!(
            "[nodes.lb1]\naddress = \"{}\"\npriority = {ours}\n\n\
             [nodes.lb2]\naddress = \"{}\"\npriority = {theirs}\nruns = \"keepalived\"\n\n\
             [pair]\ninterface = \"eth0\"\n\n\
             [vrrp]\npreempt_delay = \"0s\"\n{}\n\n\
             [vips.api]\naddress = \"{API_VIP}/24\"\nvrid = 51\n\n\
             [listeners.api]\nbind = [\"vips.api:6443\"]\nbackend = \"api\"\nrequired = false\n\n\
             [backends.api]\nservers = [\"10.17.4.21:6443\"]\nprobe = \"off\"\n",
            Node::Lb1.address(),
            Node::Lb2.address(),
            dialect.ours,
        );
        let fmc_lb = FmcLb::new(&lab, Path::new(BINARY), &config)?;
        Ok(Self {
            lab,
            dialect,
            ours,
            fmc_lb,
            keepalived: None,
        })
    }

    fn start(&mut self, node: Node) -> Result<()> {
        if node == Node::Lb1 {
            return self.fmc_lb.start(node);
        }
        let unicast = format!(
            "    unicast_src_ip {}\n    unicast_peer {{\n        {}\n    }}\n",
            Node::Lb2.address(),
            Node::Lb1.address(),
        );
        let config = format!(
            "global_defs {{\n    router_id lb2\n}}\nvrrp_instance api {{\n    state BACKUP\n    \
             interface eth0\n    virtual_router_id 51\n    priority {}\n    {}\n{}    \
             virtual_ipaddress {{\n        {API_VIP}/32\n    }}\n}}\n",
            self.priority(node),
            self.dialect.theirs,
            if self.dialect.unicast { &unicast } else { "" },
        );
        self.keepalived = Some(Keepalived::start(&self.lab, node, &config)?);
        Ok(())
    }

    fn stop(&mut self, node: Node) -> Result<()> {
        if node == Node::Lb1 {
            return self.fmc_lb.stop(node);
        }
        self.keepalived.take().context("it runs")?.stop()
    }

    /// As when the machine is lost: what Keepalived leaves on its interface goes with it.
    fn kill(&mut self, node: Node) -> Result<()> {
        if node == Node::Lb1 {
            return self.fmc_lb.kill_all(node);
        }
        self.keepalived.take().context("it runs")?.kill()?;
        let line = format!("addr del {API_VIP}/32 dev eth0");
        self.lab.ip(node, &line).map(drop)
    }

    fn priority(&self, node: Node) -> u8 {
        if node == Node::Lb1 {
            self.ours
        } else {
            other(self.ours)
        }
    }

    /// After the event that just came, `node` alone holds the VIP within the bound, and a second later
    /// still.
    fn expect(&self, event: &str, node: Node, bound: Duration) -> Result<()> {
        let start = Instant::now();
        let what = format!("{event}: {node} alone holds the VIP");
        let holds = || lease::holder(&self.lab, API_VIP) == Some(node);
        self.lab.wait_until(bound * 2 + ROOM, &what, holds)?;
        println!(
            "{}, fmc-lb {}: {event}: {:?} (bound {bound:?})",
            self.dialect.name,
            self.ours,
            start.elapsed()
        );
        let quiet = Instant::now();
        while quiet.elapsed() < self.dialect.active_down(LOW).min(Duration::from_secs(1)) {
            let holders = lease::holders(&self.lab, API_VIP);
            ensure!(holders == [node], "{what}, but then: {holders:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let (high, low) = if self.ours == HIGH {
            (Node::Lb1, Node::Lb2)
        } else {
            (Node::Lb2, Node::Lb1)
        };
        let dialect = self.dialect;
        self.start(Node::Lb1)?;
        self.start(Node::Lb2)?;
        self.expect("start", high, dialect.active_down(HIGH) * 2)?;
        self.stop(high)?;
        self.expect("clean stop", low, dialect.skew(LOW))?;
        self.start(high)?;
        self.expect("return", high, dialect.active_down(HIGH))?;
        self.kill(high)?;
        self.expect("machine lost", low, dialect.active_down(LOW))?;
        self.start(high)?;
        self.expect("return", high, dialect.active_down(HIGH))
    }
}

/// Both ways round, side by side: they mostly wait.
fn cases(dialects: &[Dialect]) -> Result<()> {
    std::thread::scope(|scope| {
        let cases = dialects
            .iter()
            .flat_map(|dialect| [(*dialect, HIGH), (*dialect, LOW)]);
        let running: Vec<_> = cases
            .map(|(dialect, ours)| {
                scope.spawn(move || {
                    let mut mixed = Mixed::new(dialect, ours)?;
                    let name = format!("interop-{}-{ours}", dialect.name.replace(' ', "-"));
                    let lab = mixed.lab.clone();
                    let body = || mixed.run();
                    capture::around(&lab, &name, body)
                        .with_context(|| format!("{}, fmc-lb has priority {ours}", dialect.name))
                })
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|case| case.join().expect("no panic"))
    })
}

#[test]
fn ka_46_version_2_with_and_without_a_password() -> Result<()> {
    cases(&[V2, V2_PASS])
}

#[test]
fn ka_47_version_3_by_multicast_and_unicast() -> Result<()> {
    cases(&[V3, V3_UNICAST])
}
