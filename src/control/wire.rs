//! The control connection: one packet for each message, descriptors beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{
    Timeout, set_socket_send_buffer_size, set_socket_send_buffer_size_force, set_socket_timeout,
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use super::{Body, MAX_DESCRIPTORS, Message, VERSION};

/// Longest message in bytes; the largest real one (200 handles) has about 16,000.
const MAX_MESSAGE: usize = 128 * 1024;
/// A living child introduces itself within this time, unless a supervisor has its attention.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// Room for what waits to be read, in bytes; the kernel doubles it for its own overhead. 16,384
/// listening sockets are 82 messages with 13,000 bytes each.
const SETUP_ROOM: usize = 2 << 20;
/// Connections that may wait until a child accepts them.
const BACKLOG: i32 = 8;

/// Either end of a control connection.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

/// Whether to wait for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until one is there (or the limit of [`Channel::limit_waiting`] has passed).
    Yes,
    /// Take one only if it is there.
    No,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Body, Vec<OwnedFd>),
    /// Nothing is there (yet).
    Nothing,
    /// The other side is gone.
    Closed,
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("encode a control message")]
    Encode(#[source] serde_json::Error),
    #[error("send a control message")]
    Send(#[source] io::Error),
}

/// Why a message could not be received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("receive a control message")]
    Receive(#[source] io::Error),
    #[error("a control message was cut (longer than {MAX_MESSAGE} bytes, or too many descriptors)")]
    Cut,
    #[error("read a control message")]
    Decode(#[source] serde_json::Error),
}

/// Binds and listens at `path`, replacing what is there; only the owner may connect.
pub(crate) fn listen(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = new_socket()?;
    // The mode is set before anybody can connect: only listen() opens the door.
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connects to the process that listens at `path`; never waits for it.
pub(crate) fn connect(path: &Path) -> io::Result<Channel> {
    let socket = new_socket()?;
    make_room(&socket)?;
    rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::NONBLOCK)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::empty())?;
    Ok(Channel { socket })
}

/// Whether some process listens at `path`: the kernel refuses a connection once none does, and ends
/// one that a dying process never accepted. Who neither answers nor ends (it may be stopped) lives.
pub(crate) fn is_alive(path: &Path) -> bool {
    let channel = match connect(path) {
        Ok(channel) => channel,
        Err(error) => {
            return !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            );
        }
    };
    if channel.limit_waiting(Some(ANSWER_LIMIT)).is_err() {
        return true;
    }
    !matches!(channel.receive(Wait::Yes), Ok(Received::Closed))
}

impl Channel {
    /// The accepted end of a connection.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// An end over which a whole set-up is sent to who does not read yet.
    pub(crate) fn roomy(socket: OwnedFd) -> io::Result<Self> {
        make_room(&socket)?;
        Ok(Self { socket })
    }

    /// Limits how long [`Wait::Yes`] waits; `None` = for ever.
    pub(crate) fn limit_waiting(&self, limit: Option<Duration>) -> io::Result<()> {
        set_socket_timeout(&self.socket, Timeout::Recv, limit)?;
        Ok(())
    }

    /// Waits until a message can be sent, at most so long; whether one can.
    pub(crate) fn has_room(&self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let mut waiting = [PollFd::new(&self.socket, PollFlags::OUT)];
        Ok(poll(&mut waiting, Some(&limit))? > 0)
    }

    /// Sends one message with its descriptors; never waits for the other side.
    pub(crate) fn send(&self, body: Body, descriptors: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let message = Message {
            version: VERSION,
            body,
        };
        let bytes = serde_json::to_vec(&message).map_err(SendError::Encode)?;
        let mut space = vec![MaybeUninit::uninit(); ancillary_space(descriptors.len())];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            assert!(fits, "the space was made for these descriptors");
        }
        rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(&bytes)],
            &mut ancillary,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )
        .map_err(|error| SendError::Send(error.into()))?;
        Ok(())
    }

    /// Takes the next message.
    pub(crate) fn receive(&self, wait: Wait) -> Result<Received, ReceiveError> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = vec![MaybeUninit::uninit(); ancillary_space(MAX_DESCRIPTORS)];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = match wait {
            Wait::Yes => RecvFlags::CMSG_CLOEXEC,
            Wait::No => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        };
        let got = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.socket, &mut parts, &mut ancillary, flags) {
                Ok(got) => break got,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(Received::Nothing),
                // Closed with messages in its queue that it had not read.
                Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Closed),
                Err(error) => return Err(ReceiveError::Receive(error.into())),
            }
        };
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if got.bytes == 0 {
            return Ok(Received::Closed);
        }
        if got
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(ReceiveError::Cut);
        }
        let message: Message =
            serde_json::from_slice(&bytes[..got.bytes]).map_err(ReceiveError::Decode)?;
        Ok(Received::Message(message.body, descriptors))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A set-up waits in the kernel, whole, until the child that it is for exists. Beyond the host's limit
/// only with CAP_NET_ADMIN; the limit has room for 2,000 sockets.
fn make_room(socket: &OwnedFd) -> io::Result<()> {
    if set_socket_send_buffer_size_force(socket, SETUP_ROOM).is_err() {
        set_socket_send_buffer_size(socket, SETUP_ROOM)?;
    }
    Ok(())
}

fn new_socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn ancillary_space(descriptors: usize) -> usize {
    // One extra header's worth of room: the buffer may have to be aligned.
    rustix::cmsg_space!(ScmRights(descriptors)) + 16
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn pair(folder: &Path) -> (Channel, Channel) {
        let path = folder.join("test.ctl");
        let listening = listen(&path).expect("listen");
        let near = connect(&path).expect("connect");
        let far = rustix::net::accept_with(&listening, SocketFlags::CLOEXEC).expect("accept");
        (near, Channel::new(far))
    }

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let folder = tempfile::tempdir().expect("folder");
        let (near, far) = pair(folder.path());
        let files: Vec<File> = (0..MAX_DESCRIPTORS)
            .map(|_| File::open("/dev/null").expect("open"))
            .collect();
        let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        near.send(Body::Adopt, &descriptors).expect("send");
        let received = far.receive(Wait::Yes).expect("receive");
        assert!(
            matches!(&received, Received::Message(Body::Adopt, got) if got.len() == MAX_DESCRIPTORS),
            "{received:?}"
        );
        assert!(matches!(
            far.receive(Wait::No).expect("receive"),
            Received::Nothing
        ));
        drop(near);
        assert!(matches!(
            far.receive(Wait::Yes).expect("receive"),
            Received::Closed
        ));
    }

    #[test]
    fn messages_wait_for_a_child_that_has_not_accepted_yet() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("test.ctl");
        let listening = listen(&path).expect("listen");
        let near = connect(&path).expect("connect");
        near.send(Body::Stop { drain_ms: None }, &[]).expect("send");
        let far = Channel::new(rustix::net::accept(&listening).expect("accept"));
        assert!(matches!(
            far.receive(Wait::No).expect("receive"),
            Received::Message(Body::Stop { .. }, _)
        ));
    }

    #[test]
    fn waiting_has_a_limit() {
        let folder = tempfile::tempdir().expect("folder");
        let (near, _far) = pair(folder.path());
        near.limit_waiting(Some(Duration::from_millis(20)))
            .expect("limit");
        assert!(matches!(
            near.receive(Wait::Yes).expect("receive"),
            Received::Nothing
        ));
    }

    #[test]
    fn a_socket_that_nobody_holds_is_dead() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("test.ctl");
        assert!(!is_alive(&path));
        let listening = listen(&path).expect("listen");
        assert!(is_alive(&path), "it does not answer, it may be stopped");
        let dying = std::thread::spawn(move || drop(listening));
        assert!(!is_alive(&path), "it never accepts");
        dying.join().expect("no panic");
        assert!(!is_alive(&path), "nobody listens");
    }
}
