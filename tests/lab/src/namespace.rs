//! Network namespaces with an owner: removed on drop, swept when their owner was killed.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command;

/// Where iproute2 keeps the named namespaces.
const FOLDER: &str = "/run/netns";
/// How every name begins.
const MARK: &str = "fl";
/// Labs that this process has started.
static LABS: AtomicU32 = AtomicU32::new(0);

/// A name that no other lab of this machine has: process id, its start time and a count, so that the owner can be found.
pub(crate) fn unique_prefix() -> Result<String> {
    let count = LABS.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{}{count}", own_mark()?))
}

/// How the names of all labs of this process begin.
pub(crate) fn own_mark() -> Result<String> {
    let pid = std::process::id();
    let started = start_time(pid).context("read our own start time")?;
    Ok(format!("{MARK}{pid:x}.{started:x}."))
}

/// Removes the namespaces of labs whose process is gone.
///
/// # Errors
/// When a namespace cannot be removed.
pub fn sweep() -> Result<Vec<String>> {
    let mut swept = Vec::new();
    for name in names() {
        let Some((pid, started)) = owner(&name) else {
            continue;
        };
        if start_time(pid) != Some(started) {
            // Two runs may sweep the same one; who comes second finds nothing to remove.
            let removed = remove(&name);
            if Path::new(FOLDER).join(&name).exists() {
                removed?;
            }
            swept.push(name);
        }
    }
    Ok(swept)
}

/// The names of all namespaces that begin like a lab's.
pub fn names() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| owner(name).is_some())
        .collect();
    names.sort();
    names
}

/// A network namespace; dropping it ends the processes in it and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn create(name: String) -> Result<Self> {
        command::run("ip", &["netns", "add", &name])?;
        Ok(Self { name })
    }

    /// The name that `ip netns exec` takes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread into the namespace for the rest of its life.
    ///
    /// # Errors
    /// When the namespace is gone or the rights are missing.
    pub fn enter(&self) -> Result<()> {
        enter(&self.name)
    }

    /// Runs a closure on a thread inside the namespace; the sockets it makes belong there. Returns its result.
    ///
    /// # Panics
    /// When the closure panics, or the namespace is gone.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()
                    .expect("a namespace lives as long as its owner");
                work()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Sets a kernel setting inside the namespace, e.g. `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = PathBuf::from(format!("/proc/sys/{}", key.replace('.', "/")));
        self.run(|| std::fs::write(&path, value))
            .with_context(|| format!("set {key} = {value} in {}", self.name))
    }

    /// No IPv6 noise (router solicitations, MLD) on its links.
    ///
    /// # Errors
    /// When the kernel has IPv6 and refuses.
    pub fn quiet_ipv6(&self) -> Result<()> {
        if !Path::new("/proc/sys/net/ipv6").exists() {
            return Ok(());
        }
        self.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        self.sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    }

    /// Processes whose main thread is in this namespace.
    pub fn pids(&self) -> Vec<Pid> {
        pids(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        drop(remove(&self.name));
    }
}

/// Moves the calling thread into a named namespace.
pub(crate) fn enter(name: &str) -> Result<()> {
    let file = File::open(path(name)).with_context(|| format!("open namespace {name}"))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter namespace {name}"))
}

/// Processes whose main thread is in the named namespace, this one excepted.
pub(crate) fn pids(name: &str) -> Vec<Pid> {
    let Ok(metadata) = std::fs::metadata(path(name)) else {
        return Vec::new();
    };
    let wanted = PathBuf::from(format!("net:[{}]", metadata.ino()));
    let own = std::process::id();
    all_pids()
        .filter(|pid| *pid != own)
        .filter(|pid| {
            std::fs::read_link(format!("/proc/{pid}/ns/net"))
                .ok()
                .as_ref()
                == Some(&wanted)
        })
        .filter_map(|pid| Some(Pid::from_raw(i32::try_from(pid).ok()?)))
        .collect()
}

/// Every process of the machine.
fn all_pids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Ends the processes in a namespace of a lab and removes it.
pub(crate) fn remove(name: &str) -> Result<()> {
    // A process that is just forking may need a second look; the lab made the namespace, so all in it is the lab's.
    for _ in 0..3 {
        let pids = pids(name);
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            // It may have ended in the meantime.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
    command::run("ip", &["netns", "del", name]).map(drop)
}

/// Process id and start time in a lab's namespace name.
fn owner(name: &str) -> Option<(u32, u64)> {
    let (prefix, _node) = name.strip_prefix(MARK)?.split_once('-')?;
    let mut parts = prefix.split('.');
    let pid = u32::from_str_radix(parts.next()?, 16).ok()?;
    let started = u64::from_str_radix(parts.next()?, 16).ok()?;
    let _count: u32 = parts.next()?.parse().ok()?;
    Some((pid, started))
}

/// When a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); `None` = no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it are plain.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        assert_eq!(owner("fl1f.a0.3-lb1"), Some((0x1f, 0xa0)));
        assert_eq!(owner("flannel-1"), None);
        assert_eq!(owner("other"), None);
    }

    #[test]
    fn our_own_prefix_is_of_a_living_process() {
        let name = format!("{}-x", unique_prefix().unwrap());
        let (pid, started) = owner(&name).unwrap();
        assert_eq!(pid, std::process::id());
        assert_eq!(start_time(pid), Some(started));
    }
}
