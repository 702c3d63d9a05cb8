//! What clients do while something happens to a site: all kinds of them ([`everybody`]), or 200 sessions that are held and a
//! thousand new connections a second ([`Load`]).

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "clients on the lab measure, and what they saw is printed"
)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Node;
use lab::held::{Held, Plan};
use lab::prober::{self, Prober, Question};
use lab::traffic::{self, Clients};

use super::{Site, web, web6};

/// Where clients are that come by the router.
pub(crate) const ROUTED: Node = Node::Master2;

/// How many clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// 200 sessions with a ping each 20 ms, 20 idle ones, four streams, 500 new connections a second.
    Full,
    Short,
}

/// Whoever has IPv4 only: on-link clients and routed ones.
pub(crate) fn of_v4(extent: Extent) -> [Clients; 2] {
    let of = |from, counts: [usize; 3], spacing| Clients {
        from,
        to: web(),
        pings: counts[0],
        idle: counts[1],
        bulk: counts[2],
        spacing: Duration::from_millis(spacing),
    };
    match extent {
        Extent::Full => [
            of(Node::Client, [100, 10, 2], 3),
            of(ROUTED, [50, 5, 1], 10),
        ],
        Extent::Short => [of(Node::Client, [20, 4, 1], 5), of(ROUTED, [10, 2, 1], 20)],
    }
}

/// Those, and clients of IPv6, on-link and routed: together as many as the routed ones of IPv4.
pub(crate) fn everybody(extent: Extent) -> [Clients; 4] {
    let [on_link, routed] = of_v4(extent);
    let on_link_v6 = Clients {
        from: Node::Client,
        to: web6(),
        pings: routed.pings / 2,
        idle: routed.idle.div_ceil(2),
        spacing: routed.spacing * 2,
        ..routed
    };
    let routed_v6 = Clients {
        from: ROUTED,
        idle: routed.idle / 2,
        bulk: 0,
        ..on_link_v6
    };
    [on_link, routed, on_link_v6, routed_v6]
}

const PLAN: Plan = Plan {
    count: 200,
    ping: Some(Duration::from_millis(20)),
};
const TENTH: Duration = Duration::from_millis(100);

/// The clients, at work.
pub(crate) struct Load {
    pub(crate) held: Held,
    probers: [Prober; 2],
    begun: Instant,
}

impl Load {
    /// Returns when they are served.
    pub(crate) fn start(site: &Site) -> Result<Self> {
        let load = Self {
            held: Held::open(&site.lab, web(), PLAN)?,
            probers: [
                Prober::start(&site.lab, web(), Question::Echo)?,
                Prober::start(&site.lab, web(), Question::Echo)?,
            ],
            begun: Instant::now(),
        };
        site.wait("answers", |_| {
            let since = Instant::now() - TENTH;
            load.probers.iter().all(|one| one.good_since(since) > 5)
        })?;
        Ok(Self {
            begun: Instant::now(),
            ..load
        })
    }

    /// Ends them after something that took so long each time: nobody may have lost anything.
    pub(crate) fn has_lost_nothing(self, what: &str, mut took: Vec<Duration>) -> Result<()> {
        let served: usize = self
            .probers
            .iter()
            .map(|one| one.good_since(self.begun))
            .sum();
        let time = self.begun.elapsed();
        let asked = traffic::asked(time, prober::SPACING) * self.probers.len();
        let broken = self.held.settled().report().broken;
        let mut failures = Vec::new();
        for prober in self.probers {
            failures.push(prober.finish()?.failures(self.begun));
        }
        took.sort();
        println!(
            "{} {what}, median {:?}, worst {:?}; {:.0} new connections a second, failed {failures:?}; of {} held {} broken",
            took.len(),
            took[took.len() / 2],
            took[took.len() - 1],
            served as f64 / time.as_secs_f64(),
            PLAN.count,
            broken.len(),
        );
        ensure!(broken.is_empty(), "{broken:?}");
        ensure!(failures.iter().all(|one| one.is_empty()), "{failures:?}");
        ensure!(
            traffic::has_kept_up(served, asked),
            "{served} of {asked} new connections"
        );
        Ok(())
    }
}
