//! How long new connections fail when something breaks, at twice the bounds that `scripts/prove` asserts.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::balancer::{Balancer as _, Part, Settings};
use lab::held::Plan;
use lab::prober::{Prober, Question};
use lab::scenario::{self, Event, Round};
use lab::{Node, backend::Service};

use crate::site::{Site, config_at, web};

const SECOND: Duration = Duration::from_secs(1);
/// The death of any one process.
const PROCESS_LOST: Duration = Duration::from_millis(50);
/// Room for a busy machine.
const ROOM: u32 = 2;

/// The outage of one round; it must be within the bound, with room for a busy machine.
fn outage(advert: Duration, event: Event, held: usize, bound: Duration) -> Result<()> {
    let settings = Settings::ours(advert);
    let held = Plan {
        count: held,
        ping: None,
    };
    let round = Round {
        settings,
        event,
        tenths: 5,
        held,
    };
    let site = Site::build(&config_at(advert), Service::Echo)?;
    site.watched(&format!("outage-{}", event.name()), |site| {
        let measured = scenario::measure(&site.lab, &mut site.pair, &round)?
            .context("fmc-lb has all these parts")?;
        let seen = measured.outage.gap;
        println!("{} at {advert:?}: {seen:?}, bound {bound:?}", event.name());
        ensure!(
            seen <= bound * ROOM,
            "{seen:?} at {advert:?}, bound {bound:?}"
        );
        Ok(())
    })
}

#[test]
fn fo_59_a_lost_machine_costs_no_more_than_the_active_down_interval() -> Result<()> {
    for advert in [Duration::from_millis(100), Duration::from_millis(10)] {
        let bound = Settings::ours(advert).active_down() + Duration::from_millis(20);
        outage(advert, Event::MachineLost, 0, bound)?;
    }
    Ok(())
}

#[test]
fn fo_57_any_one_process_may_be_killed_at_one_second_adverts() -> Result<()> {
    for part in Part::ALL {
        outage(SECOND, Event::Kill(part), 20, PROCESS_LOST)?;
    }
    Ok(())
}

#[test]
fn a_proxy_with_eight_thousand_sessions_may_be_killed() -> Result<()> {
    outage(SECOND, Event::Kill(Part::Proxy), 8_000, PROCESS_LOST)
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
