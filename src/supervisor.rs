//! `fmc-lb run`: the supervisor.
//!
//! It reads the configuration file once, binds the listening sockets, sets the shadows, makes the
//! boards, starts the children and watches over them: a dead one is replaced at once, a hung one is
//! killed first. When vrrp dies it resigns for it. It parses nothing that came from the network and
//! moves no VIP by itself.
//!
//! - `lifecycle` decides (pure), `watch` is the loop around it, `events` what wakes it.
//! - `kit` is what the children are given, `sockets` binds, `process` starts one, `adopt` finds
//!   those of a supervisor that died.
//! - `reader` reads the configuration file, `watch/reload` goes through with a reload.
//! - `watcher` looks at files that may change, `files` passes their new contents on.
//! - `forwarding` owns the TC program: where it hangs, and what it has counted.
//! - `upgrade` decides how a new version takes the old one's place (pure), `prover` has it prove itself first,
//!   `installed` is its file, `fallback` the way back once it was executed.
//! - `rescue` has the clients of a dead machine told.
//! - `presence` sees to it that a node runs once.
//! - `folder`, `shadows`, `notify`: the runtime folder, the shadows, systemd.

mod adopt;
mod events;
mod fallback;
mod files;
mod folder;
mod forwarding;
mod installed;
mod judge;
mod kit;
mod lifecycle;
mod notify;
mod presence;
mod process;
mod prover;
mod reader;
mod rescue;
mod shadows;
mod sockets;
mod tcp_options;
mod upgrade;
mod watch;
mod watcher;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use common::board::{Child, UpgradeStage};
use common::config::{Config, NodeIndex};
use nix::sys::signal::SigSet;
use vrrp::release::Will;

pub(crate) use self::folder::{Folder, Seat};
pub(crate) use self::forwarding::detach_all;
pub(crate) use self::judge::judge;
pub(crate) use self::presence::Presence;
pub(crate) use self::shadows::{read_settings, remove as remove_shadows};

use self::adopt::Survivor;
use self::events::Events;
use self::fallback::Trial;
use self::files::Files;
use self::forwarding::Forwarding;
use self::kit::{Kit, Place};
use self::reader::{Reader, Source};
use self::rescue::Rescue;
use self::watch::{Loop, Reload, Watch};
use crate::check::{self, LoadError, Purpose};
use crate::control::Given;
use crate::{cli, logging, output, rights};

/// Below vrrp's, above every normal process: a busy machine must not delay a last will.
const FIFO_PRIORITY: i32 = 5;
/// The supervisor holds one socket for each bind and relay thread, and the kernel limits those in
/// flight to a child.
const DESCRIPTORS: u64 = 65_536;

pub(crate) fn run(args: &cli::Run) -> anyhow::Result<ExitCode> {
    // Before logging starts a thread.
    let signals = events::block_signals().context("block signals")?;
    let _log = logging::start();
    Trial::begin().run(|trial| supervise(args, &signals, trial))
}

/// The trial is told when the children are this supervisor's.
fn supervise(args: &cli::Run, signals: &SigSet, trial: &mut Trial) -> anyhow::Result<ExitCode> {
    rights::limit_descriptors(DESCRIPTORS).context("set the limit of descriptors")?;
    let folder = Folder::new(&args.runtime.runtime_dir);
    let _claim = folder.claim()?;
    let mut retired = adopt::retired(&folder)?;
    let mut survivors = adopt::survivors(&folder)?;
    let Some(running) = Running::find(args, &survivors)? else {
        return Ok(ExitCode::from(2));
    };
    let place = running.place(&folder);
    require_rights(&place.config)?;
    let address = place.config.nodes[place.node.0].address;
    let mut living: Vec<&mut Survivor> = survivors.iter_mut().chain(&mut retired).collect();
    let presence = Presence::inherit_or_take(&mut living, address)?;
    let name = presence.handle().context("keep the node's name")?;
    let (processes, inheritance) = survivors
        .into_iter()
        .map(|survivor| (survivor.process, survivor.inheritance))
        .unzip();
    let mut kit = Kit::new(&place, inheritance, name)?;
    let will = prepare_will(&place, &kit)?;
    kit.warnings
        .extend(shadows::install(&place.config, &folder)?);
    let boards = kit.boards().context("map the boards")?;
    let is_upgrade = boards.supervisor.upgrade.stage() == UpgradeStage::Supervisor;
    let forwarding = Forwarding::start(&place, &mut kit, is_upgrade);
    for warning in &kit.warnings {
        tracing::warn!("{warning}");
    }
    let retired = retired.into_iter().filter_map(|survivor| {
        let Survivor {
            process,
            inheritance,
        } = survivor;
        let place = kit.adopt_retired(inheritance, (process.pid, boards.supervisor))?;
        Some((process, place))
    });
    let retired: Vec<_> = retired.collect();
    let places: Vec<usize> = retired.iter().map(|(_, place)| *place).collect();
    boards.supervisor.keep_retired(&places);
    let files =
        Files::start(&place.config, &kit, boards.supervisor).context("watch changing files")?;
    let source = Source {
        path: args.config.clone(),
        node: place.config.nodes[place.node.0].name.clone(),
    };
    let text = Arc::clone(&place.text);
    let reader = Reader::start(source, text, &boards.supervisor.reload)
        .context("start to look at the configuration file")?;
    let rescue =
        Rescue::new(&place.config, &kit).context("prepare for the loss of the other node")?;
    if let Err(error) = vrrp::schedule_fifo(FIFO_PRIORITY) {
        tracing::warn!(%error, "no real-time priority for the supervisor");
    }
    let watch = Watch {
        place,
        boards,
        tasks: kit.tasks().context("keep the socket for tasks")?,
        reload: Reload::new(reader),
        kit,
        files,
        forwarding,
        rescue,
        will,
        events: Events::new(signals, lifecycle::LOOK_INTERVAL).context("prepare to wait")?,
    };
    let supervisor = Loop::new(watch, processes, (&running.others, retired))?;
    trial.has_taken_over();
    let mut forwarding = supervisor.run()?;
    // Nobody listens any more. While the addresses are here the kernel would refuse what the TC program lets through, so
    // that goes last.
    let removed = shadows::remove(Some(&running.config), &folder);
    forwarding.remove();
    removed?;
    folder.clear();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The configuration that this node runs by.
struct Running {
    text: Arc<str>,
    config: Arc<Config>,
    node: NodeIndex,
    /// Survivors that run by another one: a supervisor has died within a reload.
    others: Vec<Child>,
}

impl Running {
    /// The file's, or that of the survivors if there are any; then the file only matters at the
    /// next start. `None` = the file is not valid, and the user was told.
    fn find(args: &cli::Run, survivors: &[Survivor]) -> anyhow::Result<Option<Self>> {
        // The one whose end would cost most.
        let is_proxy = |one: &&Survivor| one.inheritance.child == Child::Proxy;
        let Some(survivor) = survivors.iter().find(is_proxy).or(survivors.first()) else {
            let on_disk = check::load_for_node(&args.config, args.node.as_deref(), Purpose::Start);
            return Ok(Self::of_file(on_disk));
        };
        let given = Given::read(&survivor.inheritance.handles, None)
            .context("read the running configuration")?;
        let Given { text, config, .. } = given;
        let name = &survivor.inheritance.setup.node;
        let node = config
            .nodes
            .iter()
            .position(|node| node.name == *name)
            .map(NodeIndex)
            .with_context(|| format!("the running configuration has no node {name}"))?;
        let runs_by_another = |one: &&Survivor| {
            let theirs = Given::read(&one.inheritance.handles, None);
            theirs.is_ok_and(|theirs| theirs.text != text)
        };
        let others = survivors.iter().filter(runs_by_another);
        Ok(Some(Self {
            others: others.map(|one| one.inheritance.child).collect(),
            text: text.into(),
            config: Arc::new(config),
            node,
        }))
    }

    fn of_file(on_disk: Result<(check::Loaded, NodeIndex), LoadError>) -> Option<Self> {
        match on_disk {
            Ok((loaded, node)) => {
                for finding in loaded.warnings.diagnostics() {
                    tracing::warn!(remedy = finding.help, "configuration: {}", finding.message);
                }
                Some(Self {
                    text: loaded.text.into(),
                    config: Arc::new(loaded.config),
                    node,
                    others: Vec::new(),
                })
            }
            Err(error) => {
                output::complain(&error.render());
                None
            }
        }
    }

    fn place<'a>(&'a self, folder: &'a Folder) -> Place<'a> {
        Place {
            config: Arc::clone(&self.config),
            text: Arc::clone(&self.text),
            node: self.node,
            folder,
        }
    }
}

fn require_rights(config: &Config) -> anyhow::Result<()> {
    let missing = rights::missing(config);
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "this configuration cannot run without {}; start it as root, or by systemd with configs/systemd/fmc-lb.service",
        missing.join(", ")
    )
}

fn prepare_will(place: &Place<'_>, kit: &Kit) -> anyhow::Result<Option<Will>> {
    if place.config.live_vips().next().is_none() {
        return Ok(None);
    }
    let key = kit.pair_key(&place.config)?;
    Will::prepare(&place.config, place.node, key.as_deref())
        .map(Some)
        .context("prepare to resign for vrrp")
}
