//! Real-time priority and locked memory for the loop's thread.
//!
//! A loop of 10 ms adverts that shares its core with busy processes is late by tens of milliseconds
//! under the normal scheduler, and by far less than one under `SCHED_FIFO`. Both settings need
//! rights that a host may not give; then the loop runs without them and the board says so.

use std::io;

use nix::libc::rlim_t;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::syscall;

/// Above all normal processes, below the kernel's own threads that a host may run at 50.
const FIFO_PRIORITY: i32 = 10;
/// A real-time thread that runs this long without once waiting for an event is out of control and
/// would take a core from the machine; the kernel ends the process (SIGXCPU), and the supervisor
/// resigns for it. In microseconds of processor time, so neither a paused machine nor a busy one
/// comes near it.
const RUNAWAY_LIMIT: rlim_t = 200_000;
/// Stack that is there from the start.
const STACK: usize = 128 * 1024;

/// What was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Realtime {
    pub(crate) scheduled: bool,
    pub(crate) locked: bool,
}

/// Asks for both, for the calling thread and its process.
pub(crate) fn enter() -> Realtime {
    let scheduled = match limit_runaway().and_then(|()| syscall::schedule_fifo(FIFO_PRIORITY)) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "no real-time priority: adverts may be late on a busy machine");
            false
        }
    };
    let locked = match lock_memory() {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "memory is not locked: a swapping machine may make adverts late");
            false
        }
    };
    Realtime { scheduled, locked }
}

fn limit_runaway() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_RTTIME)?;
    Ok(setrlimit(
        Resource::RLIMIT_RTTIME,
        RUNAWAY_LIMIT.min(hard),
        hard,
    )?)
}

/// Touches more stack than the loop ever needs: a locked stack that has to grow beyond the limit
/// ends the process. Never a part of its caller, whose frame would lie above the loop's, and the loop's beyond what
/// was touched.
#[inline(never)]
fn grow_stack() {
    std::hint::black_box([0_u8; STACK]);
}

/// Locks what is mapped now, and what is mapped later as it is touched (whole thread stacks would
/// be a waste). The second only without a limit: with one, a later allocation that the limit
/// refuses would end the process.
fn lock_memory() -> io::Result<()> {
    grow_stack();
    mlockall(MlockAllFlags::MCL_CURRENT)?;
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if soft == RLIM_INFINITY {
        let on_fault = MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);
        mlockall(MlockAllFlags::MCL_FUTURE | on_fault)?;
    }
    Ok(())
}
