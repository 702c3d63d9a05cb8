//! From a pair of HAProxy + Keepalived to a pair of fmc-lb, one machine after the other, while clients go on asking: the
//! steps of `docs/migration.md`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::{Balancer as _, Settings};
use lab::baseline::{Dialect, HaproxyKeepalived};
use lab::cluster::Cluster;
use lab::fmclb::FmcLb;
use lab::lease::{self, LeaseWatch};
use lab::prober::{Prober, Question};
use lab::topology::{API_VIP, WEB_VIP};
use lab::{Lab, Node, capture, limits, scenario};

use crate::site::{BINARY, config_at, web};

/// The VIP is where it belongs, and does not go on moving.
const AT_REST: Duration = Duration::from_millis(1_500);
/// Room for a busy machine beside what the protocol says.
const ROOM: Duration = Duration::from_millis(100);
const PASSWORD: &str = "fmclb-01";

/// What the old pair speaks.
struct Old {
    name: &'static str,
    settings: Settings,
    dialect: Dialect,
    /// Keys of `[vrrp]` that speak it.
    keys: &'static str,
}

struct Migration {
    lab: Lab,
    old: HaproxyKeepalived,
    new: FmcLb,
    config: String,
    leases: LeaseWatch,
    prober: Prober,
}

impl Migration {
    /// Does one step, waits until `node` alone holds both VIPs, and judges: so many moves of the web VIP, no gap longer
    /// than `gap`.
    fn step(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Self) -> Result<()>,
        (node, moves): (Node, usize),
        gap: Duration,
    ) -> Result<()> {
        let begun = Instant::now();
        act(self)?;
        let alone = || {
            let held = |vip| lease::holders(&self.lab, vip) == [node];
            held(WEB_VIP) && held(API_VIP)
        };
        self.lab.wait_until(
            Duration::from_secs(15),
            &format!("{what}: {node} alone holds both VIPs"),
            alone,
        )?;
        std::thread::sleep(AT_REST);
        ensure!(alone(), "{what}: {node} does not hold them any more");
        let gains = self.leases.changes();
        let gained = gains
            .iter()
            .filter(|change| change.holds && change.at > begun);
        let gained: Vec<Node> = gained.map(|change| change.node).collect();
        let outage = self.prober.report().outage(begun).gap;
        println!(
            "{what}: {} moves, longest gap {outage:?} (bound {gap:?})",
            gained.len()
        );
        ensure!(gained.len() == moves, "{what}: {gained:?} took the VIP");
        ensure!(outage <= gap + ROOM, "{what}: {outage:?} without an answer");
        Ok(())
    }

    fn replace(&mut self, node: Node) -> Result<()> {
        self.old.stop(node)?;
        self.new.start(node)
    }

    fn restart(&mut self, node: Node) -> Result<()> {
        self.new.stop(node)?;
        self.new.start(node)
    }

    /// Writes the file with these lines more in `[nodes.lb1]`, `[pair]` and `[vrrp]`.
    fn write(&self, lb1: &str, pair: &str, vrrp: &str) -> Result<()> {
        let text = self
            .config
            .replace("[nodes.lb1]", &format!("[nodes.lb1]\n{lb1}"));
        let text = text.replace("[pair]", &format!("[pair]\n{pair}"));
        let text = text.replace("[vrrp]", &format!("[vrrp]\npreempt_delay = \"1s\"\n{vrrp}"));
        self.new.set_config(&text)
    }
}

fn migrate(old: &Old) -> Result<()> {
    let _turn = limits::measure_alone()?;
    let lab = Lab::start()?;
    let _cluster = Cluster::start(&lab, Service::Echo)?;
    let mut pair = HaproxyKeepalived::speaking(&lab, &old.settings, old.dialect)?;
    let config = config_at(old.settings.advert);
    let new = FmcLb::new(&lab, Path::new(BINARY), &config)?;
    let name = format!("migration-{}", old.name);
    let body = || {
        scenario::start_pair(&lab, &mut pair, old.settings.advert)?;
        let mut migration = Migration {
            leases: LeaseWatch::start(&lab, WEB_VIP)?,
            prober: Prober::start(&lab, web(), Question::Echo)?,
            lab: lab.clone(),
            old: pair,
            new,
            config,
        };
        lab.wait_until(Duration::from_secs(5), "answers come", || {
            migration
                .prober
                .good_since(Instant::now() - Duration::from_millis(200))
                > 50
        })?;
        steps(&mut migration, old)
    };
    capture::around(&lab, &name, body).context(name)
}

fn steps(migration: &mut Migration, old: &Old) -> Result<()> {
    let soon = Duration::from_millis(20);
    let second = matches!(old.dialect, Dialect::V2(_));
    let unit = if second {
        Duration::from_secs(1)
    } else {
        old.settings.advert
    };
    let skew = unit * (256 - u32::from(old.settings.priorities.1)) / 256;

    migration.write("runs = \"keepalived\"", "", old.keys)?;
    let replaced = |it: &mut Migration| it.replace(Node::Lb2);
    migration.step("lb2 becomes fmc-lb", replaced, (Node::Lb1, 0), soon)?;
    let stopped = |it: &mut Migration| it.old.stop(Node::Lb1);
    migration.step(
        "Keepalived of lb1 stops",
        stopped,
        (Node::Lb2, 1),
        skew + soon,
    )?;
    migration.write("", "signing = \"permissive\"", old.keys)?;
    let started = |it: &mut Migration| it.new.start(Node::Lb1);
    migration.step("lb1 becomes fmc-lb", started, (Node::Lb1, 1), soon)?;
    migration.write("", "", "")?;
    let restarted = |it: &mut Migration| it.restart(Node::Lb2);
    migration.step(
        "lb2 signs and speaks version 3",
        restarted,
        (Node::Lb1, 0),
        soon,
    )?;
    let stopped = |it: &mut Migration| it.new.stop(Node::Lb1);
    migration.step("lb1 stops", stopped, (Node::Lb2, 1), soon)?;
    let started = |it: &mut Migration| it.new.start(Node::Lb1);
    migration.step(
        "lb1 signs and speaks version 3",
        started,
        (Node::Lb1, 1),
        soon,
    )?;

    for node in Node::LBS {
        let status = migration.new.status(node)?;
        let peer = &status["peer"];
        ensure!(peer["pair_channel"] == "on", "{node}: {peer}");
        ensure!(peer["signing"] == "enforce", "{node}: {peer}");
        let warned = status["warnings"].to_string();
        ensure!(
            !warned.contains("lb1") && !warned.contains("lb2"),
            "{node}: {warned}"
        );
    }
    Ok(())
}

#[test]
fn from_version_3_at_100_ms_to_a_signed_pair() -> Result<()> {
    migrate(&Old {
        name: "v3",
        settings: Settings::ours(Duration::from_millis(100)),
        dialect: Dialect::V3,
        keys: "",
    })
}

#[test]
fn from_version_2_with_a_password_to_a_signed_pair_of_version_3() -> Result<()> {
    migrate(&Old {
        name: "v2",
        settings: Settings::ours(Duration::from_secs(1)),
        dialect: Dialect::V2(PASSWORD),
        keys: "version = 2\nauth_pass = \"fmclb-01\"",
    })
}
