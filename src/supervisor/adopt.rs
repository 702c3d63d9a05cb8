//! The children that an earlier supervisor left behind.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use common::board::{Child, LAYOUT, can_share};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::folder::{Folder, Seat};
use super::kit::Inheritance;
use super::process::{self, Process};
use crate::control::{self, ANSWER_LIMIT, Body, Channel, Hello, Received, Wait};

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
        // One that was to take a place, and nobody knows whether it has; but for a proxy whose predecessor has left it.
        let next = Seat::Next(child);
        if control::is_alive(&folder.control_socket(next)) {
            let is_free = !control::is_alive(&folder.control_socket(Seat::Of(child)));
            match child {
                Child::Proxy if is_free => folder.rename(next, Seat::Of(child)),
                Child::Proxy | Child::Vrrp | Child::Admin => end(child, next, folder)?,
            }
        }
        folder.forget(next);
        survivors.extend(survivor(child, Seat::Of(child), folder)?);
    }
    Ok(survivors)
}

/// Finds proxies that have retired and still have sessions. To be called before the children are looked
/// for: one that does not answer ends like those.
pub(super) fn retired(folder: &Folder) -> anyhow::Result<Vec<Survivor>> {
    let mut retired = Vec::new();
    for seat in folder.retired() {
        retired.extend(survivor(Child::Proxy, seat, folder)?);
    }
    Ok(retired)
}

fn survivor(child: Child, seat: Seat, folder: &Folder) -> anyhow::Result<Option<Survivor>> {
    let path = folder.control_socket(seat);
    let adopted = match control::connect(&path) {
        Err(error) if is_dead(&error) => {
            folder.forget(seat);
            return Ok(None);
        }
        connected => connected
            .with_context(|| format!("connect to {}", path.display()))
            .and_then(|channel| adopt((child, seat), channel, folder)),
    };
    match adopted {
        Ok(survivor) => Ok(Some(survivor)),
        Err(error) => {
            tracing::warn!(process = child.word(), "cannot be adopted: {error:#}");
            end(child, seat, folder)?;
            Ok(None)
        }
    }
}

fn is_dead(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn adopt(
    (child, seat): (Child, Seat),
    channel: Channel,
    folder: &Folder,
) -> anyhow::Result<Survivor> {
    channel.limit_waiting(Some(ANSWER_LIMIT))?;
    let hello = receive_hello(&channel)?;
    let shares = can_share(hello.layout, hello.oldest);
    if hello.kind != child.word() || !shares || !hello.running {
        bail!(
            "it is {} {} with boards of layout {} (this version has {LAYOUT})",
            hello.kind,
            hello.software,
            hello.layout
        );
    }
    // What it says of itself is not what we signal later.
    let (pid, pidfd) = folder
        .remembered(seat)
        .context("it is not the process that the runtime folder remembers")?;
    if hello.pid != pid {
        bail!(
            "it calls itself process {}, and {pid} was started",
            hello.pid
        );
    }
    let (setup, handles) = channel.receive_setup()?;
    channel.send(Body::Adopt, &[])?;
    channel.limit_waiting(None)?;
    Ok(Survivor {
        process: Process::adopt(hello, child, channel, pidfd),
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
fn end(child: Child, seat: Seat, folder: &Folder) -> anyhow::Result<()> {
    if let Some((_, pidfd)) = folder.remembered(seat) {
        process::kill(&pidfd);
        wait_until_gone(&pidfd)
            .with_context(|| format!("wait for the end of the old {}", child.word()))?;
    }
    let path = folder.control_socket(seat);
    if control::is_alive(&path) {
        bail!(
            "an old {} process holds {} and neither answers nor can be found; end it by hand",
            child.word(),
            path.display()
        );
    }
    folder.forget(seat);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::thread::JoinHandle;

    use crate::control::Setup;

    /// A child that says it is process `says`; answers so many times, then is gone.
    fn impostor(folder: &Folder, at: (Child, Seat), (says, times): (u32, u32)) -> JoinHandle<()> {
        let (child, seat) = at;
        let path = folder.control_socket(seat);
        let listening = control::listen(&path).expect("listen");
        let setup = Setup {
            node: "lb1".to_owned(),
            threads: 1,
            runtime_dir: folder.path().to_owned(),
            user: None,
            beside: false,
            lane: 0,
            handles: 0,
        };
        std::thread::spawn(move || {
            let flags = rustix::net::SocketFlags::CLOEXEC;
            let mut listening = Some(listening);
            for left in (0..times).rev() {
                let there = listening.as_ref().expect("until the last one");
                let accepted = rustix::net::accept_with(there, flags).expect("a supervisor");
                if left == 0 {
                    listening = None;
                }
                let channel = Channel::new(accepted);
                let hello = Hello {
                    layout: LAYOUT,
                    oldest: LAYOUT,
                    pid: says,
                    kind: child.word().to_owned(),
                    software: "0".to_owned(),
                    running: true,
                };
                channel.send(Body::Hello(hello), &[]).expect("sent");
                // Refused before that, or after.
                let _ = channel.send_setup(setup.clone(), &[]);
                let _ = channel.receive(Wait::Yes);
            }
        })
    }

    #[test]
    fn only_the_process_that_was_started_is_adopted() {
        let folder = tempfile::tempdir().expect("folder");
        let folder = Folder::new(folder.path());
        let mut started = Command::new("sleep").arg("60").spawn().expect("sleep(1)");
        let seat = Seat::Of(Child::Admin);
        folder.remember(seat, started.id()).expect("written");
        let admin = (Child::Admin, seat);
        let child = impostor(&folder, admin, (started.id(), 1));
        let adopted = survivors(&folder).expect("it answers");
        assert_eq!(adopted.len(), 1);
        drop(adopted);
        child.join().expect("it ends");

        // It names another process: that one is left alone, the one that we started is replaced.
        let child = impostor(&folder, admin, (std::process::id(), 1));
        assert!(survivors(&folder).expect("refused").is_empty());
        child.join().expect("it ends");
        assert!(!started.wait().expect("our child").success());
        assert!(folder.remembered(seat).is_none());
    }

    /// A supervisor may die between the two names that a succession changes.
    #[test]
    fn a_proxy_whose_predecessor_has_left_its_place_is_adopted_there() {
        let folder = tempfile::tempdir().expect("folder");
        let folder = Folder::new(folder.path());
        let own = std::process::id();
        let next = Seat::Next(Child::Proxy);
        folder.remember(next, own).expect("written");
        let child = impostor(&folder, (Child::Proxy, next), (own, 2));
        let adopted = survivors(&folder).expect("it answers");
        assert_eq!(adopted.len(), 1);
        assert_eq!(adopted[0].inheritance.child, Child::Proxy);
        assert!(folder.remembered(next).is_none());
        assert!(folder.remembered(Seat::Of(Child::Proxy)).is_some());
        drop(adopted);
        child.join().expect("it ends");
    }
}
