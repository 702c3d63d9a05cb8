//! The proxy's end.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use common::command::{Command, Reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::{ANSWER_LIMIT, LONGEST_REQUEST, Request};

/// What came.
enum Came {
    /// A packet and the sockets beside it.
    Packet(Vec<u8>, Vec<OwnedFd>),
    /// Nobody holds the other end.
    Closed,
}

/// Passes commands on and sends the replies back, for as long as somebody may give any. `execute`
/// answers within the duration that it is given.
///
/// # Errors
/// The socket fails.
pub(crate) fn serve(
    socket: &OwnedFd,
    execute: impl Fn(Command, Duration) -> Reply,
) -> io::Result<()> {
    while let Came::Packet(packet, replies) = receive(socket)? {
        let Some(reply) = replies.into_iter().next() else {
            tracing::warn!("a command without a socket for its reply");
            continue;
        };
        if is_abandoned(&reply)? {
            tracing::debug!("a command came too late and is not executed");
            continue;
        }
        let answer = match serde_json::from_slice::<Request>(&packet) {
            Ok(request) => execute(request.command, ANSWER_LIMIT),
            Err(error) => Reply::error(format!("the proxy does not understand this: {error}")),
        };
        if let Err(error) = send(reply, &answer) {
            tracing::debug!(%error, "nobody waited for a reply");
        }
    }
    Ok(())
}

fn receive(socket: &OwnedFd) -> io::Result<Came> {
    let mut bytes = vec![0; LONGEST_REQUEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
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

/// Whether the other end of a reply's socket is closed: its holder waits no longer.
fn is_abandoned(reply: &OwnedFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(reply, PollFlags::empty())];
    poll(&mut asked, Some(&Timespec::default()))?;
    Ok(asked[0].revents().contains(PollFlags::HUP))
}

fn send(reply: OwnedFd, answer: &Reply) -> io::Result<()> {
    // It comes in the mode of the asking process's runtime.
    rustix::fs::fcntl_setfl(&reply, rustix::fs::OFlags::empty())?;
    set_socket_timeout(&reply, Timeout::Send, Some(ANSWER_LIMIT))?;
    let mut text = serde_json::to_vec(answer).expect("strings and numbers are valid JSON");
    text.push(b'\n');
    File::from(reply).write_all(&text)
}
