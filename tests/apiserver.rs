//! An API server that is not ready, hangs or dies, seen through the API VIP.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::apiserver::Health;
use lab::backend::{Mode, Service};
use lab::client::{self, Speak};

use crate::site::{Site, api, config_at};

const MASTER1: &str = "10.17.4.21:6443";

fn site() -> Result<Site> {
    Site::start(&config_at(Duration::from_millis(100)), Service::Echo)
}

fn state(site: &Site) -> (String, String) {
    let servers = site.servers(Node::Lb1).unwrap_or_default();
    let found = servers.into_iter().find(|(address, ..)| address == MASTER1);
    found
        .map(|(_, state, reason)| (state, reason))
        .unwrap_or_default()
}

/// A long stream through the VIP from master1, as a watch is.
fn watch(site: &Site) -> Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
    let config = site.lab.pki().client();
    for _ in 0..9 {
        let mut stream = site
            .lab
            .run_in(Node::Client, || client::tls(api(), &config))?;
        std::io::Write::write_all(&mut stream, b"GET /watch HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        let mut text = String::new();
        while !text.contains("\"from\"") {
            let mut seen = [0_u8; 4_096];
            let length = stream.read(&mut seen)?;
            ensure!(length > 0, "the watch ended: {text}");
            text.push_str(&String::from_utf8_lossy(&seen[..length]));
        }
        if text.contains("\"m1\"") {
            return Ok(stream);
        }
    }
    anyhow::bail!("no watch reached master1 in nine tries")
}

fn lives(stream: &mut impl std::io::Read) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut seen = [0_u8; 4_096];
    while Instant::now() < end {
        let length = stream.read(&mut seen).context("read from the watch")?;
        ensure!(length > 0, "the watch ended");
    }
    Ok(())
}

fn avoided(site: &Site) -> Result<()> {
    let shares = client::shares(&site.lab, api(), Speak::ApiServer, 60)?;
    ensure!(
        shares.len() == 2 && !shares.contains_key("m1"),
        "{shares:?}"
    );
    Ok(())
}

#[test]
fn one_that_is_not_ready_gets_no_new_session_and_keeps_its_old_ones() -> Result<()> {
    site()?.watched(
        "one-that-is-not-ready-gets-no-new-session-and-keeps-its-old-ones",
        |site| {
            let master = &site.cluster.masters[0];
            let mut stream = watch(site)?;
            for (health, reason) in [
                (Health::EtcdFailed, "[-]etcd failed"),
                (Health::Unavailable, "503"),
            ] {
                let asked = Instant::now();
                master.set(health);
                site.wait("master1 drains", |site| state(site).0 == "draining")?;
                let (_, why) = state(site);
                println!("{health:?}: draining after {:?}: {why}", asked.elapsed());
                ensure!(why.contains(reason), "reason: {why}");
                avoided(site)?;
                lives(&mut stream)?;
                master.set(Health::Ready);
                site.wait("master1 is up again", |site| state(site).0 == "up")?;
            }
            let shares = client::shares(&site.lab, api(), Speak::ApiServer, 60)?;
            ensure!(shares.len() == 3, "{shares:?}");
            Ok(())
        },
    )
}

#[test]
fn one_that_hangs_is_down_within_its_limits() -> Result<()> {
    site()?.watched("one-that-hangs-is-down-within-its-limits", |site| {
        let master = &site.cluster.masters[0];
        for hang in [true, false] {
            let asked = Instant::now();
            if hang {
                master.backend().set(Mode::Hang);
            } else {
                master.set(Health::Mute);
            }
            site.wait("master1 is down", |site| state(site).0 == "down")?;
            let after = asked.elapsed();
            let (_, why) = state(site);
            println!("down after {after:?}: {why}");
            // fall = 3 probes, one a second, each given up after a second at the latest; and a second of room.
            ensure!(after < Duration::from_secs(5), "down after {after:?}");
            ensure!(why.contains("TOUT"), "reason: {why}");
            avoided(site)?;
            master.backend().set(Mode::Up);
            master.set(Health::Ready);
            site.wait("master1 is up again", |site| state(site).0 == "up")?;
        }
        Ok(())
    })
}

#[test]
fn without_credentials_401_means_alive_and_a_dead_one_is_retried_elsewhere() -> Result<()> {
    site()?.watched(
        "without-credentials-401-means-alive-and-a-dead-one-is-retried-elsewhere",
        |site| {
            for master in &site.cluster.masters {
                master.require_credentials(true);
            }
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                ensure!(state(site).0 == "up", "{:?}", state(site));
                std::thread::sleep(Duration::from_millis(100));
            }
            ensure!(state(site).1.contains("401"), "{:?}", state(site));
            // Refused from this moment: no request may fail although no probe has seen it yet.
            site.cluster.masters[0].kill();
            let shares = client::shares(&site.lab, api(), Speak::ApiServer, 60)?;
            ensure!(!shares.contains_key("m1"), "{shares:?}");
            site.wait("master1 is down", |site| state(site).0 == "down")?;
            ensure!(state(site).1.contains("L4CON"), "{:?}", state(site));
            Ok(())
        },
    )
}

#[test]
fn the_vip_moves_where_servers_can_be_reached() -> Result<()> {
    site()?.watched("the-vip-moves-where-servers-can-be-reached", |site| {
        // Only lb1 loses its way to the masters.
        site.lab
            .ip(Node::Lb1, "route replace unreachable 10.17.4.0/27")?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let reason = site.pair.status(Node::Lb1)?["vips"][0]["reason"].clone();
        println!("lb1: {reason}");
        ensure!(site.pair.vip_state(Node::Lb1, "api").as_deref() == Some("fault"));
        // Now nobody reaches them: nothing moves, there is nowhere better.
        site.lab
            .ip(Node::Lb2, "route replace unreachable 10.17.4.0/27")?;
        site.wait("lb2 sees no server", |site| {
            site.servers(Node::Lb2)
                .is_ok_and(|all| all.iter().all(|(_, state, _)| state == "down"))
        })?;
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            ensure!(
                site.holds_both(Node::Lb2),
                "the VIPs moved although nobody serves"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    })
}

#[test]
fn a_failure_that_both_nodes_see_moves_no_vip_and_neither_does_its_end() -> Result<()> {
    site()?.watched("a-failure-that-both-nodes-see", |site| {
        let masters_are = |site: &Site, node, wanted: &str| {
            site.servers(node).is_ok_and(|all| {
                let mut masters = all
                    .iter()
                    .filter(|(address, ..)| address.ends_with(":6443"));
                masters.all(|(_, state, _)| state == wanted)
            })
        };
        for _ in 0..2 {
            for (mode, state) in [(Mode::Refuse, "down"), (Mode::Up, "up")] {
                for master in &site.cluster.masters {
                    master.backend().set(mode);
                }
                let limit = Instant::now() + Duration::from_secs(10);
                // Looked at the whole time, and for a while after both have seen it.
                let mut seen = None;
                while seen.is_none_or(|seen: Instant| seen.elapsed() < Duration::from_secs(2)) {
                    ensure!(site.holds_both(Node::Lb1), "a VIP moved");
                    ensure!(Instant::now() < limit, "not seen by both nodes");
                    if [Node::Lb1, Node::Lb2]
                        .into_iter()
                        .all(|node| masters_are(site, node, state))
                    {
                        seen.get_or_insert_with(Instant::now);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok(())
    })
}
