//! Who runs on which core: the balancer has one for itself.

use anyhow::{Context as _, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Of the client and the servers.
pub(crate) const LOAD: usize = 0;
/// Of the balancer.
pub(crate) const BALANCER: usize = 1;

/// Moves the calling thread to a core. What it starts from then on inherits that.
///
/// # Errors
/// When there is no such core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).context("name a core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("move to core {core}"))
}

/// Calls on a thread of its own, on a core.
///
/// # Errors
/// When there is no such core, or with what the call says.
pub(crate) fn on<T: Send>(core: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(core)?;
            work()
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Whether both cores are ours to use.
///
/// # Errors
/// When one of them is not.
pub(crate) fn check() -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("ask for our cores")?;
    for core in [LOAD, BALANCER] {
        if !allowed.is_set(core).unwrap_or(false) {
            bail!(
                "core {core} is not ours: the balancer needs one for itself, load and servers another"
            );
        }
    }
    Ok(())
}
