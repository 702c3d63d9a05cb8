//! The admin process: answers who asks this node.
//!
//! It reads the boards and asks nobody for a status, so it answers while any other process hangs; only commands go to the
//! proxy and tasks to the supervisor, which are waited for no longer than [`crate::commands::Partner::limit`], and orders to
//! vrrp, by the boards. It holds nothing that a restart would lose
//! (rates come from the samples of the last seconds). One thread, one runtime.

mod adverts;
mod agents;
mod answers;
mod apply;
pub(crate) mod clock;
mod drain;
mod elders;
mod expiry;
mod external;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod forwarding;
mod http;
mod macs;
mod metrics;
mod moves;
mod names;
mod pause;
mod peer;
mod peer_link;
mod processes;
mod proxies;
pub(crate) mod rates;
mod ready;
mod reload;
mod remaining;
mod rescue;
mod routes;
mod session_log;
mod snapshot;
mod socket;
mod stalls;
mod succession;
mod tls;
mod trackers;
mod view;
mod warnings;
pub(crate) mod wire;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use common::board::{AdminBoard, LAYOUT, ProxyBoard, SupervisorBoard, VrrpBoard};
use common::config::{Config, NodeIndex};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::commands::Asker;

use self::answers::Answers;
use self::clock::Clocks;
pub(crate) use self::elders::Elders;
pub(crate) use self::peer_link::Inputs as PeerInputs;
use self::peer_link::PeerLink;
pub(crate) use self::proxies::Proxies;
use self::proxies::Retired;
use self::remaining::{Exchange, Own};
use self::stalls::CpuTimes;
use self::view::View;

/// How often the loop writes its heartbeat.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How often the listeners' counters are sampled for the rates.
const SAMPLE: Duration = Duration::from_secs(1);

/// What the process needs; everything was opened by the supervisor.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) config: Arc<Config>,
    pub(crate) node: NodeIndex,
    /// Hash of the configuration's bytes, as vrrp says it to the other node.
    pub(crate) config_hash: u64,
    pub(crate) boards: Boards,
    /// The proxy whose board is among them, and those that have retired.
    pub(crate) proxies: Proxies,
    /// The admin socket, listening.
    pub(crate) socket: UnixListener,
    /// Where the proxy takes commands; `None` = the supervisor that started this process knew of none.
    pub(crate) proxy: Option<Asker>,
    /// Where those take commands that have retired.
    pub(crate) elders: Elders,
    /// Where the supervisor takes tasks; `None` = likewise.
    pub(crate) supervisor: Option<Arc<Asker>>,
    /// TCP sockets of the HTTP server, listening; none = no HTTP.
    pub(crate) http: Vec<OwnedFd>,
    /// How the other node's admin is spoken with; `None` = it is not.
    pub(crate) peer: Option<PeerInputs>,
}

/// The boards of a node; admin writes its own and reads the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boards {
    pub(crate) supervisor: &'static SupervisorBoard,
    pub(crate) vrrp: &'static VrrpBoard,
    pub(crate) proxy: &'static ProxyBoard,
    pub(crate) admin: &'static AdminBoard,
    /// Proxies that have retired.
    pub(crate) retired: &'static [Retired],
}

/// How another thread of the process tells the loop to end.
#[derive(Debug)]
pub(crate) struct Control {
    stop: Notify,
    /// What everything is answered from, once it is there.
    answers: OnceLock<Arc<Answers>>,
    /// Who runs programs that are probes hears of another configuration here.
    programs: watch::Sender<Option<Arc<Config>>>,
    /// Who looks at trackers and who speaks with the other node's admin, likewise, with the key of the admins.
    others: watch::Sender<Option<(Arc<Config>, Option<String>)>>,
}

impl Control {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            stop: Notify::new(),
            answers: OnceLock::new(),
            programs: watch::Sender::new(None),
            others: watch::Sender::new(None),
        })
    }

    /// The node runs by this configuration from now on: for every question and every program that is run
    /// after this.
    ///
    /// # Errors
    /// In words: the process is still starting.
    pub(crate) fn go_over(
        &self,
        (config, hash, key): (Arc<Config>, u64, Option<String>),
    ) -> Result<(), &'static str> {
        let answers = self.answers.get().ok_or("it is still starting")?;
        answers.go_over(Arc::clone(&config), hash);
        self.programs.send_replace(Some(Arc::clone(&config)));
        self.others.send_replace(Some((config, key)));
        Ok(())
    }

    /// Makes [`run`] return, also when it has not begun yet.
    pub(crate) fn request_stop(&self) {
        self.stop.notify_one();
    }
}

/// Serves until a stop is requested.
///
/// # Errors
/// The runtime cannot start, or a passed descriptor is no listening socket.
pub(crate) fn run(inputs: Inputs, control: Arc<Control>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the admin runtime")?;
    runtime.block_on(serve(inputs, control))
}

async fn serve(inputs: Inputs, control: Arc<Control>) -> anyhow::Result<()> {
    let header = &inputs.boards.admin.header;
    header.layout.store(LAYOUT, Ordering::Release);
    header.pid.store(std::process::id(), Ordering::Release);
    header.started.set(clock::now());
    let node = inputs.config.nodes[inputs.node.0].name.clone();
    let boards = (inputs.boards.proxy, inputs.boards.admin);
    let mut watching = trackers::start(&inputs.config, &node, inputs.boards.admin)
        .context("prepare for trackers")?;
    let programs = external::Programs::new((&inputs.config, node), boards);
    tokio::spawn(programs.serve(control.programs.subscribe()));
    let left: &'static Exchange = Box::leak(Box::default());
    let slots = (&inputs.boards.admin.link, left);
    let start = |peer| PeerLink::start(peer, (&inputs.config, inputs.node), slots);
    let link = inputs.peer.map(start).transpose();
    let link = link.context("prepare to speak with the other node's admin")?;
    let (mut link, peer) = link.unzip();
    let mut others = control.others.subscribe();
    let view = View {
        config: inputs.config,
        node: inputs.node,
        config_hash: inputs.config_hash,
        boards: Boards {
            proxy: inputs.proxies.board(),
            ..inputs.boards
        },
        left,
    };
    let answers = Answers::new(view, Clocks::read()).adding_up(inputs.proxies);
    let answers = Arc::new(answers);
    let _first = control.answers.set(Arc::clone(&answers));
    let admin_socket = socket::listener(inputs.socket).context("take over the admin socket")?;
    let office = socket::Office {
        answers: Arc::clone(&answers),
        proxy: inputs.proxy,
        elders: inputs.elders,
        supervisor: inputs.supervisor,
        orders: moves::Orders::default(),
        peer,
    };
    tokio::spawn(socket::serve(admin_socket, Arc::new(office)));
    let server = http::Server::new(Arc::clone(&answers));
    for socket in inputs.http {
        let listener = http::listener(socket).context("take over a socket of the HTTP server")?;
        tokio::spawn(Arc::clone(&server).serve(listener));
    }
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sample = tokio::time::interval(SAMPLE);
    sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = control.stop.notified() => {
                if let Some(link) = &link {
                    say_last_word(&answers, link).await;
                }
                return Ok(());
            }
            Ok(()) = others.changed() => {
                let next = others.borrow_and_update().clone();
                if let Some((config, key)) = next {
                    watching.go_over(&config);
                    if let Some(link) = &mut link {
                        link.go_over(config, key, clock::now());
                    }
                }
            }
            _ = beat.tick() => header.heartbeat.set(clock::now()),
            _ = sample.tick() => {
                let clocks = Clocks::read();
                answers.sample(clocks, cpu_times());
                let view = answers.view();
                *left.own() = Own::of(&view, clocks.now);
                moves::end_if_over(&view, clocks.now);
                if let Some(link) = &mut link {
                    link.look(clocks.now);
                }
            }
        }
    }
}

/// Where the whole node stops, and not admin alone: it is the last one that ends.
async fn say_last_word(answers: &Answers, link: &PeerLink) {
    let view = answers.summed_up();
    if view.boards.supervisor.stop.since.get().is_none() {
        return;
    }
    *view.left.own() = Own {
        has_stopped: true,
        ..Own::of(&view, clock::now())
    };
    link.say_farewell().await;
}

/// What the kernel says of the CPU time; no disk is read for it.
fn cpu_times() -> Option<CpuTimes> {
    CpuTimes::parse(&std::fs::read_to_string("/proc/stat").ok()?)
}

#[cfg(test)]
mod tests;
