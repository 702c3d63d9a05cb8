//! `fmc-lb release`: takes away what a node that no longer runs has left. Run by systemd after each
//! end of the service, also after a crash, and by hand. What still has a living process stays.

use std::process::ExitCode;

use anyhow::Context;
use common::board::Child;
use common::config::{Config, NodeIndex};

use crate::supervisor::{self, Folder};
use crate::{check, cli, control};

#[expect(
    clippy::print_stdout,
    reason = "what was done is this command's output"
)]
pub(crate) fn run(args: &cli::Release) -> anyhow::Result<ExitCode> {
    // Not as the node at its start: what is left must go also when a key file is missing now.
    let loaded = match check::load(&args.config) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprint!("{}", error.render());
            return Ok(ExitCode::from(2));
        }
    };
    let node = loaded
        .config
        .node_of(args.node.as_deref(), &check::this_machine())?;
    let folder = Folder::new(&args.runtime.runtime_dir);
    // A living supervisor sees to all of this itself; and none may start meanwhile.
    let _claim = folder.claim()?;
    for line in release(&loaded.config, node, &folder)? {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was done, and what was not and why.
fn release(config: &Config, node: NodeIndex, folder: &Folder) -> anyhow::Result<Vec<String>> {
    let lives = |child| control::is_alive(&folder.control_socket(child));
    let mut done = Vec::new();
    if config.vips.is_empty() {
        done.push("no virtual IPs in the configuration".to_owned());
        return Ok(done);
    }
    if lives(Child::Vrrp) {
        done.push("leases stay: vrrp runs".to_owned());
    } else {
        let released = vrrp::release::resign(config, node).context("release the leases")?;
        done.extend(released.iter().map(|vip| {
            let vip = &config.vips[vip.0];
            format!("released {} ({})", vip.name, vip.address)
        }));
        if released.is_empty() {
            done.push("no lease was left".to_owned());
        }
    }
    if lives(Child::Proxy) {
        done.push("shadows stay: proxy runs".to_owned());
    } else {
        supervisor::remove_shadows(config, folder)?;
        done.push("shadows removed, kernel settings restored".to_owned());
    }
    Ok(done)
}
