//! What an administrator says to a running node, and what becomes of it when processes die or hang.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests on the lab open connections, wait and measure"
)]

mod site;

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lab::Node;
use lab::backend::{Backend, Service};
use lab::balancer::{Balancer as _, Part};
use lab::client::{Speak, shares};
use lab::held::{Held, Plan};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::{Site, config_at, web};

/// Of the workers that serve the web VIP.
const FIRST: &str = "10.17.4.24:80";
/// A command that nobody executes has failed within this.
const ANSWER: Duration = Duration::from_secs(1);

fn site(name: &str, body: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let config = config_at(Duration::from_millis(100));
    Site::start(&config, Service::Echo)?.watched(name, body)
}

/// What a command prints; it must succeed.
fn say(site: &Site, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = site.pair.command(Node::Lb1, &words)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("{words:?}: {}", text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

fn first(site: &Site) -> Result<Value> {
    let status = site.pair.status(Node::Lb1)?;
    let backends = status["backends"].as_array().context("no backends")?;
    let mut servers = backends.iter().filter_map(|one| one["servers"].as_array());
    servers
        .find_map(|all| all.iter().find(|one| one["address"] == FIRST))
        .cloned()
        .context("no such server")
}

fn state(site: &Site) -> Option<String> {
    first(site).ok()?["state"].as_str().map(str::to_owned)
}

fn sessions(site: &Site) -> Result<Vec<Value>> {
    let listed = say(site, "sessions --json --listener http")?;
    let list: Value = serde_json::from_str(&listed).context("no JSON")?;
    list["sessions"].as_array().cloned().context("no list")
}

#[test]
fn a_drained_server_gets_no_new_session_and_keeps_the_old_ones() -> Result<()> {
    site("runtime-drain", |site| {
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: 30, ping })?;
        let before = first(site)?["sessions"].as_u64().unwrap_or_default();
        ensure!(before == 10, "{before} sessions");
        let said = say(site, &format!("server drain traefik-http/{FIRST} --for 1h"))?;
        ensure!(said.contains("gets no new sessions for 3600 s"), "{said}");
        let shares = shares(&site.lab, web(), Speak::Echo, 12)?;
        ensure!(shares.len() == 2, "{shares:?}");
        let server = first(site)?;
        ensure!(server["state"] == "draining", "{server}");
        ensure!(server["sessions"] == 10, "{server}");
        let reason = server["reason"].as_str().unwrap_or_default();
        ensure!(reason.starts_with("by administrator, 59m"), "{reason}");
        ensure!(held.settled().broken() == 0, "{:?}", held.report().broken);
        say(site, &format!("server ready traefik-http/{FIRST}"))?;
        let shares = lab::client::shares(&site.lab, web(), Speak::Echo, 12)?;
        ensure!(shares.len() == 3, "{shares:?}");
        Ok(())
    })
}

#[test]
fn maintenance_outlives_a_killed_proxy() -> Result<()> {
    site("runtime-maintenance", |site| {
        say(site, &format!("server maintenance traefik-http/{FIRST}"))?;
        ensure!(
            state(site).as_deref() == Some("maintenance"),
            "{:?}",
            state(site)
        );
        let killed = site.pair.pid(Node::Lb1, Part::Proxy)?;
        site.pair.kill_part(Node::Lb1, Part::Proxy)?;
        site.wait("it is replaced", |site| {
            site.pair
                .pid(Node::Lb1, Part::Proxy)
                .is_ok_and(|pid| pid != killed)
        })?;
        ensure!(
            state(site).as_deref() == Some("maintenance"),
            "{:?}",
            state(site)
        );
        site.wait("it answers commands", |site| sessions(site).is_ok())?;
        let shares = shares(&site.lab, web(), Speak::Echo, 12)?;
        ensure!(shares.len() == 2, "{shares:?}");
        // The next supervisor takes the channel over, and a new admin process has it too.
        site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
        site.pair.start(Node::Lb1)?;
        let asked = site.pair.pid(Node::Lb1, Part::Admin)?;
        site.pair.kill_part(Node::Lb1, Part::Admin)?;
        site.wait("admin is replaced", |site| {
            site.pair
                .pid(Node::Lb1, Part::Admin)
                .is_ok_and(|pid| pid != asked)
        })?;
        site.wait("it takes commands", |site| {
            say(site, &format!("server ready traefik-http/{FIRST}")).is_ok()
        })?;
        ensure!(state(site).as_deref() == Some("up"), "{:?}", state(site));
        Ok(())
    })
}

#[test]
fn a_killed_session_is_reset_on_both_sides() -> Result<()> {
    site("runtime-kill", |site| {
        let mut client = site.lab.run_in(Node::Client, || {
            let client = TcpStream::connect_timeout(&web(), Duration::from_secs(5))?;
            client.set_read_timeout(Some(Duration::from_secs(5)))?;
            std::io::Result::Ok(client)
        })?;
        // The greeting says that it is relayed.
        ensure!(client.read(&mut [0; 256])? > 0, "no greeting");
        let open = |site: &Site| -> u64 { site.cluster.web.iter().map(Backend::sessions).sum() };
        let listed = sessions(site)?;
        ensure!(listed.len() == 1, "{listed:?}");
        let peer = client.local_addr()?.to_string();
        ensure!(listed[0]["client"] == peer.as_str(), "{listed:?}");
        site.wait("a server has it", |site| open(site) >= 1)?;
        let id = listed[0]["id"].as_str().context("no id")?.to_owned();
        say(site, &format!("sessions kill {id}"))?;
        let end = loop {
            match client.read(&mut [0; 256]) {
                Ok(0) => bail!("ended by FIN"),
                Ok(_) => {}
                Err(error) => break error.kind(),
            }
        };
        ensure!(end == ErrorKind::ConnectionReset, "{end:?}");
        site.wait("the server has lost it", |site| open(site) == 0)?;
        ensure!(say(site, &format!("sessions kill {id}")).is_err(), "twice");
        Ok(())
    })
}

#[test]
fn a_hung_proxy_makes_a_command_fail_in_time_and_no_status_late() -> Result<()> {
    site("runtime-hung", |site| {
        site.pair.signal(Node::Lb1, Part::Proxy, Signal::SIGSTOP)?;
        let began = Instant::now();
        let drained = say(site, &format!("server drain traefik-http/{FIRST}"));
        let took = began.elapsed();
        let error = format!("{:#}", drained.err().context("a hung proxy has answered")?);
        ensure!(took < ANSWER, "{took:?}");
        ensure!(error.contains("has not answered within 300 ms"), "{error}");
        let began = Instant::now();
        ensure!(state(site).as_deref() == Some("up"), "{:?}", state(site));
        ensure!(began.elapsed() < ANSWER, "{:?}", began.elapsed());
        site.wait("the next proxy takes commands", |site| {
            sessions(site).is_ok()
        })?;
        // Nobody was told that it was done, so it is not done later either.
        ensure!(first(site)?["administrative"] == "", "{}", first(site)?);
        Ok(())
    })
}
