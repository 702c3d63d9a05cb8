//! `fmc-lb handover` and `fmc-lb maintenance`.

use std::process::ExitCode;
use std::time::Duration;

use common::order::Order;
use common::status::Status;

use super::{act, millis};
use crate::cli::{Handover, Maintenance};
use crate::output;
use crate::status::{self, human};

pub(crate) fn handover(args: &Handover) -> anyhow::Result<ExitCode> {
    let order = Order::Handover {
        vips: args.vips.clone(),
        force: args.force,
    };
    act(order, &args.runtime.runtime_dir)
}

pub(crate) fn maintenance(args: &Maintenance) -> anyhow::Result<ExitCode> {
    match args {
        Maintenance::On(args) => {
            let order = Order::MaintenanceOn {
                for_ms: millis(&args.time),
                force: args.force,
            };
            act(order, &args.runtime.runtime_dir)
        }
        Maintenance::Off(args) => act(Order::MaintenanceOff, &args.runtime.runtime_dir),
        Maintenance::Status(args) => {
            let status = status::ask(&args.runtime.runtime_dir)?;
            output::print(&words(&status))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A line for each node.
fn words(status: &Status) -> String {
    let left = status.maintenance_ms_left.map(Duration::from_millis);
    let left = left.map_or_else(String::new, |left| format!(", {} left", human::age(left)));
    let own = if status.maintenance { "on" } else { "off" };
    let mut lines = format!("{}: {own}{left}\n", status.node);
    if let Some(peer) = &status.peer {
        let theirs = match peer.maintenance {
            Some(true) => "on".to_owned(),
            Some(false) => "off".to_owned(),
            None => format!("not known, pair channel {}", peer.pair_channel),
        };
        lines += &format!("{}: {theirs}\n", peer.name);
    }
    lines
}

#[cfg(test)]
mod tests {
    use common::status::PeerStatus;

    use super::*;

    #[test]
    fn both_nodes_have_a_line() {
        let mut status = Status {
            node: "lb1".to_owned(),
            maintenance: true,
            maintenance_ms_left: Some(61_000),
            ..Status::default()
        };
        assert_eq!(words(&status), "lb1: on, 1m 01s left\n");
        status.maintenance = false;
        status.maintenance_ms_left = None;
        for (theirs, said) in [
            (Some(true), "on"),
            (Some(false), "off"),
            (None, "not known, pair channel silent"),
        ] {
            status.peer = Some(PeerStatus {
                name: "lb2".to_owned(),
                pair_channel: "silent".to_owned(),
                maintenance: theirs,
                ..PeerStatus::default()
            });
            assert_eq!(words(&status), format!("lb1: off\nlb2: {said}\n"));
        }
    }
}
