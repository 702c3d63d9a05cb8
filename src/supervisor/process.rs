//! One child process: its birth, what is said to it, its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Context;
use common::board::Child;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use super::folder::Folder;
use super::kit::Kit;
use crate::control::{self, Body, Channel, SendError};
use crate::rights;

/// Bytes of the stack of each thread of vrrp but its first (std::thread, RUST_MIN_STACK). Its memory is
/// locked, so a stack is there as a whole, and the default is 2 MiB.
const VRRP_STACK: &str = "262144";

/// A living child.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) pid: u32,
    pub(super) channel: Channel,
    /// Names this process and no other, also after its number was given away.
    pidfd: OwnedFd,
    /// Why we killed it, if we did.
    why: Option<String>,
}

/// A child whose connection has ended: dead, or about to be.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) child: Child,
    pub(super) pid: u32,
    pidfd: OwnedFd,
    why: Option<String>,
}

impl Process {
    /// Starts a child. It finds everything it needs in its control socket at its first look: the
    /// connection is made and the messages are sent before the process exists.
    pub(super) fn start(child: Child, kit: &Kit, folder: &Folder) -> anyhow::Result<Self> {
        let path = folder.control_socket(child);
        let listening = control::listen(&path)
            .with_context(|| format!("make the control socket {}", path.display()))?;
        let channel = control::connect(&path)
            .with_context(|| format!("connect to the control socket {}", path.display()))?;
        let (setup, handles) = kit.for_child(child).context("collect its descriptors")?;
        channel
            .send_setup(setup, &handles)
            .context("send its set-up")?;
        let mut command = Command::new("/proc/self/exe");
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
        if let Err(error) = folder.remember(child, pid) {
            tracing::warn!(process = child.word(), %error, "its process id is not written down");
        }
        Ok(Self {
            child,
            pid,
            channel,
            pidfd,
            why: None,
        })
    }

    /// Takes over a process that an earlier supervisor started.
    pub(super) fn adopt(child: Child, pid: u32, channel: Channel, pidfd: OwnedFd) -> Self {
        Self {
            child,
            pid,
            channel,
            pidfd,
            why: None,
        }
    }

    /// SIGKILL; `why` becomes the word on its end.
    pub(super) fn kill(&mut self, why: String) {
        self.why = Some(why);
        kill(&self.pidfd);
    }

    /// Asks it to end in an orderly way.
    pub(super) fn ask_stop(&self) -> Result<(), SendError> {
        self.channel.send(Body::Stop, &[])
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
