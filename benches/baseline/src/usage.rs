//! CPU time, memory and descriptors of processes, as the kernel has them.

#![expect(
    clippy::disallowed_methods,
    reason = "reads the CPU clocks of processes"
)]

use std::fs;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU time since the start, user and system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cpu {
    /// Of what relays.
    pub(crate) proxy: Duration,
    /// Of all the subject's processes.
    pub(crate) all: Duration,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            proxy: self.proxy.saturating_sub(earlier.proxy),
            all: self.all.saturating_sub(earlier.all),
        }
    }
}

/// Memory at a moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// Pages in use; those that several processes use count for each.
    pub(crate) rss: u64,
    /// Pages in use; those that several processes use count for each in part.
    pub(crate) pss: u64,
}

impl Memory {
    /// Both of two processes.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            rss: self.rss + other.rss,
            pss: self.pss + other.pss,
        }
    }
}

/// The CPU time of a process, user and system, of all its threads, those that have ended among them: its CPU clock
/// (clock_getcpuclockid(3)), in nanoseconds.
///
/// # Errors
/// When the process has ended.
pub(crate) fn cpu(pid: Pid) -> Result<Duration> {
    let clock = clock_getcpuclockid(pid).with_context(|| format!("find the CPU clock of {pid}"))?;
    let time = clock_gettime(clock).with_context(|| format!("read the CPU clock of {pid}"))?;
    Ok(time.into())
}

/// The memory of a process, proc_pid_smaps(5).
///
/// # Errors
/// When the process has ended.
pub(crate) fn memory(pid: Pid) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let field = |name| bytes(&text, name).with_context(|| format!("find {name} in {path}"));
    Ok(Memory {
        rss: field("Rss:")?,
        pss: field("Pss:")?,
    })
}

/// The open descriptors of a process.
///
/// # Errors
/// When the process has ended.
pub(crate) fn descriptors(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).with_context(|| format!("read {path}"))?;
    Ok(entries.count() as u64)
}

fn bytes(rollup: &str, name: &str) -> Option<u64> {
    let rest = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_kibibytes() {
        let text = "00400000-7ffd [rollup]\nRss:    3436 kB\nPss:    1203 kB\nPss_Dirty: 900 kB\n";
        assert_eq!(bytes(text, "Rss:"), Some(3_436 * 1_024));
        assert_eq!(bytes(text, "Pss:"), Some(1_203 * 1_024));
        assert_eq!(bytes(text, "Swap:"), None);
    }

    #[test]
    fn cpu_time_is_that_of_ended_threads_too() {
        let own = Pid::this();
        let before = cpu(own).unwrap();
        let work = || (0..20_000_000_u64).fold(0, |sum, next| std::hint::black_box(sum ^ next));
        std::thread::spawn(work).join().unwrap();
        assert!(cpu(own).unwrap() - before > Duration::from_millis(1));
    }

    #[test]
    fn a_process_that_is_gone_has_no_time() {
        // One more than the kernel ever gives (PID_MAX_LIMIT).
        assert!(cpu(Pid::from_raw(4_194_305)).is_err());
    }

    #[test]
    fn shared_pages_count_in_part() {
        let memory = memory(Pid::this()).unwrap();
        assert!(memory.pss > 0 && memory.pss <= memory.rss);
    }
}
