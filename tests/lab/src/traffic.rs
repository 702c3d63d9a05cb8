//! What clients do, all at once: sessions with a ping-pong, idle ones, bulk streams, new connections; and what was lost of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bulk::Bulk;
use crate::held::{Held, How, Plan};
use crate::prober::{Asking, Prober, Question, Why};
use crate::{Lab, Node, limits, wait};

/// Time between two pings.
const PING: Duration = Duration::from_millis(20);
/// Bytes a second of each bulk stream, there and back.
const BULK_RATE: u64 = 8_000_000;
/// TCP sends a lost segment again after up to half of the time that it was silent; then its fate is known.
const FATE: Duration = Duration::from_secs(12);
/// A new connection that takes longer has failed. A lost SYN is sent again after a second: late, not lost.
const LIMIT: Duration = Duration::from_secs(3);
/// And one that takes longer than this was late.
const LATE: Duration = Duration::from_secs(1);
/// A ping that is under way for no longer is nothing to wait for.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// What one kind of clients does.
#[derive(Debug, Clone, Copy)]
pub struct Clients {
    /// The machine that they are on.
    pub from: Node,
    /// An echo behind a VIP.
    pub to: SocketAddr,
    /// Sessions with a ping each 20 ms.
    pub pings: usize,
    /// Sessions that say nothing.
    pub idle: usize,
    /// Streams.
    pub bulk: usize,
    /// Time between two new connections.
    pub spacing: Duration,
}

impl Clients {
    /// Sessions that they hold.
    pub fn held(&self) -> u64 {
        (self.pings + self.idle + self.bulk) as u64
    }
}

/// All of it, until it is dropped or finished.
#[derive(Debug)]
pub struct Traffic {
    begun: Instant,
    pings: Vec<Held>,
    idle: Vec<Held>,
    bulk: Vec<Bulk>,
    /// Each with the time between two of its attempts.
    probers: Vec<(Prober, Duration)>,
}

/// What was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Sessions that were held.
    pub held: usize,
    /// Of these, those that broke.
    pub broken: BTreeMap<How, usize>,
    /// Idle sessions that were closed in order: a node that drains does that.
    pub closed: usize,
    /// Bulk streams.
    pub streams: usize,
    /// Those that broke, and why.
    pub streams_broken: Vec<String>,
    /// Those with a wrong byte.
    pub corrupt: usize,
    /// Bytes of streams that came back and were checked.
    pub bytes: u64,
    /// New connections that were asked for: one each spacing.
    pub asked: usize,
    /// Those that were served.
    pub new: usize,
    /// Those that were not.
    pub failed: BTreeMap<Why, u64>,
    /// Of those that were served, those whose answer took more than a second.
    pub late: usize,
    /// Longest time without a good answer to one of the probers.
    pub gap: Duration,
    /// Longest round trip of a ping.
    pub longest_ping: Duration,
}

impl Traffic {
    /// Starts all of it and returns when every session is established.
    ///
    /// # Errors
    /// When one cannot be.
    pub fn start(lab: &Lab, clients: &[Clients]) -> Result<Self> {
        let mut traffic = Self {
            begun: Instant::now(),
            pings: Vec::new(),
            idle: Vec::new(),
            bulk: Vec::new(),
            probers: Vec::new(),
        };
        for one in clients {
            let open = |count, ping| Held::open_from(lab, one.from, one.to, Plan { count, ping });
            traffic.pings.push(open(one.pings, Some(PING))?);
            traffic.idle.push(open(one.idle, None)?);
            for _ in 0..one.bulk {
                let bulk = Bulk::start(lab, one.from, one.to, BULK_RATE)?;
                traffic.bulk.push(bulk);
            }
            let asking = Asking {
                from: one.from,
                to: one.to,
                question: Question::Echo,
                spacing: one.spacing,
                limit: LIMIT,
            };
            let prober = Prober::start_asking(lab, asking)?;
            traffic.probers.push((prober, one.spacing));
        }
        traffic.begun = Instant::now();
        Ok(traffic)
    }

    /// Whether everybody was served since an instant.
    pub fn is_served(&self, since: Instant) -> bool {
        self.probers
            .iter()
            .all(|(prober, _)| prober.good_since(since) > 5)
    }

    /// Bytes that came back so far, of each stream.
    pub fn streamed(&self) -> Vec<u64> {
        self.bulk.iter().map(|bulk| bulk.outcome().length).collect()
    }

    /// Waits until the fate of every session is known, and ends.
    ///
    /// # Errors
    /// When a prober itself failed.
    pub fn finish(self) -> Result<Losses> {
        let calm = || {
            let waiting = self.pings.iter().map(|held| held.report().waiting);
            waiting.max().unwrap_or_default() < UNDER_WAY
        };
        wait::within(FATE, calm);
        let mut losses = Losses::default();
        for held in &self.pings {
            let report = held.report();
            losses.held += report.established;
            losses.longest_ping = losses.longest_ping.max(report.longest);
            for one in &report.broken {
                *losses.broken.entry(one.how).or_default() += 1;
            }
        }
        for held in &self.idle {
            let report = held.report();
            losses.held += report.established;
            for one in &report.broken {
                match one.how {
                    How::Fin => losses.closed += 1,
                    How::Reset | How::Silent | How::Garbled => {
                        *losses.broken.entry(one.how).or_default() += 1;
                    }
                }
            }
        }
        for bulk in &self.bulk {
            let outcome = bulk.outcome();
            losses.streams += 1;
            losses.bytes += outcome.length;
            losses.corrupt += usize::from(outcome.first_wrong.is_some());
            if !outcome.broken.is_empty() {
                losses.streams_broken.push(outcome.broken);
            }
        }
        for (prober, spacing) in self.probers {
            let report = prober.finish()?;
            losses.asked += asked(report.ended - report.started, spacing);
            losses.new += report.good.len();
            let took = report.good.iter().map(|good| good.ended - good.started);
            losses.late += took.filter(|took| *took > LATE).count();
            losses.gap = losses.gap.max(report.outage(self.begun).gap);
            for (why, count) in report.failures(self.begun) {
                *losses.failed.entry(why).or_default() += count;
            }
        }
        Ok(losses)
    }
}

/// Attempts that are begun in a time.
pub fn asked(time: Duration, spacing: Duration) -> usize {
    usize::try_from(time.as_nanos() / spacing.as_nanos()).unwrap_or(usize::MAX)
}

/// Whether nine of ten of the new connections that were asked for were served: else something has held the clients up,
/// and that nothing failed says little. Half of that on a busy machine.
pub fn has_kept_up(served: usize, asked: usize) -> bool {
    served as f64 >= asked as f64 * 0.9 / f64::from(limits::room())
}

impl Losses {
    /// Whether so many new connections were served as were asked for, nearly; see [`has_kept_up`].
    pub fn has_kept_up(&self) -> bool {
        has_kept_up(self.new, self.asked)
    }

    /// Whether nothing was lost. That a drain closes idle sessions in order is no loss.
    pub fn is_none(&self) -> bool {
        self.broken.is_empty()
            && self.streams_broken.is_empty()
            && self.corrupt == 0
            && self.failed.is_empty()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken: usize = self.broken.values().sum();
        let failed: u64 = self.failed.values().sum();
        write!(
            f,
            "{broken} of {} sessions broken, {} of {} streams ({} MB, {} with a wrong byte), {failed} of {} new \
             connections failed ({} were asked for); longest gap {} ms, longest ping {} ms",
            self.held,
            self.streams_broken.len(),
            self.streams,
            self.bytes / 1_000_000,
            self.corrupt,
            self.new as u64 + failed,
            self.asked,
            self.gap.as_millis(),
            self.longest_ping.as_millis(),
        )?;
        if self.closed > 0 {
            write!(f, "; {} idle ones closed in order", self.closed)?;
        }
        if self.late > 0 {
            write!(f, "; {} new ones took more than a second", self.late)?;
        }
        for (how, count) in &self.broken {
            write!(f, "; {count} {how:?}")?;
        }
        for (why, count) in &self.failed {
            write!(f, "; {count} {why:?}")?;
        }
        for why in &self.streams_broken {
            write!(f, "; stream: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_a_part_of_what_was_asked_for_has_not_kept_up() {
        let all = asked(Duration::from_secs(2), Duration::from_millis(2));
        assert_eq!(all, 1_000);
        assert!(has_kept_up(all, all) && has_kept_up(900, all));
        assert!(!has_kept_up(400, all) && !has_kept_up(0, 1));
    }
}
