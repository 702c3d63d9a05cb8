//! One measured round: a pair takes its place, something breaks at a chosen phase of the advert interval, the outage is
//! what an outside client sees.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::adverts::AdvertWatch;
use crate::balancer::{Balancer, Part, Settings};
use crate::fault::{Cut, Undo};
use crate::held::{self, Held};
use crate::lease::{self, Change, LeaseWatch};
use crate::prober::{Outage, Prober, Question, Report, Why};
use crate::topology::{API_VIP, WEB_VIP};
use crate::{Lab, Node};

/// VRID of the web VIP in both configurations.
const WEB_VRID: u8 = 52;
/// The pair must be in its places within this, beyond ten advert intervals.
const STEADY: Duration = Duration::from_secs(15);
/// An outage is longer than this only when nothing takes over.
const LONGEST: Duration = Duration::from_secs(20);
/// The last so long must be without a gap before a round is over.
const CALM: Duration = Duration::from_millis(200);
/// TCP sends a lost segment again after up to half of the time that it was silent; then its fate is known.
const FATE: Duration = Duration::from_secs(10);
/// Good answers in that time; half of what a prober without any delay would have.
const CALM_ANSWERS: usize = 50;

/// What happens to the active node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Its switch port goes down.
    MachineLost,
    /// SIGKILL of all its processes.
    KillAll,
    /// SIGKILL of one.
    Kill(Part),
    /// SIGTERM.
    CleanStop,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::MachineLost,
        Self::KillAll,
        Self::Kill(Part::Supervisor),
        Self::Kill(Part::Vrrp),
        Self::Kill(Part::Proxy),
        Self::Kill(Part::Admin),
        Self::CleanStop,
    ];

    /// Its word on the command line.
    pub fn name(self) -> String {
        match self {
            Self::MachineLost => "machine-lost".to_owned(),
            Self::KillAll => "kill-all".to_owned(),
            Self::Kill(part) => format!("kill-{}", part.name()),
            Self::CleanStop => "clean-stop".to_owned(),
        }
    }
}

/// What to do in a round.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// The settings of the pair, for timing.
    pub settings: Settings,
    /// What happens.
    pub event: Event,
    /// When: so many tenths of the interval after an advert of the active node.
    pub tenths: u32,
    /// Sessions held meanwhile through the VIP.
    pub held: held::Plan,
    /// The VIP that is asked, at port 80.
    pub vip: IpAddr,
}

/// What a round showed.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The longest gap between good answers.
    pub outage: Outage,
    /// When it happened, after the advert before it.
    pub phase: Duration,
    /// Attempts that failed.
    pub failed: BTreeMap<Why, u64>,
    /// Sessions that broke.
    pub broken: usize,
    /// How long both nodes held the VIP after the event.
    pub both_held: Duration,
    /// From the moment that the other node held the VIP, until an attempt that was begun after it had its answer. `None` =
    /// it did not move.
    pub usable: Option<Duration>,
    /// Who holds the VIP at the end.
    pub holder: Option<Node>,
    /// How late the prober was at most: the noise in the figure.
    pub noise: Duration,
}

/// Where the prober asks: echo backends behind the web VIP.
pub fn web() -> SocketAddr {
    SocketAddr::from((WEB_VIP, 80))
}

/// Starts the pair, lb1 first, and waits until lb1 holds both VIPs and answers come through the web VIP.
///
/// # Errors
/// With evidence, when it does not take its place.
pub fn start_pair(lab: &Lab, pair: &mut dyn Balancer, advert: Duration) -> Result<()> {
    let limit = STEADY + advert * 10;
    let both =
        |node| move || lease::is_holder(lab, node, API_VIP) && lease::is_holder(lab, node, WEB_VIP);
    pair.start(Node::Lb1)?;
    lab.wait_until(limit, "lb1 holds both VIPs", both(Node::Lb1))?;
    pair.start(Node::Lb2)?;
    let prober = Prober::start(lab, web(), Question::Echo)?;
    let begun = Instant::now();
    let steady = || {
        let now = Instant::now();
        // Long enough that an lb2 that does not hear lb1 would have taken the VIPs too.
        now - begun > advert * 5 + Duration::from_millis(500)
            && lease::holder(lab, WEB_VIP) == Some(Node::Lb1)
            && lease::holder(lab, API_VIP) == Some(Node::Lb1)
            && prober.good_since(now - CALM) >= CALM_ANSWERS
    };
    lab.wait_until(
        limit,
        "lb1 alone holds both VIPs and echoes come through",
        steady,
    )
}

/// Stops what still runs on both nodes at once, without order.
///
/// # Errors
/// When a process cannot be ended.
pub fn kill_pair(pair: &mut dyn Balancer) -> Result<()> {
    Node::LBS
        .into_iter()
        .try_for_each(|node| pair.kill_all(node))
}

/// One round with a fresh pair: start, event on lb1, measurement, end. `None` when the pair has no such part to kill.
///
/// The workers must speak [`crate::backend::Service::Echo`] on port 80.
///
/// # Errors
/// With evidence, when the pair does not take its place or nothing answers twenty seconds after the event.
pub fn measure(lab: &Lab, pair: &mut dyn Balancer, round: &Round) -> Result<Option<Measured>> {
    let name = pair.name();
    let context = || format!("{name}: {} at {} tenths", round.event.name(), round.tenths);
    start_pair(lab, pair, round.settings.advert).with_context(context)?;
    let measured = observe(lab, pair, round).with_context(context)?;
    kill_pair(pair).with_context(context)?;
    Ok(measured)
}

fn observe(lab: &Lab, pair: &mut dyn Balancer, round: &Round) -> Result<Option<Measured>> {
    let advert = round.settings.advert;
    let to = SocketAddr::from((round.vip, 80));
    lab.wait_until(STEADY, "lb1 alone holds the VIP", || {
        lease::holder(lab, round.vip) == Some(Node::Lb1)
    })?;
    lab.wait_until(
        STEADY,
        "both nodes know that the other one is ready",
        || pair.has_settled(),
    )?;
    let adverts = AdvertWatch::start(lab, Node::Lb1)?;
    let leases = LeaseWatch::start(lab, round.vip)?;
    let held = Held::open(lab, to, round.held)?;
    let prober = Prober::start(lab, to, Question::Echo)?;
    lab.wait_until(STEADY, "the prober has answers", || {
        prober.good_since(Instant::now() - CALM) >= CALM_ANSWERS
    })?;
    let mut cut = Some(Cut::arm(lab, Node::Lb1)?);
    let last_advert = adverts.wait_for_phase(WEB_VRID, advert, round.tenths)?;
    let at = Instant::now();
    let Some(_undo) = strike(pair, round.event, &mut cut)? else {
        return Ok(None);
    };
    let least = advert * 4 + Duration::from_millis(500);
    lab.wait_until(LONGEST + least, "answers come again", || {
        let now = Instant::now();
        now - at > least && prober.good_since(now - CALM) >= CALM_ANSWERS
    })?;
    let report = prober.finish()?;
    lab.wait_until(FATE, "every held session is broken or answers", || {
        held.report().waiting < CALM
    })?;
    let broken = held.broken();
    let outage = report.outage(at);
    if !outage.recovered {
        bail!("no answer after the event");
    }
    Ok(Some(Measured {
        outage,
        phase: at - last_advert,
        failed: report.failures(at),
        broken,
        both_held: leases.both(at),
        usable: usable(&leases.changes(), &report, at),
        holder: lease::holder(lab, round.vip),
        noise: report.latest,
    }))
}

fn usable(changes: &[Change], report: &Report, event: Instant) -> Option<Duration> {
    let promoted = changes
        .iter()
        .find(|change| change.at >= event && change.holds && change.node != Node::Lb1)?
        .at;
    let answered = report.good.iter().find(|good| good.started >= promoted);
    let answered = answered.map_or(report.ended, |good| good.ended);
    Some(answered - promoted)
}

/// What mends the event; `None` = it cannot happen to this pair.
fn strike(
    pair: &mut dyn Balancer,
    event: Event,
    cut: &mut Option<Cut>,
) -> Result<Option<Vec<Undo>>> {
    match event {
        Event::MachineLost => {
            let cut = cut.take().context("the cut is armed once a round")?;
            Ok(Some(vec![cut.fire()?]))
        }
        Event::KillAll => pair.kill_all(Node::Lb1).map(|()| Some(Vec::new())),
        Event::Kill(part) => {
            let there = pair.kill_part(Node::Lb1, part)?;
            if there && part == Part::Supervisor {
                pair.service_manager(Node::Lb1)?;
            }
            Ok(there.then(Vec::new))
        }
        Event::CleanStop => pair.ask_to_stop(Node::Lb1).map(|()| Some(Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prober::Good;

    #[test]
    fn a_vip_is_usable_when_what_was_begun_after_its_move_is_answered() {
        let event = Instant::now();
        let at = |ms| event + Duration::from_millis(ms);
        let good = |started, ended| Good {
            started: at(started),
            ended: at(ended),
            who: "w1".to_owned(),
        };
        let change = |ms, node, holds| Change {
            at: at(ms),
            node,
            holds,
        };
        let report = Report {
            started: event,
            ended: at(100),
            // The first was on its way before; of the two others the later one is answered first.
            good: vec![good(48, 52), good(54, 57), good(52, 70)],
            failed: Vec::new(),
            skipped: 0,
            latest: Duration::ZERO,
        };
        let moved = [change(40, Node::Lb1, false), change(50, Node::Lb2, true)];
        let seen = usable(&moved, &report, event);
        assert_eq!(seen, Some(Duration::from_millis(7)));
        assert_eq!(usable(&moved[..1], &report, event), None);
        let never = [change(90, Node::Lb2, true)];
        let seen = usable(&never, &report, event);
        assert_eq!(seen, Some(Duration::from_millis(10)), "until the end");
    }
}
