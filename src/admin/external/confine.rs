//! What the process of a program does between fork(2) and execve(2).
#![expect(
    unsafe_code,
    reason = "runs in a forked process, and calls close_range(2) itself"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// Lets the process of a command end when the thread ends that starts it, by SIGKILL and however that
/// thread ends (PR_SET_PDEATHSIG; execve(2) keeps it), and inherit no descriptor but 0, 1 and 2. What
/// it starts itself ends by neither.
pub(super) fn confine(command: &mut Command) {
    let parent = getpid();
    // SAFETY: three system calls, nothing is allocated and no lock is taken.
    unsafe {
        command.pre_exec(move || prepare(parent));
    }
}

fn prepare(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        // It has died before that.
        return Err(Errno::SRCH.into());
    }
    let (first, last) = (3_u32, u32::MAX);
    // SAFETY: descriptors are marked to be closed at execve(2), none is closed here.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
