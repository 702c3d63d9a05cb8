//! The commands that move VIPs.

use clap::{Args, Subcommand};

use super::RuntimeDir;
use super::runtime::Time;

#[derive(Debug, Args)]
pub(crate) struct Handover {
    /// Only this VIP, and those that move together with it; may be given several times [default: all that this node
    /// holds]
    #[arg(long = "vip", value_name = "NAME")]
    pub(crate) vips: Vec<String>,
    /// Also where the other node knows its servers or trackers not yet, or is worse off than this one
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Maintenance {
    /// The other node takes this one's VIPs over, and this one takes none as long as the other one can hold them
    On(MaintenanceOn),
    /// The node takes part again
    Off(MaintenanceOf),
    /// Which node is on maintenance, and for how long
    Status(MaintenanceOf),
}

#[derive(Debug, Args)]
pub(crate) struct MaintenanceOn {
    #[command(flatten)]
    pub(crate) time: Time,
    /// Also where the other node cannot take the VIPs now: it gets them when it can
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct MaintenanceOf {
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[test]
    fn a_move_names_vips_and_a_time_where_there_is_one() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
        for good in [
            "fmc-lb handover",
            "fmc-lb handover --vip api --vip web --force --runtime-dir /x",
            "fmc-lb maintenance on",
            "fmc-lb maintenance on --for 1h --force",
            "fmc-lb maintenance off --runtime-dir /x",
            "fmc-lb maintenance status",
        ] {
            let parsed = parse(good);
            assert!(parsed.is_ok(), "{good}: {:?}", parsed.err());
        }
        for wrong in [
            "fmc-lb handover api",
            "fmc-lb maintenance",
            "fmc-lb maintenance on --for 1",
            "fmc-lb maintenance off --for 1h",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
