//! The admin process's end.

#![expect(
    clippy::disallowed_types,
    reason = "asks over a socket of each command's own"
)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use common::command::{Reply, VERSION};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{LONGEST_REPLY, Partner, Request};

/// Gives somebody commands.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: OwnedFd,
    partner: Partner,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("give the {who} a command")]
    Send {
        who: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("as many commands wait for the {who} already as may; it may hang, see `fmc-lb status`")]
    Full { who: &'static str },
    #[error(
        "the {who} has not answered within {} ms; it may hang or be starting anew, see `fmc-lb status`",
        .limit.as_millis()
    )]
    Late { who: &'static str, limit: Duration },
    #[error("the {who} has ended within the command; see `fmc-lb status` whether it was done")]
    Ended { who: &'static str },
    #[error("read the reply of the {who}")]
    Receive {
        who: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("understand the reply of the {who}")]
    Decode {
        who: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

impl Asker {
    pub(crate) fn new(socket: OwnedFd, partner: Partner) -> Self {
        Self { socket, partner }
    }

    /// The reply to a command, or why there is none within the limit.
    pub(crate) async fn ask<T: Serialize>(&self, command: T) -> Result<Reply, AskError> {
        let Partner { name: who, limit } = self.partner;
        let failed = |source| AskError::Send { who, source };
        let (near, far) = UnixStream::pair().map_err(failed)?;
        let far = far.into_std().map_err(failed)?;
        let request = Request {
            version: VERSION,
            command,
        };
        self.send(&request, far.as_fd())?;
        drop(far);
        let mut text = Vec::new();
        let mut near = near.take(LONGEST_REPLY);
        match timeout(limit, near.read_to_end(&mut text)).await {
            Ok(read) => read.map_err(|source| AskError::Receive { who, source })?,
            Err(_) => return Err(AskError::Late { who, limit }),
        };
        if text.is_empty() {
            return Err(AskError::Ended { who });
        }
        serde_json::from_slice(&text).map_err(|source| AskError::Decode { who, source })
    }

    /// Never waits.
    fn send<T: Serialize>(
        &self,
        request: &Request<T>,
        reply: BorrowedFd<'_>,
    ) -> Result<(), AskError> {
        let who = self.partner.name;
        let text = serde_json::to_vec(request).expect("strings and numbers are valid JSON");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [reply];
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        assert!(fits, "the space was made for one descriptor");
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(&self.socket, &[IoSlice::new(&text)], &mut ancillary, flags) {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::AGAIN) => Err(AskError::Full { who }),
            Err(error) => Err(AskError::Send {
                who,
                source: error.into(),
            }),
        }
    }
}
