//! Thousands of short connections a second from several addresses, half of them aborted: whether one fails, and what is
//! left in the balancer afterwards.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "prints what was seen, waits until the balancer has finished"
)]

mod load;
mod time_wait;
mod verdict;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lab::report;

use self::load::Tally;
use self::time_wait::TimeWait;
use crate::load::run as run_load;
use crate::plan::{SERVERS, Subject};
use crate::stand::Stand;
use crate::subject::Programs;

/// More than one minute's orderly ends: none is left out of the count because there is no room for it.
const TIME_WAIT_ROOM: &str = "524288";
/// Between two looks at the sockets in TIME_WAIT.
const LOOK: Duration = Duration::from_secs(10);
/// After the last connection the balancer has closed everything within this.
const CLOSED: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storm {
    /// Connections a second.
    pub(crate) rate: u32,
    pub(crate) length: Duration,
}

/// What the balancer holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: u64,
    /// Of what relays, in bytes.
    pss: u64,
    time_wait: TimeWait,
}

/// What a storm did to a balancer.
#[derive(Debug)]
struct Seen {
    subject: Subject,
    tally: Tally,
    before: Held,
    after: Held,
    /// Sockets in TIME_WAIT each [`LOOK`].
    looks: Vec<u64>,
    /// Of what relays.
    cpu: Duration,
    /// From the look before to the look after.
    took: Duration,
}

/// Lets a storm go over each; whether fmc-lb kept what it promises.
///
/// # Errors
/// When a stand cannot be brought up, or a balancer dies.
pub(crate) fn run(programs: &Programs, subjects: &[Subject], storm: Storm) -> Result<bool> {
    let mut all = Vec::new();
    for subject in subjects {
        match programs.missing(*subject) {
            None => all.push(one(programs, *subject, storm).context(subject.name())?),
            Some(why) => println!("{} is not available: {why}", subject.name()),
        }
    }
    println!("{}", report::table(&verdict::table(&all, storm)));
    for seen in &all {
        let name = seen.subject.name();
        println!(
            "{name}: in TIME_WAIT each {} s: {:?}",
            LOOK.as_secs(),
            seen.looks
        );
        if let Some(first) = &seen.tally.first_failure {
            println!("{name}: the first failure: {first}");
        }
    }
    let own = all.iter().filter(|seen| seen.subject == Subject::FmcLb);
    let missed: Vec<String> = own.flat_map(|seen| verdict::missed(seen, storm)).collect();
    for line in &missed {
        println!("missed: {line}");
    }
    Ok(missed.is_empty())
}

fn one(programs: &Programs, subject: Subject, storm: Storm) -> Result<Seen> {
    let stand = Stand::start(programs, subject, SERVERS)?;
    for namespace in [stand.chain().client(), stand.chain().balancer()] {
        namespace.sysctl("net.ipv4.tcp_max_tw_buckets", TIME_WAIT_ROOM)?;
    }
    let target = stand.target().address;
    let begin = Instant::now();
    let (before, cpu) = (look(&stand)?, stand.cpu()?);
    let (tally, looks) = watched(&stand, || {
        stand.client(|| run_load(load::run(target, storm)))
    })?;
    let cpu = (stand.cpu()? - cpu).proxy;
    wait_until_closed(&stand, before.descriptors)?;
    Ok(Seen {
        subject,
        tally,
        before,
        after: look(&stand)?,
        looks,
        cpu,
        took: begin.elapsed(),
    })
}

/// Calls, and looks at the balancer's sockets in TIME_WAIT meanwhile.
fn watched<T>(stand: &Stand, work: impl FnOnce() -> Result<T>) -> Result<(T, Vec<u64>)> {
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut looks = Vec::new();
            while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                looks.push(time_wait(stand)?.now);
            }
            Ok::<_, anyhow::Error>(looks)
        });
        let result = work();
        drop(stop);
        let looks = watch.join().expect("the watch does not panic")?;
        Ok((result?, looks))
    })
}

fn time_wait(stand: &Stand) -> Result<TimeWait> {
    stand.chain().balancer().run(TimeWait::read)
}

fn look(stand: &Stand) -> Result<Held> {
    Ok(Held {
        descriptors: stand.descriptors()?,
        pss: stand.memory()?.proxy.pss,
        time_wait: time_wait(stand)?,
    })
}

/// Whatever is open then is left open, and the verdict says so.
fn wait_until_closed(stand: &Stand, descriptors: u64) -> Result<()> {
    let end = Instant::now() + CLOSED;
    while stand.descriptors()? > descriptors && Instant::now() < end {
        std::thread::sleep(STEP);
    }
    Ok(())
}
