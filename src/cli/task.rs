//! The commands that the supervisor follows.

use clap::Args;

use super::RuntimeDir;

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

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
