//! A story in a minute: what the pair does when it is looked at, asked, and hurt. Every figure is measured from the client.

#![expect(
    clippy::disallowed_methods,
    reason = "the story waits, and measures real time"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::Balancer as _;
use lab::client::{self, Speak};
use lab::cluster::Cluster;
use lab::fmclb::FmcLb;
use lab::held::{Held, Plan};
use lab::prober::{Prober, Question};
use lab::process::Process;
use lab::report::milliseconds;
use lab::topology::{API_VIP, WEB_VIP};
use lab::{Lab, Node, fault, lease, limits};

use crate::say;

/// Questions to each VIP.
const QUESTIONS: u32 = 300;
/// How long the API is asked while one of its servers dies.
const ASKED: Duration = Duration::from_secs(4);
/// Established connections that see a VIP go and return.
const HELD: Plan = Plan {
    count: 50,
    ping: Some(Duration::from_millis(20)),
};
/// Anything that the story waits for comes within this.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pair is calm when the last so long brought this many good answers.
const CALM: (Duration, usize) = (Duration::from_millis(200), 50);
/// A returning node waits ten seconds before it takes its VIPs back; the story has less time.
const PREEMPT_DELAY: (&str, &str) = ("preempt_delay   = \"10s\"", "preempt_delay = \"2s\"");

/// Tells the story with this binary and this configuration.
pub(crate) fn tell(binary: &Path, config: &Path) -> Result<()> {
    let _turn = limits::measure_alone()?;
    let text = fs::read_to_string(config).with_context(|| format!("read {}", config.display()))?;
    let lab = Lab::start()?;
    let cluster = Cluster::start(&lab, Service::Echo)?;
    ensure!(
        text.contains(PREEMPT_DELAY.0),
        "{} has no line `{}`",
        config.display(),
        PREEMPT_DELAY.0
    );
    let text = text.replacen(PREEMPT_DELAY.0, PREEMPT_DELAY.1, 1);
    let mut story = Story {
        pair: FmcLb::new(&lab, binary, &text)?,
        cluster,
        lab,
    };
    for node in Node::LBS {
        story.pair.install(node, binary)?;
    }
    story.begin()?;
    story.ask()?;
    story.hand_over()?;
    story.change(&text)?;
    story.renew(binary)?;
    story.kill_an_api_server()?;
    story.lose_and_return()?;
    story.stop()?;
    say("\nThe lab is removed; nothing is left.");
    Ok(())
}

struct Story {
    pair: FmcLb,
    cluster: Cluster,
    lab: Lab,
}

impl Story {
    fn begin(&mut self) -> Result<()> {
        say("== Two nodes, three API servers, three workers and a client, in network namespaces");
        self.pair.start(Node::Lb1)?;
        self.wait("lb1 holds both VIPs", |story| story.holds(Node::Lb1))?;
        self.pair.start(Node::Lb2)?;
        for node in Node::LBS {
            self.wait("every server is up", |story| {
                let servers = story.count_servers(node);
                servers.is_some_and(|(up, all)| up == all)
            })?;
        }
        for node in Node::LBS {
            say(&format!("\n$ fmc-lb status   # on {node}"));
            let output = self.pair.command(node, &["status"])?;
            say(String::from_utf8_lossy(&output.stdout).trim_end());
        }
        Ok(())
    }

    fn ask(&self) -> Result<()> {
        say(&format!(
            "\n== {QUESTIONS} requests through each VIP: who answers"
        ));
        let ask = |name: &str, to, speak| -> Result<()> {
            let shares = client::shares(&self.lab, to, speak, QUESTIONS)?;
            say(&format!("{name:<26}{}", spelled(&shares)));
            Ok(())
        };
        ask("192.168.0.10:6443 (TLS)", api(), Speak::ApiServer)?;
        ask("192.168.0.14:80", web(), Speak::Echo)?;
        ask(
            "192.168.0.14:443 (TLS)",
            SocketAddr::from((WEB_VIP, 443)),
            Speak::TlsEcho,
        )
    }

    fn hand_over(&self) -> Result<()> {
        let forwarding = |node| self.pair.status(node).unwrap_or_default()["forwarding"].clone();
        let refused = |node| {
            let said = forwarding(node);
            (said["state"] == "refused").then(|| said["reason"].to_string())
        };
        self.wait("both nodes forward, or say why not", |_| {
            Node::LBS
                .into_iter()
                .all(|node| forwarding(node)["peer_forwards"] == true || refused(node).is_some())
        })?;
        say("");
        if let Some(reason) = Node::LBS.into_iter().find_map(refused) {
            say(&format!(
                "!! no flow forwarding on this machine, so established connections break: {reason}"
            ));
        }
        let held = Held::open(&self.lab, web(), HELD)?;
        let prober = Prober::start(&self.lab, web(), Question::Echo)?;
        self.calm(&prober)?;
        for (from, to) in [(Node::Lb1, Node::Lb2), (Node::Lb2, Node::Lb1)] {
            say(&format!("$ fmc-lb handover   # on {from}"));
            let asked = Instant::now();
            let output = self.pair.command(from, &["handover"])?;
            let said = String::from_utf8_lossy(&output.stdout);
            say(said.trim_end());
            let why = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "handover on {from}: {why}");
            ensure!(self.holds(to), "{to} does not hold both VIPs");
            self.calm(&prober)?;
            let report = prober.report();
            let failed: u64 = report.failures(asked).values().sum();
            say(&format!(
                "{} of {} established connections broken, {failed} new ones failed; outage of new connections {}",
                held.broken(),
                HELD.count,
                milliseconds(report.outage(asked).gap)
            ));
        }
        Ok(())
    }

    /// Another weight, on both nodes at once.
    fn change(&self, text: &str) -> Result<()> {
        let (server, weighted) = (
            "\"10.17.4.26:80\"",
            "{ address = \"10.17.4.26:80\", weight = 3 }",
        );
        ensure!(text.contains(server), "the file has no server {server}");
        self.pair.set_config(&text.replacen(server, weighted, 1))?;
        say("\n== The file of both nodes gives worker3 another weight");
        let asked = Instant::now();
        self.wait("the admin processes speak with each other", |story| {
            let status = story.pair.status(Node::Lb1).unwrap_or_default();
            status["peer"]["link"]["telling_ms"].is_u64()
        })?;
        say("$ fmc-lb apply --pair   # on lb1");
        let output = self.pair.command(Node::Lb1, &["apply", "--pair"])?;
        let said = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "apply: {why}");
        // What `check` warns of it has said before.
        let lines = said.lines();
        lines
            .filter(|line| line.starts_with("~ ") || line.starts_with("lb"))
            .for_each(say);
        say(&format!("took {}", milliseconds(asked.elapsed())));
        Ok(())
    }

    /// A new version in the running one's place, on both nodes.
    fn renew(&mut self, binary: &Path) -> Result<()> {
        say("\n== A new file is installed, and takes the place of what runs");
        let held = Held::open(&self.lab, web(), HELD)?;
        let prober = Prober::start(&self.lab, web(), Question::Echo)?;
        self.calm(&prober)?;
        let begun = Instant::now();
        for node in [Node::Lb2, Node::Lb1] {
            self.pair.install(node, binary)?;
            say(&format!("$ fmc-lb upgrade   # on {node}"));
            let folder = self.pair.runtime_dir(node).display().to_string();
            let program = binary.display().to_string();
            let line = [program.as_str(), "upgrade", "--runtime-dir", &folder];
            let mut process = Process::start(&self.lab, node, "upgrade", &line)?;
            let ended = process.wait(PATIENCE)?;
            let said = process.log_tail(20);
            ensure!(ended.success(), "upgrade of {node}: {said}");
            say(said.lines().last().unwrap_or_default());
        }
        let report = prober.finish()?;
        let failed: u64 = report.failures(begun).values().sum();
        say(&format!(
            "{} of {} established connections broken, {failed} of {} new ones failed",
            held.broken(),
            HELD.count,
            report.good.len()
        ));
        Ok(())
    }

    fn kill_an_api_server(&self) -> Result<()> {
        say("\n== master1's API server is killed");
        let killed = Instant::now();
        self.cluster.masters[0].kill();
        let (mut longest, mut last, mut answers) = (Duration::ZERO, killed, 0);
        let mut noticed = None;
        while killed.elapsed() < ASKED {
            client::who(&self.lab, Node::Client, api(), Speak::ApiServer)?;
            answers += 1;
            longest = longest.max(last.elapsed());
            last = Instant::now();
            if noticed.is_none()
                && self
                    .pair
                    .server_state(Node::Lb1, "10.17.4.21:6443")
                    .as_deref()
                    == Some("down")
            {
                noticed = Some(killed.elapsed());
            }
            // Asking for the status took time, too; it is not the servers'.
            last = last.max(Instant::now());
        }
        let noticed = noticed.context("master1 was not found down")?;
        say(&format!(
            "0 of {answers} requests failed; longest time to an answer {}",
            milliseconds(longest)
        ));
        say(&format!(
            "found down by its probes after {}",
            milliseconds(noticed)
        ));
        self.cluster.masters[0]
            .backend()
            .set(lab::backend::Mode::Up);
        self.wait("master1 is up again", |story| {
            story
                .pair
                .server_state(Node::Lb1, "10.17.4.21:6443")
                .as_deref()
                == Some("up")
        })
    }

    fn lose_and_return(&self) -> Result<()> {
        let prober = Prober::start(&self.lab, web(), Question::Echo)?;
        self.calm(&prober)?;
        say("\n== lb1 is lost: its switch port goes down");
        let lost = Instant::now();
        let port = fault::port_down(&self.lab, Node::Lb1)?;
        self.wait("lb2 holds both VIPs", |story| story.holds(Node::Lb2))?;
        self.calm(&prober)?;
        let outage = prober.report().outage(lost).gap;
        say(&format!(
            "lb2 holds both VIPs; outage of new connections {}",
            milliseconds(outage)
        ));

        say(
            "\n== lb1 is back, and takes its VIPs again after preempt_delay (2s here, 10s by default)",
        );
        let back = Instant::now();
        port.now()?;
        self.wait("lb1 holds both VIPs", |story| story.holds(Node::Lb1))?;
        let after = back.elapsed();
        self.calm(&prober)?;
        let outage = prober.finish()?.outage(back).gap;
        say(&format!(
            "taken back after {}; outage of new connections {}",
            milliseconds(after),
            milliseconds(outage)
        ));
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        say("\n== lb1 is stopped (SIGTERM)");
        let prober = Prober::start(&self.lab, web(), Question::Echo)?;
        self.calm(&prober)?;
        let stopped = Instant::now();
        self.pair.stop(Node::Lb1)?;
        self.wait("lb2 holds both VIPs", |story| story.holds(Node::Lb2))?;
        self.calm(&prober)?;
        let outage = prober.finish()?.outage(stopped).gap;
        say(&format!(
            "lb2 holds both VIPs; outage of new connections {}",
            milliseconds(outage)
        ));
        self.pair.stop(Node::Lb2)
    }

    fn calm(&self, prober: &Prober) -> Result<()> {
        // A gap that is going on must be over, or it would be measured too short.
        let asked = Instant::now();
        self.wait("answers come without a gap", |_| {
            let now = Instant::now();
            now > asked + CALM.0 && prober.good_since(now - CALM.0) >= CALM.1
        })
    }

    fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        self.lab.wait_until(PATIENCE, what, || condition(self))
    }

    fn holds(&self, node: Node) -> bool {
        [API_VIP, WEB_VIP]
            .iter()
            .all(|vip| lease::holder(&self.lab, *vip) == Some(node))
    }

    /// Servers that are up, and all.
    fn count_servers(&self, node: Node) -> Option<(usize, usize)> {
        let status = self.pair.status(node).ok()?;
        let backends = status["backends"].as_array()?;
        let servers = backends
            .iter()
            .filter_map(|backend| backend["servers"].as_array())
            .flatten();
        let states: Vec<bool> = servers.map(|server| server["state"] == "up").collect();
        Some((states.iter().filter(|up| **up).count(), states.len()))
    }
}

fn api() -> SocketAddr {
    SocketAddr::from((API_VIP, 6443))
}

fn web() -> SocketAddr {
    SocketAddr::from((WEB_VIP, 80))
}

fn spelled<N: std::fmt::Display>(shares: &BTreeMap<String, N>) -> String {
    let words: Vec<String> = shares
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    words.join("   ")
}
