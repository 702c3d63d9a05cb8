//! One balancer, or none, between a client and servers, in fresh network namespaces.

#![expect(
    clippy::disallowed_methods,
    reason = "waits until health checks have been made"
)]

use std::fs;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use lab::chain::{self, Chain, FRONT, FRONT_INTERFACE};
use lab::process::{Process, processes_in};
use nix::unistd::Pid;

use crate::cores::{self, BALANCER, LOAD};
use crate::load::{self, Talk, Target};
use crate::plan::Subject;
use crate::subject::{Launch, Programs, Site, relays};
use crate::usage::{self, Cpu, Memory};

/// Port of the servers and of the balancer.
pub(crate) const PORT: u16 = 7_000;
/// A balancer serves within this.
const START: Duration = Duration::from_secs(20);
/// Between two attempts to reach it.
const STEP: Duration = Duration::from_millis(50);
/// From the first answer until everything has been loaded and every server was checked.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Lines of the log that an error shows.
const TAIL: usize = 15;

/// A running stand. Fields are dropped in this order: balancer, servers, namespaces.
#[derive(Debug)]
pub(crate) struct Stand {
    balancer: Option<Process>,
    _servers: Process,
    chain: Chain,
    subject: Subject,
    pids: Vec<(Pid, bool)>,
}

/// Memory of what relays, and of all the subject's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memories {
    pub(crate) proxy: Memory,
    pub(crate) all: Memory,
}

impl Stand {
    /// Brings everything up and waits until the client is served.
    ///
    /// # Errors
    /// When a part does not start; with the balancer's last words when it does not serve.
    pub(crate) fn start(programs: &Programs, subject: Subject, servers: u8) -> Result<Self> {
        Self::start_as(subject, servers, |site| programs.launch(subject, site))
    }

    /// The same, with a balancer that is set up in another way; its listener is at [`Self::target`], too.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_as(
        subject: Subject,
        servers: u8,
        launch: impl FnOnce(Site<'_>) -> Option<Launch>,
    ) -> Result<Self> {
        let chain = Chain::start()?;
        let serving = cores::on(LOAD, || start_servers(&chain))?;
        let servers: Vec<SocketAddrV4> = (0..servers)
            .map(|index| SocketAddrV4::new(chain::server(index), PORT))
            .collect();
        let site = Site {
            listen: SocketAddrV4::new(FRONT, PORT),
            interface: FRONT_INTERFACE,
            servers: &servers,
            folder: chain.folder(),
        };
        let balancer = match launch(site) {
            None => None,
            Some(launch) => {
                fs::write(&launch.file, &launch.config).context("write the configuration")?;
                let line: Vec<&str> = launch.line.iter().map(String::as_str).collect();
                let log = chain.folder().join("balancer.log");
                let start = || Process::start_in(chain.balancer(), log, &line);
                Some(cores::on(BALANCER, start)?)
            }
        };
        let mut stand = Self {
            balancer,
            _servers: serving,
            chain,
            subject,
            pids: Vec::new(),
        };
        stand.wait_until_served()?;
        std::thread::sleep(SETTLE);
        stand.pids = stand.look();
        Ok(stand)
    }

    /// Where the client connects to.
    pub(crate) fn target(&self) -> Target {
        let address = match self.subject {
            Subject::Direct => chain::server(0),
            Subject::FmcLb
            | Subject::HaproxySplice
            | Subject::Haproxy
            | Subject::Nginx
            | Subject::Envoy => FRONT,
        };
        Target {
            address: SocketAddrV4::new(address, PORT),
        }
    }

    /// The network.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Open descriptors of what relays.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn descriptors(&self) -> Result<u64> {
        let relaying = self.pids.iter().filter(|(_, relays)| *relays);
        relaying.map(|(pid, _)| usage::descriptors(*pid)).sum()
    }

    /// Calls as the client: in its namespace, on its core. An error is followed by the balancer's last words, on lines
    /// of their own.
    ///
    /// # Errors
    /// With what the call says.
    pub(crate) fn client<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            cores::pin(LOAD)?;
            work()
        };
        self.chain
            .client()
            .run(inside)
            .map_err(|error| anyhow!("{error:#}{}", self.last_words()))
    }

    /// CPU time of the balancer so far.
    ///
    /// # Errors
    /// When one of its processes has ended, or a new one came.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        self.check_processes()?;
        let mut sum = Cpu::default();
        for (pid, relays) in &self.pids {
            let time = usage::cpu(*pid)?;
            sum.all += time;
            if *relays {
                sum.proxy += time;
            }
        }
        Ok(sum)
    }

    /// Memory of the balancer now.
    ///
    /// # Errors
    /// When one of its processes has ended, or a new one came.
    pub(crate) fn memory(&self) -> Result<Memories> {
        self.check_processes()?;
        let mut sum = Memories {
            proxy: Memory::default(),
            all: Memory::default(),
        };
        for (pid, relays) in &self.pids {
            let memory = usage::memory(*pid)?;
            sum.all = sum.all.and(memory);
            if *relays {
                sum.proxy = sum.proxy.and(memory);
            }
        }
        Ok(sum)
    }

    /// The balancer's processes, each with whether it relays.
    fn look(&self) -> Vec<(Pid, bool)> {
        let mut pids: Vec<_> = processes_in(self.chain.balancer())
            .into_iter()
            .map(|seen| (seen.pid, relays(self.subject, &seen)))
            .collect();
        pids.sort_unstable();
        pids
    }

    fn check_processes(&self) -> Result<()> {
        let now = self.look();
        if now != self.pids {
            bail!(
                "its processes changed during the measurement: {:?}, then {now:?}",
                self.pids
            );
        }
        Ok(())
    }

    fn wait_until_served(&mut self) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            let target = self.target();
            let attempt = || load::run(async { Talk::open(target).await?.trip().await });
            let Err(error) = self.client(attempt) else {
                return Ok(());
            };
            let ended = self
                .balancer
                .as_mut()
                .is_some_and(|process| !process.is_running());
            if ended || Instant::now() > end {
                return Err(error.context(format!("{} does not serve", self.subject.name())));
            }
            std::thread::sleep(STEP);
        }
    }

    fn last_words(&self) -> String {
        let Some(process) = &self.balancer else {
            return String::new();
        };
        let tail = process.log_tail(TAIL);
        if tail.trim().is_empty() {
            String::new()
        } else {
            format!("\nits last words:\n{tail}")
        }
    }
}

fn start_servers(chain: &Chain) -> Result<Process> {
    let own = std::env::current_exe().context("find our own program")?;
    let own = own.display().to_string();
    let port = PORT.to_string();
    let log = chain.folder().join("servers.log");
    let line = [own.as_str(), "server", "--port", &port];
    Process::start_in(chain.servers(), log, &line).context("start the servers")
}
