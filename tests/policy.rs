//! What a backend's policies do is seen while they act: in `status`, in its table, in `/metrics`.

mod site;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::Balancer as _;
use lab::client::{self, Speak, shares};
use lab::{Node, lease};
use serde_json::Value;

use crate::site::{Site, config_at, web};

/// One node, whose backend `traefik-http` has these lines too.
fn site(name: &str, lines: &str, body: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let head = "[backends.traefik-http]\n";
    let config = config_at(Duration::from_millis(100));
    let config = config.replacen(head, &format!("{head}{lines}\n"), 1);
    let mut site = Site::build(&config, Service::Echo)?;
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds the VIP", |site| {
        lease::is_holder(&site.lab, Node::Lb1, lab::topology::WEB_VIP)
    })?;
    site.watched(name, body)
}

fn backend(site: &Site) -> Result<Value> {
    let status = site.pair.status(Node::Lb1)?;
    let backends = status["backends"].as_array().context("no backends")?;
    let mut named = backends.iter().filter(|one| one["name"] == "traefik-http");
    named.next().cloned().context("no such backend")
}

fn table(site: &Site) -> Result<String> {
    let output = site.pair.command(Node::Lb1, &["status"])?;
    // Lines are broken where they are too wide.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in {text}");
}

/// The value of the line of `/metrics` that begins so.
fn metric(site: &Site, series: &str) -> Result<f64> {
    let address = SocketAddr::from(([192, 168, 0, 11], 9600));
    let page = client::http(&site.lab, Node::Lb1, address, "/metrics")?.body;
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.with_context(|| format!("no {series} on the page"))?;
    value
        .parse()
        .with_context(|| format!("{series} is {value}"))
}

#[test]
fn a_backend_that_fails_open_says_so() -> Result<()> {
    // The workers speak no TLS, so the probe finds every one down; they serve all the same.
    let lines =
        "all_down = \"try_all\"\nprobe = { kind = \"kube-apiserver\", interval = \"200ms\" }";
    site("policy-try-all", lines, |site| {
        site.wait("it fails open", |site| {
            backend(site).is_ok_and(|one| one["fail_open"] == true)
        })?;
        let served = shares(&site.lab, web(), Speak::Echo, 12)?;
        ensure!(served.len() == 3, "{served:?}");
        let one = backend(site)?;
        ensure!(one["all_down"] == "try_all", "{one}");
        ensure!(one["fail_open_sessions"] == 12, "{one}");
        ensure!(one["servers"][0]["state"] == "down", "{one}");
        let text = table(site)?;
        has(&text, "! backend traefik-http: every server is down, for ");
        has(&text, "for http FAIL OPEN");
        has(&text, "so far 12 found one");
        let labels = "{backend=\"traefik-http\"}";
        let gauge = metric(site, &format!("fmc_lb_backend_fail_open{labels}"))?;
        ensure!(gauge == 1.0, "{gauge}");
        let placed = format!("fmc_lb_backend_fail_open_sessions_total{labels}");
        ensure!(metric(site, &placed)? == 12.0);
        // To VRRP it is a backend without servers.
        let health = metric(site, "fmc_lb_proxy_vip_health_ratio{vip=\"web\"}")?;
        ensure!(health == 0.0, "{health}");
        Ok(())
    })
}
