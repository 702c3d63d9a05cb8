//! What happens to lb1, and the like of it where HAProxy + Keepalived has the VIPs.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::balancer::{Balancer as _, Part};
use lab::baseline::HaproxyKeepalived;
use lab::{Lab, Node, fault};
use nix::sys::signal::Signal;

use crate::is_full;
use crate::site::Site;

/// Between two handovers.
const BETWEEN: Duration = Duration::from_millis(200);

pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) bound: Bound,
    pub(crate) act: fn(&mut Site) -> Result<()>,
    /// The same with the baseline, or what its users do instead. `None`: it has no such thing.
    pub(crate) beside: Option<Beside>,
}

pub(crate) type Beside = fn(&mut HaproxyKeepalived, &Lab) -> Result<()>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Nothing,
    /// But for idle sessions that are closed in order.
    Drain,
    /// What is lost is counted.
    Counted,
}

impl Event {
    const fn lossless(name: &'static str, act: fn(&mut Site) -> Result<()>) -> Self {
        Self {
            name,
            bound: Bound::Nothing,
            act,
            beside: None,
        }
    }

    const fn counted(name: &'static str, act: fn(&mut Site) -> Result<()>) -> Self {
        Self {
            bound: Bound::Counted,
            ..Self::lossless(name, act)
        }
    }

    const fn beside(self, act: Beside) -> Self {
        Self {
            beside: Some(act),
            ..self
        }
    }
}

/// In this order, each from lb1 as the active node of all VIPs.
pub(crate) const EVENTS: [Event; 12] = [
    Event::lossless("handover there and back", hand_over).beside(|pair, _| {
        for _ in 0..rounds() {
            away_and_back(pair)?;
        }
        Ok(())
    }),
    Event::lossless("failback by preemption", fail_back).beside(|pair, _| away_and_back(pair)),
    Event::lossless("SIGKILL of vrrp", |site| kill(site, Part::Vrrp))
        .beside(|pair, _| pair.kill_part(Node::Lb1, Part::Vrrp).map(drop)),
    Event::lossless("SIGKILL of admin", |site| kill(site, Part::Admin)),
    Event::lossless("SIGKILL of the supervisor", |site| {
        kill(site, Part::Supervisor)?;
        site.pair.service_manager(Node::Lb1)
    }),
    Event::lossless("2 s without protocol 112", |site| {
        without_protocol_112(&site.lab)
    })
    .beside(|_, lab| without_protocol_112(lab)),
    Event::lossless("2 s without adverts and pair channel", |site| {
        speechless(&site.lab)
    })
    .beside(|_, lab| speechless(lab)),
    Event::lossless("pause of 150 ms", |site| pause(&site.lab, 150))
        .beside(|_, lab| pause(lab, 150)),
    Event::lossless("pause of 400 ms", |site| pause(&site.lab, 400))
        .beside(|_, lab| pause(lab, 400)),
    Event::lossless("SIGSTOP of vrrp for 3 s", |site| {
        let pid = site.pair.pid(Node::Lb1, Part::Vrrp)?;
        let fault = fault::stopped(&[pid]);
        std::thread::sleep(Duration::from_secs(3));
        fault.now()
    })
    .beside(|pair, _| {
        let fault = fault::stopped(&pair.keepalived(Node::Lb1)?);
        std::thread::sleep(Duration::from_secs(3));
        fault.now()
    }),
    Event::counted("pause of 3 s", |site| pause(&site.lab, 3_000))
        .beside(|_, lab| pause(lab, 3_000)),
    Event::counted("nodes cut off from each other for 3 s", |site| {
        apart(&site.lab)
    })
    .beside(|_, lab| apart(lab)),
];

/// The last one of a site: lb1 drains for ten minutes.
pub(crate) const STOP: Event = Event {
    name: "clean stop with drain",
    bound: Bound::Drain,
    act: stop,
    beside: Some(|pair, _| pair.ask_to_stop(Node::Lb1)),
};

/// A command, which has to succeed.
pub(crate) fn say(site: &Site, node: Node, arguments: &[&str]) -> Result<()> {
    let output = site.pair.command(node, arguments)?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?} on {node}: {why}");
    Ok(())
}

fn rounds() -> usize {
    if is_full() { 10 } else { 2 }
}

fn hand_over(site: &mut Site) -> Result<()> {
    for _ in 0..rounds() {
        there_and_back(site)?;
    }
    Ok(())
}

pub(crate) fn there_and_back(site: &Site) -> Result<()> {
    for (from, to) in [(Node::Lb1, Node::Lb2), (Node::Lb2, Node::Lb1)] {
        say(site, from, &["handover"])?;
        site.wait("the other one holds all VIPs", |site| site.holds_all(to))?;
        std::thread::sleep(BETWEEN);
    }
    Ok(())
}

/// Keepalived knows no handover: its users stop it and start it again, and HAProxy runs on.
fn away_and_back(pair: &mut HaproxyKeepalived) -> Result<()> {
    pair.stop_keepalived(Node::Lb1)?;
    std::thread::sleep(BETWEEN);
    pair.start_keepalived(Node::Lb1)?;
    // Three adverts missed, and what a start takes.
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn fail_back(site: &mut Site) -> Result<()> {
    say(site, Node::Lb1, &["maintenance", "on"])?;
    site.wait("lb2 holds all VIPs", |site| site.holds_all(Node::Lb2))?;
    std::thread::sleep(BETWEEN);
    say(site, Node::Lb1, &["maintenance", "off"])
}

fn kill(site: &mut Site, part: Part) -> Result<()> {
    site.pair.kill_part(Node::Lb1, part).map(drop)
}

fn without_protocol_112(lab: &Lab) -> Result<()> {
    let fault = fault::protocol_112_dropped(lab)?;
    std::thread::sleep(Duration::from_secs(2));
    fault.now()
}

fn speechless(lab: &Lab) -> Result<()> {
    let faults = [
        fault::speaks_to_nobody(lab, Node::Lb1)?,
        fault::speaks_to_nobody(lab, Node::Lb2)?,
    ];
    std::thread::sleep(Duration::from_secs(2));
    faults.into_iter().try_for_each(fault::Undo::now)
}

fn pause(lab: &Lab, millis: u64) -> Result<()> {
    fault::pause_for(lab, Node::Lb1, Duration::from_millis(millis)).map(drop)
}

fn apart(lab: &Lab) -> Result<()> {
    let fault = fault::nodes_apart(lab)?;
    std::thread::sleep(Duration::from_secs(3));
    fault.now()
}

fn stop(site: &mut Site) -> Result<()> {
    site.pair
        .signal(Node::Lb1, Part::Supervisor, Signal::SIGTERM)?;
    site.wait("lb2 holds all VIPs", |site| site.holds_all(Node::Lb2))?;
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}
