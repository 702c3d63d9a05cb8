//! Processes inside the namespaces, ended by their ids only.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;
use crate::{Lab, Node, evidence, wait};

/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// A process in a namespace, its stderr and stdout in a file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `line[0]` with its arguments; `name` names its log.
    ///
    /// # Errors
    /// When the program or its log cannot be opened.
    pub fn start(lab: &Lab, node: Node, name: &str, line: &[&str]) -> Result<Self> {
        let log = lab.folder().join(format!("{node}-{name}.log"));
        Self::start_in(lab.node(node), log, line).with_context(|| format!("start {name} on {node}"))
    }

    /// Starts `line[0]` with its arguments in a namespace; what it prints is added to the log. It inherits the CPU
    /// affinity of the calling thread.
    ///
    /// # Errors
    /// When the program or its log cannot be opened.
    pub fn start_in(namespace: &Namespace, log: PathBuf, line: &[&str]) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        // `ip netns exec` becomes the program: the process id stays.
        let child = Command::new("ip")
            .args(["netns", "exec", namespace.name()])
            .args(line)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share the log")?)
            .stderr(file)
            .spawn()
            .context("start ip netns exec")?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id fits")?);
        Ok(Self { child, pid, log })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        evidence::tail(&self.log, lines)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.is_running() {
            bail!("process {} has ended", self.pid);
        }
        kill(self.pid, signal).with_context(|| format!("send {signal} to {}", self.pid))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        if !wait::within(deadline, || !self.is_running()) {
            bail!(
                "process {} still runs after {deadline:?}\n{}",
                self.pid,
                self.log_tail(10)
            );
        }
        self.child.wait().context("read the exit status")
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it still runs at the deadline.
    pub fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        if self.is_running() {
            self.signal(Signal::SIGTERM)?;
        }
        self.wait(deadline)
    }

    /// SIGKILL, and collects it.
    ///
    /// # Errors
    /// When it is still there after ten seconds.
    pub fn kill(&mut self) -> Result<()> {
        // It may be ending already, and that is as well.
        self.child.kill().context("send SIGKILL")?;
        self.wait(GONE).map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A process as /proc shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its process id.
    pub pid: Pid,
    /// Its parent's.
    pub parent: Pid,
    /// Its command line.
    pub arguments: Vec<String>,
    /// `R`, `S`, `T` (stopped), `Z` (ended, not collected) …
    pub state: char,
}

/// The living processes in a machine's namespace, whoever their parent is by now.
pub fn processes(lab: &Lab, node: Node) -> Vec<Seen> {
    processes_in(lab.node(node))
}

/// The living processes in a namespace, whoever their parent is by now.
pub fn processes_in(namespace: &Namespace) -> Vec<Seen> {
    let pids = namespace.pids();
    pids.into_iter()
        .filter_map(look)
        .filter(|seen| seen.state != 'Z')
        .collect()
}

fn look(pid: Pid) -> Option<Seen> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = Pid::from_raw(fields.next()?.parse().ok()?);
    let arguments = line
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    Some(Seen {
        pid,
        parent,
        arguments,
        state,
    })
}

/// Sends a signal to each; those that have ended in the meantime are passed over.
pub fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill(*pid, signal);
    }
}

/// SIGKILL of all in the same moment: stopped first, so that none sees another die and says goodbye.
pub fn kill_together(pids: &[Pid]) {
    signal_all(pids, Signal::SIGSTOP);
    signal_all(pids, Signal::SIGKILL);
}

/// Runs a command to its end, killing it at the limit.
///
/// # Errors
/// When it does not start, or not end in time.
pub fn output_within(command: &mut Command, limit: Duration) -> Result<Output> {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id fits")?);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(limit) {
        Ok(output) => output.context("wait for a command"),
        Err(_) => {
            // The thread holds the child and has not collected it: the id is still its own.
            let _ = kill(pid, Signal::SIGKILL);
            bail!(
                "{} gave no answer within {limit:?}",
                command.get_program().to_string_lossy()
            )
        }
    }
}
