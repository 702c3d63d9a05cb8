//! Processes that live and do nothing.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Node;
use lab::balancer::{Part, Settings};
use lab::held::{Held, Plan};
use lab::lease::LeaseWatch;
use lab::prober::{Prober, Question, Why};
use lab::topology::WEB_VIP;
use lab::{fault, limits};
use nix::sys::signal::Signal;

use crate::site::{Site, config_at, metric, web};

/// What new connections may suffer when a process hangs.
const BOUND: Duration = Duration::from_millis(300);

/// Stops a process of the active node with SIGSTOP; returns the outage.
fn hang(advert: Duration, part: Part) -> Result<()> {
    let settings = Settings::ours(advert);
    Site::steady(&settings, &config_at(advert))?.watched(&format!("hung-{}", part.name()), |site| {
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        site.wait("answers", |_| {
            prober.good_since(Instant::now() - Duration::from_millis(200)) > 50
        })?;
        let stopped = Instant::now();
        let hung = site.pair.signal(Node::Lb1, part, Signal::SIGSTOP)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let moved = stopped.elapsed();
        site.wait("the hung process is replaced", |site| {
            site.pair.pid(Node::Lb1, part).is_ok_and(|pid| pid != hung)
        })?;
        // The shipped preempt_delay is 10 s: until then the old node leaves the VIPs where they are.
        let early = stopped + Duration::from_secs(5);
        while Instant::now() < early {
            ensure!(
                !site.holds_both(Node::Lb1),
                "lb1 took the VIPs back {:?} after it hung",
                stopped.elapsed()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let outage = prober.finish()?.outage(stopped);
        println!(
            "{} hung at {advert:?}: moved after {moved:?}, outage {:?}",
            part.name(),
            outage.gap
        );
        ensure!(outage.gap <= BOUND * limits::room(), "outage {outage:?}");
        Ok(())
    })
}

#[test]
fn a_hung_proxy_moves_the_vips_and_is_replaced() -> Result<()> {
    hang(Duration::from_secs(1), Part::Proxy)
}

/// The other node drains, its listeners are closed: whoever hangs then gives the VIPs to nobody, and connections wait for the
/// next proxy.
#[test]
fn a_hung_proxy_keeps_the_vips_while_the_other_node_drains() -> Result<()> {
    let advert = Duration::from_millis(100);
    let config = format!("{}\n[proxy]\ndrain = \"10m\"\n", config_at(advert));
    Site::steady(&Settings::ours(advert), &config)?.watched("hung-last", |site| {
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: 20, ping })?;
        site.pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGTERM)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let leases = LeaseWatch::start(&site.lab, WEB_VIP)?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        site.wait("answers", |_| {
            prober.good_since(Instant::now() - Duration::from_millis(200)) > 50
        })?;
        let stopped = Instant::now();
        let hung = site
            .pair
            .signal(Node::Lb2, Part::Proxy, Signal::SIGSTOP)?;
        site.wait("the hung process is replaced, and serves", |site| {
            site.pair
                .pid(Node::Lb2, Part::Proxy)
                .is_ok_and(|pid| pid != hung)
                && prober.good_since(Instant::now() - Duration::from_millis(200)) > 50
        })?;
        let report = prober.finish()?;
        let (none, failures) = (leases.none(stopped), report.failures(stopped));
        println!(
            "hung while the other node drains: outage {:?}, failed {failures:?} of {}, nobody held the VIP for {none:?}",
            report.outage(stopped).gap,
            report.good.len(),
        );
        ensure!(none.is_zero(), "nobody held the VIP for {none:?}");
        ensure!(!failures.contains_key(&Why::Refused), "{failures:?}");
        ensure!(held.settled().broken() == 0, "{} sessions broke", held.broken());
        Ok(())
    })
}

#[test]
fn a_hung_vrrp_moves_the_vips_at_any_interval_and_is_replaced() -> Result<()> {
    hang(Duration::from_secs(1), Part::Vrrp)?;
    hang(Duration::from_millis(100), Part::Vrrp)
}

#[test]
fn a_hung_admin_moves_nothing_and_is_replaced() -> Result<()> {
    let advert = Duration::from_millis(100);
    Site::steady(&Settings::ours(advert), &config_at(advert))?.watched(
        "a-hung-admin-moves-nothing-and-is-replaced",
        |site| {
            let hung = site.pair.signal(Node::Lb1, Part::Admin, Signal::SIGSTOP)?;
            site.wait("admin is replaced", |site| {
                site.pair
                    .pid(Node::Lb1, Part::Admin)
                    .is_ok_and(|pid| pid != hung)
            })?;
            ensure!(site.holds_both(Node::Lb1), "the VIPs moved");
            site.wait("status answers", |site| site.pair.status(Node::Lb1).is_ok())
        },
    )
}

/// Adverts and heartbeats leave with the loop's wake-ups: 99 of 100 are at most a millisecond late.
#[test]
fn tim_44_busy_loops_on_every_core_cause_no_takeover() -> Result<()> {
    let seconds = std::env::var("FMC_LB_BUSY_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let advert = Duration::from_millis(10);
    Site::steady(&Settings::ours(advert), &config_at(advert))?.watched(
        "busy-loops-on-every-core-cause-no-takeover",
        |site| {
            let busy = fault::Busy::start(16)?;
            let wakes = Node::LBS.map(|node| wakes(site, node));
            let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(15));
            let before = site.changes()?;
            while Instant::now() < end {
                ensure!(site.holds_both(Node::Lb1), "the VIPs moved");
                std::thread::sleep(Duration::from_millis(50));
            }
            for (node, then) in Node::LBS.into_iter().zip(wakes) {
                let [prompt, all] = self::wakes(site, node)?;
                let [prompt_then, all_then] = then?;
                let share = (prompt - prompt_then) / (all - all_then);
                println!(
                    "{node}: {:.2} % of {} wake-ups within 1 ms",
                    share * 100.0,
                    all - all_then
                );
                ensure!(share >= 0.99, "{node}: {share} of the wake-ups within 1 ms");
            }
            drop(busy);
            ensure!(
                site.changes()? == before,
                "{before:?} became {:?}",
                site.changes()?
            );
            Ok(())
        },
    )
}

/// Wake-ups of a node's vrrp so far: those within a millisecond, and all.
fn wakes(site: &Site, node: Node) -> Result<[f64; 2]> {
    let of = |late: &&str| {
        metric(
            site,
            node,
            &format!("fmc_lb_vrrp_wakes_total{{late=\"{late}\"}}"),
        )
    };
    let prompt: f64 = ["100us", "500us", "1ms"]
        .iter()
        .map(of)
        .sum::<Result<_>>()?;
    let late = ["2ms", "5ms", "10ms", "20ms", "50ms", "100ms", "more"];
    let late: f64 = late.iter().map(of).sum::<Result<_>>()?;
    Ok([prompt, prompt + late])
}
