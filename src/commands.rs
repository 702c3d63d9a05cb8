//! How the admin process gives the proxy commands.
//!
//! A pair of connected SOCK_SEQPACKET sockets, which the supervisor makes and which outlives both:
//! what is sent while no proxy lives is read by the next one. Each command is one packet, a JSON
//! object with a `version`, and beside it comes a socket of its own for the reply, one JSON line. So
//! no reply is ever taken for another one, and a command whose giver waits no longer, which shows on
//! that socket, is not executed: nobody is told of a failure that happens all the same a second
//! later. The proxy is never waited for longer than [`ANSWER_LIMIT`].

mod asking;
mod serving;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use common::command::Command;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

pub(crate) use self::asking::Asker;
pub(crate) use self::serving::serve;

/// How long the admin process waits for the proxy.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_millis(300);
/// Longest packet in bytes.
const LONGEST_REQUEST: usize = 16 * 1024;
/// Longest reply in bytes: a thousand sessions with every name full are less.
const LONGEST_REPLY: u64 = 1024 * 1024;

/// A command on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    version: u32,
    #[serde(flatten)]
    command: Command,
}

/// The two ends: the admin process's, and the proxy's.
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
