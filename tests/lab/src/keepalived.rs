//! One Keepalived on one node, with a configuration of the test's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::process::{Process, kill_together, processes};
use crate::{Lab, Node};

/// The program, where Debian puts it.
pub(crate) const PROGRAM: &str = "/usr/sbin/keepalived";
/// A stop or a kill is over within this.
const GONE: Duration = Duration::from_secs(10);

/// A running Keepalived. Dropping it kills it.
#[derive(Debug)]
pub struct Keepalived {
    lab: Lab,
    node: Node,
    file: PathBuf,
    process: Process,
}

impl Keepalived {
    /// Starts it with this `keepalived.conf`.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start(lab: &Lab, node: Node, config: &str) -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            bail!("no {PROGRAM}: install Debian's package keepalived");
        }
        let path = |name: &str| lab.folder().join(format!("{node}-{name}"));
        let file = path("keepalived.conf");
        write_config(&file, config)?;
        let pids = [path("keepalived.pid"), path("vrrp.pid")];
        for left in &pids {
            // A killed one leaves them, and the next one takes whoever has the number now for itself.
            if let Err(error) = fs::remove_file(left)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error).with_context(|| format!("remove {}", left.display()));
            }
        }
        let process = spawn(lab, node, &file, [&pids[0], &pids[1]])?;
        let mut evidence = lab.evidence();
        evidence.log(format!("{node} keepalived"), process.log());
        drop(evidence);
        Ok(Self {
            lab: lab.clone(),
            node,
            file,
            process,
        })
    }

    /// Gives it another `keepalived.conf` while it runs.
    ///
    /// # Errors
    /// When the file cannot be written or it does not run.
    pub fn reload(&mut self, config: &str) -> Result<()> {
        write_config(&self.file, config)?;
        self.process.signal(Signal::SIGHUP)
    }

    /// Ends it as an administrator does.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop(GONE)?;
        Ok(())
    }

    /// Kills parent and child at the same moment. Its address stays on the interface.
    ///
    /// # Errors
    /// When they are still there after ten seconds.
    pub fn kill(mut self) -> Result<()> {
        let all: Vec<_> = processes(&self.lab, self.node)
            .into_iter()
            .filter(|seen| seen.arguments.first().is_some_and(|word| word == PROGRAM))
            .map(|seen| seen.pid)
            .collect();
        kill_together(&all);
        self.process.kill()
    }
}

fn write_config(file: &Path, config: &str) -> Result<()> {
    fs::write(file, config).with_context(|| format!("write {}", file.display()))
}

/// Runs it in the foreground with this configuration and these two files for its process ids.
pub(crate) fn spawn(lab: &Lab, node: Node, config: &Path, pids: [&Path; 2]) -> Result<Process> {
    let [config, pid, vrrp] = [config, pids[0], pids[1]].map(|path| path.display().to_string());
    let line = [
        PROGRAM,
        "--dont-fork",
        "--log-console",
        "--no-syslog",
        "--vrrp",
        "--use-file",
        &config,
        "--pid",
        &pid,
        "--vrrp_pid",
        &vrrp,
    ];
    Process::start(lab, node, "keepalived", &line)
}
