//! What flow forwarding costs: the TC program for a node's own traffic, as the kernel accounts it, and the rate of a
//! connection whose segments take the way over the other node.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test measures real time, and streams over a real socket"
)]

mod site;

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::Part;
use lab::client::{self, Speak};
use lab::report::median;
use lab::{Node, payload};

use crate::site::{Site, config_at, web};

/// Run times of BPF programs are counted while this is 1 (Documentation/admin-guide/sysctl/kernel.rst); it holds for the
/// whole machine.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Of the CPU time that fmc-lb spends.
const SHARE: f64 = 0.02;
/// Of the rate without a detour.
const RATE: f64 = 0.9;
/// In CI nothing is measured closely.
const ROOM: f64 = 2.0;
/// Bytes written at once.
const CHUNK: usize = 256 * 1024;

/// Whether it is a measurement (`scripts/prove cost`), or a test beside others.
fn is_measurement() -> bool {
    std::env::var_os("FMC_LB_COST").is_some()
}

/// The kernel's counting of run times, as long as this lives.
struct Statistics {
    found: String,
}

impl Statistics {
    fn start() -> Result<Self> {
        let found = fs::read_to_string(STATISTICS).context("the kernel counts no run times")?;
        fs::write(STATISTICS, "1").context("count the run times of BPF programs")?;
        Ok(Self { found })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        drop(fs::write(STATISTICS, self.found.trim()));
    }
}

/// CPU time of the node's processes, and time and runs of its TC program.
#[derive(Debug, Clone, Copy)]
struct Spent {
    processes: Duration,
    program: Duration,
    runs: u64,
}

impl Spent {
    fn by(site: &Site, node: Node) -> Result<Self> {
        let mut processes = Duration::ZERO;
        for part in [Part::Supervisor, Part::Vrrp, Part::Proxy, Part::Admin] {
            processes += cpu_time(site.pair.pid(node, part)?.as_raw())?;
        }
        let supervisor = site.pair.pid(node, Part::Supervisor)?.as_raw();
        let (program, runs) = program_time(supervisor)?;
        Ok(Self {
            processes,
            program,
            runs,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            processes: self.processes.saturating_sub(earlier.processes),
            program: self.program.saturating_sub(earlier.program),
            runs: self.runs - earlier.runs,
        }
    }

    fn share(self) -> f64 {
        self.program.as_secs_f64() / self.processes.as_secs_f64()
    }
}

/// User and system time of a process (proc_pid_stat(5)), in hundredths of a second.
fn cpu_time(pid: i32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("a process has a name")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("a field")?.parse()?) };
    Ok(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// What the kernel says of the BPF program that a process has a descriptor of.
fn program_time(pid: i32) -> Result<(Duration, u64)> {
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let value = |key: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().parse().ok()
        };
        if let (Some(nanos), Some(runs)) = (value("run_time_ns:"), value("run_cnt:")) {
            return Ok((Duration::from_nanos(nanos), runs));
        }
    }
    anyhow::bail!("process {pid} has no BPF program")
}

fn forwarding() -> Result<Site> {
    let config = config_at(Duration::from_millis(100));
    let site = Site::start(&config, Service::Http)?;
    site.wait("both nodes forward", |site| {
        Node::LBS.into_iter().all(|node| {
            site.pair
                .status(node)
                .is_ok_and(|status| status["forwarding"]["peer_forwards"] == true)
        })
    })?;
    Ok(site)
}

#[test]
fn the_program_costs_a_node_next_to_nothing() -> Result<()> {
    let (connections, bytes) = if is_measurement() {
        (20_000, 16 << 30)
    } else {
        (3_000, 1 << 30)
    };
    forwarding()?.watched("cost", |site| {
        let _statistics = Statistics::start()?;
        let begun = Spent::by(site, Node::Lb1)?;
        client::shares(&site.lab, web(), Speak::Http, connections)?;
        let short = Spent::by(site, Node::Lb1)?.since(begun);
        let begun = Spent::by(site, Node::Lb1)?;
        let transfer = client::download(&site.lab, web(), bytes)?;
        ensure!(transfer.exact, "{transfer:?}");
        let bulk = Spent::by(site, Node::Lb1)?.since(begun);
        for (what, spent) in [("connections", short), ("bulk", bulk)] {
            println!(
                "{what}: {} runs of {} ns, {:.1} ms of fmc-lb's {:.0} ms: {:.2} %",
                spent.runs,
                spent.program.as_nanos() / u128::from(spent.runs.max(1)),
                spent.program.as_secs_f64() * 1e3,
                spent.processes.as_secs_f64() * 1e3,
                spent.share() * 100.0
            );
            ensure!(spent.runs > 100, "{what}: the program has hardly run");
            let room = if is_measurement() { 1.0 } else { ROOM };
            ensure!(spent.share() <= SHARE * room, "{what}: {spent:?}");
        }
        Ok(())
    })
}

/// An upload: it is the client's segments that go over the other node.
struct Upload {
    stream: TcpStream,
    sent: u64,
    chunk: Vec<u8>,
}

impl Upload {
    fn begin(site: &Site) -> Result<Self> {
        let mut stream = site.lab.run_in(Node::Client, || client::connect(web()))?;
        stream.write_all(b"PUT /upload HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
        Ok(Self {
            stream,
            sent: 0,
            chunk: vec![0; CHUNK],
        })
    }

    /// Bytes per second over so long.
    fn rate(&mut self, length: Duration) -> Result<f64> {
        let (begun, before) = (Instant::now(), self.sent);
        while begun.elapsed() < length {
            payload::fill(self.sent, &mut self.chunk);
            self.stream.write_all(&self.chunk).context("send on")?;
            self.sent += CHUNK as u64;
        }
        Ok((self.sent - before) as f64 / begun.elapsed().as_secs_f64())
    }
}

#[test]
fn a_detour_over_the_other_node_is_nearly_as_fast() -> Result<()> {
    let (rounds, each) = if is_measurement() {
        (9, Duration::from_secs(2))
    } else {
        (3, Duration::from_millis(500))
    };
    forwarding()?.watched("cost-detour", |site| {
        let mut upload = Upload::begin(site)?;
        // The windows open.
        upload.rate(Duration::from_secs(1))?;
        let (mut direct, mut detour) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            direct.push(upload.rate(each)?);
            hand_over(site, Node::Lb1)?;
            detour.push(upload.rate(each)?);
            hand_over(site, Node::Lb2)?;
        }
        let middle = |rates: &[f64]| {
            let times: Vec<Duration> = rates
                .iter()
                .map(|rate| Duration::from_secs_f64(1e9 / rate))
                .collect();
            median(&times).map(|time| 1.0 / time.as_secs_f64())
        };
        let (direct, detour) = (
            middle(&direct).context("rounds")?,
            middle(&detour).context("rounds")?,
        );
        println!(
            "an upload: {direct:.2} GB/s, over the other node {detour:.2} GB/s: {:.0} %",
            100.0 * detour / direct
        );
        let room = if is_measurement() { 1.0 } else { ROOM };
        ensure!(detour * room >= direct * RATE, "{detour} of {direct} GB/s");
        Ok(())
    })
}

/// The connection stays where it is; its segments go to the other node first.
fn hand_over(site: &Site, from: Node) -> Result<()> {
    let handed = site.pair.command(from, &["handover"])?;
    ensure!(handed.status.success(), "{handed:?}");
    Ok(())
}
