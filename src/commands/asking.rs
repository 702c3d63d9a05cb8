//! The admin process's end.

#![expect(
    clippy::disallowed_types,
    reason = "asks the proxy over a socket of each command's own"
)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use common::command::{Command, Reply, VERSION};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ANSWER_LIMIT, LONGEST_REPLY, Request};

/// Gives the proxy commands.
#[derive(Debug)]
pub(crate) struct Asker(OwnedFd);

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("give the proxy a command")]
    Send(#[source] io::Error),
    #[error("as many commands wait for the proxy already as may; it may hang, see `fmc-lb status`")]
    Full,
    #[error(
        "the proxy has not answered within {} ms; it may hang or be starting anew, see `fmc-lb status`",
        ANSWER_LIMIT.as_millis()
    )]
    Late,
    #[error("the proxy has ended within the command; see `fmc-lb status` whether it was done")]
    Ended,
    #[error("read the proxy's reply")]
    Receive(#[source] io::Error),
    #[error("understand the proxy's reply")]
    Decode(#[source] serde_json::Error),
}

impl Asker {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The proxy's reply, or why there is none within the limit.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, AskError> {
        let (near, far) = UnixStream::pair().map_err(AskError::Send)?;
        let far = far.into_std().map_err(AskError::Send)?;
        let request = Request {
            version: VERSION,
            command,
        };
        self.send(&request, far.as_fd())?;
        drop(far);
        let mut text = Vec::new();
        let mut near = near.take(LONGEST_REPLY);
        match timeout(ANSWER_LIMIT, near.read_to_end(&mut text)).await {
            Ok(read) => read.map_err(AskError::Receive)?,
            Err(_) => return Err(AskError::Late),
        };
        if text.is_empty() {
            return Err(AskError::Ended);
        }
        serde_json::from_slice(&text).map_err(AskError::Decode)
    }

    /// Never waits for the proxy.
    fn send(&self, request: &Request, reply: BorrowedFd<'_>) -> Result<(), AskError> {
        let text = serde_json::to_vec(request).expect("strings and numbers are valid JSON");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [reply];
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        assert!(fits, "the space was made for one descriptor");
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(&self.0, &[IoSlice::new(&text)], &mut ancillary, flags) {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::AGAIN) => Err(AskError::Full),
            Err(error) => Err(AskError::Send(error.into())),
        }
    }
}
