//! A program of the site as a probe: who runs it and with which rights, and what follows from it.

mod site;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};

use crate::site::{ADMIN_UID, Site, config_at, start_with_users};

const SERVER: &str = "10.17.4.25:80";

/// A script that says who it is, counts, and fails for the servers that a file names.
fn script(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#!/bin/sh\n\
         cd {folder} || exit 9\n\
         {{ id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; }} > who-$1\n\
         echo $$ >> runs-$1\n\
         ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> /\\1 /p' > descriptors-$1\n\
         [ -e hang-$1 ] && {{ sleep 300 & echo $! > child-$1; wait; }}\n\
         [ -e bad-$1 ] && {{ echo disk full; exit 3; }}\n\
         exit 0\n"
    )
}

/// The reference site; the program probes the servers of port 80.
fn config(program: &Path) -> Result<String> {
    let config = config_at(Duration::from_millis(100));
    let probe = format!(
        "probe = {{ kind = \"external\", program = \"{}\", arguments = [\"{{address}}\"], interval = \"500ms\" }}",
        program.display()
    );
    let title = "[backends.traefik-http]\n";
    let probed = config.replace(title, &format!("{title}{probe}\n"));
    ensure!(probed.contains(&probe), "{config}");
    Ok(probed)
}

fn wait_for(site: &Site, state: &str, reason: &str) -> Result<()> {
    site.wait(&format!("{SERVER} is {state}: {reason}"), |site| {
        let servers = site.servers(Node::Lb1).unwrap_or_default();
        let mut one = servers.iter().filter(|(address, _, _)| address == SERVER);
        one.any(|(_, is, why)| is == state && why.starts_with(reason))
    })
}

fn is_dead(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_program_without_rights_says_which_server_is_well() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let program = folder.path().join("is-well");
    fs::write(&program, script(folder.path()))?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let own = |name: &str| folder.path().join(format!("{name}-10.17.4.25"));
    let said = |name: &str| fs::read_to_string(own(name)).unwrap_or_default();
    let site = Site::build(&config(&program)?, Service::Echo)?;
    site.watched("external", |site| {
        let mut supervisor = start_with_users(site, folder.path())?;
        site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
        site.wait_ready(Node::Lb1)?;
        wait_for(site, "up", "PROCOK: exit code 0")?;
        let who = said("who");
        let rights = format!(
            "{ADMIN_UID}\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"
        );
        ensure!(who == rights, "it is {who}");

        fs::write(own("bad"), "")?;
        wait_for(site, "down", "PROCERR: exit code 3: disk full")?;
        let up = site.servers(Node::Lb1)?;
        let up = up.iter().filter(|(_, state, _)| state == "up").count();
        ensure!(up == 8, "{up} servers are up: the others are well");
        fs::remove_file(own("bad"))?;
        wait_for(site, "up", "PROCOK: exit code 0")?;

        fs::write(own("hang"), "")?;
        wait_for(site, "down", "PROCTOUT: killed after 500 ms")?;
        fs::remove_file(own("hang"))?;
        wait_for(site, "up", "PROCOK: exit code 0")?;
        let child = said("child");
        site.wait("what it had started is dead", |_| is_dead(&child))?;

        let descriptors = said("descriptors");
        let descriptors: Vec<_> = descriptors.lines().collect();
        // The last one is ls(1)'s own.
        let numbers = ["0 /dev/null", "1 ", "2 pipe:", "3 /proc/"];
        let is_so = descriptors.len() == numbers.len()
            && descriptors
                .iter()
                .zip(numbers)
                .all(|(one, wanted)| one.starts_with(wanted));
        ensure!(is_so, "it has the descriptors {descriptors:?}");

        // Nobody would end it at its time, nor what it has started.
        fs::remove_file(own("child"))?;
        fs::write(own("hang"), "")?;
        site.wait("the program hangs", |_| said("child").ends_with('\n'))?;
        let runs = said("runs");
        let hanging = runs
            .lines()
            .last()
            .context("it has said who it is")?
            .to_owned();
        let admin = site.pair.pid(Node::Lb1, Part::Admin)?;
        site.pair.kill_part(Node::Lb1, Part::Admin)?;
        site.wait("admin is replaced", |site| {
            let now = site.pair.pid(Node::Lb1, Part::Admin);
            now.is_ok_and(|pid| pid != admin)
        })?;
        fs::remove_file(own("hang"))?;
        for pid in [hanging, said("child")] {
            site.wait("they have died with it", |_| is_dead(&pid))?;
        }
        let runs = said("runs").lines().count();
        site.wait("its successor runs the program", |_| {
            said("runs").lines().count() > runs + 2
        })?;
        wait_for(site, "up", "PROCOK: exit code 0")?;
        supervisor
            .stop(Duration::from_secs(20))
            .map(drop)
            .context("stop the node")
    })
}
