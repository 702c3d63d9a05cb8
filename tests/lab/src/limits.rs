//! Limits of the calling process and of its measuring threads.

#![expect(
    unsafe_code,
    reason = "sched_setscheduler(2) has no safe wrapper among the dependencies"
)]

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files that 8,000 held sessions need on both ends, with room. Not more: programs that close every possible
/// descriptor before an exec would take seconds.
const OPEN_FILES: u64 = 65_536;
/// Below the real-time threads of the balancers under test (they must not lose to the instrument).
const PRIORITY: libc::c_int = 2;
/// How long a measurement may wait for the one before it.
const TURN_LIMIT: Duration = Duration::from_secs(1_800);

/// Raises the limit of open files as far as the lab may need it.
pub(crate) fn raise_open_files() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < OPEN_FILES {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, hard.max(OPEN_FILES));
        if raised.is_err() {
            // Without CAP_SYS_RESOURCE the hard limit is the end; whoever opens too much says so.
            setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES), hard)?;
        }
    }
    Ok(())
}

/// Room for a busy machine; `FMC_LB_ROOM=1` asserts the bounds themselves.
pub fn room() -> u32 {
    let set = std::env::var("FMC_LB_ROOM").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Makes the calling thread a real-time thread of low priority, if that is permitted. Returns whether it was.
pub fn real_time() -> bool {
    set_scheduler(libc::SCHED_FIFO, PRIORITY)
}

fn set_scheduler(policy: libc::c_int, priority: libc::c_int) -> bool {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the pointer is to a live, initialised structure of the type that the call reads; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) == 0 }
}

/// The only measurement of this machine, until dropped: two at once would measure each other.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

/// Waits until no other measurement runs on this machine, in this process or another; with `FMC_LB_TURN=shared` until
/// none runs that has to be alone, as `scripts/test` runs those tests that measure nothing closely.
///
/// # Errors
/// When the turn has not come within half an hour.
pub fn measure_alone() -> Result<Turn> {
    let shared = std::env::var_os("FMC_LB_TURN").is_some_and(|turn| turn == "shared");
    let path = std::env::temp_dir().join("fmc-lb-lab.turn");
    let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    let end = Instant::now() + TURN_LIMIT;
    loop {
        let locked = match shared {
            true => file.try_lock_shared(),
            false => file.try_lock(),
        };
        match locked {
            Ok(()) => return Ok(Turn { _file: file }),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => bail!("another measurement holds {}", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).context("lock the turn"),
        }
    }
}
