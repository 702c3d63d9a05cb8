//! When a machine is lost, everybody who waits for it is told: clients that say something, and clients that say nothing.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part, Settings};
use lab::baseline::HaproxyKeepalived;
use lab::cluster::Cluster;
use lab::fmclb::reference_config;
use lab::held::{Held, How, Plan, Report};
use lab::process::processes;
use lab::report::milliseconds;
use lab::topology::{WEB_VIP, WEB_VIP_V6};
use lab::{Lab, Node, fault, lease, limits, scenario};
use nix::sys::signal::Signal;

use crate::site::{Site, config_at, metric, web};

const TENTH: Duration = Duration::from_millis(100);
/// Everybody is told so soon after the takeover.
const TOLD: Duration = Duration::from_secs(1);
/// Says something each 20 ms.
const PING: Option<Duration> = Some(Duration::from_millis(20));

/// Clients of each kind.
fn count() -> usize {
    let wanted = std::env::var("FMC_LB_RESCUE_CLIENTS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// Both nodes forward, and each knows the sessions of the other.
fn ready(site: &Site) -> Result<()> {
    site.wait("both nodes forward, and their admins speak", |site| {
        Node::LBS.into_iter().all(|node| {
            site.pair.status(node).is_ok_and(|status| {
                let link = &status["peer"]["link"];
                status["forwarding"]["peer_forwards"] == true
                    && link["telling_ms"].is_u64()
                    && link["hearing_ms"].is_u64()
            })
        })
    })
}

/// `node` knows so many sessions of the other.
fn knows(site: &Site, node: Node, sessions: usize) -> Result<()> {
    site.wait(&format!("{node} knows {sessions} sessions"), |site| {
        metric(site, node, "fmc_lb_link_sessions{direction=\"in\"}")
            .is_ok_and(|known| known == sessions as f64)
    })
}

/// Everybody was told, by RST; how long after `since` the last one was.
fn all_told(report: &Report, since: Instant) -> Result<Duration> {
    let silent = report.established - report.broken.len();
    ensure!(
        silent == 0,
        "{silent} of {} were not told",
        report.established
    );
    ensure!(
        report.broken.iter().all(|one| one.how == How::Reset),
        "not all by RST: {report:?}"
    );
    let last = report.broken.iter().map(|one| one.at).max();
    Ok(last.context("somebody")?.saturating_duration_since(since))
}

fn rescued(site: &Site, node: Node) -> Result<[f64; 3]> {
    let of = |name: &str| metric(site, node, &format!("fmc_lb_rescue_{name}_total"));
    Ok([of("clients")?, of("freed")?, of("pokes")?])
}

#[test]
fn every_client_of_a_lost_machine_is_told_within_a_second() -> Result<()> {
    let count = count();
    let site = Site::start(&config_at(TENTH), Service::Echo)?;
    ready(&site)?;
    site.watched("rescue", |site| {
        let idle = Held::open(&site.lab, web(), Plan { count, ping: None })?;
        let routed = Plan {
            count: count / 10,
            ping: None,
        };
        let routed = Held::open_from(&site.lab, Node::Master1, web(), routed)?;
        let busy = Held::open(&site.lab, web(), Plan { count, ping: PING })?;
        knows(site, Node::Lb2, 2 * count + count / 10)?;
        let lost = Instant::now();
        let _cut = fault::port_silent(&site.lab, Node::Lb1)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let taken = Instant::now();
        let all = |held: &Held, count: usize| held.broken() == count;
        site.wait("every client is told", |_| {
            all(&idle, count) && all(&busy, count) && all(&routed, count / 10)
        })?;
        site.wait("the rescue has ended", |site| {
            rescued(site, Node::Lb2).is_ok_and(|[clients, ..]| clients > 0.0)
        })?;
        let [clients, freed, pokes] = rescued(site, Node::Lb2)?;
        println!(
            "machine lost with {count} idle, {} routed idle and {count} busy clients: VIPs taken after {}; the last was told \
             {} (idle), {} (routed), {} (busy) after that; {freed} of {clients} freed with {pokes} pokes",
            count / 10,
            milliseconds(taken.duration_since(lost)),
            milliseconds(all_told(&idle.report(), taken)?),
            milliseconds(all_told(&routed.report(), taken)?),
            milliseconds(all_told(&busy.report(), taken)?),
        );
        for held in [&idle, &routed, &busy] {
            let told = all_told(&held.report(), taken)?;
            ensure!(told <= TOLD, "{told:?} after the takeover");
        }
        ensure!(freed >= clients * 0.99 && pokes <= clients * 2.0);
        Ok(())
    })
}

/// lb1 gives its VIPs away and keeps its sessions, and then its machine is lost.
fn lost_in_mid_drain(
    (name, config): (&str, &str),
    count: usize,
    leave: impl FnOnce(&Site) -> Result<()>,
) -> Result<()> {
    let site = Site::start(config, Service::Echo)?;
    ready(&site)?;
    site.watched(name, |site| {
        let idle = Held::open(&site.lab, web(), Plan { count, ping: None })?;
        let busy = Held::open(&site.lab, web(), Plan { count, ping: PING })?;
        knows(site, Node::Lb2, 2 * count)?;
        leave(site)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        // And the other node's own sessions live on.
        let other = Held::open(&site.lab, web(), Plan { count: 20, ping: PING })?;
        let pauses = stand_still(site)?;
        // A stop closes idle sessions in order, one after the other.
        let before = [&idle, &busy].map(|held| held.settled().report().broken);
        let closed = before[0].iter().filter(|one| one.how == How::Fin).count();
        ensure!(
            before[0].len() == closed && closed < count / 2 && before[1].is_empty(),
            "{pauses:?}: {before:?}"
        );
        let lost = Instant::now();
        let _cut = fault::port_silent(&site.lab, Node::Lb1)?;
        site.wait("every client is told", |_| {
            idle.broken() == count && busy.broken() == count
        })?;
        let told = [(&idle, closed), (&busy, 0)].map(|(held, closed)| {
            let mut report = held.report();
            report.broken.drain(..closed);
            report.established -= closed;
            all_told(&report, lost)
        });
        let [idle, busy] = told;
        let (idle, busy) = (idle?, busy?);
        println!(
            "{name}: pauses of {pauses:?} in mid-drain, then lost: {closed} of {count} idle clients were closed, the \
             last of the others was told after {}, of {count} busy ones after {}",
            milliseconds(idle),
            milliseconds(busy)
        );
        ensure!(idle <= TOLD && busy <= TOLD, "{idle:?} {busy:?}");
        ensure!(other.settled().broken() == 0, "{:?}", other.report());
        Ok(())
    })
}

/// lb1's machine pauses a few times, for less than makes it dead. Nothing of it is heard in between but answers, if it has
/// stopped; so a pause may begin at any time after its last frame.
fn stand_still(site: &Site) -> Result<Vec<Duration>> {
    let pause = |_| {
        std::thread::sleep(Duration::from_millis(217));
        fault::pause_for(&site.lab, Node::Lb1, Duration::from_millis(400))
    };
    (0..4).map(pause).collect()
}

#[test]
fn a_machine_that_is_lost_while_it_drains_leaves_nobody_waiting() -> Result<()> {
    let config = config_at(TENTH);
    lost_in_mid_drain(("rescue-handed-over", &config), count(), |site| {
        let moved = site.pair.command(Node::Lb1, &["handover"])?;
        ensure!(moved.status.success(), "{moved:?}");
        Ok(())
    })
}

#[test]
fn nor_does_one_that_is_lost_while_it_stops() -> Result<()> {
    // So long that hardly any idle session is closed in the test: they are closed spread over that time.
    let config = format!("{}\n[proxy]\ndrain = \"10h\"\n", config_at(TENTH));
    lost_in_mid_drain(("rescue-stopping", &config), 50, |site| {
        let stopped = site
            .pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGTERM);
        stopped.map(drop)
    })
}

#[test]
fn clients_over_ipv6_are_told_too() -> Result<()> {
    let count = 50;
    let config = reference_config(&Settings::ours(TENTH));
    let config = format!(
        "{config}\n[vips.web6]\naddress = \"{WEB_VIP_V6}/64\"\nvrid = 53\n\n\
         [listeners.http6]\nbind = [\"vips.web6:80\"]\nbackend = \"traefik-http\"\n"
    );
    let mut site = Site::build(&config, Service::Echo)?;
    site.lab.enable_ipv6()?;
    site.pair.start(Node::Lb1)?;
    let holds =
        |site: &Site, node| site.holds_both(node) && lease::is_holder(&site.lab, node, WEB_VIP_V6);
    site.wait("lb1 holds all", |site| holds(site, Node::Lb1))?;
    site.pair.start(Node::Lb2)?;
    Node::LBS
        .into_iter()
        .try_for_each(|node| site.wait_ready(node))?;
    ready(&site)?;
    site.watched("rescue-ipv6", |site| {
        let to = (WEB_VIP_V6, 80).into();
        let idle = Held::open(&site.lab, to, Plan { count, ping: None })?;
        knows(site, Node::Lb2, count)?;
        let _cut = fault::port_silent(&site.lab, Node::Lb1)?;
        site.wait("lb2 holds all", |site| holds(site, Node::Lb2))?;
        let taken = Instant::now();
        site.wait("every client is told", |_| idle.broken() == count)?;
        let told = all_told(&idle.report(), taken)?;
        println!(
            "IPv6: the last of {count} idle clients was told {} after the takeover",
            milliseconds(told)
        );
        ensure!(told <= TOLD, "{told:?}");
        Ok(())
    })
}

/// A chain that lets in what is known, and what `open` says.
fn firewall(lab: &Lab, node: Node, open: &[&str]) -> Result<()> {
    let chain =
        "add chain inet firewall input { type filter hook input priority 10 ; policy drop ; }";
    lab.nft(node, "add table inet firewall")?;
    lab.nft(node, chain)?;
    let known = [
        "ct state established,related accept",
        "iif lo accept",
        "ct state invalid drop",
        "meta l4proto { icmp, ipv6-icmp, 112 } accept",
    ];
    for rule in known.iter().chain(open) {
        lab.nft(node, &format!("add rule inet firewall input {rule}"))?;
    }
    Ok(())
}

#[test]
fn firewalls_that_track_connections_keep_nobody_from_being_told() -> Result<()> {
    let count = 50;
    let site = Site::start(&config_at(TENTH), Service::Echo)?;
    ready(&site)?;
    site.watched("rescue-firewalls", |site| {
        let open = [
            "udp dport 9601 accept",
            "tcp dport { 80, 443, 6443, 9600, 9601 } ct state new,untracked accept",
        ];
        for node in Node::LBS {
            firewall(&site.lab, node, &open)?;
        }
        firewall(&site.lab, Node::Client, &[])?;
        let idle = Held::open(&site.lab, web(), Plan { count, ping: None })?;
        let busy = Held::open(&site.lab, web(), Plan { count, ping: PING })?;
        knows(site, Node::Lb2, 2 * count)?;
        let _cut = fault::port_silent(&site.lab, Node::Lb1)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let taken = Instant::now();
        site.wait("every client is told", |_| {
            idle.broken() == count && busy.broken() == count
        })?;
        let [idle, busy] = [&idle, &busy].map(|held| all_told(&held.report(), taken));
        let (idle, busy) = (idle?, busy?);
        println!(
            "stateful firewalls on both balancers and the client: idle clients told after {}, busy ones after {} at the latest",
            milliseconds(idle),
            milliseconds(busy)
        );
        ensure!(idle <= TOLD && busy <= TOLD, "{idle:?} {busy:?}");
        Ok(())
    })
}

#[test]
fn behind_a_firewall_that_drops_every_poke_a_busy_client_is_told_all_the_same() -> Result<()> {
    let count = 50;
    let site = Site::start(&config_at(TENTH), Service::Echo)?;
    ready(&site)?;
    site.watched("rescue-firewall", |site| {
        let idle = Held::open(&site.lab, web(), Plan { count, ping: None })?;
        let busy = Held::open(&site.lab, web(), Plan { count, ping: PING })?;
        knows(site, Node::Lb2, 2 * count)?;
        let lab = &site.lab;
        lab.nft(Node::Client, "add table inet strict")?;
        lab.nft(
            Node::Client,
            "add chain inet strict input { type filter hook input priority -300 ; }",
        )?;
        // Handshakes are over, and the echo pushes its data: what is left is a rescue's.
        lab.nft(
            Node::Client,
            "add rule inet strict input tcp flags & (syn | ack) == (syn | ack) drop",
        )?;
        lab.nft(
            Node::Client,
            "add rule inet strict input tcp flags == ack tcp window 1024 drop",
        )?;
        let _cut = fault::port_silent(&site.lab, Node::Lb1)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let taken = Instant::now();
        site.wait("a rescue runs, without any right", |site| {
            let mut all = processes(&site.lab, Node::Lb2).into_iter();
            let rescue = all.find(|seen| seen.arguments.get(1).is_some_and(|word| word == "rescue"));
            let status = rescue.and_then(|seen| fs::read_to_string(format!("/proc/{}/status", seen.pid)).ok());
            let none = ["CapPrm", "CapEff", "CapBnd"].map(|set| format!("{set}:\t0000000000000000\n"));
            status.is_some_and(|status| none.iter().all(|line| status.contains(line)))
        })?;
        site.wait("every busy client is told", |_| busy.broken() == count)?;
        site.wait("the rescue has given up", |site| {
            rescued(site, Node::Lb2).is_ok_and(|[clients, ..]| clients > 0.0)
        })?;
        let told = all_told(&busy.report(), taken)?;
        let [clients, freed, pokes] = rescued(site, Node::Lb2)?;
        println!(
            "a client's firewall that drops every poke: {} of {count} idle ones told, busy ones after {} at the latest; {freed} of \
             {clients} freed with {pokes} pokes",
            idle.broken(),
            milliseconds(told)
        );
        ensure!(idle.broken() == 0, "the firewall drops nothing");
        // A segment in flight is sent again after 200 ms and more, which doubles each time.
        ensure!(told < Duration::from_secs(3), "{told:?}");
        ensure!(freed == count as f64 && pokes >= 3.0 * count as f64);
        Ok(())
    })
}

#[test]
fn a_node_that_stands_still_for_a_moment_loses_no_client() -> Result<()> {
    let count = 50;
    let site = Site::start(&config_at(TENTH), Service::Echo)?;
    ready(&site)?;
    site.watched("rescue-not", |site| {
        let idle = Held::open(&site.lab, web(), Plan { count, ping: None })?;
        knows(site, Node::Lb2, count)?;
        // Its processes die, its machine lives: the sessions end with their proxy, and nobody is dead.
        site.pair.signal(Node::Lb1, Part::Admin, Signal::SIGKILL)?;
        site.wait("its next admin tells again", |site| {
            metric(site, Node::Lb1, "fmc_lb_link_up{direction=\"out\"}").is_ok_and(|up| up == 1.0)
        })?;
        knows(site, Node::Lb2, count)?;
        let paused = fault::pause_for(&site.lab, Node::Lb1, Duration::from_millis(400))?;
        std::thread::sleep(Duration::from_secs(1));
        let runs = metric(site, Node::Lb2, "fmc_lb_rescue_runs_total")?;
        println!(
            "a pause of {}: {} of {count} broken, {runs} rescues",
            milliseconds(paused),
            idle.broken()
        );
        ensure!(paused > Duration::from_millis(550) || (idle.broken() == 0 && runs == 0.0));
        drop(idle);
        knows(site, Node::Lb2, 0)
    })
}

/// The same with HAProxy + Keepalived. Run by `scripts/prove rescue`.
#[test]
#[ignore = "measures the baseline, which promises nothing"]
fn beside_it_haproxy_and_keepalived() -> Result<()> {
    let count = count();
    let _turn = limits::measure_alone()?;
    let lab = Lab::start()?;
    let _cluster = Cluster::start(&lab, Service::Echo)?;
    let settings = Settings::site(TENTH);
    let mut pair = HaproxyKeepalived::new(&lab, &settings)?;
    scenario::start_pair(&lab, &mut pair, settings.advert)?;
    let idle = Held::open(&lab, web(), Plan { count, ping: None })?;
    let busy = Held::open(&lab, web(), Plan { count, ping: PING })?;
    let _cut = fault::port_silent(&lab, Node::Lb1)?;
    lab.wait_until(Duration::from_secs(10), "lb2 holds the VIP", || {
        lease::is_holder(&lab, Node::Lb2, WEB_VIP)
    })?;
    // The lab's idle clients ask by themselves after 5 s (keepalive); most programs do after two hours, or never.
    std::thread::sleep(Duration::from_secs(4));
    println!(
        "HAProxy + Keepalived, 4 s after the takeover: {} of {count} idle and {} of {count} busy clients know it",
        idle.broken(),
        busy.broken()
    );
    Ok(())
}
