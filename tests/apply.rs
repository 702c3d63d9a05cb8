//! `fmc-lb apply --pair`: both nodes go over to what their files say, or neither does.

#![expect(
    clippy::disallowed_methods,
    reason = "tests on the lab wait and print what they saw"
)]

mod site;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};
use lab::held::{Held, Plan};
use lab::prober::{Prober, Question};
use lab::process::Process;
use nix::sys::signal::Signal;

use crate::site::{BINARY, Site, config_at, web};

const ADVERT: Duration = Duration::from_millis(100);
/// Longer than a node asks the other one for.
const LIMIT: Duration = Duration::from_secs(40);

/// `fmc-lb apply --pair` on a node: its exit code, and what it says.
fn apply(site: &Site, node: Node, more: &[&str]) -> Result<(Option<i32>, String)> {
    let folder = site.pair.runtime_dir(node).display().to_string();
    let line = [&[BINARY, "apply", "--pair", "--runtime-dir", &folder], more].concat();
    let mut process = Process::start(&site.lab, node, "apply", &line)?;
    let code = process.wait(LIMIT)?.code();
    Ok((code, process.log_tail(200)))
}

/// What it has to say, and with which exit code.
fn expect(site: &Site, node: Node, more: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let (got, said) = apply(site, node, more)?;
    ensure!(got == Some(code), "{node} {more:?}: {got:?}, {said}");
    for word in words {
        ensure!(
            said.contains(word),
            "{node} {more:?}: no {word:?} in:\n{said}"
        );
    }
    Ok(())
}

fn hashes(site: &Site) -> Result<[String; 2]> {
    let of = |node| -> Result<String> { Ok(site.pair.status(node)?["config_hash"].to_string()) };
    Ok([of(Node::Lb1)?, of(Node::Lb2)?])
}

fn are_linked(site: &Site) -> bool {
    Node::LBS.into_iter().all(|node| {
        let status = site.pair.status(node).unwrap_or_default();
        !status["peer"]["link"]["telling_ms"].is_null()
    })
}

#[test]
fn both_nodes_go_over_or_neither_does() -> Result<()> {
    let config = config_at(ADVERT);
    let mut site = Site::build(&config, Service::Echo)?;
    for node in Node::LBS {
        site.pair.set_config_of(node, &config)?;
    }
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
    site.pair.start(Node::Lb2)?;
    for node in Node::LBS {
        site.wait_ready(node)?;
    }
    site.watched("apply", |site| {
        site.wait("their admins speak", are_linked)?;
        let (before, running) = (site.changes()?, hashes(site)?);
        ensure!(running[0] == running[1], "{running:?}");
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: 50, ping })?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        site.wait("answers", |_| {
            prober.good_since(Instant::now() - ADVERT) > 5
        })?;
        let begun = Instant::now();

        expect(site, Node::Lb1, &[], 0, &["nothing differs"])?;
        let next = config.replace(
            "\"10.17.4.26:80\"",
            "{ address = \"10.17.4.26:80\", weight = 3 }",
        );
        site.pair.set_config_of(Node::Lb1, &next)?;
        let words = [
            "nothing was changed",
            "files of the nodes differ",
            "lb1",
            "lb2",
        ];
        expect(site, Node::Lb1, &[], 1, &words)?;
        expect(site, Node::Lb2, &[], 1, &words)?;
        site.pair
            .set_config_of(Node::Lb2, &config.replace("balance =", "ballance ="))?;
        let words = ["nothing was changed on either node", "lb2", "ballance"];
        expect(site, Node::Lb1, &[], 1, &words)?;
        ensure!(hashes(site)? == running, "another configuration runs");

        site.pair
            .set_config_of(Node::Lb2, &format!("# the same\n{next}"))?;
        let change = "~ backends.traefik-http.servers[10.17.4.26:80].weight: 1 -> 3";
        expect(site, Node::Lb1, &["--dry-run"], 0, &["lb1", "lb2", change])?;
        ensure!(hashes(site)? == running, "a dry run changed something");
        // The one that is active for nothing goes first.
        let (code, said) = apply(site, Node::Lb1, &[])?;
        let order = said.find("lb2:").zip(said.find("lb1:"));
        ensure!(
            code == Some(0)
                && said.contains(change)
                && order.is_some_and(|(first, then)| first < then),
            "{code:?}: {said}"
        );
        let now = hashes(site)?;
        ensure!(now[0] == now[1] && now[0] != running[0], "{now:?}");

        let failures = prober.finish()?.failures(begun);
        ensure!(failures.is_empty(), "{failures:?}");
        ensure!(
            held.settled().broken() == 0,
            "{} sessions broke",
            held.broken()
        );
        ensure!(site.changes()? == before, "a VIP has moved");
        Ok(())
    })
}

#[test]
fn without_the_other_node_nothing_is_applied() -> Result<()> {
    let config = config_at(ADVERT);
    Site::start(&config, Service::Echo)?.watched("apply-alone", |site| {
        site.wait("their admins speak", are_linked)?;
        let running = hashes(site)?;
        site.pair
            .set_config(&config.replace("\"192.168.0.12\"", "\"192.168.0.13\""))?;
        let words = ["nothing was changed on either node", "nodes.lb2.address"];
        expect(site, Node::Lb1, &[], 1, &words)?;
        site.pair
            .set_config(&config.replace("[vrrp]", "[proxy]\nmax_sessions = 9000\n[vrrp]"))?;
        site.pair
            .signal(Node::Lb2, Part::Supervisor, Signal::SIGSTOP)?;
        let stopped = apply(site, Node::Lb1, &[]);
        site.pair
            .signal(Node::Lb2, Part::Supervisor, Signal::SIGCONT)?;
        let (code, said) = stopped?;
        ensure!(
            code == Some(1) && said.contains("nothing was changed on either node"),
            "{code:?}: {said}"
        );
        ensure!(hashes(site)?[0] == running[0], "lb1 runs by it");
        site.pair.stop(Node::Lb2)?;
        site.wait("lb1 sees it", |site| !are_linked(site))?;
        let (code, said) = apply(site, Node::Lb1, &[])?;
        ensure!(
            code == Some(1) && said.contains("is not reached"),
            "{code:?}: {said}"
        );
        let status = site.pair.status(Node::Lb1)?;
        status["config_hash"]
            .as_str()
            .filter(|hash| running[0].contains(*hash))
            .map(drop)
            .context("another configuration runs")
    })
}
