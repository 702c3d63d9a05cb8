//! The commands that tell a running node something.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use common::command::ServerName;
use common::config::MAX_WEIGHT;

use super::RuntimeDir;

/// Longer than that is not "for a while".
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);
/// What `weight` takes for the weight of the configuration.
const CONFIGURED: &str = "configured";

#[derive(Debug, Subcommand)]
pub(crate) enum Server {
    /// No new session; old ones go on, and so do the probes
    Drain(OneServer),
    /// No new session and no probe; old sessions go on (`sessions kill --server` ends them)
    Maintenance(OneServer),
    /// Take drain or maintenance back: the server is what its probes say
    Ready(ReadyServer),
    /// Give it another share of the new sessions
    Weight(WeightOfServer),
    /// Add a server to a backend, until it is removed or its time is over
    Add(AddServer),
    /// Give it another address: its health is not known then, and sessions go on at the old one
    Address(AddressOfServer),
    /// Take it out of its backend: it must be in maintenance and have no sessions
    Remove(RemoveServer),
}

#[derive(Debug, Args)]
pub(crate) struct OneServer {
    /// The server, as the configuration names it: k3s-api/10.17.4.21:6443
    #[arg(value_name = "BACKEND/SERVER")]
    pub(crate) server: ServerName,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct ReadyServer {
    /// The server, as the configuration names it: k3s-api/10.17.4.21:6443
    #[arg(value_name = "BACKEND/SERVER")]
    pub(crate) server: ServerName,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct WeightOfServer {
    /// The server, as the configuration names it: k3s-api/10.17.4.21:6443
    #[arg(value_name = "BACKEND/SERVER")]
    pub(crate) server: ServerName,
    /// 0 (no new sessions) to 256, or "configured": the configuration's again
    #[arg(value_name = "WEIGHT", value_parser = weight)]
    pub(crate) weight: Weight,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct AddServer {
    /// Backend and address of the new server: k3s-api/10.17.4.24:6443
    #[arg(value_name = "BACKEND/ADDRESS:PORT")]
    pub(crate) server: ServerName,
    /// Its share of the new sessions, 0 to 256 [default: 1]
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(0..=MAX_WEIGHT as i64))]
    pub(crate) weight: Option<u16>,
    /// It serves only while no other server can
    #[arg(long)]
    pub(crate) backup: bool,
    /// Most sessions at the same time [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_sessions: Option<u32>,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct AddressOfServer {
    /// The server, as status names it: k3s-api/10.17.4.21:6443
    #[arg(value_name = "BACKEND/SERVER")]
    pub(crate) server: ServerName,
    /// Where it is from now on; the configured address takes it back
    #[arg(value_name = "ADDRESS:PORT")]
    pub(crate) address: SocketAddr,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveServer {
    /// The server, as status names it: k3s-api/10.17.4.24:6443
    #[arg(value_name = "BACKEND/SERVER")]
    pub(crate) server: ServerName,
    /// Whatever its state: no new session, and it leaves when its last one has ended
    #[arg(long, conflicts_with = "force")]
    pub(crate) drain: bool,
    /// Whatever its state: its sessions are ended, both sides get an RST
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

/// A weight as it is said; `None` = the configuration's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight(pub(crate) Option<u16>);

#[derive(Debug, Args)]
pub(crate) struct Time {
    /// Ends by itself after so long: 90s, 10m, 1h, 2d [default: never]
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub(crate) time: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Listener {
    /// Accept no more: new connections wait in the kernel's queue, sessions go on
    Pause(PauseListener),
    /// Accept again
    Resume(ResumeListener),
}

#[derive(Debug, Args)]
pub(crate) struct PauseListener {
    /// The listener, as the configuration names it
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeListener {
    /// The listener, as the configuration names it
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Sessions {
    #[command(subcommand)]
    pub(crate) kill: Option<KillSessions>,
    /// Only those of this listener
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// Only those to this server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) server: Option<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KillSessions {
    /// End a session, or all of a server or a listener: both sides get an RST
    Kill(Kill),
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The session, as `fmc-lb sessions` names it
    pub(crate) id: Option<String>,
    /// All sessions to this server
    #[arg(long, value_name = "BACKEND/ADDRESS:PORT")]
    pub(crate) server: Option<ServerName>,
    /// All sessions of this listener
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
}

fn weight(text: &str) -> Result<Weight, String> {
    if text == CONFIGURED {
        return Ok(Weight(None));
    }
    let number = text.parse::<u16>().ok();
    number
        .filter(|weight| u64::from(*weight) <= MAX_WEIGHT)
        .map(|weight| Weight(Some(weight)))
        .ok_or_else(|| format!("write 0 to {MAX_WEIGHT}, or \"{CONFIGURED}\""))
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(unit);
    seconds
        .and_then(|(number, unit)| number.checked_mul(unit))
        .map(Duration::from_secs)
        .filter(|time| !time.is_zero() && *time <= LONGEST)
        .ok_or_else(|| "write a whole number and its unit, s, m, h or d, at most 366d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_time_is_a_whole_number_with_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("1h"), time("60m"));
        assert_eq!(time("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in [
            "",
            "1",
            "h",
            "0s",
            "1.5h",
            "-1h",
            "367d",
            "99999999999999999999d",
        ] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_weight_is_a_number_or_that_of_the_configuration() {
        assert_eq!(weight("0"), Ok(Weight(Some(0))));
        assert_eq!(weight("256"), Ok(Weight(Some(256))));
        assert_eq!(weight("configured"), Ok(Weight(None)));
        for wrong in ["", "257", "-1", "default"] {
            assert!(weight(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_kill_names_one_thing() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
        for good in [
            "fmc-lb sessions",
            "fmc-lb sessions --json --listener api --server 10.0.0.1:1",
            "fmc-lb sessions kill 1f",
            "fmc-lb sessions kill --server a/10.0.0.1:1 --runtime-dir /x",
            "fmc-lb server drain a/10.0.0.1:1 --for 1h",
            "fmc-lb server weight a/10.0.0.1:1 9",
            "fmc-lb server add a/10.0.0.1:1 --weight 0 --backup --max-sessions 9 --for 1h",
            "fmc-lb server address a/10.0.0.1:1 10.0.0.2:1",
            "fmc-lb server remove a/10.0.0.1:1 --drain",
            "fmc-lb listener pause api --for 10m",
        ] {
            let parsed = parse(good);
            assert!(parsed.is_ok(), "{good}: {:?}", parsed.err());
        }
        for wrong in [
            "fmc-lb sessions kill",
            "fmc-lb sessions kill 1f --listener api",
            "fmc-lb server drain 10.0.0.1:1",
            "fmc-lb server ready a/10.0.0.1:1 --for 1h",
            "fmc-lb server add a/10.0.0.1:1 --weight 257",
            "fmc-lb server add a/10.0.0.1:1 --max-sessions 0",
            "fmc-lb server address a/10.0.0.1:1",
            "fmc-lb server remove a/10.0.0.1:1 --drain --force",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
