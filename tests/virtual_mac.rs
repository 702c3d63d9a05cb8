//! VIPs at the hardware address of their virtual router, which moves with them.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, print what they saw, and listen to what is on the wire"
)]

mod site;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};
use lab::client::{self, Speak};
use lab::held::{Held, Plan};
use lab::packet::PacketSocket;
use lab::prober::{Prober, Question};
use lab::topology::{WEB_VIP, WEB_VIP_V6};
use lab::{Node, fault, lease};
use nix::sys::signal::Signal;

use crate::site::{Site, config_at, metric, web};

/// Of the web VIP, VRID 52 (RFC 9568, section 7.3), over IPv4 and IPv6.
const WEB_MAC: &str = "00:00:5e:00:01:34";
const WEB_MAC_V6: &str = "00:00:5e:00:02:34";
const WEB_INTERFACE: &str = "vrrp4-52";
const HELD: Plan = Plan {
    count: 50,
    ping: Some(Duration::from_millis(20)),
};

fn config() -> String {
    config_at(Duration::from_millis(100)).replace(
        "[vrrp]",
        "[vrrp]\nvirtual_mac = \"auto\"\npreempt_delay = \"1s\"",
    )
}

/// Where the client sends what is for a VIP, once somebody has answered it.
fn neighbour(site: &Site, vip: impl Into<IpAddr>) -> Result<String> {
    let line = format!("neigh show {} dev eth0", vip.into());
    let said = site.lab.ip(Node::Client, &line)?;
    let mut words = said.split_whitespace();
    let mac = words
        .by_ref()
        .find(|word| *word == "lladdr")
        .and_then(|_| words.next());
    mac.map(str::to_owned).with_context(|| format!("{said:?}"))
}

/// Whether a node accepts frames to the web VIP's own address: `None` = it has no such interface.
fn accepts(site: &Site, node: Node) -> Option<bool> {
    let said = site
        .lab
        .ip(node, &format!("link show dev {WEB_INTERFACE}"))
        .ok()?;
    Some(said.contains(",UP") || said.contains("<UP"))
}

fn both_forward(site: &Site) -> Result<()> {
    site.wait("both nodes forward", |site| {
        Node::LBS.into_iter().all(|node| {
            site.pair
                .status(node)
                .is_ok_and(|status| status["forwarding"]["peer_forwards"] == true)
        })
    })
}

/// Whoever sends adverts of the web VIP, by the hardware address of the frame.
fn sender_of_adverts(site: &Site) -> Result<String> {
    site.lab.run_in(Node::Client, || {
        let packets = PacketSocket::open("eth0", &[])?;
        let mut frame = [0; 128];
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            let Some(read) = packets.receive(&mut frame, Duration::from_millis(500))? else {
                continue;
            };
            // IPv4, protocol 112, VRID 52.
            let is_advert = read.kept > 36 && frame[12..14] == [8, 0] && frame[23] == 112;
            if is_advert && frame[35] == 52 {
                let mac = frame[6..12].iter().map(|byte| format!("{byte:02x}"));
                return Ok(mac.collect::<Vec<_>>().join(":"));
            }
        }
        anyhow::bail!("no advert in two seconds")
    })
}

#[test]
fn a_vip_moves_and_its_hardware_address_with_it() -> Result<()> {
    Site::start(&config(), Service::Echo)?.watched("virtual-mac", |site| {
        both_forward(site)?;
        client::who(&site.lab, Node::Client, web(), Speak::Echo)?;
        ensure!(neighbour(site, WEB_VIP)? == WEB_MAC);
        ensure!(sender_of_adverts(site)? == WEB_MAC);
        ensure!(accepts(site, Node::Lb1) == Some(true));
        ensure!(accepts(site, Node::Lb2) == Some(false), "a backup accepts");
        let status = site.pair.status(Node::Lb1)?;
        ensure!(status["vips"][1]["mac"] == WEB_MAC, "{}", status["vips"]);
        let series = "fmc_lb_vrrp_vip_virtual_mac{vip=\"web\"}";
        ensure!(metric(site, Node::Lb1, series)? == 1.0);

        // The client learns nothing any more: with another address it would be lost.
        let line = format!("neigh replace {WEB_VIP} lladdr {WEB_MAC} dev eth0 nud permanent");
        site.lab.ip(Node::Client, &line)?;
        let held = Held::open(&site.lab, web(), HELD)?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        let begun = Instant::now();
        for (from, to) in [(Node::Lb1, Node::Lb2), (Node::Lb2, Node::Lb1)] {
            let handed = site.pair.command(from, &["handover"])?;
            ensure!(handed.status.success(), "{handed:?}");
            ensure!(site.holds_both(to), "{to} does not hold the VIPs");
        }
        // vrrp dies: the last will, and the way back by preemption.
        site.pair.signal(Node::Lb1, Part::Vrrp, Signal::SIGKILL)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        site.wait("lb1 takes its VIPs back", |site| site.holds_both(Node::Lb1))?;
        site.wait("only lb1 accepts", |site| {
            accepts(site, Node::Lb1) == Some(true) && accepts(site, Node::Lb2) == Some(false)
        })?;
        std::thread::sleep(Duration::from_millis(500));
        let report = prober.finish()?;
        let (failed, outage) = (report.failures(begun), report.outage(begun));
        println!(
            "held: {} broken; new: {} good, {failed:?}, longest gap {:?}",
            held.broken(),
            report.good.len(),
            outage.gap
        );
        ensure!(held.settled().broken() == 0, "{:?}", held.report());
        ensure!(failed.is_empty(), "new connections failed: {failed:?}");
        ensure!(
            rivals(site)? == [0.0, 0.0],
            "somebody was taken for a rival"
        );
        drop(held);
        taken_away(site)
    })
}

fn rivals(site: &Site) -> Result<[f64; 2]> {
    let claims = |node| metric(site, node, "fmc_lb_vrrp_rival_claims_total{vip=\"web\"}");
    Ok([claims(Node::Lb1)?, claims(Node::Lb2)?])
}

/// Somebody removes the interface: the VIP stays, at the other address, and goes back when it is made again. A stop
/// leaves none.
fn taken_away(site: &mut Site) -> Result<()> {
    let line = format!("neigh del {WEB_VIP} dev eth0");
    site.lab.ip(Node::Client, &line)?;
    let removed = Instant::now();
    site.lab
        .ip(Node::Lb1, &format!("link del dev {WEB_INTERFACE}"))?;
    let own = |site: &Site| {
        let status = site.pair.status(Node::Lb1).ok()?;
        status["vips"][1]["mac"].as_str().map(str::to_owned)
    };
    site.wait("the VIP is at lb1's own address", |site| {
        own(site).is_some_and(|mac| mac == Node::Lb1.mac())
    })?;
    println!("at lb1's own address after {:?}", removed.elapsed());
    ensure!(site.holds_both(Node::Lb1), "it went to lb2");
    client::who(&site.lab, Node::Client, web(), Speak::Echo)?;
    ensure!(neighbour(site, WEB_VIP)? == Node::Lb1.mac());
    site.lab.wait_until(
        Duration::from_secs(20),
        "the VIP is at its own address again",
        || own(site).as_deref() == Some(WEB_MAC),
    )?;
    client::who(&site.lab, Node::Client, web(), Speak::Echo)?;
    ensure!(neighbour(site, WEB_VIP)? == WEB_MAC, "nobody was told");
    // All are killed: the next ones find what is left.
    site.pair.kill_all(Node::Lb1)?;
    site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 has its VIPs again", |site| {
        site.holds_both(Node::Lb1) && own(site).as_deref() == Some(WEB_MAC)
    })?;
    site.pair.stop(Node::Lb1)?;
    ensure!(accepts(site, Node::Lb1).is_none(), "lb1 has left something");
    ensure!(site.holds_both(Node::Lb2), "lb2 does not hold the VIPs");
    Ok(())
}

#[test]
fn where_no_second_address_comes_through_a_vip_stays_at_the_first() -> Result<()> {
    let mut site = Site::build(&config(), Service::Echo)?;
    let refused = fault::second_mac_refused(&site.lab, Node::Lb1)?;
    for node in Node::LBS {
        site.pair.start(node)?;
    }
    site.watched("virtual-mac-refused", |site| {
        site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
        let said = |site: &Site, node| {
            let status = site.pair.status(node).unwrap_or_default();
            status["warnings"].to_string().contains("hypervisor")
        };
        site.wait("lb1 says that its network refuses it", |site| {
            said(site, Node::Lb1)
        })?;
        ensure!(!said(site, Node::Lb2), "lb2's network permits it");
        site.wait("lb1's VIPs are at its own address", |site| {
            client::who(&site.lab, Node::Client, web(), Speak::Echo).is_ok()
                && neighbour(site, WEB_VIP).is_ok_and(|mac| mac == Node::Lb1.mac())
        })?;
        // The administrator of the hypervisor permits it.
        drop(refused);
        site.lab.wait_until(
            Duration::from_secs(30),
            "the VIP is at its own address",
            || {
                client::who(&site.lab, Node::Client, web(), Speak::Echo).is_ok()
                    && neighbour(site, WEB_VIP).is_ok_and(|mac| mac == WEB_MAC)
            },
        )?;
        ensure!(!said(site, Node::Lb1), "the warning stays");
        Ok(())
    })
}

#[test]
fn over_ipv6_too() -> Result<()> {
    let config = format!(
        "{}\n[vips.web6]\naddress = \"{WEB_VIP_V6}/64\"\nvrid = 52\n\n\
         [listeners.http6]\nbind = [\"vips.web6:80\"]\nbackend = \"traefik-http\"\n",
        config()
    );
    let mut site = Site::build(&config, Service::Echo)?;
    site.lab.enable_ipv6()?;
    for node in Node::LBS {
        site.pair.start(node)?;
    }
    site.watched("virtual-mac-ipv6", |site| {
        site.wait("lb1 holds it", |site| {
            lease::holders(&site.lab, WEB_VIP_V6) == [Node::Lb1]
        })?;
        both_forward(site)?;
        let to = (WEB_VIP_V6, 80).into();
        client::who(&site.lab, Node::Client, to, Speak::Echo)?;
        ensure!(neighbour(site, WEB_VIP_V6)? == WEB_MAC_V6);
        let held = Held::open(&site.lab, to, HELD)?;
        let handed = site.pair.command(Node::Lb1, &["handover"])?;
        ensure!(handed.status.success(), "{handed:?}");
        let who = client::who(&site.lab, Node::Client, to, Speak::Echo);
        ensure!(who.is_ok(), "{who:?}");
        ensure!(neighbour(site, WEB_VIP_V6)? == WEB_MAC_V6);
        std::thread::sleep(Duration::from_secs(2));
        ensure!(held.settled().broken() == 0, "{:?}", held.report());
        // Nothing but the VIP is on the interface: no address of its own that others would hear of.
        let said = site.lab.ip(Node::Lb2, "-6 addr show dev vrrp6-52")?;
        ensure!(!said.contains("fe80"), "{said}");
        // Where an interface's MTU is below 1280 the kernel has no IPv6, and takes no lease.
        let series = "fmc_lb_vrrp_leases_refused_total{vip=\"web6\"}";
        ensure!(metric(site, Node::Lb2, series)? == 0.0);
        site.lab.ip(Node::Lb2, "link set dev vrrp6-52 mtu 1000")?;
        site.wait("lb2 counts that its kernel refuses the lease", |site| {
            metric(site, Node::Lb2, series).is_ok_and(|refused| refused >= 1.0)
        })?;
        let status = site.pair.status(Node::Lb2)?;
        let refused = &status["vips"][2]["leases_refused"];
        ensure!(refused.as_u64() >= Some(1), "{}", status["vips"]);
        site.wait("lb1 holds it", |site| {
            lease::holders(&site.lab, WEB_VIP_V6) == [Node::Lb1]
        })?;
        Ok(())
    })
}
