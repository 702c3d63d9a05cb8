//! Beside Debian's Keepalived on the other node: who holds the VIP after each event, and how soon after it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod dialect;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::Balancer as _;
use lab::fmclb::FmcLb;
use lab::keepalived::Keepalived;
use lab::lease::LeaseWatch;
use lab::{Lab, Node, capture, limits};

use crate::dialect::{Dialect, V2, V2_PASS, V3, V3_FOLLOWED, V3_IPV6, V3_IPV6_UNICAST, V3_UNICAST};

const BINARY: &str = env!("CARGO_BIN_EXE_fmc-lb");
const HIGH: u8 = 250;
const LOW: u8 = 240;
/// What a busy machine adds to a time that the protocol computes: several pairs at once, one Keepalived of each without
/// real-time priority, and the look at the addresses.
const ROOM: Duration = Duration::from_millis(75);
/// Until a program that was started speaks.
const START: Duration = Duration::from_secs(1);
/// Until Keepalived, which was told to read its file again, has done so.
const RELOAD: Duration = Duration::from_millis(100);
/// At least so long nothing may change any more.
const WATCHED: Duration = Duration::from_secs(1);
/// A last advert may come so much before an event at most, beside the interval.
const EARLY: Duration = Duration::from_millis(10);

/// What follows the VIP then.
const ROUTE: &str = "10.99.0.0/16";
/// An interface of lb1 whose carrier takes so much from its priority that Keepalived's is higher.
const TRACKER: &str = "[trackers.card]\nkind = \"interface\"\ninterface = \"eth1\"\ninterval = \"100ms\"\nweight = -11\n";
/// Until a carrier that is back counts: two looks in a row, and it has to stay for a moment.
const TRACKED: Duration = Duration::from_millis(400);

/// The other node's priority.
const fn other(priority: u8) -> u8 {
    if priority == HIGH { LOW } else { HIGH }
}

/// What was done, and since when it counts.
struct Event {
    what: String,
    at: Instant,
    /// What it takes itself before the protocol's time begins.
    slack: Duration,
    /// How long the address stays where it was, if nobody takes it away.
    left: Duration,
    /// Nobody said anything: the other one has to miss adverts.
    silent: bool,
}

impl Event {
    fn now(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at: Instant::now(),
            slack: Duration::ZERO,
            left: Duration::ZERO,
            silent: false,
        }
    }
}

/// lb1 runs fmc-lb, lb2 Keepalived.
struct Mixed {
    lab: Lab,
    dialect: Dialect,
    /// Of lb1.
    ours: u8,
    fmc_lb: FmcLb,
    keepalived: Option<Keepalived>,
    leases: LeaseWatch,
}

impl Mixed {
    fn new(dialect: Dialect, ours: u8) -> Result<Self> {
        let lab = Lab::start()?;
        if dialect.ipv6 {
            lab.enable_ipv6()?;
        }
        for line in [
            "link add eth1 type veth peer name cable",
            "link set cable up",
            "link set eth1 up",
        ] {
            lab.ip(Node::Lb1, line)?;
        }
        let fmc_lb = FmcLb::new(&lab, Path::new(BINARY), &our_config(dialect, ours))?;
        Ok(Self {
            leases: LeaseWatch::start(&lab, dialect.vip())?,
            lab,
            dialect,
            ours,
            fmc_lb,
            keepalived: None,
        })
    }

    fn start(&mut self, node: Node) -> Result<Event> {
        let event = Event {
            slack: START,
            ..Event::now(format!("start of {node}"))
        };
        if node == Node::Lb1 {
            self.fmc_lb.start(node)?;
        } else {
            let config = self.keepalived_config(self.priority(node));
            self.keepalived = Some(Keepalived::start(&self.lab, node, &config)?);
        }
        Ok(event)
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

    fn stop(&mut self, node: Node) -> Result<Event> {
        let event = Event::now(format!("clean stop of {node}"));
        if node == Node::Lb1 {
            self.fmc_lb.stop(node)?;
        } else {
            self.keepalived.take().context("it runs")?.stop()?;
        }
        Ok(event)
    }

    /// SIGKILL of all processes. What Keepalived leaves on its interface goes, as it does when the machine is lost; what
    /// fmc-lb leaves the kernel takes away.
    fn kill(&mut self, node: Node) -> Result<Event> {
        let mut event = Event {
            silent: true,
            ..Event::now(format!("SIGKILL of {node}"))
        };
        if node == Node::Lb1 {
            self.fmc_lb.kill_all(node)?;
            event.left = self.dialect.lease(self.ours);
        } else {
            self.keepalived.take().context("it runs")?.kill()?;
            for address in self.dialect.virtual_addresses() {
                self.lab.ip(node, &format!("addr del {address} dev eth0"))?;
            }
        }
        if self.dialect.followed {
            self.lab.ip(node, &format!("route del {ROUTE}"))?;
        }
        Ok(event)
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

    /// Who has held the VIP since when.
    fn holders(&self) -> (Vec<Node>, Instant) {
        let mut intervals = self.leases.intervals();
        let last = intervals.pop().expect("time passes");
        (last.holders, last.from)
    }

    /// `node` takes the VIP within the bound after the event, holds it alone by then, and goes on. The bound is the
    /// protocol's; what is measured is the time of the kernels' changes.
    fn expect(&self, event: &Event, node: Node, bound: Duration) -> Result<()> {
        let what = format!("{}: {node} alone holds the VIP", event.what);
        let taken_by = event.slack + bound + ROOM;
        let alone_by = taken_by.max(event.left + ROOM);
        let alone = || self.holders().0 == [node];
        let limit = alone_by.saturating_sub(event.at.elapsed()) + ROOM;
        self.lab.wait_until(limit, &what, alone)?;
        // Long enough for a node that has just been started to take it by mistake.
        std::thread::sleep(WATCHED);
        let (holders, since) = self.holders();
        ensure!(holders == [node], "{what}, but then: {holders:?}");
        let changes = self.leases.changes();
        let mut gains = changes.iter().filter(|one| one.holds && one.node == node);
        let gain = gains.find(|one| one.at > event.at);
        let taken = gain.context("it was seen to take it")?.at - event.at;
        let alone = since - event.at;
        println!(
            "{}, fmc-lb {}: {}: {node} takes it after {taken:?} (bound {bound:?}), alone after {alone:?}",
            self.dialect.name, self.ours, event.what
        );
        ensure!(
            taken <= taken_by,
            "{what} after {taken:?}, not {taken_by:?}"
        );
        ensure!(
            alone <= alone_by,
            "{what} alone after {alone:?}, not {alone_by:?}"
        );
        if event.silent {
            let soonest = bound.saturating_sub(self.dialect.interval + EARLY);
            ensure!(
                taken >= soonest,
                "{what} after {taken:?} already: who told it?"
            );
        }
        self.route_is_at(node)
    }

    /// The event moves nothing, though it would within the bound.
    fn expect_no_move(&self, event: &Event, node: Node, bound: Duration) -> Result<()> {
        let end = event.at + event.slack + bound + ROOM;
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        let (holders, since) = self.holders();
        let what = format!("{}: {node} keeps the VIP", event.what);
        ensure!(
            holders == [node] && since < event.at,
            "{what}, not {holders:?}"
        );
        println!("{}, fmc-lb {}: {what}", self.dialect.name, self.ours);
        self.route_is_at(node)
    }

    fn route_is_at(&self, node: Node) -> Result<()> {
        if self.dialect.followed {
            let with = self.with_route()?;
            ensure!(
                with == [node],
                "{node} holds the VIP, and the route is at {with:?}"
            );
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
        self.start(low)?;
        let both = self.start(high)?;
        self.expect(&both, high, dialect.active_down(HIGH))?;
        let stopped = self.stop(high)?;
        self.expect(&stopped, low, dialect.skew(LOW))?;
        let returned = self.start(high)?;
        self.expect(&returned, high, dialect.active_down(HIGH))?;
        let killed = self.kill(high)?;
        self.expect(&killed, low, dialect.active_down(LOW))?;
        let returned = self.start(high)?;
        self.expect(&returned, high, dialect.active_down(HIGH))
    }

    /// Whoever has it keeps it.
    fn without_preemption(&mut self) -> Result<()> {
        let (high, low) = self.ranks();
        let dialect = self.dialect;
        let alone = self.start(low)?;
        self.expect(&alone, low, dialect.active_down(LOW))?;
        let higher = self.start(high)?;
        self.expect_no_move(&higher, low, dialect.active_down(HIGH))?;
        let stopped = self.stop(low)?;
        self.expect(&stopped, high, dialect.skew(HIGH))?;
        let returned = self.start(low)?;
        self.expect_no_move(&returned, high, dialect.active_down(LOW))?;
        let killed = self.kill(high)?;
        self.expect(&killed, low, dialect.active_down(LOW))?;
        let returned = self.start(high)?;
        self.expect_no_move(&returned, low, dialect.active_down(HIGH))
    }

    /// That of the higher one falls below the other's and rises again.
    fn priority_changes(&mut self) -> Result<()> {
        let (high, low) = self.ranks();
        let dialect = self.dialect;
        self.start(low)?;
        let both = self.start(high)?;
        self.expect(&both, high, dialect.active_down(HIGH))?;
        let lowered = self.rank_high(LOW - 1)?;
        self.expect(&lowered, low, dialect.active_down(LOW))?;
        let raised = self.rank_high(HIGH)?;
        self.expect(&raised, high, dialect.active_down(HIGH))
    }

    /// Gives the higher node another priority while it runs: Keepalived by its file, fmc-lb by a tracker.
    fn rank_high(&mut self, priority: u8) -> Result<Event> {
        let event = Event::now(format!("priority {priority}"));
        if self.ours == LOW {
            let config = self.keepalived_config(priority);
            let keepalived = self.keepalived.as_mut().context("it runs")?;
            keepalived.reload(&config)?;
            return Ok(Event {
                slack: RELOAD,
                ..event
            });
        }
        let (state, slack) = if priority == HIGH {
            ("up", TRACKED)
        } else {
            ("down", Duration::ZERO)
        };
        self.lab.ip(Node::Lb1, &format!("link set cable {state}"))?;
        Ok(Event { slack, ..event })
    }
}

fn our_config(dialect: Dialect, ours: u8) -> String {
    let theirs = other(ours);
    let vip = dialect.vip();
    let length = if dialect.ipv6 { 64 } else { 24 };
    let link_local = |node: Node| match (dialect.ipv6, dialect.unicast) {
        (true, true) => format!("link_local = \"{}\"\n", node.link_local()),
        _ => String::new(),
    };
    let routes = if dialect.followed {
        let via = Node::Client.address();
        format!("routes = [{{ to = \"{ROUTE}\", via = \"{via}\" }}]\n")
    } else {
        String::new()
    };
    // A weight that could move nothing is refused.
    let tracker = if dialect.preempt && ours == HIGH {
        TRACKER
    } else {
        ""
    };
    format!(
        "[nodes.lb1]\naddress = \"{}\"\n{}priority = {ours}\n\n\
         [nodes.lb2]\naddress = \"{}\"\n{}priority = {theirs}\nruns = \"keepalived\"\n\n\
         [pair]\ninterface = \"eth0\"\n\n\
         [vrrp]\n{}\n{}\n\n\
         [vips.api]\naddress = \"{vip}/{length}\"\nvrid = 51\n{routes}\n\
         [listeners.api]\nbind = [\"vips.api:6443\"]\nbackend = \"api\"\nrequired = false\n\n\
         [backends.api]\nservers = [\"10.17.4.21:6443\"]\nprobe = \"off\"\n\n{tracker}",
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
    )
}

/// What happens in a case.
type Story = fn(&mut Mixed) -> Result<()>;

/// Both ways round, side by side: they mostly wait.
fn cases(dialects: &[Dialect], story: Story) -> Result<()> {
    let both = dialects.iter().flat_map(|one| [(*one, HIGH), (*one, LOW)]);
    side_by_side(both, story)
}

fn side_by_side(cases: impl Iterator<Item = (Dialect, u8)>, story: Story) -> Result<()> {
    let _turn = limits::measure_alone()?;
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
fn ka_52_without_preemption_nobody_takes_it_from_a_living_node_of_version_2() -> Result<()> {
    let keeping = [V2, V2_PASS].map(Dialect::keeping);
    cases(&keeping, Mixed::without_preemption)
}

#[test]
fn ka_52_without_preemption_nobody_takes_it_from_a_living_node() -> Result<()> {
    let keeping = [V3, V3_UNICAST].map(Dialect::keeping);
    cases(&keeping, Mixed::without_preemption)
}

#[test]
fn ka_52_without_preemption_nobody_takes_it_from_a_living_node_over_ipv6() -> Result<()> {
    let keeping = [V3_IPV6, V3_IPV6_UNICAST].map(Dialect::keeping);
    cases(&keeping, Mixed::without_preemption)
}

#[test]
fn whose_priority_falls_below_the_others_gives_the_vip_up_and_takes_it_back() -> Result<()> {
    cases(&[V3, V3_UNICAST], Mixed::priority_changes)
}

#[test]
fn whose_priority_falls_gives_the_vip_up_over_ipv6_and_in_version_2_too() -> Result<()> {
    cases(&[V2, V3_IPV6], Mixed::priority_changes)
}
