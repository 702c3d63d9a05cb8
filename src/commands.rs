//! How the admin process gives the proxy commands, and the supervisor tasks.
//!
//! For each of the two a pair of connected SOCK_SEQPACKET sockets, which the supervisor makes and which
//! outlives both ends: what is sent while nobody lives there is read by the next one. Each command is one
//! packet, a JSON object with a `version`, and beside it comes a socket of its own for the reply, one JSON
//! line. So no reply is ever taken for another one, and a command whose giver waits no longer, which shows
//! on that socket, is not executed: nobody is told of a failure that happens all the same a second later.
//! Nobody is waited for longer than [`Partner::limit`].

mod asking;
mod serving;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

pub(crate) use self::asking::{AskError, Asker};
pub(crate) use self::serving::{ReplySocket, next, serve};

/// Who is given commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partner {
    pub(crate) name: &'static str,
    /// How long the admin process waits for a reply.
    pub(crate) limit: Duration,
}

pub(crate) const PROXY: Partner = Partner {
    name: "proxy",
    limit: Duration::from_millis(300),
};
/// One that has retired.
pub(crate) const RETIRED: Partner = Partner {
    name: "retired proxy",
    ..PROXY
};
/// It reads files, and asks its children, before it replies.
pub(crate) const SUPERVISOR: Partner = Partner {
    name: "supervisor",
    limit: Duration::from_secs(25),
};

/// Longest packet in bytes.
const LONGEST_REQUEST: usize = 16 * 1024;
/// Longest reply in bytes: a thousand sessions with every name full are less.
const LONGEST_REPLY: u64 = 1024 * 1024;

/// A command on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Request<T> {
    version: u32,
    #[serde(flatten)]
    command: T,
}

/// The two ends: the admin process's, and that of whom it asks.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (asking, serving) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((asking, serving))
}

#[cfg(test)]
mod tests;
