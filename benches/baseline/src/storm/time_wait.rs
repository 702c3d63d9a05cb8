//! Sockets in TIME_WAIT of the calling thread's network namespace: how many there are, how many there ever were.

use std::fs;

use anyhow::{Context as _, Result};

/// Of the thread, not of its process, which is in another namespace.
const SOCKETS: &str = "/proc/thread-self/net/sockstat";
const COUNTERS: &str = "/proc/thread-self/net/netstat";
/// Counted when one begins: for its whole time, for a short one; or there is no room for it.
const BEGINNINGS: [&str; 3] = ["TW", "TWKilled", "TCPTimeWaitOverflow"];

/// Sockets in TIME_WAIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeWait {
    /// At this moment.
    pub(crate) now: u64,
    /// Since the namespace is there.
    pub(crate) ever: u64,
}

impl TimeWait {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When it says something else than expected.
    pub(crate) fn read() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        Ok(Self {
            now: now(&read(SOCKETS)?).with_context(|| format!("find tw in {SOCKETS}"))?,
            ever: ever(&read(COUNTERS)?).with_context(|| format!("find TcpExt in {COUNTERS}"))?,
        })
    }
}

fn now(sockets: &str) -> Option<u64> {
    let line = sockets.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

fn ever(counters: &str) -> Option<u64> {
    let mut lines = counters
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut sum = 0;
    for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
        if BEGINNINGS.contains(&name) {
            sum += value.parse::<u64>().ok()?;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_now_and_all_that_ever_were() {
        let sockets = "sockets: used 9\nTCP: inuse 3 orphan 0 tw 41 alloc 5 mem 1\nUDP: inuse 0\n";
        assert_eq!(now(sockets), Some(41));
        let counters = "TcpExt: SyncookiesSent TW TWRecycled TWKilled TCPTimeWaitOverflow Other\n\
                        TcpExt: 1 20 3 4 5 600\nIpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(ever(counters), Some(29));
    }

    #[test]
    fn the_kernel_says_what_is_expected() {
        let seen = TimeWait::read().unwrap();
        assert!(seen.now <= seen.ever);
    }
}
