//! The commands that the supervisor follows.

use std::time::Duration;

use clap::Args;

use super::RuntimeDir;
use super::runtime::time;

/// As `[proxy] drain`.
const LONGEST_DRAIN: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// Only check the file that the node was started with, and show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Upgrade first where another version is installed; the file is loaded however that ends
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) upgrade: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// On both nodes, if their files say the same; else on this one, as `reload` does
    #[arg(long)]
    pub(crate) pair: bool,
    /// Only check, and show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// Do nothing where what runs is what is installed
    #[arg(long)]
    pub(crate) if_replaced: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// How long sessions may go on before they are reset, as 10m or 0s [default: [proxy] drain of the configuration]
    #[arg(long, value_name = "TIME", value_parser = drain)]
    pub(crate) drain: Option<Duration>,
    /// Return when the stop has begun
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeDir,
}

fn drain(text: &str) -> Result<Duration, String> {
    if text == "0s" {
        return Ok(Duration::ZERO);
    }
    time(text)
        .ok()
        .filter(|drain| *drain <= LONGEST_DRAIN)
        .ok_or_else(|| "write a whole number and its unit, s, m, h or d, at most 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[test]
    fn a_stop_may_say_its_drain() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
        for good in [
            "fmc-lb stop",
            "fmc-lb stop --drain 10m --no-wait --runtime-dir /x",
            "fmc-lb stop --drain 0s",
            "fmc-lb stop --drain 7d",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for wrong in ["stop 10m", "stop --drain 10", "stop --drain 8d"] {
            assert!(parse(&format!("fmc-lb {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reload_names_no_file() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
        for good in ["fmc-lb reload", "fmc-lb reload --dry-run --runtime-dir /x"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        assert!(parse("fmc-lb reload --upgrade --runtime-dir /x").is_ok());
        assert!(parse("fmc-lb reload --upgrade --dry-run").is_err());
        assert!(parse("fmc-lb apply --pair --dry-run --runtime-dir /x").is_ok());
        assert!(parse("fmc-lb apply lb2").is_err());
        // Nobody chooses what root executes: it is what is installed.
        assert!(parse("fmc-lb upgrade --if-replaced --runtime-dir /x").is_ok());
        assert!(parse("fmc-lb upgrade /tmp/fmc-lb").is_err());
        assert!(parse("fmc-lb reload /etc/fmc-lb/fmc-lb.toml").is_err());
    }
}
