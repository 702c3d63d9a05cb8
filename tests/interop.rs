//! Beside Debian's Keepalived on the other node: who holds the VIP after each event, and how soon.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::Balancer as _;
use lab::fmclb::FmcLb;
use lab::keepalived::Keepalived;
use lab::topology::{API_VIP, WEB_VIP_V6};
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
    ipv6: bool,
    preempt: bool,
    /// A route follows the VIP.
    followed: bool,
}

const V2: Dialect = Dialect {
    name: "v2",
    interval: Duration::from_secs(1),
    ours: "version = 2\nadvert_interval = \"1s\"",
    theirs: "version 2\n    advert_int 1",
    unicast: false,
    ipv6: false,
    preempt: true,
    followed: false,
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
    ipv6: false,
    preempt: true,
    followed: false,
};

const V3_UNICAST: Dialect = Dialect {
    name: "v3 by unicast",
    ours: "advert_interval = \"100ms\"\ntransport = \"unicast\"",
    unicast: true,
    ..V3
};

const V3_IPV6: Dialect = Dialect {
    name: "v3 over IPv6",
    ipv6: true,
    ..V3
};

const V3_IPV6_UNICAST: Dialect = Dialect {
    name: "v3 over IPv6 by unicast",
    ipv6: true,
    ..V3_UNICAST
};

const V3_FOLLOWED: Dialect = Dialect {
    name: "v3 with a route",
    followed: true,
    ..V3
};

/// What follows the VIP then.
const ROUTE: &str = "10.99.0.0/16";

/// What the adverts of fmc-lb's IPv6 VIP begin with, VRID 51, where the file names nothing else.
const LINK_LOCAL: &str = "fe80::200:5eff:fe00:233";

impl Dialect {
    fn vip(self) -> IpAddr {
        if self.ipv6 {
            WEB_VIP_V6.into()
        } else {
            API_VIP.into()
        }
    }

    /// As Keepalived has it.
    fn virtual_addresses(self) -> Vec<String> {
        if self.ipv6 {
            vec![format!("{LINK_LOCAL}/64"), format!("{WEB_VIP_V6}/128")]
        } else {
            vec![format!("{API_VIP}/32")]
        }
    }

    /// Where adverts by unicast go.
    fn address(self, node: Node) -> String {
        if self.ipv6 {
            node.link_local().to_string()
        } else {
            node.address().to_string()
        }
    }

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
        if dialect.ipv6 {
            lab.enable_ipv6()?;
        }
        let theirs = other(ours);
        let vip = dialect.vip();
        let length = if dialect.ipv6 { 64 } else { 24 };
        let link_local = |node: Node| match (dialect.ipv6, dialect.unicast) {
            (true, true) => format!("link_local = \"{}\"\n", node.link_local()),
            _ => String::new(),
        };
        let config = format!(
            "[nodes.lb1]\naddress = \"{}\"\n{}priority = {ours}\n\n\
             [nodes.lb2]\naddress = \"{}\"\n{}priority = {theirs}\nruns = \"keepalived\"\n\n\
             [pair]\ninterface = \"eth0\"\n\n\
             [vrrp]\n{}\n{}\n\n\
             [vips.api]\naddress = \"{vip}/{length}\"\nvrid = 51\n{}\n\
             [listeners.api]\nbind = [\"vips.api:6443\"]\nbackend = \"api\"\nrequired = false\n\n\
             [backends.api]\nservers = [\"10.17.4.21:6443\"]\nprobe = \"off\"\n",
            Node::Lb1.address(),
            link_local(Node::Lb1),
            Node::Lb2.address(),
            link_local(Node::Lb2),
            if dialect.preempt {
                "preempt_delay = \"0s\""
            } else {
                "preempt = false"
            },
            dialect.ours,
            if dialect.followed {
                format!(
                    "routes = [{{ to = \"{ROUTE}\", via = \"{}\" }}]\n",
                    Node::Client.address()
                )
            } else {
                String::new()
            },
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
        let config = self.keepalived_config(self.priority(node));
        self.keepalived = Some(Keepalived::start(&self.lab, node, &config)?);
        Ok(())
    }

    /// Of lb2. Over IPv6 its adverts by unicast have a hop limit of 64 unless it is told otherwise.
    fn keepalived_config(&self, priority: u8) -> String {
        let unicast = format!(
            "    unicast_src_ip {}\n    unicast_ttl 255\n    unicast_peer {{\n        {}\n    }}\n",
            self.dialect.address(Node::Lb2),
            self.dialect.address(Node::Lb1),
        );
        let routes = if self.dialect.followed {
            let via = Node::Client.address();
            format!("    virtual_routes {{\n        {ROUTE} via {via} dev eth0\n    }}\n")
        } else {
            String::new()
        };
        format!(
            "global_defs {{\n    router_id lb2\n}}\nvrrp_instance api {{\n    state BACKUP\n    \
             interface eth0\n    virtual_router_id 51\n    priority {priority}\n    {}\n{}{}{routes}    \
             virtual_ipaddress {{\n        {}\n    }}\n}}\n",
            self.dialect.theirs,
            if self.dialect.preempt {
                ""
            } else {
                "    nopreempt\n"
            },
            if self.dialect.unicast { &unicast } else { "" },
            self.dialect.virtual_addresses().join("\n        "),
        )
    }

    fn stop(&mut self, node: Node) -> Result<()> {
        if node == Node::Lb1 {
            return self.fmc_lb.stop(node);
        }
        self.keepalived.take().context("it runs")?.stop()
    }

    /// As when the machine is lost: what a program leaves on its interface goes with it.
    fn kill(&mut self, node: Node) -> Result<()> {
        if node == Node::Lb1 {
            self.fmc_lb.kill_all(node)?;
        } else {
            self.keepalived.take().context("it runs")?.kill()?;
            for address in self.dialect.virtual_addresses() {
                self.lab.ip(node, &format!("addr del {address} dev eth0"))?;
            }
        }
        if self.dialect.followed {
            self.lab.ip(node, &format!("route del {ROUTE}"))?;
        }
        Ok(())
    }

    /// Who has the route that follows the VIP.
    fn with_route(&self) -> Result<Vec<Node>> {
        let mut with = Vec::new();
        for node in Node::LBS {
            let shown = self.lab.ip(node, &format!("route show {ROUTE}"))?;
            with.extend((!shown.trim().is_empty()).then_some(node));
        }
        Ok(with)
    }

    fn priority(&self, node: Node) -> u8 {
        if node == Node::Lb1 {
            self.ours
        } else {
            other(self.ours)
        }
    }

    /// After the event that just came, `node` alone holds the VIP within the bound, and for as long as it
    /// is watched.
    fn expect(&self, event: &str, node: Node, bound: Duration) -> Result<()> {
        let start = Instant::now();
        let what = format!("{event}: {node} alone holds the VIP");
        let holds = || lease::holder(&self.lab, self.dialect.vip()) == Some(node);
        // Nobody may need the silence of a node that has resigned.
        let silence = self.dialect.active_down(LOW);
        let room = if bound < silence / 4 {
            silence * 3 / 4
        } else {
            bound * 2 + ROOM
        };
        self.lab.wait_until(room, &what, holds)?;
        println!(
            "{}, fmc-lb {}: {event}: {:?} (bound {bound:?})",
            self.dialect.name,
            self.ours,
            start.elapsed()
        );
        let quiet = Instant::now();
        // Long enough for a node that has just been started to take it by mistake.
        let watched = self.dialect.active_down(LOW) * 3;
        while quiet.elapsed() < watched.min(Duration::from_secs(1)) {
            let holders = lease::holders(&self.lab, self.dialect.vip());
            ensure!(holders == [node], "{what}, but then: {holders:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.dialect.followed {
            let with = self.with_route()?;
            ensure!(with == [node], "{what}, and the route is at {with:?}");
        }
        Ok(())
    }

    /// The nodes with the higher and with the lower priority.
    fn ranks(&self) -> (Node, Node) {
        if self.ours == HIGH {
            (Node::Lb1, Node::Lb2)
        } else {
            (Node::Lb2, Node::Lb1)
        }
    }

    /// One after the other is lost and returns.
    fn come_and_go(&mut self) -> Result<()> {
        let (high, low) = self.ranks();
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

    /// Whoever has it keeps it.
    fn without_preemption(&mut self) -> Result<()> {
        let (high, low) = self.ranks();
        let dialect = self.dialect;
        self.start(low)?;
        self.expect("start of the lower", low, dialect.active_down(LOW))?;
        self.start(high)?;
        self.expect("start of the higher", low, dialect.active_down(HIGH))?;
        self.stop(low)?;
        self.expect("clean stop of the lower", high, dialect.skew(HIGH))?;
        self.start(low)?;
        self.expect("return of the lower", high, dialect.active_down(LOW))?;
        self.kill(high)?;
        self.expect("loss of the higher", low, dialect.active_down(LOW))?;
        self.start(high)?;
        self.expect("return of the higher", low, dialect.active_down(HIGH))
    }

    /// Keepalived's falls below ours and rises again.
    fn priority_changes(&mut self) -> Result<()> {
        let dialect = self.dialect;
        self.start(Node::Lb1)?;
        self.start(Node::Lb2)?;
        self.expect("start", Node::Lb2, dialect.active_down(HIGH) * 2)?;
        for (priority, node) in [(LOW - 1, Node::Lb1), (HIGH, Node::Lb2)] {
            let config = self.keepalived_config(priority);
            let keepalived = self.keepalived.as_mut().context("it runs")?;
            keepalived.reload(&config)?;
            let event = format!("Keepalived's priority becomes {priority}");
            self.expect(&event, node, dialect.active_down(LOW))?;
        }
        Ok(())
    }
}

/// What happens in a case.
type Story = fn(&mut Mixed) -> Result<()>;

/// Both ways round, side by side: they mostly wait.
fn cases(dialects: &[Dialect], story: Story) -> Result<()> {
    let both = dialects.iter().flat_map(|one| [(*one, HIGH), (*one, LOW)]);
    side_by_side(both, story)
}

fn side_by_side(cases: impl Iterator<Item = (Dialect, u8)>, story: Story) -> Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .map(|(dialect, ours)| {
                scope.spawn(move || {
                    let mut mixed = Mixed::new(dialect, ours)?;
                    let name = format!("interop-{}-{ours}", dialect.name.replace(' ', "-"));
                    let lab = mixed.lab.clone();
                    let body = || story(&mut mixed);
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
    cases(&[V2, V2_PASS], Mixed::come_and_go)
}

#[test]
fn ka_47_version_3_by_multicast_and_unicast() -> Result<()> {
    cases(&[V3, V3_UNICAST], Mixed::come_and_go)
}

#[test]
fn ka_47_version_3_over_ipv6_by_multicast_and_unicast() -> Result<()> {
    cases(&[V3_IPV6, V3_IPV6_UNICAST], Mixed::come_and_go)
}

#[test]
fn a_route_follows_the_vip_from_keepalived_to_fmc_lb_and_back() -> Result<()> {
    cases(&[V3_FOLLOWED], Mixed::come_and_go)
}

#[test]
fn ka_52_without_preemption_nobody_takes_it_from_a_living_node() -> Result<()> {
    let keeping = [V3, V3_IPV6].map(|dialect| Dialect {
        preempt: false,
        ..dialect
    });
    cases(&keeping, Mixed::without_preemption)
}

#[test]
fn a_keepalived_whose_priority_changes_gives_the_vip_up_and_takes_it_back() -> Result<()> {
    let below = [V3, V3_IPV6].map(|dialect| (dialect, LOW));
    side_by_side(below.into_iter(), Mixed::priority_changes)
}
