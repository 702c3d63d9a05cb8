//! What a crash costs, under 500 new connections a second and 200 sessions. Of the proxy alone: its own sessions, which end
//! with RST on both sides. Of everything: the same, and no client is refused, then or when the node returns.
//!
//! `scripts/prove crash` asserts the bounds themselves, and more rounds.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lab::backend::{Backend, Service};
use lab::balancer::{Balancer as _, Part};
use lab::flood::SynFlood;
use lab::held::{Held, How, Plan};
use lab::lease::LeaseWatch;
use lab::prober::{Asking, Failed, Prober, Question, Why};
use lab::process::{kill_together, signal_all};
use lab::topology::WEB_VIP;
use lab::transfer::{Direction, Ended, Transfer};
use lab::{Lab, Node, limits};
use nix::sys::signal::Signal;

use crate::site::{Site, config_with_v6, web, web6};

/// Whoever was accepted is told so soon after the kill.
const TOLD: Duration = Duration::from_millis(100);
/// The servers remember what lasted half as long.
const SETTLED: Duration = Duration::from_secs(1);
/// A proxy that dies three times within ten seconds is replaced later.
const BETWEEN: Duration = Duration::from_millis(5_100);
/// A new connection that takes longer has failed; a SYN that is lost is sent again after a second.
const LIMIT: Duration = Duration::from_secs(3);
/// Whoever is asked serves within this.
const SOON: Duration = Duration::from_secs(10);
/// Where the transfers go.
const FILES: u16 = 8_080;
/// Bytes a second of each.
const RATE: u64 = 4_000_000;

fn rounds() -> u32 {
    set_to("FMC_LB_CRASH_ROUNDS").unwrap_or(1)
}

fn set_to(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

/// A site with both nodes, and servers of files.
struct Crash {
    site: Site,
    files: Vec<Backend>,
}

impl Crash {
    fn begin() -> Result<Self> {
        let config = config_with_v6(Duration::from_millis(100));
        let servers = Node::WORKERS.map(|node| format!("\"{}:{FILES}\"", node.address()));
        let config = format!(
            "{config}\n[listeners.files]\nbind = [\"vips.web:{FILES}\", \"vips.web6:{FILES}\"]\nbackend = \"files\"\n\n\
             [backends.files]\nservers = [{}]\nbalance = \"round-robin\"\n",
            servers.join(", ")
        );
        let mut site = Site::build(&config, Service::Echo)?;
        let start = |node| Backend::start(&site.lab, node, FILES, Service::Http);
        let files = Node::WORKERS
            .into_iter()
            .map(start)
            .collect::<Result<_>>()?;
        site.start_with_v6()?;
        Ok(Self { site, files })
    }

    /// Runs a test's body, as [`Site::watched`] does.
    fn watched(
        self,
        name: &str,
        body: impl FnOnce(&mut Site, &[Backend]) -> Result<()>,
    ) -> Result<()> {
        let Self { site, files } = self;
        site.watched(name, |site| body(site, &files))
    }
}

/// What the clients do.
struct Load {
    held: Vec<Held>,
    transfers: Vec<Transfer>,
    /// Then all these had come to a server, and no other connection.
    opened: Instant,
    probers: Vec<Prober>,
}

impl Load {
    fn start(lab: &Lab) -> Result<Self> {
        let ping = Some(Duration::from_millis(20));
        let plans = [
            (web(), 100, ping),
            (web(), 50, None),
            (web6(), 30, ping),
            (web6(), 20, None),
        ];
        let open = |(to, count, ping)| Held::open(lab, to, Plan { count, ping });
        let held = plans.into_iter().map(open).collect::<Result<_>>()?;
        let ways = [web(), web6()]
            .into_iter()
            .flat_map(|vip| [(vip, Direction::Down), (vip, Direction::Up)]);
        let transfer = |(vip, direction): (SocketAddr, Direction)| {
            let to = SocketAddr::new(vip.ip(), FILES);
            Transfer::start(lab, (Node::Client, to), direction, RATE)
        };
        let transfers = ways.map(transfer).collect::<Result<_>>()?;
        let mut load = Self {
            held,
            transfers,
            opened: Instant::now(),
            probers: Vec::new(),
        };
        let probers = [(web(), 3), (web6(), 6)].into_iter();
        let probers = probers.map(|(to, spacing)| ask(lab, (Node::Client, to), spacing));
        load.probers = probers.collect::<Result<_>>()?;
        let served = || {
            let mut all = load.probers.iter();
            all.all(|one| one.good_since(load.opened) > 20)
        };
        lab.wait_until(SOON, "new connections are served", served)?;
        std::thread::sleep(SETTLED);
        load.is_whole()?;
        Ok(load)
    }

    fn is_whole(&self) -> Result<()> {
        let broken: usize = self.held.iter().map(Held::broken).sum();
        ensure!(broken == 0, "{broken} sessions broke before the crash");
        for transfer in &self.transfers {
            let outcome = transfer.outcome();
            ensure!(
                outcome.ended.is_none() && outcome.length > RATE / 4,
                "a transfer before the crash: {outcome:?}"
            );
        }
        Ok(())
    }

    /// All that were accepted and last.
    fn sessions(&self) -> usize {
        let held: usize = self.held.iter().map(|held| held.report().established).sum();
        held + self.transfers.len()
    }
}

/// When it happened.
#[derive(Clone, Copy)]
struct Kill {
    /// Just before the signal.
    before: Instant,
    /// Whoever began after this met the sockets of a living process again, or those of the other node.
    over: Instant,
}

/// How the sessions ended that were there.
struct Cut {
    sessions: usize,
    /// When the last one was told, after the kill.
    client: Duration,
    server: Duration,
}

/// What became of new connections.
#[derive(Default)]
struct New {
    served: usize,
    refused: usize,
    /// Accepted by a process that died.
    cut: usize,
    /// When the last one of them began, after the kill.
    last_cut: Duration,
    /// The longest wait for an answer since the kill.
    longest: Duration,
    late: usize,
    gap: Duration,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sessions ended with RST, after {:.1?} at the clients and {:.1?} at the servers at the latest",
            self.sessions, self.client, self.server
        )
    }
}

impl fmt::Display for New {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} new connections refused, {} accepted and cut (the last one began {:.1?} after the kill); the others \
             waited for {:.1?} at most ({} for more than a second), no answer for {:.1?} at most",
            self.refused,
            self.served + self.refused + self.cut,
            self.cut,
            self.last_cut,
            self.longest,
            self.late,
            self.gap
        )
    }
}

/// Every session was cut by RST in time, at the client and at the server.
fn cut(load: &Load, servers: &[&Backend], kill: Kill) -> Result<Cut> {
    let mut ends = Vec::new();
    for held in &load.held {
        let report = held.report();
        let alive = report.established - report.broken.len();
        ensure!(alive == 0, "{alive} sessions were not told");
        for one in &report.broken {
            ensure!(one.how == How::Reset, "a session ended by {:?}", one.how);
            ends.push(one.at);
        }
    }
    for transfer in &load.transfers {
        let outcome = transfer.outcome();
        let Some((at, Ended::Reset)) = outcome.ended else {
            bail!("a transfer: {outcome:?}");
        };
        ensure!(outcome.first_wrong.is_none(), "a wrong byte: {outcome:?}");
        ends.push(at);
    }
    let past = servers
        .iter()
        .flat_map(|server| server.ended_since(kill.before))
        .filter(|one| one.began <= load.opened);
    let past: Vec<_> = past.collect();
    let sessions = load.sessions();
    ensure!(
        past.len() == sessions,
        "{} of {sessions} sessions ended at the servers",
        past.len()
    );
    let other = past
        .iter()
        .find(|one| one.error != Some(std::io::ErrorKind::ConnectionReset));
    ensure!(other.is_none(), "not by RST at a server: {other:?}");
    let after = |at: Option<Instant>| -> Result<Duration> {
        let after = at
            .context("somebody")?
            .saturating_duration_since(kill.before);
        ensure!(
            after <= TOLD * limits::room(),
            "the last one was told after {after:?}"
        );
        Ok(after)
    };
    Ok(Cut {
        sessions,
        client: after(ends.into_iter().max())?,
        server: after(past.iter().map(|one| one.at).max())?,
    })
}

/// Nobody was refused, and whoever came when it was over was served.
fn new_connections(probers: Vec<Prober>, kill: Kill) -> Result<New> {
    let mut new = New::default();
    let mut wrong = Vec::new();
    for prober in probers {
        let report = prober.finish()?;
        new.served += report.good.len();
        for good in report.good.iter().filter(|good| good.ended > kill.before) {
            let took = good.ended - good.started;
            new.longest = new.longest.max(took);
            new.late += usize::from(took > Duration::from_secs(1));
        }
        new.gap = new.gap.max(report.outage(kill.before).gap);
        for failed in &report.failed {
            if failed.why == Why::Refused {
                new.refused += 1;
            } else if is_cut(failed, kill) {
                new.cut += 1;
                let began = failed.started.saturating_duration_since(kill.before);
                new.last_cut = new.last_cut.max(began);
            } else {
                wrong.push(*failed);
            }
        }
    }
    ensure!(new.refused == 0, "{new}");
    let [began, ended] = [
        wrong.iter().map(|one| one.started).min(),
        wrong.iter().map(|one| one.ended).max(),
    ]
    .map(|at| at.map(|at| at.saturating_duration_since(kill.before)));
    ensure!(
        wrong.is_empty(),
        "{new}; {} failed otherwise ({began:?} to {ended:?} after the kill): {:?}",
        wrong.len(),
        wrong[0]
    );
    Ok(new)
}

/// It was accepted by a process that died, and told so in time.
fn is_cut(failed: &Failed, kill: Kill) -> bool {
    failed.why == Why::Reset
        && failed.started <= kill.over
        && failed.ended >= kill.before
        && failed.ended <= kill.over + TOLD * limits::room()
}

fn servers<'a>(site: &'a Site, files: &'a [Backend]) -> Vec<&'a Backend> {
    site.cluster.web.iter().chain(files).collect()
}

#[test]
fn a_killed_proxy_refuses_nobody_and_its_sessions_end_with_rst() -> Result<()> {
    Crash::begin()?.watched("crash-proxy", |site, files| {
        for round in 1..=rounds() {
            let (load, leases) = load(site)?;
            let proxy = site.pair.pid(Node::Lb1, Part::Proxy)?;
            let before = Instant::now();
            signal_all(&[proxy], Signal::SIGKILL);
            // Whoever comes from now on is the next one's.
            let kill = Kill {
                before,
                over: Instant::now(),
            };
            site.wait("the proxy is replaced", |site| {
                site.pair
                    .pid(Node::Lb1, Part::Proxy)
                    .is_ok_and(|pid| pid != proxy)
            })?;
            std::thread::sleep(SETTLED);
            let cut = cut(&load, &servers(site, files), kill)?;
            let new = new_connections(load.probers, kill)?;
            let moved = leases.changes().iter().any(|change| change.at > before);
            println!(
                "SIGKILL of the proxy, round {round}: {cut}; {new}; the VIP {}",
                if moved { "moved" } else { "stayed" }
            );
            site.wait_home()?;
            std::thread::sleep(BETWEEN.saturating_sub(before.elapsed()));
        }
        Ok(())
    })
}

/// SIGKILL of all processes of lb1; `after` is what happens to it then.
fn kill_all(
    (site, files): (&mut Site, &[Backend]),
    name: &str,
    after: fn(&mut Site) -> Result<()>,
) -> Result<()> {
    for round in 1..=rounds() {
        let (load, leases) = load(site)?;
        let all = site.pair.processes(Node::Lb1);
        let all: Vec<_> = all.iter().map(|seen| seen.pid).collect();
        ensure!(all.len() == 4, "{all:?}");
        let before = Instant::now();
        kill_together(&all);
        // Until their sockets are closed too, the kernel accepts for them.
        let over = before + TOLD * limits::room();
        let kill = Kill { before, over };
        knows_lb1_only(&site.lab, Node::Router)?;
        let stale = ask(&site.lab, (Node::Router, web()), 2)?;
        // Collects them, as init would.
        site.pair.kill_all(Node::Lb1)?;
        after(site)?;
        std::thread::sleep(SETTLED);
        let cut = cut(&load, &servers(site, files), kill)?;
        site.wait_home()?;
        std::thread::sleep(SETTLED);
        let returned = before.elapsed();
        let stale = stale.finish()?;
        let refused = stale.failed.iter().filter(|one| one.why == Why::Refused);
        let refused = refused.count();
        let changes = leases.changes();
        let mut gains = changes.iter().filter(|change| change.holds);
        let taken = gains.find(|change| change.node == Node::Lb2 && change.at > before);
        let taken = taken.context("lb2 was seen to take the VIP")?.at - before;
        let new = new_connections(load.probers, kill)?;
        println!(
            "SIGKILL of all, {name}, round {round}: {cut}; {new}; of a client that knows lb1 only {} were served and \
             {refused} refused; lb2 had the VIP after {taken:.1?}, lb1 again within {returned:.1?}",
            stale.good.len()
        );
        ensure!(refused == 0, "{refused} refused by lb1");
    }
    Ok(())
}

/// A machine that has not heard where the VIP is now, and asks lb1 for ever.
fn knows_lb1_only(lab: &Lab, node: Node) -> Result<()> {
    let mac = Node::Lb1.mac();
    let neighbour = format!("neigh replace {WEB_VIP} lladdr {mac} dev eth0 nud permanent");
    lab.ip(node, &neighbour).map(drop)
}

fn ask(lab: &Lab, (from, to): (Node, SocketAddr), millis: u64) -> Result<Prober> {
    let asking = Asking {
        from,
        to,
        question: Question::Echo,
        spacing: Duration::from_millis(millis),
        limit: LIMIT,
    };
    Prober::start_asking(lab, asking)
}

/// All sessions are at lb1.
fn load(site: &Site) -> Result<(Load, LeaseWatch)> {
    let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
    let load = Load::start(&site.lab)?;
    let changes = leases.changes();
    let stayed = matches!(&changes[..], [one] if one.node == Node::Lb1);
    ensure!(stayed, "the VIP moved before: {changes:?}");
    Ok((load, leases))
}

#[test]
fn a_node_that_crashes_and_is_started_again_refuses_nobody() -> Result<()> {
    Crash::begin()?.watched("crash-all", |site, files| {
        kill_all((site, files), "started again by systemd", |site| {
            site.pair.service_manager(Node::Lb1)
        })
    })
}

#[test]
fn a_node_that_crashes_and_stays_down_refuses_nobody() -> Result<()> {
    Crash::begin()?.watched("crash-all-down", |site, files| {
        kill_all((site, files), "started again after 3 s", |site| {
            std::thread::sleep(Duration::from_secs(3));
            site.pair.start(Node::Lb1)
        })
    })
}

/// Between the end of the processes and that of their traces a SYN has nobody to go to but the other node.
#[test]
fn neither_a_stop_nor_what_follows_a_crash_refuses_anybody() -> Result<()> {
    Crash::begin()?.watched("crash-release", |site, _| {
        knows_lb1_only(&site.lab, Node::Client)?;
        let rule = "add rule inet watch output tcp sport 80 tcp flags & rst == rst counter";
        let hook = "add chain inet watch output { type filter hook output priority 0 ; }";
        for line in ["add table inet watch", hook, rule] {
            site.lab.nft(Node::Lb1, line)?;
        }
        for round in 0..6 {
            let is_crash = round % 2 == 0;
            if is_crash {
                site.pair.kill_all(Node::Lb1)?;
            }
            let begun = refusals(site)?;
            let flood = SynFlood::start(&site.lab, SocketAddrV4::new(WEB_VIP, 80), 10_000)?;
            site.wait("the flood flows", |_| flood.sent() > 1_000)?;
            if is_crash {
                // Takes the traces away, and starts the node again.
                site.pair.service_manager(Node::Lb1)?;
            } else {
                site.pair.stop(Node::Lb1)?;
            }
            let sent = flood.sent();
            drop(flood);
            let refused = refusals(site)? - begun;
            let what = if is_crash { "crash" } else { "stop" };
            println!("{what}: {refused} of {sent} SYNs refused");
            ensure!(refused == 0, "{what}: {refused} of {sent} SYNs refused");
            if !is_crash {
                site.pair.start(Node::Lb1)?;
            }
            site.wait_home()?;
        }
        Ok(())
    })
}

/// RSTs that lb1's kernel has sent from port 80.
fn refusals(site: &Site) -> Result<u64> {
    let listed = site.lab.nft(Node::Lb1, "list table inet watch")?;
    let mut words = listed
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    let count = words
        .nth(1)
        .with_context(|| format!("no counter: {listed}"))?;
    count.parse().context("read the counter")
}
