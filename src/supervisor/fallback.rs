//! The way back from a new version that is executed in the supervisor's place and cannot take over: the
//! old one's binary is passed on to it, open, and is executed again.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::installed;

/// Number of the descriptor of the binary before this one.
const PREVIOUS: &str = "FMC_LB_PREVIOUS";
/// Why a new version has given up.
const FELL_BACK: &str = "FMC_LB_FELL_BACK";

/// The binary before this one.
#[derive(Debug)]
pub(super) struct Previous(OwnedFd);

impl Previous {
    /// What the supervisor before this one has passed on; to be called once.
    pub(super) fn take() -> Option<Self> {
        let number: i32 = std::env::var(PREVIOUS).ok()?.parse().ok()?;
        // Only one of our own looks like this: it outlives an execution, as few descriptors do.
        let file = File::open(format!("/proc/self/fd/{number}")).ok()?;
        nix::unistd::close(number).ok()?;
        file.metadata().ok()?.is_file().then(|| Self(file.into()))
    }

    /// Becomes it again; returns why not.
    pub(super) fn execute(&self, why: &str) -> anyhow::Error {
        let with = [(FELL_BACK, why.to_owned())];
        let environment = installed::environment(&[PREVIOUS], &with);
        installed::execute(self.0.as_fd(), &environment)
    }
}

/// Opens this process's own binary for a process that is executed in its place; and the environment in
/// which that finds it.
///
/// # Errors
/// There are no descriptors left.
pub(super) fn pass_on() -> io::Result<(OwnedFd, Vec<std::ffi::CString>)> {
    use std::os::fd::AsRawFd as _;
    // Not closed by the execution.
    let own = rustix::fs::open("/proc/self/exe", OFlags::RDONLY, Mode::empty())?;
    let number = own.as_raw_fd().to_string();
    let environment = installed::environment(&[FELL_BACK], &[(PREVIOUS, number)]);
    Ok((own, environment))
}

/// Why the new version has given up that was executed by this one; `None` = none was.
pub(super) fn fell_back() -> Option<String> {
    std::env::var(FELL_BACK).ok()
}
