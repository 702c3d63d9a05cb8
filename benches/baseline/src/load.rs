//! The client: what it asks of a balancer, and how much of it succeeded.
//!
//! Each load warms up, takes the balancer's CPU time, works, waits until the ends of its connections have passed
//! through, and takes the CPU time again. It checks every byte that comes back.

#![expect(clippy::disallowed_methods, reason = "waits for what is under way")]

pub(crate) mod bulk;
pub(crate) mod connection;
pub(crate) mod idle;
pub(crate) mod latency;
mod talk;
pub(crate) mod trip;

use std::future::Future;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::usage::Cpu;

pub(crate) use talk::Talk;

/// No load takes longer.
const LIMIT: Duration = Duration::from_secs(120);
/// From the client's last byte until the balancer has closed the other side.
const SETTLE: Duration = Duration::from_millis(200);
/// A load that fails this often measures something else.
const MAX_FAILURES: u64 = 100;

/// Takes the balancer's CPU time.
pub(crate) type Clock<'a> = &'a dyn Fn() -> Result<Cpu>;

/// Where the work goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddrV4,
}

/// What a load cost, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    pub(crate) cpu: Cpu,
    /// Pieces of work, or bytes, that succeeded.
    pub(crate) done: u64,
    pub(crate) failures: Failures,
}

/// What did not succeed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    pub(crate) first: Option<String>,
}

impl Failures {
    /// Notes another one.
    ///
    /// # Errors
    /// When there were too many.
    pub(crate) fn note(&mut self, error: &anyhow::Error) -> Result<()> {
        self.count += 1;
        let first = self.first.get_or_insert_with(|| format!("{error:#}"));
        if self.count > MAX_FAILURES {
            bail!("more than {MAX_FAILURES} failures, the first one: {first}");
        }
        Ok(())
    }
}

/// Runs a load on the calling thread, within the limit.
///
/// # Errors
/// With the load's own, or when it takes too long.
pub(crate) fn run<T>(load: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("make an event loop")?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        match tokio::time::timeout(LIMIT, load).await {
            Ok(result) => result,
            Err(_) => bail!("the load was not done within {LIMIT:?}"),
        }
    })
}

/// Waits until what the client has finished is finished everywhere.
async fn settle() {
    tokio::time::sleep(SETTLE).await;
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn the_first_failure_is_kept_and_many_are_too_many() {
        let mut failures = Failures::default();
        failures.note(&anyhow!("first")).unwrap();
        for _ in 1..MAX_FAILURES {
            failures.note(&anyhow!("later")).unwrap();
        }
        assert_eq!(failures.first.as_deref(), Some("first"));
        assert_eq!(failures.count, MAX_FAILURES);
        let error = failures.note(&anyhow!("last")).unwrap_err();
        assert!(error.to_string().ends_with("first"), "{error}");
    }
}
