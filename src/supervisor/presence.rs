//! One node runs once on a machine, whatever its runtime folder.
//!
//! A folder has one supervisor, but another folder knows nothing of it: `fmc-lb release` with that
//! one would take virtual IPs and shadows from under the living node, and `fmc-lb run` would share
//! its listening sockets. So each node has a name that the kernel keeps and no folder changes: the
//! abstract unix socket `@fmc-lb/ADDRESS` (unix(7)), of the node's address in the file. Such names
//! belong to the network namespace, as addresses do; two nodes in one have two.
//!
//! | who | has the socket | until |
//! |---|---|---|
//! | supervisor | from the children that it adopts, or binds it before it binds or sets anything else | it ends |
//! | each child | with its set-up; only keeps it | it ends |
//! | `fmc-lb release` | binds it, unless a child of its own folder lives, whose node it then is | it ends |
//!
//! So the name is taken while any process of the node lives, and the kernel frees it with the last
//! one: after a SIGKILL nothing has to be cleaned up. Nobody listens on it; who holds it is read in
//! /proc, where a dying process is not seen any more, so that a restart waits for it and is not
//! refused.

#![expect(
    clippy::disallowed_methods,
    reason = "waits for processes that were killed to be gone"
)]

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::adopt::Survivor;
use crate::control::Handle;

/// How often it is tried again.
const STEP: Duration = Duration::from_millis(50);
/// A process that was killed is seen as living for a moment.
const KILLED: Duration = Duration::from_secs(1);
/// A dying one, seen no more, has its sockets to close: 16,000 take 160 ms.
const DYING: Duration = Duration::from_secs(5);

/// The name of a node, for as long as this or a copy of it lives.
#[derive(Debug)]
pub(crate) struct Presence {
    /// `None` = a stranger has taken the name, and the node goes on without one.
    socket: Option<OwnedFd>,
}

impl Presence {
    /// Takes the name of the node at this address.
    ///
    /// # Errors
    /// A process of that node lives, or a stranger's has the name.
    pub(crate) fn take(address: IpAddr) -> anyhow::Result<Self> {
        match take(address)? {
            Ok(socket) => Ok(Self {
                socket: Some(socket),
            }),
            Err(holders) => bail!(refusal(address, &holders)),
        }
    }

    /// The name that the survivors hand over, or takes it. Any user of the machine can take any
    /// name, and that must keep no node from running: then it goes on without.
    ///
    /// # Errors
    /// A process of that node lives.
    pub(super) fn inherit_or_take(
        survivors: &mut [&mut Survivor],
        address: IpAddr,
    ) -> anyhow::Result<Self> {
        if let Some(socket) = survivors.iter_mut().find_map(|one| handed_over(one)) {
            return Ok(Self {
                socket: Some(socket),
            });
        }
        let holders = match take(address)? {
            Ok(socket) => {
                return Ok(Self {
                    socket: Some(socket),
                });
            }
            Err(holders) => holders,
        };
        let Some(stranger) = holders.iter().find(|holder| !holder.may_be_ours()) else {
            bail!(refusal(address, &holders));
        };
        tracing::warn!(
            pid = stranger.pid,
            command = stranger.command,
            "another user's process has this node's name, so a second fmc-lb would not be noticed"
        );
        Ok(Self { socket: None })
    }

    /// For a child.
    pub(super) fn handle(&self) -> io::Result<Option<(Handle, OwnedFd)>> {
        let copy = |socket: &OwnedFd| Ok((Handle::NodeName, socket.try_clone()?));
        self.socket.as_ref().map(copy).transpose()
    }
}

fn handed_over(survivor: &mut Survivor) -> Option<OwnedFd> {
    let handles = &mut survivor.inheritance.handles;
    let index = handles
        .iter()
        .position(|(handle, _)| *handle == Handle::NodeName)?;
    Some(handles.swap_remove(index).1)
}

/// The socket, or who holds it.
fn take(address: IpAddr) -> anyhow::Result<Result<OwnedFd, Vec<Holder>>> {
    let name = format!("fmc-lb/{address}");
    let mut waited = Duration::ZERO;
    loop {
        match bind(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return Ok(Ok(bound.with_context(|| format!("take the name @{name}"))?)),
        }
        let holders = holders(&name);
        let patience = if holders.is_empty() { DYING } else { KILLED };
        if waited >= patience {
            return Ok(Err(holders));
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
}

fn bind(name: &str) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// A process that has the socket open.
#[derive(Debug)]
struct Holder {
    pid: u32,
    /// Who made the socket.
    owner: u32,
    command: String,
}

impl Holder {
    fn may_be_ours(&self) -> bool {
        self.owner == 0 || self.owner == nix::unistd::geteuid().as_raw()
    }
}

/// The living processes that hold the name, as far as they can be seen from here.
fn holders(name: &str) -> Vec<Holder> {
    let Some(inode) = inode_of(name) else {
        return Vec::new();
    };
    let link = format!("socket:[{inode}]");
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let descriptor = fs::read_dir(entry.path().join("fd"))
                .ok()?
                .flatten()
                .map(|entry| entry.path())
                .find(|path| {
                    fs::read_link(path).is_ok_and(|target| target.as_os_str() == &*link)
                })?;
            Some(Holder {
                pid,
                owner: fs::metadata(descriptor).ok()?.uid(),
                command: command_of(pid),
            })
        })
        .collect()
}

/// The number of the stream socket with this abstract name in this network namespace (proc_net(5)).
fn inode_of(name: &str) -> Option<String> {
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    let path = format!("@{name}");
    table.lines().find_map(|line| {
        // Num RefCount Protocol Flags Type St Inode Path
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(4) == Some(&"0001") && words.get(7) == Some(&&*path))
            .then(|| words[6].to_owned())
    })
}

fn command_of(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&line).replace('\0', " ");
    words.trim_end().to_owned()
}

fn refusal(address: IpAddr, holders: &[Holder]) -> String {
    let who = match holders {
        [] => {
            format!("as a process that cannot be seen from here (`ss -xa` shows @fmc-lb/{address})")
        }
        [first, others @ ..] => {
            let more = match others.len() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            format!("process {} ({}){more}", first.pid, first.command)
        }
    };
    format!(
        "the node {address} runs on this machine already: {who}; to go on with that one name its folder: \
         --runtime-dir DIR"
    )
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// An address of nobody's (RFC 2544), another one for each run and test.
    fn address(test: u8) -> IpAddr {
        let [.., high, low] = std::process::id().to_be_bytes();
        IpAddr::from([198, 18 + (test & 1), high ^ (test << 6), low])
    }

    #[test]
    fn a_node_runs_once_and_whoever_runs_is_named() {
        let address = address(0);
        let first = Presence::take(address).expect("nobody has it");
        let error = Presence::take(address).expect_err("taken").to_string();
        let own = format!("process {} (", std::process::id());
        assert!(
            error.contains(&own) && error.contains("--runtime-dir"),
            "{error}"
        );
        // A child has a copy and outlives its supervisor.
        let (_, copy) = first.handle().expect("copied").expect("it has one");
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(copy))
            .spawn()
            .expect("sleep(1)");
        drop(first);
        let error = Presence::take(address).expect_err("taken").to_string();
        let childs = format!("process {} (sleep 60)", child.id());
        assert!(error.contains(&childs), "{error}");
        // Not waited for: a restart may come before its last breath.
        child.kill().expect("our child");
        Presence::take(address).expect("the last one is gone");
        child.wait().expect("our child");
    }

    #[test]
    fn nodes_of_other_addresses_are_other_nodes() {
        let _one = Presence::take(address(1)).expect("nobody has it");
        let _other = Presence::take(address(2)).expect("nobody has it");
    }

    #[test]
    fn a_stranger_keeps_no_node_from_running() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can make a socket as somebody else");
            return;
        }
        let address = address(3);
        let squatter = std::thread::spawn(move || {
            // Of this thread alone: it says who made a socket.
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            bind(&format!("fmc-lb/{address}")).expect("nobody has it")
        });
        let _squatter = squatter.join().expect("no panic");
        let presence = Presence::inherit_or_take(&mut [], address).expect("a warning only");
        assert!(presence.handle().expect("nothing to copy").is_none());
        Presence::take(address).expect_err("nothing is released on a doubt");
    }
}
