//! fmc-lb on one node and another program on the other: what is done to them, and who holds the VIPs how soon after it.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::Balancer as _;
use lab::fmclb::FmcLb;
use lab::lease::LeaseWatch;
use lab::{Lab, Node};

use crate::dialect::{Dialect, ROUTE, VRID};
use crate::other::Other;

const BINARY: &str = env!("CARGO_BIN_EXE_fmc-lb");
pub(crate) const HIGH: u8 = 250;
pub(crate) const LOW: u8 = 240;
/// What a busy machine adds to a time that the protocol computes: several pairs at once, the other program of each
/// without real-time priority, and the look at the addresses.
const ROOM: Duration = Duration::from_millis(75);
/// Until a program that was started speaks.
const START: Duration = Duration::from_secs(1);
/// At least so long nothing may change any more.
const WATCHED: Duration = Duration::from_secs(1);
/// A last advert may come so much before an event at most, beside the interval.
const EARLY: Duration = Duration::from_millis(10);

/// An interface of lb1 whose carrier takes so much from its priority that the other node's is higher.
const TRACKER: &str = "[trackers.card]\nkind = \"interface\"\ninterface = \"eth1\"\ninterval = \"100ms\"\nweight = -11\n";
/// Until a carrier that is back counts: two looks in a row, and it has to stay for a moment.
const TRACKED: Duration = Duration::from_millis(400);

/// The other node's priority.
const fn other(priority: u8) -> u8 {
    if priority == HIGH { LOW } else { HIGH }
}

/// What was done, and since when it counts.
pub(crate) struct Event {
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

/// lb1 runs fmc-lb, lb2 another program.
pub(crate) struct Mixed {
    pub(crate) lab: Lab,
    dialect: Dialect,
    /// Of lb1.
    pub(crate) ours: u8,
    fmc_lb: FmcLb,
    other: Option<Other>,
    /// One for each VIP.
    leases: Vec<(IpAddr, LeaseWatch)>,
}

impl Mixed {
    pub(crate) fn new(dialect: Dialect, ours: u8) -> Result<Self> {
        let lab = Lab::start()?;
        if dialect.has_ipv6() {
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
        let vips = dialect.vips().into_iter();
        let leases = vips.map(|vip| Ok((vip, LeaseWatch::start(&lab, vip)?)));
        Ok(Self {
            leases: leases.collect::<Result<_>>()?,
            lab,
            dialect,
            ours,
            fmc_lb,
            other: None,
        })
    }

    pub(crate) fn start(&mut self, node: Node) -> Result<Event> {
        let event = Event::now(format!("start of {node}"));
        if node == Node::Lb1 {
            self.fmc_lb.start(node)?;
        } else {
            let priority = self.priority(node);
            self.other = Some(Other::start(&self.lab, self.dialect, priority)?);
        }
        Ok(Event {
            slack: START.max(event.at.elapsed()),
            ..event
        })
    }

    pub(crate) fn stop(&mut self, node: Node) -> Result<Event> {
        let event = Event::now(format!("clean stop of {node}"));
        if node == Node::Lb1 {
            self.fmc_lb.stop(node)?;
        } else {
            self.other.take().context("it runs")?.stop()?;
        }
        Ok(event)
    }

    /// SIGKILL of all processes. What fmc-lb leaves the kernel takes away.
    pub(crate) fn kill(&mut self, node: Node) -> Result<Event> {
        let mut event = Event {
            silent: true,
            ..Event::now(format!("SIGKILL of {node}"))
        };
        if node == Node::Lb1 {
            self.fmc_lb.kill_all(node)?;
            event.left = self.dialect.lease(self.ours);
        } else {
            let other = self.other.take().context("it runs")?;
            other.kill(&self.lab, self.dialect)?;
        }
        if self.dialect.followed {
            self.lab.ip(node, &format!("route del {ROUTE}"))?;
        }
        Ok(event)
    }

    /// Gives the higher node another priority while it runs; a tracker of fmc-lb does.
    pub(crate) fn rank_high(&mut self, priority: u8) -> Result<Event> {
        let event = Event::now(format!("priority {priority}"));
        let slack = if self.ours == LOW {
            let other = self.other.as_mut().context("it runs")?;
            other.rank(self.dialect, priority)? + event.at.elapsed()
        } else {
            let (state, slack) = match priority {
                HIGH => ("up", TRACKED),
                _ => ("down", Duration::ZERO),
            };
            self.lab.ip(Node::Lb1, &format!("link set cable {state}"))?;
            slack
        };
        Ok(Event { slack, ..event })
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

    pub(crate) fn skew(&self, node: Node) -> Duration {
        self.dialect.skew(node, self.priority(node))
    }

    pub(crate) fn active_down(&self, node: Node) -> Duration {
        self.dialect.active_down(node, self.priority(node))
    }

    /// `node` takes each VIP within the bound after the event, holds it alone by then, and goes on. The bound is the
    /// protocol's; what is measured is the time of the kernels' changes.
    pub(crate) fn expect(&self, event: &Event, node: Node, bound: Duration) -> Result<()> {
        let what = format!("{}: {node} alone holds the VIPs", event.what);
        let taken_by = event.slack + bound + ROOM;
        let alone_by = |vip| {
            let heard_by = taken_by + self.dialect.unheard(node, vip);
            heard_by.max(event.left + ROOM)
        };
        let last = self.leases.iter().map(|(vip, _)| alone_by(*vip)).max();
        let limit = last.context("there is a VIP")? + ROOM;
        let alone = || {
            let mut watches = self.leases.iter();
            watches.all(|(_, watch)| holders(watch).0 == [node])
        };
        let left = limit.saturating_sub(event.at.elapsed());
        self.lab.wait_until(left, &what, alone)?;
        // Long enough for a node that has just been started to take it by mistake.
        std::thread::sleep(WATCHED);
        for (vip, watch) in &self.leases {
            let what = format!("{}: {node} alone holds {vip}", event.what);
            let (holders, since) = holders(watch);
            ensure!(holders == [node], "{what}, but then: {holders:?}");
            let changes = watch.changes();
            let mut gains = changes.iter().filter(|one| one.holds && one.node == node);
            let gain = gains.find(|one| one.at > event.at);
            let taken = gain.context("it was seen to take it")?.at - event.at;
            let (alone, alone_by) = (since - event.at, alone_by(*vip));
            println!(
                "{}, fmc-lb {}: {}: {node} takes {vip} after {taken:?} (bound {bound:?}), alone after {alone:?}",
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
        }
        self.route_is_at(node)
    }

    /// The event moves nothing, though it would within the bound.
    pub(crate) fn expect_no_move(&self, event: &Event, node: Node, bound: Duration) -> Result<()> {
        let end = event.at + event.slack + bound + ROOM;
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        for (vip, watch) in &self.leases {
            let (holders, since) = holders(watch);
            let what = format!("{}: {node} keeps {vip}", event.what);
            ensure!(
                holders == [node] && since < event.at,
                "{what}, not {holders:?}"
            );
            println!("{}, fmc-lb {}: {what}", self.dialect.name, self.ours);
        }
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
}

/// Who has held a VIP since when.
fn holders(watch: &LeaseWatch) -> (Vec<Node>, Instant) {
    let mut intervals = watch.intervals();
    let last = intervals.pop().expect("time passes");
    (last.holders, last.from)
}

fn our_config(dialect: Dialect, ours: u8) -> String {
    let theirs = other(ours);
    let link_local = |node: Node| match (dialect.has_ipv6(), dialect.unicast) {
        (true, true) => format!("link_local = \"{}\"\n", node.link_local()),
        _ => String::new(),
    };
    let routes = if dialect.followed {
        let via = Node::Client.address();
        format!("routes = [{{ to = \"{ROUTE}\", via = \"{via}\" }}]\n")
    } else {
        String::new()
    };
    let mut vips = String::new();
    let mut listeners = String::new();
    for vip in dialect.vips() {
        let (name, length) = if vip.is_ipv6() {
            ("api6", 64)
        } else {
            ("api", 24)
        };
        vips += &format!("[vips.{name}]\naddress = \"{vip}/{length}\"\nvrid = {VRID}\n{routes}\n");
        listeners += &format!(
            "[listeners.{name}]\nbind = [\"vips.{name}:6443\"]\nbackend = \"api\"\nrequired = false\n\n"
        );
    }
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
         {vips}{listeners}\
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
