//! The way back from a new version that is executed in the supervisor's place and cannot take over: the
//! old one's binary is passed on to it, open, and is executed again. Whatever it was that went wrong: an error, a panic, or a
//! signal by which the new version ends itself. From SIGKILL there is no way back; systemd starts the new version again.

mod crash;

use std::any::Any;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};

use self::crash::{FATAL, Net, Plan};
use super::installed;

/// Number of the descriptor of the binary before this one.
const PREVIOUS: &str = "FMC_LB_PREVIOUS";
/// Why a new version has given up.
const FELL_BACK: &str = "FMC_LB_FELL_BACK";

/// The binary before this one.
#[derive(Debug)]
struct Previous(OwnedFd);

impl Previous {
    /// What the supervisor before this one has passed on; to be called once.
    fn take() -> Option<Self> {
        let number: i32 = std::env::var(PREVIOUS).ok()?.parse().ok()?;
        // Only one of our own looks like this: it outlives an execution, as few descriptors do.
        let file = File::open(format!("/proc/self/fd/{number}")).ok()?;
        nix::unistd::close(number).ok()?;
        file.metadata().ok()?.is_file().then(|| Self(file.into()))
    }

    /// Becomes it again; returns why not.
    fn execute(&self, why: &str) -> anyhow::Error {
        installed::execute(self.0.as_fd(), &because(why))
    }

    fn spread_net(&self) -> anyhow::Result<Net> {
        let plan = Plan {
            file: self.0.try_clone()?,
            arguments: installed::arguments()?,
            environments: FATAL.map(|signal| because(&format!("it crashed: {signal}"))),
        };
        Ok(Net::spread(plan)?)
    }
}

/// What becomes of this process until it has taken over.
#[derive(Debug)]
pub(super) struct Trial {
    previous: Option<Previous>,
    net: Option<Net>,
}

impl Trial {
    /// To be called once, before anything that may fail.
    pub(super) fn begin() -> Self {
        let previous = Previous::take();
        let net = previous.as_ref().map(Previous::spread_net);
        let net = net.transpose().unwrap_or_else(|error| {
            tracing::warn!("a crash of this version would not be answered: {error:#}");
            None
        });
        Self { previous, net }
    }

    /// This process has taken over: from here on there is no way back.
    pub(super) fn has_taken_over(&mut self) {
        self.net = None;
        self.previous = None;
    }

    /// Runs this version. If it ends before it has taken over from another one, that one is executed again.
    pub(super) fn run(
        mut self,
        version: impl FnOnce(&mut Self) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| version(&mut self)));
        // The end waits for the thread that writes the log.
        if let Err(error) = vrrp::schedule_normal() {
            tracing::warn!(%error, "real-time priority is kept to the end");
        }
        let Some(previous) = &self.previous else {
            return ended.unwrap_or_else(|panic| panic::resume_unwind(panic));
        };
        let why = match &ended {
            Ok(Err(error)) => format!("{error:#}"),
            Ok(Ok(_)) => "it does not understand what runs".to_owned(),
            Err(panic) => format!("it panicked: {}", words(panic.as_ref())),
        };
        tracing::error!(why, "this version cannot take over: back to the one before");
        Err(previous.execute(&why))
    }
}

/// The environment of the one before, which is to know why.
fn because(why: &str) -> Vec<std::ffi::CString> {
    installed::environment(&[PREVIOUS], &[(FELL_BACK, why.to_owned())])
}

/// Those of `panic!`.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
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
