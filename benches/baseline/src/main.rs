//! `baseline`: fmc-lb beside HAProxy, nginx and Envoy at the same work, in one run, as a table.
//!
//! - [`plan`] says who does what and how much of it, [`step`] in which steps; [`metric`] what is measured.
//! - [`rounds`] lets the subjects take each step in turn.
//! - [`measure`] makes one measurement: it brings up a [`stand`] (namespaces, servers, a [`subject`]), lets a [`load`] work
//!   and asks [`usage`] what it cost.
//! - [`figures`] keeps the values of all rounds; [`record`] makes the table of it, [`bounds`] the verdicts, [`markdown`]
//!   and [`picture`] the files.
//! - [`server`] is the other end, in a process of its own.
//!
//! On the same stand [`storm`] and [`bystander`] show what stays as it is under thousands of short connections and beside
//! clients that behave badly, and [`session_log`] what a session log costs.

mod bounds;
mod bystander;
mod cores;
mod figures;
mod load;
mod markdown;
mod measure;
mod message;
mod metric;
mod picture;
mod plan;
mod record;
mod rounds;
mod server;
mod session_log;
mod stand;
mod step;
mod storm;
mod subject;
mod usage;

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use lab::interrupt::clean_up_on_interrupt;
use lab::{limits, report};

use crate::plan::{Sizes, Subject, Work};
use crate::record::Record;
use crate::rounds::Rounds;
use crate::session_log::Amount;
use crate::storm::Storm;
use crate::subject::Programs;

/// fmc-lb beside HAProxy, nginx and Envoy: the same work, one thread each, in one run. Needs root and two cores.
#[derive(Debug, Parser)]
#[command(
    name = "baseline",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The servers behind the balancer, which a run starts itself
    #[command(hide = true)]
    Server {
        #[arg(long)]
        port: u16,
    },
    /// The bystander's server
    #[command(hide = true)]
    Steady {
        #[arg(long)]
        address: SocketAddrV4,
    },
    /// Short connections at a fixed rate, half of them aborted: does one fail, and what is left?
    Storm {
        /// Connections a second
        #[arg(long, default_value_t = 5_000)]
        rate: u32,
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only these subjects
        #[arg(long, value_delimiter = ',', default_value = "fmc-lb,haproxy")]
        subjects: Vec<Subject>,
        #[command(flatten)]
        files: Files,
    },
    /// Short connections with and without a session log: what does it cost, and is a line lost?
    SessionLog {
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// In each round, with and without a log
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
        #[command(flatten)]
        files: Files,
    },
    /// The latency of a connection through fmc-lb beside clients that behave badly
    Bystander {
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Of each case
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[command(flatten)]
        files: Files,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Rounds; the subjects take turns in each, and each round begins with another one
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this work
    #[arg(long, value_delimiter = ',', value_name = "WORK,…")]
    only: Vec<Work>,
    /// Only these subjects
    #[arg(long, value_delimiter = ',', value_name = "SUBJECT,…")]
    subjects: Vec<Subject>,
    /// Less work in each measurement: for a look, not for figures to keep
    #[arg(long)]
    quick: bool,
    /// Write the result as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the result as a picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

/// The programs under test.
#[derive(Debug, clap::Args)]
struct Files {
    /// The fmc-lb to measure
    #[arg(long, value_name = "FILE", default_value = "target/release/fmc-lb")]
    binary: PathBuf,
    /// HAProxy
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/haproxy")]
    haproxy: PathBuf,
    /// nginx
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
    /// Its stream module
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/lib/nginx/modules/ngx_stream_module.so"
    )]
    nginx_stream: PathBuf,
    /// Envoy [default: none, its column says so]
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
}

#[expect(clippy::print_stderr, reason = "the command's error")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Server { port }) => server::serve(port).map(|()| ExitCode::SUCCESS),
        Some(Command::Steady { address }) => {
            bystander::steady::serve(address).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Storm {
            rate,
            seconds,
            subjects,
            files,
        }) => prove(&files, |programs| {
            let length = Duration::from_secs(seconds);
            storm::run(programs, &subjects, Storm { rate, length })
        }),
        Some(Command::SessionLog {
            rounds,
            connections,
            files,
        }) => prove(&files, |programs| {
            let amount = Amount {
                rounds,
                connections,
            };
            session_log::run(programs, amount)
        }),
        Some(Command::Bystander {
            rounds,
            seconds,
            files,
        }) => prove(&files, |programs| {
            bystander::run(programs, rounds, Duration::from_secs(seconds))
        }),
        None => run(cli.run),
    };
    result.unwrap_or_else(|error| {
        eprintln!("baseline: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(run: Run) -> Result<ExitCode> {
    if run.rounds == 0 {
        bail!("no rounds, no figures: --rounds 1 at least");
    }
    clean_up_on_interrupt()?;
    cores::check()?;
    // Before minutes of work: what cannot be written is known now.
    let (markdown, svg) = (writable(run.markdown)?, writable(run.svg)?);
    let programs = run.files.programs()?;
    let rounds = Rounds {
        programs: &programs,
        sizes: if run.quick { Sizes::QUICK } else { Sizes::FULL },
        rounds: run.rounds,
        works: chosen(&run.only, &Work::ALL),
        subjects: chosen(&run.subjects, &Subject::BALANCERS),
    };
    let turn = limits::measure_alone()?;
    let record = rounds.run()?;
    drop(turn);
    show(&record);
    if let Some(path) = markdown {
        write(&path, &markdown::page(&record))?;
    }
    if let Some(path) = svg {
        write(&path, &picture::svg(&record))?;
    }
    // Figures that something failed in, or that miss a bound, are shown, but no script takes them for
    // good.
    let is_good = record.failures.is_empty() && bounds::are_kept(&record.figures);
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Alone on this machine; fails when a bound was not kept.
fn prove(files: &Files, proof: impl FnOnce(&Programs) -> Result<bool>) -> Result<ExitCode> {
    clean_up_on_interrupt()?;
    cores::check()?;
    let programs = files.programs()?;
    let _turn = limits::measure_alone()?;
    Ok(if proof(&programs)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Files {
    fn programs(&self) -> Result<Programs> {
        Ok(Programs {
            fmc_lb: absolute(&self.binary)?,
            haproxy: absolute(&self.haproxy)?,
            nginx: absolute(&self.nginx)?,
            nginx_stream: absolute(&self.nginx_stream)?,
            envoy: self.envoy.as_deref().map(absolute).transpose()?,
        })
    }
}

/// Those that were asked for, in the usual order; all without a wish.
fn chosen<T: Copy + PartialEq>(wished: &[T], all: &[T]) -> Vec<T> {
    let wanted = |one: &&T| wished.is_empty() || wished.contains(one);
    all.iter().filter(wanted).copied().collect()
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("find {}", path.display()))
}

fn writable(path: Option<PathBuf>) -> Result<Option<PathBuf>> {
    if let Some(path) = &path {
        let opened = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        drop(opened.with_context(|| format!("open {} for writing", path.display()))?);
    }
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[expect(clippy::print_stdout, reason = "this is the command's output")]
fn show(record: &Record) {
    println!("{}", report::table(&record.table()));
    for (outcome, line) in bounds::judge(&record.figures) {
        println!("{:<12}  {line}", outcome.word());
    }
    for (subject, why) in &record.missing {
        println!("{} is not available: {why}", subject.name());
    }
    for failure in &record.failures {
        println!("failed: {failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_chosen_is_left_out_and_the_order_stays() {
        let wished = [Work::Scale, Work::Trip];
        assert_eq!(chosen(&wished, &Work::ALL), [Work::Trip, Work::Scale]);
        assert_eq!(chosen(&[], &Work::ALL), Work::ALL);
    }

    #[test]
    fn the_flags_are_as_the_script_documents_them() {
        let words =
            "baseline --rounds 1 --quick --only connection,trip --subjects fmc-lb,haproxy-splice";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        assert_eq!(cli.run.only, [Work::Connection, Work::Trip]);
        assert_eq!(cli.run.subjects, [Subject::FmcLb, Subject::HaproxySplice]);
        assert!(Cli::try_parse_from(["baseline", "--only", "nothing"]).is_err());
        assert!(Cli::try_parse_from(["baseline", "server", "--port", "1"]).is_ok());
    }
}
