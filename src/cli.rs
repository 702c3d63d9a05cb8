//! The command line.

mod moves;
mod runtime;
mod task;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::moves::{Handover, Maintenance};
pub(crate) use self::runtime::{KillSessions, Listener, Server, Sessions, Time, Which};
pub(crate) use self::task::{Apply, Reload, Stop, Upgrade};

/// Where a node keeps its sockets and what outlives a process.
const RUNTIME_DIR: &str = "/run/fmc-lb";

/// What is read from the environment.
const ENVIRONMENT: &str = "Environment:
  FMC_LB_LOG  What `run` logs, in tracing's filter syntax: \"debug\", \"vrrp=trace,info\" [default: info]";

/// A load balancer for K3s clusters: virtual IPs by VRRP, TCP relay, one binary on two machines.
#[derive(Debug, Parser)]
#[command(name = "fmc-lb", version, max_term_width = 100, after_help = ENVIRONMENT)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run this node in the foreground until SIGTERM
    #[command(after_help = ENVIRONMENT)]
    Run(Run),
    /// Check a configuration file: exit 0 good, 1 warnings with --strict, 2 invalid
    Check(Check),
    /// Print the JSON Schema of the configuration file, for editors, or its documentation
    Schema(Schema),
    /// Print a new key for the pair channel: `fmc-lb keygen > pair.key`
    Keygen,
    /// Show what a running node does
    Status(Status),
    /// Drain a server, take it into or out of maintenance, change its weight or address, add or remove one (root only)
    #[command(subcommand)]
    Server(Server),
    /// Pause a listener or let it go on (root only)
    #[command(subcommand)]
    Listener(Listener),
    /// List the sessions, the 1,000 oldest first, or end some (root only)
    Sessions(Sessions),
    /// Give this node's VIPs to the other node, which keeps them; no connection is refused (root only)
    Handover(Handover),
    /// Give this node's VIPs away and take none while the other node can hold them (root only)
    #[command(subcommand)]
    Maintenance(Maintenance),
    /// Take over what the configuration file says now, all of it or nothing (root only); exit 2 = the file is invalid
    Reload(Reload),
    /// Reload; with --pair both nodes, if the files of both are valid and say the same (root only)
    Apply(Apply),
    /// Put the version that is installed now in the running one's place; no connection breaks, no VIP moves (root only)
    Upgrade(Upgrade),
    /// Stop this node: its VIPs move, its sessions have time to end; returns when it has stopped (root only)
    Stop(Stop),
    /// Look at this machine: what is wrong, what may be, what to do. Changes nothing; exit 0 good, 1 bad, 2 invalid file
    Doctor(Doctor),
    /// Take away what a node that no longer runs has left: leases, shadows, interfaces, changed kernel settings
    Release(Release),
    /// One of the processes that `run` starts
    #[command(hide = true)]
    Child(Child),
    /// Tells the clients of a lost machine; `run` starts it
    #[command(hide = true)]
    Rescue(Rescue),
    /// Try all that an upgrade needs, for the `run` that starts this
    #[command(hide = true)]
    Prove(Prove),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The configuration file, the same on both nodes
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Which node of the file this is [default: found by host name or by its own addresses]
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RuntimeDir {
    /// The node's runtime folder
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Warnings count as errors (exit 1)
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the effective configuration with every default
    #[arg(long)]
    pub(crate) show: bool,
    /// Check as this node would at its start: its files must be there
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// Print every key with type, default, meaning and examples, as Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Ask again each second until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Which node of the file this is [default: found by host name or by its own addresses]
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Which node of the file this is
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Child {
    #[arg(value_enum)]
    pub(crate) kind: ChildKind,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rescue {
    /// A VIP of the node, in the order of the configuration
    #[arg(long = "vip", value_name = "ADDRESS")]
    pub(crate) vips: Vec<IpAddr>,
    /// Bit n: the VIP with index n is held, and its clients are to be told
    #[arg(long, value_name = "BITS")]
    pub(crate) held: u16,
    /// Who the process becomes
    #[arg(long, value_name = "UID")]
    pub(crate) uid: Option<u32>,
    #[arg(long, value_name = "GID", requires = "uid")]
    pub(crate) gid: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Prove {
    /// The command line of the supervisor
    #[arg(last = true)]
    pub(crate) line: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ChildKind {
    Vrrp,
    Proxy,
    Admin,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_names_what_is_read_from_the_environment() {
        let mut cli = Cli::command();
        let whole = cli.render_help().to_string();
        let run = cli.find_subcommand_mut("run").expect("a command");
        let run = run.render_long_help().to_string();
        assert!(
            whole.contains("FMC_LB_LOG") && run.contains("FMC_LB_LOG"),
            "{whole}{run}"
        );
    }

    #[test]
    fn the_readme_names_the_compiler_that_the_manifest_demands() {
        let manifest = include_str!("../Cargo.toml");
        let (_, after) = manifest
            .split_once("rust-version = \"")
            .expect("it names one");
        let version = after.split('"').next().expect("a text");
        let needed = format!("Rust {version} or later");
        assert!(include_str!("../README.md").contains(&needed), "{needed}");
    }
}
