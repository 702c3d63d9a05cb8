//! The pair as it is shipped: who holds the VIPs, who is asked, and is every byte right.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::backend::Service;
use lab::client::{self, Speak};
use lab::topology::{API_VIP, WEB_VIP};
use lab::{Node, lease};

use crate::site::{Site, api, shipped, web};

/// Requests whose shares are counted.
const REQUESTS: u32 = 3_000;
/// Largest distance of a server's share from a third of the requests, in parts of that third.
const UNEVEN: f64 = 0.02;
const GIBIBYTE: u64 = 1 << 30;

#[test]
fn one_node_holds_each_vip_and_requests_are_spread_evenly() -> Result<()> {
    let site = Site::start(shipped(), Service::Echo)?;
    site.watched("spread", |site| {
        for vip in [API_VIP, WEB_VIP] {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(1) {
                ensure!(
                    lease::holders(&site.lab, vip) == [Node::Lb1],
                    "more or fewer than lb1 hold {vip}"
                );
            }
        }
        for node in Node::LBS {
            let expected = if node == Node::Lb1 {
                "active"
            } else {
                "backup"
            };
            for vip in ["api", "web"] {
                let state = site.pair.vip_state(node, vip);
                ensure!(
                    state.as_deref() == Some(expected),
                    "{node} says of {vip}: {state:?}"
                );
            }
        }
        even(site, api(), Speak::ApiServer, &["m1", "m2", "m3"])?;
        even(site, web(), Speak::Echo, &["w1", "w2", "w3"])?;
        let https = SocketAddr::from((WEB_VIP, 443));
        even(site, https, Speak::TlsEcho, &["w1", "w2", "w3"])
    })
}

fn even(site: &Site, to: SocketAddr, speak: Speak, servers: &[&str]) -> Result<()> {
    let shares = client::shares(&site.lab, to, speak, REQUESTS)?;
    println!("{to}: {shares:?}");
    ensure!(
        shares.len() == servers.len(),
        "{to} reached {shares:?}, wanted {servers:?}"
    );
    for (server, count) in &shares {
        ensure!(servers.contains(&server.as_str()), "{to} reached {server}");
        let fair = f64::from(REQUESTS) / f64::from(u32::try_from(servers.len())?);
        let distance = (f64::from(*count) - fair).abs() / fair;
        ensure!(
            distance <= UNEVEN,
            "{to}: {server} has {count} of {REQUESTS}"
        );
    }
    Ok(())
}

#[test]
fn a_gibibyte_is_relayed_byte_exact_both_ways_and_a_half_close_is_answered() -> Result<()> {
    let site = Site::start(shipped(), Service::Http)?;
    let down = client::download(&site.lab, web(), GIBIBYTE)?;
    println!("download: {} bytes in {:?}", down.length, down.time);
    ensure!(down.exact && down.length == GIBIBYTE, "download: {down:?}");
    // The upload ends with a half-close; the verdict comes back on the other half.
    let up = client::upload(&site.lab, web(), GIBIBYTE)?;
    println!(
        "upload: {} bytes in {:?}: {}",
        up.length, up.time, up.verdict
    );
    ensure!(up.exact && up.length == GIBIBYTE, "upload: {up:?}");
    Ok(())
}
