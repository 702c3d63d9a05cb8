//! Latency of one connection through fmc-lb while others behave badly on the same thread of it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "prints what was seen, waits between the cases"
)]

mod hello;
mod peers;
pub(crate) mod steady;

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lab::chain::{self, FRONT};
use lab::process::Process;
use lab::report;
use tokio::sync::watch;

use self::peers::{Peers, Ports};
use crate::cores::{self, LOAD};
use crate::figures::quantile;
use crate::load;
use crate::plan::Subject;
use crate::stand::{PORT, Stand};
use crate::subject::Programs;
use crate::subject::fmclb::{More, launch_more};

const HELLO_PORT: u16 = 7_001;
const STEADY_PORT: u16 = 7_002;
/// Of the bystander's own server.
const STEADY_SERVER: SocketAddrV4 = SocketAddrV4::new(chain::server(0), 7_100);
/// Times the quiet run's p99 that is permitted.
const TWICE: f64 = 2.0;
/// After a case everything is closed within this.
const CLOSED: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(100);
/// After that the machine is quiet.
const CALM: Duration = Duration::from_secs(1);

/// Who is there beside the bystander.
const CASES: [(&str, Option<Peers>); 6] = [
    ("quiet", None),
    ("50 that never read", Some(Peers::Deaf(50))),
    ("50 that send a byte a second", Some(Peers::Slow(50))),
    ("9,000 silent", Some(Peers::Silent(9_000))),
    (
        "9,000 without their ClientHello",
        Some(Peers::NoHello(9_000)),
    ),
    ("100 ClientHellos, 1 byte each ms", Some(Peers::Split(100))),
];

/// A case and what the bystander saw.
#[derive(Debug)]
struct Seen {
    name: &'static str,
    /// Microseconds, ascending.
    latencies: Vec<f64>,
    /// What the others did.
    others: String,
}

impl Seen {
    fn at(&self, share: f64) -> f64 {
        quantile(&self.latencies, share).unwrap_or(f64::NAN)
    }
}

/// All cases with one fmc-lb; whether it kept the bound.
///
/// # Errors
/// When the stand cannot be brought up, a bystander's trip fails, or the others cannot do what they should.
pub(crate) fn run(programs: &Programs, length: Duration) -> Result<bool> {
    let more = More {
        hello: HELLO_PORT,
        steady: STEADY_PORT,
        steady_server: STEADY_SERVER,
    };
    let stand = Stand::start_as(Subject::FmcLb, 1, |site| {
        Some(launch_more(&programs.fmc_lb, site, more))
    })?;
    let _steady = cores::on(LOAD, || start_steady(&stand))?;
    std::thread::sleep(CALM);
    let start = stand.descriptors()?;
    let mut all = Vec::new();
    for (name, peers) in CASES {
        let case = case(&stand, (name, peers), length);
        all.push(case.with_context(|| format!("in the case: {name}"))?);
        wait_until_closed(&stand, start)?;
    }
    let bound = TWICE * all[0].at(0.99);
    println!("{}", report::table(&table(&all, bound)));
    Ok(all.iter().all(|seen| seen.at(0.99) <= bound))
}

fn case(
    stand: &Stand,
    (name, peers): (&'static str, Option<Peers>),
    length: Duration,
) -> Result<Seen> {
    let ports = Ports {
        plain: PORT,
        hello: HELLO_PORT,
    };
    let (stop, stopped) = watch::channel(false);
    std::thread::scope(|scope| {
        let others = peers.map(|peers| {
            scope.spawn(move || stand.client(|| load::run(peers::run(peers, ports, stopped))))
        });
        let target = SocketAddrV4::new(FRONT, STEADY_PORT);
        let latencies = stand.client(|| steady::sample(target, length));
        // Nobody listens when the others have failed already.
        let _ = stop.send(true);
        let others = match others {
            Some(thread) => thread.join().expect("the others do not panic")?,
            None => String::new(),
        };
        Ok(Seen {
            name,
            latencies: latencies?,
            others,
        })
    })
}

fn table(all: &[Seen], bound: f64) -> Vec<Vec<String>> {
    let head = ["beside", "p50", "p99", "max", "", "they"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for seen in all {
        let kept = if seen.at(0.99) <= bound {
            "kept"
        } else {
            "missed"
        };
        let mut line = vec![seen.name.to_owned()];
        line.extend([0.5, 0.99, 1.0].map(|share| format!("{:.0} us", seen.at(share))));
        line.extend([kept.to_owned(), seen.others.clone()]);
        lines.push(line);
    }
    lines.push(vec![format!("bound of p99: {bound:.0} us")]);
    lines
}

fn wait_until_closed(stand: &Stand, descriptors: u64) -> Result<()> {
    let end = Instant::now() + CLOSED;
    while stand.descriptors()? > descriptors && Instant::now() < end {
        std::thread::sleep(STEP);
    }
    std::thread::sleep(CALM);
    Ok(())
}

fn start_steady(stand: &Stand) -> Result<Process> {
    let own = std::env::current_exe().context("find our own program")?;
    let own = own.display().to_string();
    let address = STEADY_SERVER.to_string();
    let log = stand.chain().folder().join("steady.log");
    let line = [own.as_str(), "steady", "--address", &address];
    Process::start_in(stand.chain().servers(), log, &line).context("start the bystander's server")
}
