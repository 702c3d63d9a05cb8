//! `lab`: the reference topology by hand, and measured rounds as a table.

mod comparison;
mod demo;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use lab::backend::Service;
use lab::balancer::{Balancer, Settings};
use lab::baseline::HaproxyKeepalived;
use lab::cluster::Cluster;
use lab::fmclb::{FmcLb, reference_config};
use lab::interrupt::clean_up_on_interrupt;
use lab::{Lab, Node, namespace};
use nix::sys::signal::{SigSet, Signal};

use crate::comparison::{Comparison, Detection};

/// The binary that a build leaves.
const BINARY: &str = "target/release/fmc-lb";

/// The network-namespace lab: the reference topology on one machine. Needs root.
#[derive(Debug, Parser)]
#[command(name = "lab", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the topology up with its backends and a pair, until Ctrl-C
    Up {
        /// The fmc-lb to start on both load balancers
        #[arg(long, value_name = "FILE", default_value = BINARY)]
        binary: PathBuf,
        /// Its configuration [default: the reference topology, 100 ms adverts]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Start HAProxy + Keepalived instead
        #[arg(long)]
        baseline: bool,
        /// Start no balancer
        #[arg(long, conflicts_with = "baseline")]
        bare: bool,
    },
    /// Measure outages: machine-lost, kill-all, kill-supervisor, kill-vrrp, kill-proxy, kill-admin, clean-stop
    Scenario {
        /// Which one; `all`, or `one`: whatever ends one process or stops the node in order
        name: String,
        /// Rounds per pair; round K strikes K tenths of an interval after an advert
        #[arg(long, default_value_t = 10)]
        rounds: u32,
        /// Advert interval: 1s, 100ms or 10ms
        #[arg(long, default_value = "100ms", value_parser = interval)]
        advert: Duration,
        /// The fmc-lb to measure
        #[arg(long, value_name = "FILE", default_value = BINARY)]
        binary: PathBuf,
        /// Run the baseline in between, round by round
        #[arg(long)]
        both: bool,
        /// Run the baseline only
        #[arg(long, conflicts_with = "both")]
        baseline: bool,
        /// Sessions held meanwhile
        #[arg(long, default_value_t = 50)]
        held: usize,
        /// Without a key: plain VRRP decides, nothing is signed and nothing forwarded
        #[arg(long)]
        without_key: bool,
        /// Through the web VIP of IPv6
        #[arg(long, conflicts_with_all = ["both", "baseline"])]
        ipv6: bool,
        /// Fail when a bound that fmc-lb promises is not kept
        #[arg(long)]
        judge: bool,
    },
    /// Tell a story in a minute: look at the pair, ask it, kill, lose and return, each outage measured
    Demo {
        /// The fmc-lb to run
        #[arg(long, value_name = "FILE", default_value = BINARY)]
        binary: PathBuf,
        /// Its configuration
        #[arg(
            long,
            value_name = "FILE",
            default_value = "configs/flatcarmicrocloud.toml"
        )]
        config: PathBuf,
    },
    /// Remove what killed runs have left
    Sweep,
}

#[expect(clippy::print_stderr, reason = "the command's error")]
fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Up {
            binary,
            config,
            baseline,
            bare,
        } => {
            let pair = match (bare, baseline) {
                (true, _) => Pair::None,
                (_, true) => Pair::Baseline,
                _ => Pair::Ours { binary, config },
            };
            up(&pair)
        }
        Command::Scenario {
            name,
            rounds,
            advert,
            binary,
            both,
            baseline,
            held,
            without_key,
            ipv6,
            judge,
        } => {
            let ours = (!baseline).then_some(binary);
            let comparison = Comparison {
                rounds,
                advert,
                ours,
                base: both || baseline,
                held,
                detection: match without_key {
                    true => Detection::Adverts,
                    false => Detection::Shipped,
                },
                ipv6,
                judge,
            };
            clean_up_on_interrupt()?;
            comparison.run(&name)
        }
        Command::Demo { binary, config } => {
            clean_up_on_interrupt()?;
            demo::tell(&binary, &config)
        }
        Command::Sweep => {
            let swept = namespace::sweep()?;
            say(&format!("{} namespaces removed", swept.len()));
            Ok(())
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is the command's output")]
fn say(text: &str) {
    println!("{text}");
}

fn interval(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let number: u64 = text
        .trim_end_matches(unit)
        .parse()
        .map_err(|_| format!("`{text}` is no interval; write 1s or 100ms"))?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "ms" if number.is_multiple_of(10) => Ok(Duration::from_millis(number)),
        _ => Err(format!(
            "`{text}` is no interval in whole centiseconds; write 1s or 100ms"
        )),
    }
}

enum Pair {
    None,
    Baseline,
    Ours {
        binary: PathBuf,
        config: Option<PathBuf>,
    },
}

fn up(pair: &Pair) -> Result<()> {
    // Blocked before any thread is made, so that every one inherits it and only `wait` takes them.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("block SIGINT and SIGTERM")?;
    let lab = Lab::start()?;
    let _cluster = Cluster::start(&lab, Service::Http)?;
    let settings = Settings::ours(Duration::from_millis(100));
    let mut balancer: Option<Box<dyn Balancer>> = match pair {
        Pair::None => None,
        Pair::Baseline => {
            let settings = Settings::site(settings.advert);
            Some(Box::new(HaproxyKeepalived::new(&lab, &settings)?))
        }
        Pair::Ours { binary, config } => {
            let text = match config {
                Some(path) => std::fs::read_to_string(path)
                    .with_context(|| format!("read {}", path.display()))?,
                None => reference_config(&settings),
            };
            Some(Box::new(FmcLb::new(&lab, binary, &text)?))
        }
    };
    if let Some(balancer) = &mut balancer {
        Node::LBS
            .into_iter()
            .try_for_each(|node| balancer.start(node))?;
    }
    describe(&lab, pair);
    signals.wait().context("wait for Ctrl-C")?;
    Ok(())
}

fn describe(lab: &Lab, pair: &Pair) {
    for node in Node::ALL {
        let name = lab.node(node).name();
        let address = if node.is_switch() {
            "switch".to_owned()
        } else {
            node.address().to_string()
        };
        say(&format!(
            "{node:<8} {address:<14} ip netns exec {name} bash"
        ));
    }
    say(&format!("files and logs: {}", lab.folder().display()));
    let (client, switch) = (
        lab.node(Node::Client).name(),
        lab.node(Node::LanSwitch).name(),
    );
    if let Pair::Ours { binary, .. } = pair {
        let folder = lab.folder().join("lb1-run");
        say(&format!(
            "status:   {} status --runtime-dir {}",
            binary.display(),
            folder.display()
        ));
    }
    say(&format!(
        "ask:      ip netns exec {client} curl http://192.168.0.14/"
    ));
    say(&format!("lose lb1: ip -n {switch} link set lb1 down"));
    say("Ctrl-C removes everything.");
}
