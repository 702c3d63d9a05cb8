//! Runs a program that is a probe, bounded in time, in what it may write and in what it leaves
//! behind: its process group is killed at its end, however it has ended.
#![expect(
    clippy::disallowed_methods,
    reason = "starts processes, and measures how long they take"
)]

use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::board::{ExternalEnd, ExternalGroup, ProbeStatus};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::confine::confine;
use super::words::Words;

/// Most bytes that a program may write.
const MOST_OUTPUT: usize = 64 * 1024;
/// How long a killed process may take to be gone; the kernel may hold it for ever.
const GONE: Duration = Duration::from_secs(1);

/// A program, and whom it is to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) struct Job {
    pub(in crate::admin) program: PathBuf,
    pub(in crate::admin) arguments: Vec<String>,
    /// All of it.
    pub(in crate::admin) environment: Vec<(&'static str, OsString)>,
    pub(in crate::admin) timeout: Duration,
}

/// How a program was brought to its end.
#[derive(Debug)]
pub(in crate::admin) struct Ran {
    pub(in crate::admin) end: ExternalEnd,
    pub(super) was_killed: bool,
    /// A process that the kernel does not let go.
    pub(super) left: Option<Child>,
}

/// Why a program runs no more.
enum Stopped {
    Ended,
    Late,
    Flooding,
    /// We are stopping ourselves.
    Unwanted,
}

impl Job {
    /// Runs it to its end, or until `stop` is hung up. Blocks the thread for as long, which has to be
    /// there until then: the program ends with it. `group` says that it runs.
    pub(in crate::admin) fn run(&self, stop: &PipeReader, group: &ExternalGroup) -> Ran {
        match self.start() {
            Ok((child, output, handle)) => {
                group.begin(child.id(), started(child.id()).unwrap_or(0));
                let ran = self.watch(child, (output, &handle), stop);
                group.end();
                ran
            }
            Err(error) => Ran {
                end: end(ProbeStatus::SockErr, None, not_started(&error)),
                was_killed: false,
                left: None,
            },
        }
    }

    fn start(&self) -> io::Result<(Child, PipeReader, OwnedFd)> {
        let (output, writer) = io::pipe()?;
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(writer.try_clone()?)
            .stdout(writer);
        confine(&mut command);
        let mut child = command.spawn()?;
        // Our ends of the pipe for writing.
        drop(command);
        match pidfd_open(pid(&child), PidfdFlags::empty()) {
            Ok(handle) => Ok((child, output, handle)),
            Err(error) => {
                kill(&child);
                child.wait()?;
                Err(error.into())
            }
        }
    }

    fn watch(
        &self,
        mut child: Child,
        (output, handle): (PipeReader, &OwnedFd),
        stop: &PipeReader,
    ) -> Ran {
        let mut said = Output {
            pipe: Some(output),
            words: Words::default(),
            bytes: 0,
        };
        let deadline = Instant::now() + self.timeout;
        let why = said.follow(handle, stop, deadline);
        // The first process is not reaped yet, so the group's number is nobody else's.
        kill(&child);
        let mut gone = [PollFd::new(handle, PollFlags::IN)];
        let is_gone = wait(&mut gone, Instant::now() + GONE);
        let status = if is_gone {
            child.try_wait().ok().flatten()
        } else {
            None
        };
        said.read();
        let words = said.words.into_text();
        Ran {
            was_killed: matches!(why, Stopped::Late | Stopped::Flooding),
            end: self.judge(&why, status, &words),
            left: status.is_none().then_some(child),
        }
    }

    fn judge(&self, why: &Stopped, status: Option<ExitStatus>, words: &str) -> ExternalEnd {
        let killed = |how: String| match words {
            "" => how,
            words => format!("{how}: {words}"),
        };
        match (why, status) {
            (Stopped::Ended, Some(status)) => ended(status, words),
            (Stopped::Ended, None) | (Stopped::Unwanted, _) => {
                let words = "it was stopped with the admin process".to_owned();
                end(ProbeStatus::SockErr, None, words)
            }
            (Stopped::Late, _) => {
                let how = format!("killed after {} ms", self.timeout.as_millis());
                end(ProbeStatus::ProcTout, None, killed(how))
            }
            (Stopped::Flooding, _) => {
                let how = format!("killed after {} KiB of output", MOST_OUTPUT / 1024);
                end(ProbeStatus::ProcErr, None, killed(how))
            }
        }
    }
}

/// What a program writes, to both its outputs.
struct Output {
    /// `None` = nobody can write any more.
    pipe: Option<PipeReader>,
    words: Words,
    bytes: usize,
}

impl Output {
    /// Reads along until the program has ended, or has to.
    fn follow(&mut self, handle: &OwnedFd, stop: &PipeReader, deadline: Instant) -> Stopped {
        loop {
            let mut waited = vec![
                PollFd::new(handle, PollFlags::IN),
                PollFd::new(stop, PollFlags::empty()),
            ];
            waited.extend(
                self.pipe
                    .iter()
                    .map(|pipe| PollFd::new(pipe, PollFlags::IN)),
            );
            if !wait(&mut waited, deadline) {
                return Stopped::Late;
            }
            let ready: Vec<bool> = waited.iter().map(|one| !one.revents().is_empty()).collect();
            drop(waited);
            match ready[..] {
                [_, true, ..] => return Stopped::Unwanted,
                [true, ..] => return Stopped::Ended,
                [_, _, true] => self.read(),
                _ => {}
            }
            if self.bytes > MOST_OUTPUT {
                return Stopped::Flooding;
            }
        }
    }

    /// What there is, at most as much as one program may write.
    fn read(&mut self) {
        let mut buffer = [0; 4_096];
        while let Some(pipe) = &mut self.pipe
            && self.bytes <= MOST_OUTPUT
        {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    self.bytes += length;
                    self.words.take(&buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// Waits for one of them; `false` = the time is over.
fn wait(descriptors: &mut [PollFd<'_>], deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = rustix::event::Timespec::try_from(left).ok();
        match poll(descriptors, left.as_ref()) {
            Ok(0) => return false,
            Err(error) if error == rustix::io::Errno::INTR => {}
            // What cannot be waited for has to be looked at.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// The whole group; that it is gone already is no matter.
fn kill(child: &Child) {
    if let Err(error) = kill_process_group(pid(child), Signal::KILL) {
        tracing::debug!(pid = child.id(), %error, "a program's processes could not be killed");
    }
}

/// Kills what a process that is no more has left of a program: its first process has died with it,
/// those that this one had started have not. What has left their group is out of reach.
pub(super) fn kill_abandoned((leader, began): (u32, u64)) {
    let number = i32::try_from(leader).ok().and_then(Pid::from_raw);
    // A number is not given anew while a group has it. Where the process of this number is another
    // one, the group is gone.
    if started(leader).is_some_and(|now| now != began) {
        return;
    }
    if let Some(group) = number
        && kill_process_group(group, Signal::KILL).is_ok()
    {
        tracing::info!(group = leader, "what a program had started was killed");
    }
}

/// When a process started, in ticks since boot (proc_pid_stat(5), field 22); `None` = there is none.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may have any character.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn ended(status: ExitStatus, words: &str) -> ExternalEnd {
    let text = |how: String| match words {
        "" => how,
        words => format!("{how}: {words}"),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => end(ProbeStatus::ProcOk, Some(0), text("exit code 0".to_owned())),
        (Some(code), _) => {
            let words = text(format!("exit code {code}"));
            end(ProbeStatus::ProcErr, u8::try_from(code).ok(), words)
        }
        (None, Some(signal)) => {
            let words = text(format!("killed by signal {signal}"));
            end(ProbeStatus::ProcErr, None, words)
        }
        (None, None) => end(ProbeStatus::ProcErr, None, text("it ended".to_owned())),
    }
}

fn not_started(error: &io::Error) -> String {
    let words = error.raw_os_error().map_or_else(
        || error.to_string(),
        |number| {
            let errno = nix::errno::Errno::from_raw(number);
            errno.desc().to_lowercase()
        },
    );
    format!("the program cannot be started: {words}")
}

fn end(status: ProbeStatus, code: Option<u8>, words: String) -> ExternalEnd {
    ExternalEnd {
        status,
        code,
        words,
    }
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;
