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

/// Who is there beside the bystander. One of each would do; they are many, but not so many that they fill the two
/// cores that the bystander's own ends live on too: then it is the machine that is measured.
const CASES: [(&str, Option<Peers>); 6] = [
    ("quiet", None),
    ("50 that never read", Some(Peers::Deaf(50))),
    ("50 that send a byte a second", Some(Peers::Slow(50))),
    ("9,000 silent", Some(Peers::Silent(9_000))),
    (
        "9,000 without their ClientHello",
        Some(Peers::NoHello(9_000)),
    ),
    ("20 ClientHellos, 1 byte each ms", Some(Peers::Split(20))),
];

/// What the bystander saw in one round of a case.
#[derive(Debug)]
struct Seen {
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

/// A case, round by round.
#[derive(Debug)]
struct Case {
    name: &'static str,
    rounds: Vec<Seen>,
}

impl Case {
    /// The median of the rounds, in microseconds: a machine that stood still for a moment decides nothing.
    fn at(&self, share: f64) -> f64 {
        let mut all: Vec<f64> = self.rounds.iter().map(|seen| seen.at(share)).collect();
        all.sort_by(f64::total_cmp);
        quantile(&all, 0.5).unwrap_or(f64::NAN)
    }

    /// p99 of each round.
    fn p99s(&self) -> String {
        let all = self
            .rounds
            .iter()
            .map(|seen| format!("{:.0}", seen.at(0.99)));
        all.collect::<Vec<_>>().join(" ")
    }
}

/// All cases with one fmc-lb, in turn in each of `rounds`; whether it kept the bound.
///
/// # Errors
/// When the stand cannot be brought up, a bystander's trip fails, or the others cannot do what they should.
pub(crate) fn run(programs: &Programs, rounds: u32, length: Duration) -> Result<bool> {
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
    let mut all = CASES.map(|(name, _)| Case {
        name,
        rounds: Vec::new(),
    });
    for _ in 0..rounds {
        for (case, (name, peers)) in all.iter_mut().zip(CASES) {
            let seen = see(&stand, peers, length);
            let seen = seen.with_context(|| format!("in the case: {name}"))?;
            case.rounds.push(seen);
            wait_until_closed(&stand, start)?;
        }
    }
    let bound = TWICE * all[0].at(0.99);
    println!("{}", report::table(&table(&all, bound)));
    Ok(all.iter().all(|case| case.at(0.99) <= bound))
}

fn see(stand: &Stand, peers: Option<Peers>, length: Duration) -> Result<Seen> {
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
            latencies: latencies?,
            others,
        })
    })
}

fn table(all: &[Case], bound: f64) -> Vec<Vec<String>> {
    let head = [
        "beside",
        "p50",
        "p99",
        "max",
        "",
        "p99 of each round",
        "they",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for case in all {
        let kept = if case.at(0.99) <= bound {
            "kept"
        } else {
            "missed"
        };
        let others = case.rounds.last().map(|seen| seen.others.clone());
        let mut line = vec![case.name.to_owned()];
        line.extend([0.5, 0.99, 1.0].map(|share| format!("{:.0} us", case.at(share))));
        line.extend([kept.to_owned(), case.p99s(), others.unwrap_or_default()]);
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
