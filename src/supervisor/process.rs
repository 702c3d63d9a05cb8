//! One child process: its birth, what is said to it, its end.
//!
//! A child may be started beside another one, whose place it is to take, and from another binary than
//! this process's own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::board::{Child, LAYOUT};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use super::folder::{Folder, Seat};
use crate::control::{self, Body, Channel, Handle, Hello, SendError, Setup};
use crate::rights;

/// Bytes of the stack of each thread of vrrp but its first (std::thread, RUST_MIN_STACK). Its memory is
/// locked, so a stack is there as a whole, and the default is 2 MiB.
const VRRP_STACK: &str = "262144";

/// What a process is started from.
#[derive(Debug, Clone)]
pub(super) enum Binary {
    /// What this process was, also when the file is another one by now.
    Own,
    /// A file that was opened once: whatever becomes of its name, this is what runs.
    File(Arc<OwnedFd>),
}

impl Binary {
    /// Names it for a process that this one starts.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Own => PathBuf::from("/proc/self/exe"),
            Self::File(file) => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
        }
    }
}

/// A living child.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) pid: u32,
    /// Version of its software; empty until it has said so.
    pub(super) software: String,
    /// Of its boards; this version's until it has said so.
    pub(super) layout: u32,
    pub(super) channel: Channel,
    /// Names this process and no other, also after its number was given away.
    pidfd: OwnedFd,
    /// Why we killed it, if we did.
    why: Option<String>,
    /// It has made way for another one.
    pub(super) has_left: bool,
}

/// A child whose connection has ended: dead, or about to be.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) child: Child,
    pub(super) pid: u32,
    pidfd: OwnedFd,
    why: Option<String>,
    /// Nobody is to be told of its end.
    pub(super) has_left: bool,
}

impl Process {
    /// Starts a child. It finds everything it needs in its control socket at its first look: the
    /// connection is made and the messages are sent before the process exists.
    pub(super) fn start(
        child: Child,
        binary: &Binary,
        folder: &Folder,
        (setup, handles): (Setup, Vec<(Handle, OwnedFd)>),
    ) -> anyhow::Result<Self> {
        let seat = if setup.beside {
            Seat::Next(child)
        } else {
            Seat::Of(child)
        };
        let path = folder.control_socket(seat);
        let listening = control::listen(&path)
            .with_context(|| format!("make the control socket {}", path.display()))?;
        let channel = control::connect(&path)
            .with_context(|| format!("connect to the control socket {}", path.display()))?;
        channel
            .send_setup(setup, &handles)
            .context("send its set-up")?;
        let mut command = Command::new(binary.path());
        if child == Child::Vrrp {
            command.env("RUST_MIN_STACK", VRRP_STACK);
        }
        let mut process = command
            .arg0("fmc-lb")
            .args(["child", child.word()])
            .stdin(Stdio::from(listening))
            // A terminal's ^C is the supervisor's to handle: it stops the children in their order.
            .process_group(0)
            .spawn()
            .context("start the process")?;
        let pid = process.id();
        let pidfd = match pidfd_of(pid) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // Nobody could watch it: it must not live on beside its successor.
                let ended = process.kill().and_then(|()| process.wait());
                ended.context("end a process that cannot be watched")?;
                return Err(error).context("open its pidfd");
            }
        };
        if let Err(error) = folder.remember(seat, pid) {
            tracing::warn!(process = child.word(), %error, "its process id is not written down");
        }
        Ok(Self {
            child,
            pid,
            software: String::new(),
            layout: LAYOUT,
            channel,
            pidfd,
            why: None,
            has_left: false,
        })
    }

    /// Asks a proxy to let its sessions go on and to accept none; harmless where it was asked before.
    pub(super) fn ask_retire(&self) {
        if let Err(error) = self.channel.send(Body::Retire, &[]) {
            let error = anyhow::Error::from(error);
            tracing::error!("the old proxy cannot be told to retire: {error:#}");
        }
    }

    /// Takes over a process that an earlier supervisor started.
    pub(super) fn adopt(hello: Hello, child: Child, channel: Channel, pidfd: OwnedFd) -> Self {
        Self {
            child,
            pid: hello.pid,
            software: hello.software,
            layout: hello.layout,
            channel,
            pidfd,
            why: None,
            has_left: false,
        }
    }

    /// SIGKILL; `why` becomes the word on its end.
    pub(super) fn kill(&mut self, why: String) {
        self.why = Some(why);
        kill(&self.pidfd);
    }

    /// Asks it to end in an orderly way; a proxy's sessions may go on for so long, or for as long as its configuration
    /// says.
    pub(super) fn ask_stop(&self, drain: Option<Duration>) -> Result<(), SendError> {
        let drain_ms = drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX));
        self.channel.send(Body::Stop { drain_ms }, &[])
    }

    /// Its connection has ended. Make sure that it is dead, and keep what is needed to learn how it
    /// ended.
    pub(super) fn bury(self) -> Remains {
        kill(&self.pidfd);
        rights::lower(self.pid);
        Remains {
            child: self.child,
            pid: self.pid,
            pidfd: self.pidfd,
            why: self.why,
            has_left: self.has_left,
        }
    }
}

impl Remains {
    /// How it ended, in words, once it has; to be asked when the descriptor is readable.
    pub(super) fn end(&self) -> io::Result<Option<String>> {
        let status = match waitid(
            WaitId::PidFd(self.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(None) => return Ok(None),
            Ok(Some(status)) => Some(status),
            // A child of an earlier supervisor: somebody else learns its status.
            Err(rustix::io::Errno::CHILD) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(why) = &self.why {
            return Ok(Some(why.clone()));
        }
        Ok(Some(match status {
            None => "ended".to_owned(),
            Some(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
        }))
    }
}

impl AsFd for Remains {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// SIGKILL by pidfd; that the process is dead already is fine.
pub(super) fn kill(pidfd: &OwnedFd) {
    if let Err(error) = pidfd_send_signal(pidfd, Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(%error, "a child could not be killed");
    }
}

fn pidfd_of(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("the kernel's process ids are positive");
    // Our own child, and nobody waits for it before us: the number cannot have been given away.
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}
