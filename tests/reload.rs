//! What the configuration file says now, and what becomes of it.

#![expect(
    clippy::disallowed_methods,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::adverts::{Advert, AdvertWatch};
use lab::backend::{Backend, Service};
use lab::balancer::{Balancer as _, Part};
use lab::held::{Held, Plan};
use lab::prober::{Prober, Question};
use lab::topology::WEB_VIP;
use lab::{Node, client};
use nix::sys::signal::Signal;

use crate::site::load::Load;
use crate::site::{Site, config_at, web};

/// Advert interval of the site.
const ADVERT: Duration = Duration::from_millis(100);
/// `scripts/prove reload` says 100.
const RELOADS: &str = "FMC_LB_RELOADS";
/// A listener that comes and goes.
const EXTRA: u16 = 8_081;

fn reloads() -> usize {
    let said = std::env::var(RELOADS).ok();
    said.and_then(|count| count.parse().ok()).unwrap_or(10)
}

/// What `fmc-lb ARGUMENTS` prints, and its exit code.
fn say(site: &Site, node: Node, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = site.pair.command(node, arguments)?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

/// What the file must lead to: an exit code, and words.
fn expect(site: &Site, arguments: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let (got, said) = say(site, Node::Lb1, arguments)?;
    ensure!(got == Some(code), "{arguments:?}: {got:?}, {said}");
    for word in words {
        ensure!(
            said.contains(word),
            "{arguments:?}: no {word:?} in:\n{said}"
        );
    }
    Ok(())
}

#[test]
fn a_dry_run_judges_and_compares_and_changes_nothing() -> Result<()> {
    const DRY: &[&str] = &["reload", "--dry-run"];
    let config = config_at(ADVERT);
    Site::start(&config, Service::Echo)?.watched("reload-dry-run", |site| {
        let before = site.pair.status(Node::Lb1)?;
        let differs = |site: &Site| -> Option<bool> {
            let status = site.pair.status(Node::Lb1).ok()?;
            status["reload"]["file_differs"].as_bool()
        };
        ensure!(differs(site) == Some(false), "{}", before["reload"]);
        expect(site, DRY, 0, &["nothing differs"])?;

        site.pair.set_config(
            &config
                .replace(
                    "\"10.17.4.26:80\"",
                    "{ address = \"10.17.4.26:80\", weight = 3 }",
                )
                .replace("[listeners.https]", "[listeners.tls]"),
        )?;
        let changes = [
            "~ backends.traefik-http.servers[10.17.4.26:80].weight: 1 -> 3",
            "+ listeners.tls: bind = [\"vips.web:443\"], backend = \"traefik-https\"",
            "- listeners.https",
        ];
        expect(site, DRY, 0, &changes)?;
        site.wait("the file is seen to differ", |site| {
            differs(site) == Some(true)
        })?;

        site.pair
            .set_config(&config.replace("\"192.168.0.12\"", "\"192.168.0.13\""))?;
        let refused = [
            "nodes.lb2.address cannot change while the node runs",
            "restart this node",
        ];
        expect(site, DRY, 1, &refused)?;
        site.pair
            .set_config(&config.replace("balance =", "ballance ="))?;
        expect(site, DRY, 2, &["unknown key", "ballance", "balance"])?;
        site.pair.set_config("[nodes.lb1\n")?;
        expect(site, DRY, 2, &["fmc-lb.toml"])?;

        site.pair.set_config(&format!("# a comment\n{config}"))?;
        expect(site, DRY, 0, &["nothing differs"])?;
        site.wait("the file says what runs", |site| {
            differs(site) == Some(false)
        })?;
        let after = site.pair.status(Node::Lb1)?;
        for key in ["config_hash", "processes"] {
            let of = |status: &serde_json::Value| match key {
                "processes" => status[key][0]["pid"].clone(),
                _ => status[key].clone(),
            };
            ensure!(of(&before) == of(&after), "{key}: {before} became {after}");
        }
        ensure!(after["reload"]["last"] == "none", "{}", after["reload"]);
        let warnings = after["warnings"].to_string();
        ensure!(!warnings.contains("configuration"), "{warnings}");
        Ok(())
    })
}

/// What the file says in turn: each differs from the one before it in something that sessions and new
/// connections of the web VIP have to do with.
fn editions(config: &str) -> Vec<String> {
    let extra = format!(
        "[listeners.extra]\nbind = [\"vips.web:{EXTRA}\"]\nbackend = \"extra\"\n\
         [backends.extra]\nservers = [\"10.17.4.25:80\"]\n"
    );
    let without_a_server = config.replace(", \"10.17.4.26:80\"", "");
    let other_settings = config
        .replace(
            "[listeners.http]",
            "[listeners.http]\nmax_sessions = 20000\nkeepalive = \"off\"",
        )
        .replace(
            "\"10.17.4.24:80\"",
            "{ address = \"10.17.4.24:80\", weight = 3 }",
        );
    let other_probe = config.replace(
        "[backends.traefik-http]",
        "[backends.traefik-http]\nprobe = { interval = \"300ms\", fall = 5 }",
    );
    // In front of the others: every place would be another one, if places went by the file.
    let more = config.replace("[listeners.api]", &format!("{extra}[listeners.api]"));
    let other_names = config
        .replace("listeners.http]", "listeners.plain]")
        .replace("traefik-http\"", "workers\"")
        .replace("backends.traefik-http]", "backends.workers]");
    vec![
        without_a_server,
        config.to_owned(),
        other_settings,
        more,
        other_probe,
        other_names,
        config.to_owned(),
    ]
}

/// The longest time between two adverts of a virtual router since then.
fn longest_gap(adverts: &[Advert], vrid: u8, since: Instant) -> Duration {
    let own = adverts
        .iter()
        .filter(|one| one.vrid == vrid && one.at >= since);
    let times: Vec<Instant> = own.map(|one| one.at).collect();
    let gaps = times.windows(2).map(|two| two[1].duration_since(two[0]));
    gaps.max().unwrap_or(Duration::MAX)
}

#[test]
fn reloads_under_load_fail_and_break_nothing() -> Result<()> {
    let config = config_at(ADVERT);
    Site::start(&config, Service::Echo)?.watched("reload", |site| {
        let before = site.changes()?;
        let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
        let load = Load::start(site)?;
        let begun = Instant::now();
        let mut took = Vec::new();
        for edition in editions(&config).iter().cycle().take(reloads()) {
            site.pair.set_config(edition)?;
            let asked = Instant::now();
            expect(site, &["reload"], 0, &["the node runs by this file now"])?;
            took.push(asked.elapsed());
            // Sessions of each edition are left when the next ones come.
            let calm = Instant::now() + Duration::from_millis(100);
            site.wait("a tenth of a second", |_| Instant::now() > calm)?;
        }
        let count = took.len();
        load.has_lost_nothing("reloads", took)?;
        let gap = longest_gap(&adverts.all(), 52, begun);
        println!("longest advert gap {gap:?}");
        ensure!(gap < ADVERT * 3 / 2, "{gap:?} without an advert");
        ensure!(site.changes()? == before, "a VIP has moved");
        let reload = site.pair.status(Node::Lb1)?["reload"].clone();
        ensure!(reload["applied"] == count, "{reload}");
        ensure!(reload["last"] == "applied", "{reload}");
        Ok(())
    })
}

#[test]
fn listeners_come_and_go_and_their_sessions_stay() -> Result<()> {
    let config = config_at(ADVERT);
    Site::start(&config, Service::Echo)?.watched("reload-listeners", |site| {
        let all = editions(&config);
        let extra = (WEB_VIP, EXTRA).into();
        site.pair.set_config(&all[3])?;
        expect(site, &["reload"], 0, &["+ listeners.extra"])?;
        let held = Held::open(
            &site.lab,
            extra,
            Plan {
                count: 10,
                ping: Some(Duration::from_millis(20)),
            },
        )?;
        site.pair.set_config(&config)?;
        expect(
            site,
            &["reload"],
            0,
            &["- listeners.extra", "- backends.extra"],
        )?;
        // Nobody accepts there any more; those who came go on, and are seen.
        let refused = client::shares(&site.lab, extra, client::Speak::Echo, 1);
        ensure!(refused.is_err(), "{refused:?}");
        let left = |site: &Site| -> Option<u64> {
            let status = site.pair.status(Node::Lb1).ok()?;
            let listeners = status["listeners"].as_array()?.clone();
            let extra = listeners.iter().find(|one| one["name"] == "extra")?;
            (extra["removed"] == true).then(|| extra["sessions"].as_u64())?
        };
        ensure!(left(site) == Some(10), "{:?} sessions are left", left(site));
        // A proxy that begins now knows only what the file says.
        let listed = say(site, Node::Lb1, &["sessions", "--listener", "extra"])?.1;
        ensure!(listed.contains("10.17.4.25:80"), "{listed}");
        ensure!(held.settled().broken() == 0, "{:?}", held.report().broken);
        drop(held);
        site.wait("nothing is left of it", |site| left(site).is_none())?;
        let killed = site.pair.signal(Node::Lb1, Part::Proxy, Signal::SIGKILL)?;
        site.wait("the proxy is replaced", |site| {
            let now = site.pair.pid(Node::Lb1, Part::Proxy);
            now.is_ok_and(|pid| pid != killed)
        })?;
        site.wait_ready(Node::Lb1)?;
        let shares = client::shares(&site.lab, web(), client::Speak::Echo, 12)?;
        ensure!(shares.len() == 3, "{shares:?}");
        Ok(())
    })
}

#[test]
fn the_next_supervisor_goes_on_with_what_was_loaded() -> Result<()> {
    let config = config_at(ADVERT);
    Site::start(&config, Service::Echo)?.watched("reload-adoption", |site| {
        let before = site.changes()?;
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: 50, ping })?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        let begun = Instant::now();
        // Places that are not those of the file.
        site.pair.set_config(&editions(&config)[3])?;
        expect(site, &["reload"], 0, &["+ listeners.extra"])?;
        let hash = site.pair.status(Node::Lb1)?["config_hash"].clone();
        site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
        site.pair.service_manager(Node::Lb1)?;
        // It listens to tasks as soon as it watches.
        site.wait("the next supervisor reloads", |site| {
            expect(site, &["reload"], 0, &["nothing differs"]).is_ok()
        })?;
        ensure!(
            site.pair.status(Node::Lb1)?["config_hash"] == hash,
            "it runs another one"
        );
        let extra = (WEB_VIP, EXTRA).into();
        let shares = client::shares(&site.lab, extra, client::Speak::Echo, 3)?;
        ensure!(shares.len() == 1, "{shares:?}");
        site.pair.set_config(&config)?;
        expect(site, &["reload"], 0, &["- listeners.extra"])?;
        let failures = prober.finish()?.failures(begun);
        ensure!(failures.is_empty(), "{failures:?}");
        ensure!(held.settled().broken() == 0, "{:?}", held.report().broken);
        ensure!(site.changes()? == before, "a VIP has moved");
        Ok(())
    })
}

#[test]
fn cfg_80_what_cannot_be_loaded_changes_nothing_and_says_why() -> Result<()> {
    let config = config_at(ADVERT);
    Site::start(&config, Service::Echo)?.watched("reload-refused", |site| {
        let before = site.changes()?;
        let hash = |site: &Site, node| -> Result<String> {
            let status = site.pair.status(node)?;
            Ok(status["config_hash"].to_string())
        };
        let running = hash(site, Node::Lb1)?;
        let adverts = AdvertWatch::start(&site.lab, Node::Lb1)?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        site.wait("answers", |_| {
            prober.good_since(Instant::now() - ADVERT) > 5
        })?;
        let begun = Instant::now();
        let other = Backend::start(&site.lab, Node::Lb1, 9_700, Service::Echo)?;
        let taken = format!(
            "[listeners.taken]\nbind = [\"{}\"]\nbackend = \"traefik-http\"\n[listeners.api]",
            other.address()
        );
        for (edition, code, words) in [
            (config.replace("balance =", "ballance ="), 2, "unknown key"),
            (
                config.replace("\"192.168.0.12\"", "\"192.168.0.13\""),
                1,
                "nodes.lb2.address cannot change",
            ),
            (
                config.replace("10.17.4.26:80", "10.17.4.24:80"),
                2,
                "10.17.4.24:80",
            ),
            (
                config.replace("[listeners.api]", &taken),
                1,
                "listener taken: bind",
            ),
        ] {
            site.pair.set_config(&edition)?;
            expect(site, &["reload"], code, &[words])?;
            let status = site.pair.status(Node::Lb1)?;
            let reload = &status["reload"];
            ensure!(
                reload["last"] != "applied" && reload["reason"] != "",
                "{reload}"
            );
            ensure!(
                hash(site, Node::Lb1)? == running,
                "another configuration runs"
            );
        }
        let calm = Instant::now() + 5 * ADVERT;
        site.wait("some adverts", |_| Instant::now() > calm)?;
        let gap = longest_gap(&adverts.all(), 52, begun);
        let failures = prober.finish()?.failures(begun);
        println!("four refused reloads: longest advert gap {gap:?}, failed {failures:?}");
        ensure!(gap < ADVERT * 3 / 2, "{gap:?} without an advert");
        ensure!(failures.is_empty(), "{failures:?}");
        ensure!(site.changes()? == before, "a VIP has moved");
        // SIGHUP is the same, and both nodes say that they differ until both have it.
        let other = config.replace("[vrrp]", "[proxy]\nmax_sessions = 9000\n[vrrp]");
        site.pair.set_config(&other)?;
        site.pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGHUP)?;
        let drifts = |site: &Site| {
            let warns = |node| {
                let status = site.pair.status(node).ok()?;
                Some(
                    status["warnings"]
                        .to_string()
                        .contains("another configuration"),
                )
            };
            (warns(Node::Lb1), warns(Node::Lb2))
        };
        site.wait("both see that they differ", |site| {
            drifts(site) == (Some(true), Some(true))
        })?;
        let output = site.pair.command(Node::Lb2, &["reload"])?;
        ensure!(output.status.success(), "{output:?}");
        site.wait("both have it", |site| {
            drifts(site) == (Some(false), Some(false))
        })?;
        let both = (hash(site, Node::Lb1)?, hash(site, Node::Lb2)?);
        ensure!(both.0 == both.1 && both.0 != running, "{both:?}");
        let reload = site.pair.status(Node::Lb1)?["reload"].clone();
        ensure!(
            reload["last"] == "applied" && reload["failed"] == 4,
            "{reload}"
        );
        site.changes()?
            .into_iter()
            .eq(before)
            .then_some(())
            .context("a VIP has moved")
    })
}
