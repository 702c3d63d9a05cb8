//! The same rounds against one pair or two, in turn, as a table; and whether the promised bounds were kept.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::backend::Service;
use lab::balancer::{Balancer, Settings};
use lab::baseline::HaproxyKeepalived;
use lab::cluster::Cluster;
use lab::fmclb::{FmcLb, plain, reference_config, with_web6};
use lab::report::{median, milliseconds, table};
use lab::scenario::{Event, Measured, Round, measure};
use lab::topology::{WEB_VIP, WEB_VIP_V6};
use lab::verdict::{Finding, Outages};
use lab::{Lab, held, limits};

use crate::say;

/// More sessions than these are held idle: their pings would be the load that is measured.
const TALKING: usize = 500;

/// The same rounds against one pair or two, in turn.
pub(crate) struct Comparison {
    pub(crate) rounds: u32,
    pub(crate) advert: Duration,
    pub(crate) ours: Option<PathBuf>,
    pub(crate) base: bool,
    pub(crate) held: usize,
    pub(crate) detection: Detection,
    /// The web VIP of IPv6 is asked.
    pub(crate) ipv6: bool,
    /// Fail when a promised bound is not kept.
    pub(crate) judge: bool,
}

/// How fmc-lb notices a lost machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detection {
    /// As the configuration has it with a key: by its silence, since both nodes forward.
    Shipped,
    /// By missing adverts: there is no key.
    Adverts,
}

impl Comparison {
    pub(crate) fn run(&self, name: &str) -> Result<()> {
        let events: Vec<Event> = Event::ALL
            .into_iter()
            .filter(|event| match name {
                "all" => true,
                "one" => matches!(event, Event::Kill(_) | Event::CleanStop),
                _ => event.name() == name,
            })
            .collect();
        if events.is_empty() {
            let names: Vec<String> = Event::ALL.iter().map(|event| event.name()).collect();
            bail!(
                "no scenario `{name}`; there are all, one, {}",
                names.join(", ")
            );
        }
        let _turn = limits::measure_alone()?;
        let mut lines = vec![
            [
                "event",
                "adverts",
                "pair",
                "median",
                "best",
                "worst",
                "usable",
                "after advert",
                "failed",
                "broken",
                "noise",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        let mut findings = Vec::new();
        for event in events {
            findings.extend(self.measure_event(event, &mut lines)?);
        }
        say(table(&lines).trim_end());
        for finding in &findings {
            say(&finding.to_string());
        }
        if self.judge && findings.iter().any(|finding| !finding.kept) {
            bail!("a bound was not kept");
        }
        Ok(())
    }

    fn measure_event(&self, event: Event, lines: &mut Vec<Vec<String>>) -> Result<Vec<Finding>> {
        let mut ours = Vec::new();
        let mut base = Vec::new();
        for number in 0..self.rounds {
            if let Some(binary) = &self.ours {
                let settings = Settings::ours(self.advert);
                let lab = Lab::start()?;
                let mut config = reference_config(&settings);
                if self.detection == Detection::Adverts {
                    config = plain(&config);
                }
                if self.ipv6 {
                    lab.enable_ipv6()?;
                    config = with_web6(&config);
                }
                let mut pair = FmcLb::new(&lab, binary, &config)?;
                ours.extend(self.round(&lab, &mut pair, event, (settings, number))?);
            }
            if self.base {
                // The same as ours: the lower priority decides how long a backup waits.
                let settings = Settings::ours(self.advert);
                let lab = Lab::start()?;
                let mut pair = HaproxyKeepalived::new(&lab, &settings)?;
                base.extend(self.round(&lab, &mut pair, event, (settings, number))?);
            }
        }
        let gaps = |all: &[Measured]| all.iter().map(|round| round.outage.gap).collect();
        let outages = Outages {
            settings: Settings::ours(self.advert),
            silent: self.detection == Detection::Shipped,
            held: self.held,
            usable: ours.iter().filter_map(|round| round.usable).collect(),
            ours: gaps(&ours),
            base: gaps(&base),
        };
        if let (Some(ours), Some(base)) = (median(&of_advert(&ours)), median(&of_advert(&base))) {
            // A duration has no sign.
            let (sign, difference) = if ours >= base {
                ("+", ours - base)
            } else {
                ("-", base - ours)
            };
            say(&format!(
                "{}: the medians from the last advert on differ by {sign}{}",
                event.name(),
                milliseconds(difference)
            ));
        }
        for (name, measured) in [("fmc-lb", ours), ("HAProxy + Keepalived", base)] {
            if !measured.is_empty() {
                lines.push(self.line(event, name, &measured));
            }
        }
        Ok(outages.judge(event))
    }

    #[expect(clippy::print_stderr, reason = "progress of a long run")]
    fn round(
        &self,
        lab: &Lab,
        pair: &mut dyn Balancer,
        event: Event,
        (settings, number): (Settings, u32),
    ) -> Result<Option<Measured>> {
        let _cluster = Cluster::start(lab, Service::Echo)?;
        let held = held::Plan {
            count: self.held,
            ping: (self.held <= TALKING).then_some(Duration::from_millis(20)),
        };
        let vip = match self.ipv6 {
            true => IpAddr::from(WEB_VIP_V6),
            false => IpAddr::from(WEB_VIP),
        };
        let round = Round {
            settings,
            event,
            tenths: number % 10,
            held,
            vip,
        };
        let measured = measure(lab, pair, &round)?;
        if let Some(measured) = &measured {
            eprintln!(
                "{} {number}: {} {} usable {} failed {:?} broken {} noise {}",
                event.name(),
                pair.name(),
                milliseconds(measured.outage.gap),
                measured.usable.map_or_else(|| "-".to_owned(), milliseconds),
                measured.failed,
                measured.broken,
                milliseconds(measured.noise)
            );
        }
        Ok(measured)
    }

    fn line(&self, event: Event, name: &str, measured: &[Measured]) -> Vec<String> {
        let gaps: Vec<Duration> = measured.iter().map(|round| round.outage.gap).collect();
        let time = |time: Option<Duration>| time.map_or_else(String::new, milliseconds);
        let failed: u64 = measured
            .iter()
            .flat_map(|round| round.failed.values())
            .sum();
        let broken: usize = measured.iter().map(|round| round.broken).sum();
        vec![
            event.name(),
            format!("{} ms", self.advert.as_millis()),
            name.to_owned(),
            time(median(&gaps)),
            time(gaps.iter().min().copied()),
            time(gaps.iter().max().copied()),
            time(measured.iter().filter_map(|round| round.usable).max()),
            time(median(&of_advert(measured))),
            failed.to_string(),
            format!("{broken} of {}", self.held * measured.len()),
            time(measured.iter().map(|round| round.noise).max()),
        ]
    }
}

/// Outages from the last advert on, which is what the other node counts from: so the phase of the event is taken out.
fn of_advert(measured: &[Measured]) -> Vec<Duration> {
    let rounds = measured.iter();
    rounds.map(|round| round.outage.gap + round.phase).collect()
}
