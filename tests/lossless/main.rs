//! The promise as a whole: whatever happens to a node whose machine lives, no client loses anything. On-link and routed clients,
//! IPv4 and IPv6; sessions with and without traffic, bulk streams, new connections, all at once.
//!
//! `FMC_LB_LOSSLESS=full` (`scripts/prove lossless`) is the whole of it, HAProxy + Keepalived beside it; without it a short
//! form.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure, connect from ports of their choice, and print what they saw"
)]

mod beside;
mod events;
#[path = "../site/mod.rs"]
mod site;

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::backend::Service;
use lab::flood::SynFlood;
use lab::topology::WEB_VIP;
use lab::traffic::{Clients, Losses, Traffic};
use lab::{Lab, Node};
use socket2::{Domain, Protocol, Socket, Type};

use crate::events::{Bound, EVENTS, STOP, say, there_and_back};
use crate::site::load::{Extent, everybody, of_v4};
use crate::site::{Site, config_with_v6, web};

const TENTH: Duration = Duration::from_millis(100);
/// After an event, before the fate of every session is looked at.
const AFTER: Duration = Duration::from_millis(1_500);

fn is_full() -> bool {
    std::env::var("FMC_LB_LOSSLESS").is_ok_and(|text| text == "full")
}

/// A stopping node lets its sessions end by themselves.
fn config() -> String {
    format!("{}\n[proxy]\ndrain = \"10m\"\n", config_with_v6(TENTH))
}

fn extent() -> Extent {
    match is_full() {
        true => Extent::Full,
        false => Extent::Short,
    }
}

fn clients() -> [Clients; 4] {
    everybody(extent())
}

fn begin() -> Result<Site> {
    let mut site = Site::build(&config(), Service::Echo)?;
    site.start_with_v6()?;
    Ok(site)
}

/// What the clients lose by an event.
fn losses(
    site: &mut Site,
    clients: &[Clients],
    event: impl FnOnce(&mut Site, &Traffic) -> Result<()>,
) -> Result<Losses> {
    let traffic = Traffic::start(&site.lab, clients)?;
    let since = Instant::now();
    site.wait("everybody is served", |_| traffic.is_served(since))?;
    event(site, &traffic)?;
    std::thread::sleep(AFTER);
    traffic.finish()
}

/// Fails with everything that was lost.
#[derive(Default)]
struct Verdict(Vec<String>);

impl Verdict {
    fn note(&mut self, name: &str, bound: Bound, lost: &Losses) {
        println!("{name}: {lost}");
        let is_kept = match bound {
            Bound::Nothing => lost.is_none() && lost.closed == 0 && lost.has_kept_up(),
            Bound::Drain => lost.is_none() && lost.has_kept_up(),
            Bound::Counted => true,
        };
        if !is_kept {
            self.0.push(format!("{name}: {lost}"));
        }
    }

    fn judge(self) -> Result<()> {
        ensure!(self.0.is_empty(), "{}", self.0.join("\n"));
        Ok(())
    }
}

#[test]
fn nothing_is_lost_whatever_happens_to_a_node_whose_machine_lives() -> Result<()> {
    let mut verdict = Verdict::default();
    let mut seen = Vec::new();
    begin()?.watched("lossless", |site| {
        for event in &EVENTS {
            if event.bound == Bound::Counted && !is_full() {
                continue;
            }
            let lost = losses(site, &clients(), |site, _| {
                (event.act)(site)?;
                site.wait_home()
            })?;
            verdict.note(event.name, event.bound, &lost);
            seen.push((event, lost));
        }
        let lost = losses(site, &clients(), |site, _| (STOP.act)(site))?;
        verdict.note(STOP.name, STOP.bound, &lost);
        seen.push((&STOP, lost));
        Ok(())
    })?;
    if is_full() {
        for (event, ours) in &seen {
            println!("== {}", event.name);
            println!("fmc-lb: {ours}");
            match &event.beside {
                Some(act) => println!(
                    "HAProxy + Keepalived: {}",
                    beside::losses(&of_v4(extent()), *act)?
                ),
                None => println!("HAProxy + Keepalived: has nothing of the kind"),
            }
        }
    }
    verdict.judge()
}

#[test]
fn nothing_is_lost_by_a_handover_where_the_network_makes_it_hard() -> Result<()> {
    begin()?.watched("lossless-network", |site| {
        let mut verdict = Verdict::default();
        for node in Node::LBS {
            firewall(&site.lab, node)?;
            for scope in ["all", "default", "eth0"] {
                let setting = format!("net.ipv4.conf.{scope}.rp_filter");
                site.lab.sysctl(node, &setting, "1")?;
            }
        }
        let lost = losses(site, &clients(), |site, _| there_and_back(site))?;
        verdict.note("stateful firewall, rp_filter=1", Bound::Nothing, &lost);

        let lost = losses(site, &clients(), smaller_path)?;
        verdict.note("path MTU lowered between", Bound::Nothing, &lost);

        let lost = losses(site, &clients(), |site, _| reused_ports(site))?;
        verdict.note("200 ports used again and again", Bound::Nothing, &lost);

        let lost = losses(site, &clients(), |site, _| {
            let to = SocketAddrV4::new(WEB_VIP, 80);
            let flood = SynFlood::start(&site.lab, to, 5_000)?;
            std::thread::sleep(Duration::from_secs(1));
            there_and_back(site)?;
            println!("a flood of {} SYNs", flood.sent());
            Ok(())
        })?;
        verdict.note("SYN flood", Bound::Nothing, &lost);

        // The namespaces of one kernel share the secret of their cookies, so that each takes the other's for its own, and
        // with it an echo's stream, whose numbers rise alike. Two machines do not: here new connections alone are looked at.
        for node in Node::LBS {
            site.lab.sysctl(node, "net.ipv4.tcp_syncookies", "2")?;
        }
        let new = clients().map(|clients| Clients {
            pings: 0,
            idle: 0,
            bulk: 0,
            ..clients
        });
        let lost = losses(site, &new, |site, _| there_and_back(site))?;
        verdict.note("tcp_syncookies=2", Bound::Nothing, &lost);
        verdict.judge()
    })
}

/// What firewalld makes of its zone `public` with our services, in both families.
fn firewall(lab: &Lab, node: Node) -> Result<()> {
    for line in [
        "add table inet firewall",
        "add chain inet firewall input { type filter hook input priority 10 ; policy drop ; }",
        "add rule inet firewall input ct state established,related accept",
        "add rule inet firewall input iif lo accept",
        "add rule inet firewall input ct state invalid drop",
        "add rule inet firewall input meta l4proto { icmp, ipv6-icmp, 112 } accept",
        "add rule inet firewall input udp dport 9601 accept",
        "add rule inet firewall input tcp dport { 80, 443, 6443, 9600, 9601 } ct state new,untracked accept",
        "add rule inet firewall input reject with icmpx admin-prohibited",
    ] {
        lab.nft(node, line)?;
    }
    Ok(())
}

/// While the VIPs are away from the node that relays, a link on the way becomes narrow.
fn smaller_path(site: &mut Site, traffic: &Traffic) -> Result<()> {
    say(site, Node::Lb1, &["handover"])?;
    let narrow = format!(
        "route replace {} dev eth1 mtu 1400",
        Node::Master2.address()
    );
    site.lab.ip(Node::Router, &narrow)?;
    let before = traffic.streamed();
    site.wait("every stream goes on", |_| {
        let now = traffic.streamed();
        now.iter()
            .zip(&before)
            .all(|(now, before)| *now > before + 1_000_000)
    })?;
    say(site, Node::Lb2, &["handover"])?;
    site.lab.ip(
        Node::Router,
        &format!("route del {} dev eth1", Node::Master2.address()),
    )?;
    Ok(())
}

/// A client whose connections have the ports of those before them, at whichever node they were.
fn reused_ports(site: &mut Site) -> Result<()> {
    for (round, from) in [Node::Lb1, Node::Lb2, Node::Lb1, Node::Lb2]
        .into_iter()
        .enumerate()
    {
        let failed = site.lab.run_in(Node::Client, || {
            let ports = 2_000..2_200_u16;
            ports.filter(|port| once_from(*port).is_err()).count()
        });
        ensure!(
            failed == 0,
            "{failed} of 200 connections failed in round {round}"
        );
        say(site, from, &["handover"])?;
    }
    Ok(())
}

/// One connection from a port; it is aborted, so that the port is free at once.
fn once_from(port: u16) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.connect_timeout(&web().into(), Duration::from_secs(2))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut greeting = [0; 64];
    let length = (&socket).read(&mut greeting)?;
    ensure!(greeting[..length].starts_with(b"I am "), "no greeting");
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(())
}
