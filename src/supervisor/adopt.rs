//! The children that an earlier supervisor left behind.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use common::board::{Child, LAYOUT};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::folder::Folder;
use super::kit::Inheritance;
use super::process::{self, Process};
use crate::control::{self, ANSWER_LIMIT, Body, Channel, Handle, Hello, Received, Wait};

/// Limit for a killed process to be gone. All its sockets are closed by then.
const GONE_LIMIT: Duration = Duration::from_secs(5);

/// A living child, and what it hands over.
#[derive(Debug)]
pub(super) struct Survivor {
    pub(super) process: Process,
    pub(super) inheritance: Inheritance,
}

/// Finds the children that live. Those that do not answer are killed: they may hold the listening
/// sockets, and nothing is bound anew while somebody does.
pub(super) fn survivors(folder: &Folder) -> anyhow::Result<Vec<Survivor>> {
    let mut survivors = Vec::new();
    for child in Child::ALL {
        let path = folder.control_socket(child);
        match control::connect(&path) {
            Err(error) if is_dead(&error) => folder.forget(child),
            connected => {
                let adopted = connected
                    .with_context(|| format!("connect to {}", path.display()))
                    .and_then(|channel| adopt(child, channel));
                match adopted {
                    Ok(survivor) => survivors.push(survivor),
                    Err(error) => {
                        tracing::warn!(process = child.word(), "cannot be adopted: {error:#}");
                        end(child, folder)?;
                    }
                }
            }
        }
    }
    Ok(survivors)
}

fn is_dead(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn adopt(child: Child, channel: Channel) -> anyhow::Result<Survivor> {
    channel.limit_waiting(Some(ANSWER_LIMIT))?;
    let hello = receive_hello(&channel)?;
    if hello.kind != child.word() || hello.layout != LAYOUT || !hello.running {
        bail!(
            "it is {} {} with boards of layout {} ({LAYOUT} is needed)",
            hello.kind,
            hello.software,
            hello.layout
        );
    }
    let (setup, mut handles) = channel.receive_setup()?;
    let place = handles
        .iter()
        .position(|(handle, _)| *handle == Handle::Process)
        .context("it sent no pidfd of itself")?;
    let (_, pidfd) = handles.swap_remove(place);
    channel.send(Body::Adopt, &[])?;
    channel.limit_waiting(None)?;
    Ok(Survivor {
        process: Process::adopt(child, hello.pid, channel, pidfd),
        inheritance: Inheritance {
            child,
            setup,
            handles,
        },
    })
}

fn receive_hello(channel: &Channel) -> anyhow::Result<Hello> {
    match channel.receive(Wait::Yes)? {
        Received::Message(Body::Hello(hello), _) => Ok(hello),
        Received::Message(..) => bail!("its first message is no hello"),
        Received::Nothing => bail!("no answer within {} ms", ANSWER_LIMIT.as_millis()),
        Received::Closed => bail!("it is gone"),
    }
}

/// Kills a child that does not answer, and waits until its sockets are closed.
fn end(child: Child, folder: &Folder) -> anyhow::Result<()> {
    if let Some(pidfd) = folder.remembered(child) {
        process::kill(&pidfd);
        wait_until_gone(&pidfd)
            .with_context(|| format!("wait for the end of the old {}", child.word()))?;
    }
    let path = folder.control_socket(child);
    if control::is_alive(&path) {
        bail!(
            "an old {} process holds {} and neither answers nor can be found; end it by hand",
            child.word(),
            path.display()
        );
    }
    folder.forget(child);
    Ok(())
}

fn wait_until_gone(pidfd: &OwnedFd) -> io::Result<()> {
    let limit = Timespec {
        tv_sec: i64::try_from(GONE_LIMIT.as_secs()).expect("a few seconds"),
        tv_nsec: 0,
    };
    let mut waiting = [PollFd::new(pidfd, PollFlags::IN)];
    match poll(&mut waiting, Some(&limit))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
