//! The end of whom is asked: a thread that waits for commands, or a loop that looks for the next one.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use common::command::Reply;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::de::DeserializeOwned;

use super::{LONGEST_REQUEST, Partner, Request};

/// What came.
enum Came {
    /// A packet and the sockets beside it.
    Packet(Vec<u8>, Vec<OwnedFd>),
    /// Nobody holds the other end.
    Closed,
    /// Nothing is there.
    Nothing,
}

/// A command that somebody waits for.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    /// Or why it is none.
    pub(crate) command: Result<T, String>,
    pub(crate) reply: ReplySocket,
}

/// Where a reply goes.
#[derive(Debug)]
pub(crate) struct ReplySocket(OwnedFd);

/// Passes commands on and sends the replies back, for as long as somebody may give any. `execute`
/// answers within the duration that it is given.
///
/// # Errors
/// The socket fails.
pub(crate) fn serve<T: DeserializeOwned>(
    socket: &OwnedFd,
    partner: Partner,
    execute: impl Fn(T, Duration) -> Reply,
) -> io::Result<()> {
    loop {
        let (packet, replies) = match receive(socket, RecvFlags::empty())? {
            Came::Packet(packet, replies) => (packet, replies),
            Came::Nothing => continue,
            Came::Closed => return Ok(()),
        };
        let Some(asked) = read::<T>(&packet, replies, partner)? else {
            continue;
        };
        let answer = match asked.command {
            Ok(command) => execute(command, partner.limit),
            Err(why) => Reply::error(why),
        };
        if let Err(error) = asked.reply.send(&answer, partner.limit) {
            tracing::debug!(%error, "nobody waited for a reply");
        }
    }
}

/// The next command, if one is there; never waits.
///
/// # Errors
/// The socket fails.
pub(crate) fn next<T: DeserializeOwned>(
    socket: &OwnedFd,
    partner: Partner,
) -> io::Result<Option<Asked<T>>> {
    loop {
        match receive(socket, RecvFlags::DONTWAIT)? {
            Came::Packet(packet, replies) => {
                if let Some(asked) = read(&packet, replies, partner)? {
                    return Ok(Some(asked));
                }
            }
            Came::Nothing | Came::Closed => return Ok(None),
        }
    }
}

/// `None` = nobody waits for it.
fn read<T: DeserializeOwned>(
    packet: &[u8],
    replies: Vec<OwnedFd>,
    partner: Partner,
) -> io::Result<Option<Asked<T>>> {
    let Some(reply) = replies.into_iter().next().map(ReplySocket) else {
        tracing::warn!("a command without a socket for its reply");
        return Ok(None);
    };
    if reply.is_abandoned()? {
        tracing::debug!("a command came too late and is not executed");
        return Ok(None);
    }
    let command = serde_json::from_slice::<Request<T>>(packet)
        .map(|request| request.command)
        .map_err(|error| format!("the {} does not understand this: {error}", partner.name));
    Ok(Some(Asked { command, reply }))
}

fn receive(socket: &OwnedFd, flags: RecvFlags) -> io::Result<Came> {
    let mut bytes = vec![0; LONGEST_REQUEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let got = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(Came::Nothing),
            got => break got?,
        }
    };
    let mut replies = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            replies.extend(some);
        }
    }
    if got.bytes == 0 {
        return Ok(Came::Closed);
    }
    bytes.truncate(got.bytes);
    Ok(Came::Packet(bytes, replies))
}

impl ReplySocket {
    /// Whether the other end is closed: its holder waits no longer.
    fn is_abandoned(&self) -> io::Result<bool> {
        let mut asked = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut asked, Some(&Timespec::default()))?;
        Ok(asked[0].revents().contains(PollFlags::HUP))
    }

    /// Waits so long for a reader that is slow.
    ///
    /// # Errors
    /// Nobody reads it.
    pub(crate) fn send(self, answer: &Reply, limit: Duration) -> io::Result<()> {
        // It comes in the mode of the asking process's runtime.
        rustix::fs::fcntl_setfl(&self.0, OFlags::empty())?;
        set_socket_timeout(&self.0, Timeout::Send, Some(limit))?;
        self.write(answer)
    }

    /// Never waits: a reply that the socket's buffer does not take is cut, and so no reply.
    ///
    /// # Errors
    /// Nobody reads it, or it is too long.
    pub(crate) fn send_now(self, answer: &Reply) -> io::Result<()> {
        rustix::fs::fcntl_setfl(&self.0, OFlags::NONBLOCK)?;
        self.write(answer)
    }

    fn write(self, answer: &Reply) -> io::Result<()> {
        let mut text = serde_json::to_vec(answer).expect("strings and numbers are valid JSON");
        text.push(b'\n');
        File::from(self.0).write_all(&text)
    }
}
