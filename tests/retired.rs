//! Proxies that have retired, and what becomes of their sessions when more happens to the node.

#![expect(
    clippy::disallowed_methods,
    reason = "tests on the lab wait for a while"
)]

mod site;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::{Backend, Mode, Service};
use lab::balancer::{Balancer as _, Part};
use lab::held::{Broken, Held, How, Plan};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::{BINARY, Site, config_at, web};

/// Of the workers that serve the web VIP.
const FIRST: &str = "10.17.4.24:80";
/// Another one there.
const EXTRA: &str = "10.17.4.24:8080";
const COUNT: usize = 20;
/// Idle ones.
const IDLE: usize = 12;
/// An upgrade on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn config(drain: &str) -> String {
    let config = config_at(Duration::from_millis(100));
    format!("{config}\n[proxy]\ndrain = \"{drain}\"\n")
}

/// A proxy has retired on lb1, with sessions.
fn retired(drain: &str) -> Result<(Site, Held)> {
    retired_with(&config(drain), |_| Ok(()))
}

/// The same after something was said to lb1.
fn retired_with(config: &str, prepare: impl FnOnce(&Site) -> Result<()>) -> Result<(Site, Held)> {
    let mut site = Site::build(config, Service::Echo)?;
    site.pair.install(Node::Lb1, Path::new(BINARY))?;
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
    site.pair.start(Node::Lb2)?;
    for node in Node::LBS {
        site.wait_ready(node)?;
    }
    site.wait("both forward", |site| {
        Node::LBS.into_iter().all(|node| {
            let status = site.pair.status(node).unwrap_or_default();
            status["forwarding"]["peer_forwards"] == true
        })
    })?;
    prepare(&site)?;
    let ping = Some(Duration::from_millis(20));
    let held = Held::open(&site.lab, web(), Plan { count: COUNT, ping })?;
    site.pair.install(Node::Lb1, Path::new(BINARY))?;
    site.pair
        .signal(Node::Lb1, Part::Supervisor, Signal::SIGHUP)?;
    site.lab.wait_until(LIMIT, "the upgrade is done", || {
        let status = site.pair.status(Node::Lb1).unwrap_or_default();
        status["upgrade"]["stage"] == "done"
    })?;
    ensure!(elders(&site)?.len() == 1, "{:?}", elders(&site)?);
    Ok((site, held))
}

/// What a command prints; it must succeed.
fn say(site: &Site, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = site.pair.command(Node::Lb1, &words)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{words:?}: {}",
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}

fn listed(site: &Site) -> Result<Vec<Value>> {
    let list = say(site, "sessions --json --listener http")?;
    let list: Value = serde_json::from_str(&list).context("no JSON")?;
    list["sessions"].as_array().cloned().context("no list")
}

/// Sessions to a server, as they are listed.
fn at(site: &Site, server: &str) -> Result<usize> {
    let to = |one: &&Value| one["server"] == server;
    listed(site).map(|all| all.iter().filter(to).count())
}

/// Whether a server is there; `None` = it has left.
fn presence(site: &Site, server: &str) -> Result<Option<String>> {
    let status = site.pair.status(Node::Lb1)?;
    let backends = status["backends"].as_array().context("no backends")?;
    let mut servers = backends
        .iter()
        .filter_map(|one| one["servers"].as_array())
        .flatten();
    let found = servers.find(|one| one["address"] == server);
    Ok(found.and_then(|one| one["presence"].as_str().map(str::to_owned)))
}

fn elders(site: &Site) -> Result<Vec<Value>> {
    let status = site.pair.status(Node::Lb1)?;
    let retired = status["retired"].as_array();
    retired.cloned().context("retired")
}

#[test]
fn a_stop_leaves_the_sessions_of_a_retired_proxy_their_drain() -> Result<()> {
    let (site, held) = retired("10m")?;
    site.watched("retired-stop", |site| {
        let before = site.pair.status(Node::Lb1)?["config_hash"].clone();
        site.pair.set_config(&config("9m"))?;
        site.pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGHUP)?;
        site.wait("it runs by another configuration", |site| {
            let status = site.pair.status(Node::Lb1);
            status.is_ok_and(|status| status["config_hash"] != before)
        })?;
        site.pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGTERM)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        // The proxy that accepts has no session to wait for.
        std::thread::sleep(Duration::from_secs(2));
        ensure!(
            held.settled().broken() == 0,
            "{} of {COUNT} broke",
            held.broken()
        );
        ensure!(elders(site)?.len() == 1, "{:?}", elders(site)?);
        drop(held);
        let supervisor = site.pair.supervisor(Node::Lb1).context("it ran")?;
        supervisor.wait(Duration::from_secs(10)).map(drop)
    })
}

#[test]
#[ignore = "an upgrade of its own: scripts/prove runs it"]
fn the_sessions_of_a_retired_proxy_are_listed_and_killed_as_all_others() -> Result<()> {
    let (site, held) = retired("10m")?;
    site.watched("retired-kill", |site| {
        let ping = Some(Duration::from_millis(20));
        let young = Held::open(&site.lab, web(), Plan { count: 4, ping })?;
        let all = listed(site)?;
        ensure!(all.len() == COUNT + 4, "{} are listed", all.len());
        let ages: Vec<u64> = all
            .iter()
            .filter_map(|one| one["age_ms"].as_u64())
            .collect();
        ensure!(ages.is_sorted_by(|one, next| one >= next), "{ages:?}");
        let oldest = all[0]["id"].as_str().context("id")?;
        let said = say(site, &format!("sessions kill {oldest}"))?;
        ensure!(said.contains("was killed"), "{said}");
        site.wait("it is gone", |_| held.broken() == 1)?;
        let count = at(site, FIRST)?;
        ensure!(count > 1, "{count} at {FIRST}");
        let said = say(
            site,
            &format!("sessions kill --server traefik-http/{FIRST}"),
        )?;
        ensure!(
            said.trim() == format!("{count} sessions were killed"),
            "{said}"
        );
        site.wait("nobody is left there", |site| {
            at(site, FIRST).ok() == Some(0)
        })?;
        let count = listed(site)?.len();
        let said = say(site, "sessions kill --listener http")?;
        ensure!(
            said.trim() == format!("{count} sessions were killed"),
            "{said}"
        );
        site.wait("all are gone", |_| {
            (held.broken(), young.broken()) == (COUNT, 4)
        })?;
        site.wait("nothing keeps the retired proxy", |site| {
            elders(site).is_ok_and(|elders| elders.is_empty())
        })
    })
}

#[test]
#[ignore = "an upgrade of its own: scripts/prove runs it"]
fn what_becomes_of_a_server_concerns_the_sessions_of_a_retired_proxy_too() -> Result<()> {
    let lines = "on_marked_down = \"cut\"\nprobe = { interval = \"100ms\", rise = 1, fall = 1 }";
    let backend = "[backends.traefik-http]";
    let config = config("10m").replace(backend, &format!("{backend}\n{lines}"));
    let mut extra = None;
    let (site, held) = retired_with(&config, |site| {
        let server = Backend::start(&site.lab, Node::WORKERS[0], 8_080, Service::Echo)?;
        extra = Some(server);
        say(site, &format!("server add traefik-http/{EXTRA}"))?;
        site.wait("it is up", |site| {
            site.pair.server_state(Node::Lb1, EXTRA).as_deref() == Some("up")
        })
    })?;
    site.watched("retired-servers", |site| {
        let (first, spare) = (at(site, FIRST)?, at(site, EXTRA)?);
        ensure!(
            first > 1 && spare > 1,
            "{first} at {FIRST}, {spare} at {EXTRA}"
        );
        // Down: the new proxy probes, and the old one's sessions end.
        site.cluster.web[0].set(Mode::Refuse);
        site.wait("its sessions end", |_| held.broken() == first)?;
        // Removed, it has its place for as long as it has sessions anywhere.
        say(site, &format!("server remove traefik-http/{EXTRA} --drain"))?;
        std::thread::sleep(Duration::from_millis(1_500));
        ensure!(at(site, EXTRA)? == spare, "it is not listed any more");
        ensure!(presence(site, EXTRA)?.as_deref() == Some("leaving"));
        say(site, &format!("server remove traefik-http/{EXTRA} --force"))?;
        site.wait("its sessions end", |_| held.broken() == first + spare)?;
        site.wait("it has left", |site| {
            presence(site, EXTRA).is_ok_and(|presence| presence.is_none())
        })?;
        let left = elders(site)?[0]["sessions"].as_u64();
        ensure!(left == Some((COUNT - first - spare) as u64), "{left:?}");
        Ok(())
    })
}

#[test]
#[ignore = "twenty seconds: scripts/prove runs it"]
fn the_sessions_of_a_retired_proxy_drain_with_the_node_and_both_nodes_show_them() -> Result<()> {
    let mut idle = None;
    let (site, busy) = retired_with(&config("12s"), |site| {
        let plan = Plan {
            count: IDLE,
            ping: None,
        };
        idle = Some(Held::open(&site.lab, web(), plan)?);
        Ok(())
    })?;
    let idle = idle.context("opened")?;
    site.watched("retired-drain", |site| {
        let all = (COUNT + IDLE) as u64;
        site.wait("both nodes show what is left", |site| {
            let own = site.pair.status(Node::Lb1).unwrap_or_default();
            let peers = site.pair.status(Node::Lb2).unwrap_or_default();
            let seen = [&own["retired"][0], &peers["peer"]["link"]["retired"][0]];
            seen.into_iter().all(|left| shows(left, all))
        })?;
        site.pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGTERM)?;
        let began = Instant::now();
        site.wait("both nodes show the drain", |site| {
            let own = site.pair.status(Node::Lb1).unwrap_or_default();
            let peers = site.pair.status(Node::Lb2).unwrap_or_default();
            let seen = [&own["drain"], &peers["peer"]["link"]["drain"]];
            seen.into_iter()
                .all(|left| left["ms_left"].is_u64() && left["oldest_ms"].is_u64())
        })?;
        let supervisor = site.pair.supervisor(Node::Lb1).context("it ran")?;
        supervisor.wait(Duration::from_secs(20))?;
        let log = std::fs::read_to_string(supervisor.log()).context("the log")?;
        let (quiet, busy) = (idle.report().broken, busy.report().broken);
        ensure!(
            quiet.len() == IDLE && busy.len() == COUNT,
            "{quiet:?} {busy:?}"
        );
        ensure!(quiet.iter().all(|one| one.how == How::Fin), "{quiet:?}");
        let after = |one: &Broken| one.at.saturating_duration_since(began);
        let spread = after(&quiet[IDLE - 1]).saturating_sub(after(&quiet[0]));
        ensure!(spread > Duration::from_secs(3), "{spread:?}");
        let at_end = |one: &Broken| one.how == How::Reset && after(one) > Duration::from_secs(11);
        ensure!(busy.iter().all(at_end), "{busy:?}");
        let said = "sessions are reset at the end of the drain";
        let lines = log.lines().filter(|line| line.contains(said));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let left = lines.filter_map(|line| line["left"].as_u64());
        let left: u64 = left.sum();
        ensure!(left == COUNT as u64, "{left} were said to be reset");
        println!(
            "{IDLE} idle sessions closed within {spread:.1?}, {left} busy ones reset at the end"
        );
        Ok(())
    })
}

/// Whether all sessions are there, by listener, server and age.
fn shows(left: &Value, all: u64) -> bool {
    let sum = |what: &str| -> u64 {
        let each = left[what].as_array().into_iter().flatten();
        each.filter_map(|one| one["sessions"].as_u64()).sum()
    };
    let sums = ["listeners", "servers", "ages"].map(sum);
    left["sessions"] == all && sums == [all; 3] && left["oldest_ms"].is_u64()
}

#[test]
fn a_retired_proxy_that_ends_while_no_supervisor_lives_is_not_shown_any_more() -> Result<()> {
    let (site, held) = retired("1s")?;
    site.watched("retired-unseen", |site| {
        let pid = elders(site)?[0]["pid"].as_u64().context("pid")?;
        site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
        drop(held);
        // A child of nobody: gone, or dead and not waited for.
        let stat = format!("/proc/{pid}/stat");
        site.wait("it has ended", |_| {
            std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "))
        })?;
        site.pair.start(Node::Lb1)?;
        site.wait("the supervisor is back", |site| {
            site.pair.status(Node::Lb1).is_ok_and(|status| {
                let processes = status["processes"].as_array();
                processes.is_some_and(|all| all.iter().all(|one| one["state"] == "running"))
            })
        })?;
        ensure!(elders(site)?.is_empty(), "{:?}", elders(site)?);
        Ok(())
    })
}
