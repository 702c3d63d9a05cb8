//! `fmc-lb release`: takes away what a node that no longer runs has left. Run by systemd after each
//! end of the service, also after a crash, and by hand. What still has a living process stays, and
//! nothing is touched while the node lives with another runtime folder.

#![expect(
    clippy::disallowed_methods,
    reason = "waits until the other node has taken over"
)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use common::board::Child;
use common::config::key::parse_key_file;
use common::config::{Config, NodeIndex, VipIndex};

use crate::supervisor::{self, Folder, Presence, Seat};
use crate::{check, cli, control, output};

/// From the priority-0 adverts until the other node has taken over and everybody knows it. Whoever comes here before
/// that is sent there.
const TAKEOVER: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &cli::Release) -> anyhow::Result<ExitCode> {
    let folder = Folder::new(&args.runtime.runtime_dir);
    // A living supervisor sees to all of this itself; and none may start meanwhile.
    let _claim = folder.claim()?;
    // Not as the node at its start: what is left must go also when a key file is missing now.
    let loaded = match check::load(&args.config) {
        Ok(loaded) => Some(loaded),
        Err(error) => {
            output::complain(&error.render());
            None
        }
    };
    let config = loaded.as_ref().map(|loaded| &loaded.config);
    let node = config.map(|config| config.node_of(args.node.as_deref(), &check::this_machine()));
    let known = config.zip(node.clone().and_then(Result::ok));
    let _presence = known
        .filter(|_| {
            let children = Child::ALL.into_iter().map(Seat::Of);
            !children
                .chain(folder.retired())
                .any(|seat| lives(&folder, seat))
        })
        .map(|(config, node)| Presence::take(config.nodes[node.0].address))
        .transpose()?;
    // The leases first: the other node waits for that. The shadows whatever comes of it: what is
    // remembered needs no file.
    let leases = known.map(|(config, node)| release_leases(config, node, &folder));
    let shadows = remove_shadows(known.map(|(config, _)| config), &folder);
    let leases = leases.transpose()?.unwrap_or_default();
    node.transpose()?;
    for line in leases.into_iter().chain([shadows?]) {
        output::print(&format!("{line}\n"))?;
    }
    Ok(if loaded.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

fn lives(folder: &Folder, seat: Seat) -> bool {
    control::is_alive(&folder.control_socket(seat))
}

/// Says what was done, and what was not and why.
fn release_leases(
    config: &Config,
    node: NodeIndex,
    folder: &Folder,
) -> anyhow::Result<Vec<String>> {
    if config.vips.is_empty() {
        return Ok(vec!["no virtual IPs in the configuration".to_owned()]);
    }
    if lives(folder, Seat::Of(Child::Vrrp)) {
        return Ok(vec!["leases stay: vrrp runs".to_owned()]);
    }
    // A key file that is gone keeps no lease: the adverts are then unsigned, and nobody hears them.
    let key = config
        .pair
        .key_file
        .as_ref()
        .and_then(|path| std::fs::read_to_string(path).ok())
        .filter(|text| parse_key_file(text).is_ok());
    let released =
        vrrp::release::resign(config, node, key.as_deref()).context("release the leases")?;
    if released.is_empty() {
        return Ok(vec!["no lease was left".to_owned()]);
    }
    std::thread::sleep(TAKEOVER);
    let line = |vip: &VipIndex| {
        let vip = &config.vips[vip.0];
        format!("released {} ({})", vip.name, vip.address)
    };
    Ok(released.iter().map(line).collect())
}

fn remove_shadows(config: Option<&Config>, folder: &Folder) -> anyhow::Result<String> {
    // One that has retired has sessions as any.
    let mut proxies = folder.retired();
    proxies.push(Seat::Of(Child::Proxy));
    if proxies.into_iter().any(|seat| lives(folder, seat)) {
        return Ok("shadows and TC program stay: proxy runs".to_owned());
    }
    // The TC program last: while the addresses are here and nobody listens, the kernel would refuse what it lets through.
    let removed = supervisor::remove_shadows(config, folder);
    config.map_or(Ok(()), supervisor::detach_all)?;
    removed?;
    Ok("shadows and TC program removed, kernel settings restored".to_owned())
}
