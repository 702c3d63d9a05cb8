//! The session log of a node: its file, who may write it, its rotation, and what a human is told.

#![expect(
    clippy::disallowed_types,
    reason = "a test on the lab opens connections"
)]

mod site;

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};
use lab::client::{Speak, who};
use serde_json::Value;

use crate::site::{PROXY_UID, Site, config_at, start_with_users, web};

const LIMIT: Duration = Duration::from_secs(5);
/// The reference site; port 80 logs JSON to a file, port 443 tcplog where the process logs.
fn config(log: &Path) -> Result<String> {
    let config = config_at(Duration::from_millis(100));
    let file = log.display();
    let logging = config
        .replace(
            "[listeners.http]\n",
            &format!("[listeners.http]\nsession_log = \"json\"\nsession_log_file = \"{file}\"\n"),
        )
        .replace(
            "[listeners.https]\n",
            "[listeners.https]\nsession_log = \"tcplog\"\n",
        );
    ensure!(logging.matches("session_log ").count() == 2, "{logging}");
    Ok(logging)
}

fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let parse = |line: &str| serde_json::from_str(line).ok();
    text.lines().filter_map(parse).collect()
}

/// One session of the echo; its server's name.
fn visit(site: &Site) -> Result<String> {
    who(&site.lab, Node::Client, web(), Speak::Echo)
}

fn wait_for_lines(site: &Site, log: &Path, count: usize) -> Result<()> {
    site.wait(&format!("{count} lines in {}", log.display()), |_| {
        lines(log).len() == count
    })
}

fn warnings(site: &Site) -> String {
    let status = site.pair.status(Node::Lb1);
    status.map_or_else(|error| error.to_string(), |it| it["warnings"].to_string())
}

#[test]
fn each_session_is_a_line_also_after_a_death_and_a_rotation() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("web.log");
    let site = Site::start(&config(&log)?, Service::Echo)?;
    site.watched("session-log", |site| {
        ensure!(log.is_file(), "it is made at the start");
        visit(site)?;
        wait_for_lines(site, &log, 1)?;
        let line = lines(&log).remove(0);
        let client = Node::Client.address().to_string();
        let from = line["client"].as_str().unwrap_or_default();
        ensure!(from.starts_with(&format!("{client}:")), "{line}");
        ensure!(
            line["listener"] == "http" && line["backend"] == "traefik-http",
            "{line}"
        );
        ensure!(line["bind"] == web().to_string(), "{line}");
        let server = line["server"].as_str().unwrap_or_default();
        ensure!(
            server.starts_with("10.17.4.2") && server.ends_with(":80"),
            "{line}"
        );
        ensure!(
            line["source"]
                .as_str()
                .is_some_and(|from| from.starts_with("192.168.0.11:")),
            "{line}"
        );
        ensure!(line["bytes_in"].as_u64() > Some(0), "{line}");
        ensure!(line["termination"] == "--", "{line}");

        // The other listener's client speaks no TLS to anybody: it just comes and goes.
        let tls = std::net::SocketAddr::new(web().ip(), 443);
        site.lab.run_in(Node::Client, || {
            let mut client = TcpStream::connect_timeout(&tls, LIMIT)?;
            client.shutdown(std::net::Shutdown::Write)?;
            client.set_read_timeout(Some(LIMIT))?;
            // Whatever the server says to that.
            client
                .read_to_end(&mut Vec::new())
                .map(drop)
                .or(Ok::<_, std::io::Error>(()))
        })?;
        let process_log = site
            .pair
            .supervisor(Node::Lb1)
            .context("it runs")?
            .log()
            .to_owned();
        let told = format!("{client}:");
        site.wait("the process's log has the other line", |_| {
            let text = fs::read_to_string(&process_log).unwrap_or_default();
            let mut all = text.lines();
            all.any(|line| line.starts_with(&told) && line.contains(" https traefik-https/"))
        })?;

        let log_of = |site: &Site| {
            Ok::<_, anyhow::Error>(site.pair.status(Node::Lb1)?["session_log"].clone())
        };
        // A line is counted when it is written: not for a proxy that is killed between the two.
        site.wait("both lines are counted", |site| {
            log_of(site).is_ok_and(|status| status["written"] == 2)
        })?;
        let before = site.pair.pid(Node::Lb1, Part::Proxy)?;
        site.pair.kill_part(Node::Lb1, Part::Proxy)?;
        site.wait("the proxy is replaced", |site| {
            let now = site.pair.pid(Node::Lb1, Part::Proxy);
            now.is_ok_and(|pid| pid != before)
        })?;
        site.wait("it serves", |site| visit(site).is_ok())?;
        site.wait("it appends", |_| lines(&log).len() >= 2)?;

        let rotated = folder.path().join("web.log.1");
        fs::rename(&log, &rotated)?;
        site.wait("the new file is there", |site| {
            visit(site).is_ok() && !lines(&log).is_empty()
        })?;
        let (old, new) = (lines(&rotated).len(), lines(&log).len());
        site.wait("every line is counted", |site| {
            // One more, of port 443.
            log_of(site).is_ok_and(|status| status["written"] == old + new + 1)
        })?;
        let status = log_of(site)?;
        ensure!(status["lost"] == 0 && status["problem"] == "", "{status}");
        Ok(())
    })
}

#[test]
fn the_proxys_own_user_writes_and_a_human_is_told_when_it_may_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let logs = folder.path().join("log");
    fs::create_dir(&logs)?;
    // As systemd makes /var/log/fmc-lb: root's, and everybody may enter.
    for path in [folder.path(), &logs] {
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
    }
    let log = logs.join("web.log");
    let site = Site::build(&config(&log)?, Service::Echo)?;
    site.watched("session-log-users", |site| {
        let mut supervisor = start_with_users(site, folder.path())?;
        site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
        site.wait_ready(Node::Lb1)?;
        let proxy = site.pair.pid(Node::Lb1, Part::Proxy)?;
        let owner = fs::metadata(format!("/proc/{proxy}"))?.uid();
        ensure!(owner == PROXY_UID, "the proxy runs as {owner}");
        ensure!(
            fs::metadata(&log)?.uid() == PROXY_UID,
            "the file is another's"
        );
        visit(site)?;
        wait_for_lines(site, &log, 1)?;

        // Moved away, and nobody has made another one: the proxy may make none in root's folder.
        let rotated: PathBuf = logs.join("web.log.1");
        fs::rename(&log, &rotated)?;
        site.wait("a human is told", |site| {
            visit(site).is_ok() && warnings(site).contains("web.log: Permission denied")
        })?;
        ensure!(!log.exists(), "it made one");
        // As logrotate does with `create`: for the owner of the old one.
        fs::write(&log, "")?;
        chown(&log, Some(PROXY_UID), Some(PROXY_UID))?;
        site.wait("the new file is written", |site| {
            visit(site).is_ok() && !lines(&log).is_empty()
        })?;
        site.wait("all is well", |site| !warnings(site).contains("web.log"))?;
        let status = site.pair.status(Node::Lb1)?["session_log"].clone();
        ensure!(status["lost"] == 0, "no line was lost: {status}");
        let written = lines(&rotated).len() + lines(&log).len();
        ensure!(status["written"] == written, "{written}: {status}");
        supervisor.stop(Duration::from_secs(20)).map(drop)
    })
}
