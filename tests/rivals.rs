//! A foreign machine with a VIP as its own address is named, and does not keep the VIP's clients.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test waits, and sends from a foreign machine"
)]

mod site;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::topology::{API_VIP, WEB_VIP};
use lab::{Node, lease};

use crate::site::{Site, metric, shipped};

/// The other node's hardware address was asked for, and no announcement is on its way any more.
const SETTLED: Duration = Duration::from_secs(3);
/// A claim is answered within a second; twice that for a busy machine.
const DEFENDED: Duration = Duration::from_secs(2);
/// A silent machine is asked each ten seconds.
const FOUND: Duration = Duration::from_secs(15);

#[test]
fn krn_77_whoever_flushes_the_addresses_is_in_the_log_and_the_vips_are_back() -> Result<()> {
    Site::start(shipped(), Service::Echo)?.watched("flushed", |site| {
        let before = site.changes()?;
        let flush = "-4 addr flush dev eth0 label eth0:fmclb";
        site.lab.ip(Node::Lb1, flush)?;
        site.wait("the VIPs are back", |site| site.holds_both(Node::Lb1))?;
        ensure!(site.changes()? == before, "a VIP moved");
        let said = |vip: &str| {
            let log = fs::read_to_string(site.lab.folder().join("lb1-fmc-lb.log"));
            let log = log.unwrap_or_default();
            let event = "another program removed the VIP from its interface";
            let mut lines = log.lines();
            lines.any(|line| line.contains(event) && line.contains(vip))
        };
        for vip in [WEB_VIP, API_VIP] {
            let vip = vip.to_string();
            site.wait("the log names it", |_| said(&vip))?;
        }
        Ok(())
    })
}

#[test]
fn a_machine_with_a_vip_is_named_on_both_nodes_and_loses_the_clients_again() -> Result<()> {
    Site::start(shipped(), Service::Echo)?.watched("rivals", |site| {
        std::thread::sleep(SETTLED);
        for node in Node::LBS {
            let claims = metric(site, node, "fmc_lb_vrrp_rival_claims_total{vip=\"web\"}")?;
            ensure!(
                claims == 0.0,
                "{node} sees {claims} claims and there is no rival"
            );
        }

        // A worker's port on the LAN would be another lab; the router has one, and its kernel answers for what it has.
        let foreign = Node::Router;
        let device = device_towards_lan(site, foreign)?;
        let own = mac(site, foreign, &device)?;
        site.lab
            .ip(foreign, &format!("addr add {WEB_VIP}/32 dev {device}"))?;
        let begun = Instant::now();
        for node in Node::LBS {
            site.lab
                .wait_until(FOUND, &format!("{node} names the foreign machine"), || {
                    rival(site, node).as_deref() == Some(own.as_str())
                })?;
        }
        println!("named on both nodes after {:?}", begun.elapsed());
        ensure!(
            lease::holders(&site.lab, WEB_VIP) == [Node::Lb1],
            "the VIP moved"
        );
        let status = site.pair.status(Node::Lb1)?;
        let warned = status["warnings"].as_array().is_some_and(|all| {
            all.iter()
                .any(|one| one.as_str().is_some_and(|text| text.contains(&own)))
        });
        ensure!(warned, "no warning names {own}: {}", status["warnings"]);
        let claims = metric(
            site,
            Node::Lb1,
            "fmc_lb_vrrp_rival_claims_total{vip=\"web\"}",
        )?;
        ensure!(claims >= 1.0, "{claims} claims");

        // It shouts; the holder answers within a second, and the client's neighbour table follows.
        let ours = mac(site, Node::Lb1, "eth0")?;
        site.lab.ip(
            Node::Client,
            &format!("neigh replace {WEB_VIP} lladdr {own} dev eth0 nud reachable"),
        )?;
        site.lab.ip(foreign, &format!("neigh flush dev {device}"))?;
        site.lab.run_in(foreign, || {
            // From the VIP, to a neighbour that has to be asked for: the question names the VIP as its sender.
            let socket = std::net::UdpSocket::bind((WEB_VIP, 0))?;
            socket.send_to(b"x", (Node::Lb2.address(), 9)).map(drop)
        })?;
        let begun = Instant::now();
        site.wait("the client goes to the holder again", |site| {
            let line = format!("neigh show {WEB_VIP} dev eth0");
            site.lab
                .ip(Node::Client, &line)
                .is_ok_and(|text| text.contains(&ours))
        })?;
        println!("defended after {:?}", begun.elapsed());
        ensure!(
            begun.elapsed() < DEFENDED,
            "only after {:?}",
            begun.elapsed()
        );
        Ok(())
    })
}

fn rival(site: &Site, node: Node) -> Option<String> {
    let status = site.pair.status(node).ok()?;
    let vips = status["vips"].as_array()?.clone();
    let web = vips.iter().find(|vip| vip["name"] == "web")?;
    web["rival"].as_str().map(str::to_owned)
}

fn mac(site: &Site, node: Node, device: &str) -> Result<String> {
    let text = site.lab.ip(node, &format!("-o link show dev {device}"))?;
    let mut words = text.split_whitespace();
    words.find(|word| *word == "link/ether");
    words
        .next()
        .map(str::to_owned)
        .context("a hardware address")
}

fn device_towards_lan(site: &Site, node: Node) -> Result<String> {
    let text = site
        .lab
        .ip(node, &format!("route get {}", Node::Lb1.address()))?;
    let mut words = text.split_whitespace();
    words.find(|word| *word == "dev");
    words.next().map(str::to_owned).context("a way to the LAN")
}
