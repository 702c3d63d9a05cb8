//! fmc-lb as a user starts it: the binary, one file, one runtime folder per node.

mod text;
mod unit;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use text::{has_key, with_key_file};
pub use text::{plain, reference_config, with_web6};
pub use unit::confinement;

use crate::balancer::{Balancer, Part};
use crate::process::{Process, Seen, kill_together, output_within, processes, signal_all};
use crate::{Lab, Node, wait};

/// A command that asks a running node answers within this.
const ANSWER: Duration = Duration::from_secs(2);
/// A stop drains sessions first; the lab's configurations drain no longer.
const STOP: Duration = Duration::from_secs(40);
/// `RestartSec` of our unit.
const RESTART: Duration = Duration::from_millis(100);
/// A killed process is gone within this.
const GONE: Duration = Duration::from_secs(10);

/// A pair of fmc-lb. Dropping it kills what runs.
#[derive(Debug)]
pub struct FmcLb {
    lab: Lab,
    binary: PathBuf,
    /// Nodes that have a binary of their own.
    installed: BTreeMap<Node, PathBuf>,
    config: PathBuf,
    /// There is a key, so there are a pair channel and flow forwarding.
    keyed: bool,
    /// Nodes that read a file of their own.
    configs: BTreeMap<Node, PathBuf>,
    /// Words before each supervisor's command line.
    confinement: Vec<String>,
    running: BTreeMap<Node, Process>,
}

impl FmcLb {
    /// Writes the configuration and a new key; `key_file` in the text is replaced by the key's path.
    ///
    /// # Errors
    /// When the binary makes no key or a file cannot be written.
    pub fn new(lab: &Lab, binary: &Path, config: &str) -> Result<Self> {
        let binary = fs::canonicalize(binary)
            .with_context(|| format!("find the binary {}", binary.display()))?;
        let key = lab.folder().join("pair.key");
        make_key(&binary, &key)?;
        let file = lab.folder().join("fmc-lb.toml");
        fs::write(&file, with_key_file(config, &key))
            .with_context(|| format!("write {}", file.display()))?;
        let pair = Self {
            lab: lab.clone(),
            binary,
            installed: BTreeMap::new(),
            config: file,
            keyed: has_key(config),
            configs: BTreeMap::new(),
            confinement: Vec::new(),
            running: BTreeMap::new(),
        };
        for node in Node::LBS {
            let folder = pair.runtime_dir(node);
            fs::DirBuilder::new()
                .mode(0o755)
                .create(&folder)
                .with_context(|| format!("make {}", folder.display()))?;
            let line = pair.line(&["status"], node);
            lab.evidence()
                .command(format!("{node}: fmc-lb status"), line);
        }
        Ok(pair)
    }

    /// The runtime folder of a node.
    pub fn runtime_dir(&self, node: Node) -> PathBuf {
        self.lab.folder().join(format!("{node}-run"))
    }

    /// Puts a copy of a program where a node's binary is from now on, as a package manager does: the file
    /// that was there goes on to exist for whoever runs it.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn install(&mut self, node: Node, program: &Path) -> Result<PathBuf> {
        let path = self.lab.folder().join(format!("{node}-fmc-lb"));
        let new = path.with_extension("new");
        fs::copy(program, &new)
            .and_then(|_| fs::set_permissions(&new, fs::Permissions::from_mode(0o755)))
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("install {} on {node}", program.display()))?;
        self.installed.insert(node, path.clone());
        Ok(path)
    }

    /// Supervisors have, from their next start on, the rights that our unit for systemd leaves them.
    pub fn confine_as_unit(&mut self) {
        self.confinement = unit::confinement();
    }

    /// Supervisors are started by these words, from their next start on.
    pub fn confine(&mut self, words: &[&str]) {
        self.confinement = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Writes a configuration file for this node alone, which it reads from its next start on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_config_of(&mut self, node: Node, config: &str) -> Result<()> {
        let key = self.lab.folder().join("pair.key");
        let path = self.lab.folder().join(format!("{node}-fmc-lb.toml"));
        fs::write(&path, with_key_file(config, &key))
            .with_context(|| format!("write {}", path.display()))?;
        self.configs.insert(node, path);
        Ok(())
    }

    /// The configuration file that both nodes read.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Replaces the configuration file; running nodes are not told.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_config(&self, config: &str) -> Result<()> {
        let key = self.lab.folder().join("pair.key");
        fs::write(&self.config, with_key_file(config, &key))
            .with_context(|| format!("write {}", self.config.display()))
    }

    /// Runs `fmc-lb ARGUMENTS --runtime-dir …` in the node's namespace, e.g. `["status"]`.
    ///
    /// # Errors
    /// When it does not start or does not end within two seconds. Its exit code is in the output.
    pub fn command(&self, node: Node, arguments: &[&str]) -> Result<Output> {
        self.command_within(node, arguments, ANSWER)
    }

    /// The same, for a command that may take longer.
    ///
    /// # Errors
    /// When it does not start or not end in time.
    pub fn command_within(
        &self,
        node: Node,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Output> {
        let line = self.line(arguments, node);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null());
        output_within(&mut command, limit)
    }

    /// What `fmc-lb status --json` says on a node.
    ///
    /// # Errors
    /// When it gives no answer within two seconds, or none that is JSON.
    pub fn status(&self, node: Node) -> Result<Value> {
        let output = self.command(node, &["status", "--json"])?;
        if !output.status.success() {
            bail!(
                "status of {node}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("read the status of {node}"))
    }

    /// Whether a node forwards, and knows that the other one does.
    pub fn is_forwarding(&self, node: Node) -> bool {
        self.status(node).is_ok_and(|status| {
            let forwarding = &status["forwarding"];
            forwarding["state"] == "on" && forwarding["peer_forwards"] == true
        })
    }

    /// The state of a VIP (by its name in the file) as a node says it; `None` without an answer.
    pub fn vip_state(&self, node: Node, vip: &str) -> Option<String> {
        let status = self.status(node).ok()?;
        let vips = status.get("vips")?.as_array()?.clone();
        let found = vips
            .iter()
            .find(|entry| entry.get("name").is_some_and(|name| name == vip))?;
        Some(found.get("state")?.as_str()?.to_owned())
    }

    /// The state of a server (by its address) as a node says it; `None` without an answer.
    pub fn server_state(&self, node: Node, server: &str) -> Option<String> {
        let status = self.status(node).ok()?;
        let backends = status.get("backends")?.as_array()?.clone();
        backends
            .iter()
            .filter_map(|backend| backend.get("servers")?.as_array())
            .flatten()
            .find(|entry| {
                entry
                    .get("address")
                    .is_some_and(|address| address == server)
            })
            .and_then(|entry| Some(entry.get("state")?.as_str()?.to_owned()))
    }

    /// The living processes of a node's fmc-lb, also those whose supervisor is gone.
    pub fn processes(&self, node: Node) -> Vec<Seen> {
        processes(&self.lab, node)
            .into_iter()
            .filter(is_ours)
            .collect()
    }

    /// The process id of a part.
    ///
    /// # Errors
    /// When it does not run, or twice.
    pub fn pid(&self, node: Node, part: Part) -> Result<Pid> {
        let found: Vec<Pid> = self
            .processes(node)
            .into_iter()
            .filter(|seen| part_of(seen) == Some(part))
            .map(|seen| seen.pid)
            .collect();
        match found.as_slice() {
            [only] => Ok(*only),
            [] => bail!("no {} runs on {node}", part.name()),
            several => bail!("{} of {node} runs {} times", part.name(), several.len()),
        }
    }

    /// Sends a signal to a part.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, node: Node, part: Part, signal: Signal) -> Result<Pid> {
        let pid = self.pid(node, part)?;
        nix::sys::signal::kill(pid, signal)
            .with_context(|| format!("send {signal} to {} of {node}", part.name()))?;
        Ok(pid)
    }

    /// The supervisor that was started last on a node.
    pub fn supervisor(&mut self, node: Node) -> Option<&mut Process> {
        self.running.get_mut(&node)
    }

    fn line(&self, arguments: &[&str], node: Node) -> Vec<String> {
        let mut line: Vec<String> = ["ip", "netns", "exec", self.lab.node(node).name()]
            .map(str::to_owned)
            .to_vec();
        line.push(self.binary.display().to_string());
        line.extend(arguments.iter().map(|word| (*word).to_owned()));
        line.push("--runtime-dir".to_owned());
        line.push(self.runtime_dir(node).display().to_string());
        line
    }

    fn binary_of(&self, node: Node) -> &Path {
        self.installed.get(&node).unwrap_or(&self.binary)
    }

    fn all_pids(&self, node: Node) -> Vec<Pid> {
        self.processes(node)
            .into_iter()
            .map(|seen| seen.pid)
            .collect()
    }

    fn kill_and_collect(&mut self, node: Node) -> Result<()> {
        kill_together(&self.all_pids(node));
        if let Some(mut supervisor) = self.running.remove(&node) {
            supervisor.kill()?;
        }
        let gone = || {
            // A child that was just being made escapes the first look.
            signal_all(&self.all_pids(node), Signal::SIGKILL);
            self.processes(node).is_empty()
        };
        wait::wait_until(GONE, &format!("all processes of {node} are gone"), gone)
    }
}

impl Balancer for FmcLb {
    fn name(&self) -> &'static str {
        "fmc-lb"
    }

    fn has_settled(&self) -> bool {
        !self.keyed || Node::LBS.into_iter().all(|node| self.is_forwarding(node))
    }

    fn start(&mut self, node: Node) -> Result<()> {
        let binary = self.binary_of(node).display().to_string();
        let config = self.configs.get(&node).unwrap_or(&self.config);
        let config = config.display().to_string();
        let folder = self.runtime_dir(node).display().to_string();
        let mut line: Vec<&str> = self.confinement.iter().map(String::as_str).collect();
        line.extend([&binary, "run", "--config", &config]);
        line.extend(["--node", node.name(), "--runtime-dir", &folder]);
        let process = Process::start(&self.lab, node, "fmc-lb", &line)?;
        if !self.running.contains_key(&node) {
            self.lab
                .evidence()
                .log(format!("{node} fmc-lb"), process.log());
        }
        self.running.insert(node, process);
        Ok(())
    }

    fn ask_to_stop(&mut self, node: Node) -> Result<()> {
        let process = self.running.get_mut(&node);
        process
            .with_context(|| format!("fmc-lb does not run on {node}"))?
            .signal(Signal::SIGTERM)
    }

    fn stop(&mut self, node: Node) -> Result<()> {
        let process = self.running.remove(&node);
        process
            .with_context(|| format!("fmc-lb does not run on {node}"))?
            .stop(STOP)
            .map(drop)
    }

    fn kill_all(&mut self, node: Node) -> Result<()> {
        self.kill_and_collect(node)
    }

    fn kill_part(&mut self, node: Node, part: Part) -> Result<bool> {
        self.signal(node, part, Signal::SIGKILL)?;
        if part == Part::Supervisor
            && let Some(supervisor) = self.running.get_mut(&node)
        {
            // Collected as init would: its id must not look alive to the next one.
            supervisor.wait(GONE)?;
        }
        Ok(true)
    }

    /// `ExecStopPost` and `Restart` of our unit.
    fn service_manager(&mut self, node: Node) -> Result<()> {
        let config = self.config.display().to_string();
        let line = ["release", "--config", &config, "--node", node.name()];
        let released = self.command(node, &line)?;
        if !released.status.success() {
            bail!("release on {node}: {released:?}");
        }
        std::thread::sleep(RESTART);
        self.start(node)
    }
}

impl Drop for FmcLb {
    fn drop(&mut self) {
        for node in Node::LBS {
            // What is left dies with its namespace.
            drop(self.kill_and_collect(node));
        }
    }
}

fn make_key(binary: &Path, path: &Path) -> Result<()> {
    let output = Command::new(binary)
        .arg("keygen")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {} keygen", binary.display()))?;
    if !output.status.success() {
        bail!("keygen: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let mut file = file.with_context(|| format!("open {}", path.display()))?;
    // A mode is only set at creation; the file may be an earlier pair's.
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .context("keep the key private")?;
    std::io::Write::write_all(&mut file, &output.stdout).context("write the key")
}

fn is_ours(seen: &Seen) -> bool {
    let word = seen.arguments.get(1).map(String::as_str);
    part_of(seen).is_some() || matches!(word, Some("child" | "rescue"))
}

fn part_of(seen: &Seen) -> Option<Part> {
    let word = |index: usize| seen.arguments.get(index).map(String::as_str);
    match (word(1)?, word(2)) {
        ("run", _) => Some(Part::Supervisor),
        ("child", Some("vrrp")) => Some(Part::Vrrp),
        ("child", Some("proxy")) => Some(Part::Proxy),
        ("child", Some("admin")) => Some(Part::Admin),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_by_its_command_line() {
        let seen = |words: &[&str]| Seen {
            pid: Pid::from_raw(1),
            parent: Pid::from_raw(1),
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            state: 'S',
        };
        assert_eq!(
            part_of(&seen(&["/x/fmc-lb", "run", "--config"])),
            Some(Part::Supervisor)
        );
        assert_eq!(
            part_of(&seen(&["/proc/self/exe", "child", "vrrp"])),
            Some(Part::Vrrp)
        );
        assert_eq!(part_of(&seen(&["haproxy", "-db"])), None);
    }
}
