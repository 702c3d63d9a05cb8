//! How long new connections fail when something breaks, at twice the bounds that `scripts/prove` asserts.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::{Balancer as _, Part, Settings};
use lab::fmclb::with_web6;
use lab::held::Plan;
use lab::prober::{Prober, Question};
use lab::scenario::{self, Event, Round};
use lab::topology::{WEB_VIP, WEB_VIP_V6};
use lab::{Node, backend::Service};

use crate::site::{Site, config_at, web};

/// The interval of rounds that do not depend on it.
const SHORT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// The death of any one process.
const PROCESS_LOST: Duration = Duration::from_millis(50);
/// From a VIP's promotion until it can be used.
const USABLE: Duration = Duration::from_millis(20);
/// Room for a busy machine.
const ROOM: u32 = 2;

/// The outage of one round, and how soon a VIP that moved could be used; both within the bounds, with room for a busy machine.
fn outage(site: Site, round: &Round, bound: Duration) -> Result<()> {
    let (event, advert) = (round.event.name(), round.settings.advert);
    site.watched(&format!("outage-{event}"), |site| {
        let measured = scenario::measure(&site.lab, &mut site.pair, round)?
            .context("fmc-lb has all these parts")?;
        let (seen, usable) = (measured.outage.gap, measured.usable);
        println!("{event} at {advert:?}: {seen:?}, bound {bound:?}; usable after {usable:?}");
        ensure!(
            seen <= bound * ROOM,
            "{seen:?} at {advert:?}, bound {bound:?}"
        );
        let late = usable.is_some_and(|usable| usable > USABLE * ROOM);
        ensure!(!late, "usable {usable:?} after its promotion");
        let moves = matches!(round.event, Event::MachineLost | Event::Kill(Part::Vrrp));
        ensure!(!moves || usable.is_some(), "the VIP did not move");
        Ok(())
    })
}

fn round(advert: Duration, event: Event, held: usize) -> Round {
    Round {
        settings: Settings::ours(advert),
        event,
        tenths: 5,
        held: Plan {
            count: held,
            ping: None,
        },
        vip: WEB_VIP.into(),
    }
}

#[test]
fn fo_59_a_lost_machine_costs_no_more_than_the_active_down_interval() -> Result<()> {
    let vips: [IpAddr; 2] = [WEB_VIP.into(), WEB_VIP_V6.into()];
    for (advert, vip) in [SHORT, Duration::from_millis(10)].into_iter().zip(vips) {
        let round = Round {
            vip,
            ..round(advert, Event::MachineLost, 0)
        };
        let bound = round.settings.active_down() + Duration::from_millis(20);
        let site = Site::build(&with_web6(&config_at(advert)), Service::Echo)?;
        site.lab.enable_ipv6()?;
        outage(site, &round, bound)?;
    }
    Ok(())
}

/// vrrp's death moves the VIPs, at once at any interval; `scripts/prove failover` measures all of them at each.
#[test]
fn fo_57_any_one_process_may_be_killed() -> Result<()> {
    for part in Part::ALL {
        let advert = match part {
            Part::Vrrp => SECOND,
            Part::Supervisor | Part::Proxy | Part::Admin => SHORT,
        };
        let site = Site::build(&config_at(advert), Service::Echo)?;
        outage(site, &round(advert, Event::Kill(part), 20), PROCESS_LOST)?;
    }
    Ok(())
}

#[test]
fn a_proxy_with_eight_thousand_sessions_may_be_killed() -> Result<()> {
    let site = Site::build(&config_at(SHORT), Service::Echo)?;
    outage(
        site,
        &round(SHORT, Event::Kill(Part::Proxy), 8_000),
        PROCESS_LOST,
    )
}

#[test]
fn fo_56_a_clean_stop_is_not_noticed_and_the_node_returns() -> Result<()> {
    let settings = Settings::ours(SECOND);
    let config = config_at(SECOND).replace("[vrrp]", "[vrrp]\npreempt_delay = \"1s\"");
    Site::steady(&settings, &config)?.watched(
        "a-clean-stop-is-not-noticed-and-the-node-returns",
        |site| {
            let prober = Prober::start(&site.lab, web(), Question::Echo)?;
            site.wait("answers", |_| {
                prober.good_since(Instant::now() - Duration::from_millis(200)) > 50
            })?;
            let stopped = Instant::now();
            site.pair.stop(Node::Lb1)?;
            let returned = Instant::now();
            let leave = prober.report().outage(stopped);
            site.pair.start(Node::Lb1)?;
            site.wait("lb1 takes its VIPs back", |site| site.holds_both(Node::Lb1))?;
            site.wait("answers", |_| {
                prober.good_since(Instant::now() - Duration::from_millis(200)) > 50
            })?;
            let back = prober.finish()?.outage(returned);
            println!("stop: {:?}, return: {:?}", leave.gap, back.gap);
            ensure!(
                leave.gap <= Duration::from_millis(20) * ROOM,
                "stop: {leave:?}"
            );
            ensure!(
                back.gap <= Duration::from_millis(20) * ROOM,
                "return: {back:?}"
            );
            Ok(())
        },
    )
}
