//! Lists in files that change while a node runs: written, renamed over, broken, gone, and seen by the
//! processes that come after a death.

#![expect(
    clippy::disallowed_types,
    reason = "a test on the lab opens connections"
)]

mod site;

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};
use lab::held::{Held, Plan};
use serde_json::Value;

use crate::site::{Site, config_at, web};

const LIMIT: Duration = Duration::from_secs(5);

/// Whether the web VIP serves the client: a server greets, or the connection is reset.
fn is_served(site: &Site) -> bool {
    site.lab.run_in(Node::Client, || {
        TcpStream::connect_timeout(&web(), LIMIT)
            .and_then(|mut client| {
                client.set_read_timeout(Some(LIMIT))?;
                client.read(&mut [0; 256])
            })
            .is_ok_and(|read| read > 0)
    })
}

fn list(site: &Site) -> Result<Value> {
    let status = site.pair.status(Node::Lb1)?;
    status["files"].get(0).cloned().context("no file in status")
}

/// Waits until status says that of the list.
fn wait_for(site: &Site, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
    site.wait(what, |site| list(site).is_ok_and(|list| is(&list)))
}

/// As a careful writer replaces a file.
fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    fs::rename(&beside, path).context("rename it over the old one")
}

#[test]
fn a_list_in_a_file_changes_under_a_running_node() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("deny.txt");
    fs::write(&path, "# nobody of this site\n203.0.113.0/24\n")?;
    let config = config_at(Duration::from_millis(100));
    let named = format!("[listeners.http]\ndeny_file = \"{}\"\n", path.display());
    let config = config.replace("[listeners.http]\n", &named);
    ensure!(config.contains("deny_file"), "{config}");
    Site::start(&config, Service::Echo)?.watched("files", |site| {
        let client = Node::Client.address();
        let ping = Some(Duration::from_millis(20));
        let held = Held::open(&site.lab, web(), Plan { count: 10, ping })?;
        ensure!(is_served(site), "it is on no list");

        replace(&path, &format!("203.0.113.0/24\n{client}\n"))?;
        wait_for(site, "the new list is in use", |list| list["entries"] == 2)?;
        ensure!(!is_served(site), "it is on the list");
        ensure!(list(site)?["changes"] == 1, "{}", list(site)?);
        ensure!(held.settled().broken() == 0, "{:?}", held.report().broken);

        fs::write(&path, "203.0.113.0/24\n203.0.113.256\n")?;
        wait_for(site, "a bad list is refused", |list| list["refusals"] == 1)?;
        let refused = list(site)?;
        let why = refused["refused"].as_str().unwrap_or_default();
        ensure!(why.contains("line 2: `203.0.113.256`"), "{refused}");
        ensure!(refused["entries"] == 2, "{refused}");
        ensure!(!is_served(site), "the old list is in use");
        let warnings = site.pair.status(Node::Lb1)?["warnings"].to_string();
        ensure!(warnings.contains("203.0.113.256"), "{warnings}");
        ensure!(held.settled().broken() == 0, "{:?}", held.report().broken);

        fs::remove_file(&path)?;
        wait_for(site, "its absence is told", |list| list["refusals"] == 2)?;
        ensure!(!is_served(site), "the old list is in use");
        drop(held);

        // A new proxy works with what was in use, whatever is on disk.
        let killed = site.pair.pid(Node::Lb1, Part::Proxy)?;
        site.pair.kill_part(Node::Lb1, Part::Proxy)?;
        site.wait("it is replaced", |site| {
            let pid = site.pair.pid(Node::Lb1, Part::Proxy);
            pid.is_ok_and(|pid| pid != killed)
        })?;
        wait_for(site, "it has its list", |list| list["entries"] == 2)?;
        ensure!(!is_served(site), "the old list is in use");

        // What has changed while there was no supervisor is found by the next one.
        let proxy = site.pair.pid(Node::Lb1, Part::Proxy)?;
        site.pair.kill_part(Node::Lb1, Part::Supervisor)?;
        fs::write(&path, "203.0.113.0/24\n")?;
        site.pair.start(Node::Lb1)?;
        wait_for(site, "the next list is in use", |list| {
            list["entries"] == 1 && list["refused"] == ""
        })?;
        ensure!(is_served(site), "it is on no list any more");
        ensure!(
            site.pair.pid(Node::Lb1, Part::Proxy)? == proxy,
            "the proxy was adopted"
        );
        Ok(())
    })
}

#[test]
fn a_node_does_not_start_with_a_bad_list() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("deny.txt");
    fs::write(&path, "ten\n")?;
    let named = format!("[listeners.http]\ndeny_file = \"{}\"\n", path.display());
    let config = config_at(Duration::from_millis(100))
        .replace("[listeners.http]\n", &named)
        .replace("key_file  = \"pair.key\"\n", "");
    let file = folder.path().join("fmc-lb.toml");
    fs::write(&file, config)?;
    let output = std::process::Command::new(site::BINARY)
        .args(["run", "--node", "lb1", "--config"])
        .arg(&file)
        .arg("--runtime-dir")
        .arg(folder.path().join("run"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{said}");
    ensure!(said.contains("deny.txt"), "{said}");
    ensure!(said.contains("line 1: `ten`"), "{said}");
    Ok(())
}
