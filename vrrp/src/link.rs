//! The kernel's network configuration, by rtnetlink (rtnetlink(7)), synchronous and bounded.
//!
//! The kernel carries a request out inside send(2), so its answer is there when send returns; the
//! wait for it is only a bound. What is asked for here:
//!
//! - `interface`: index, hardware address and state of an interface.
//! - `address`: who has which address, leases and shadows of the VIPs.
//! - `route`: routes and rules that follow VIPs.
//! - `events`: what others changed.

mod address;
mod events;
mod interface;
mod route;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

pub use self::address::{Address, Placement, Removal};
pub use self::events::{Event, EventSocket, RouteWatch};
pub use self::interface::Interface;
pub use self::route::Installed;

/// Longest wait for an answer, in milliseconds.
const ANSWER_LIMIT: i64 = 20;
/// The kernel builds dumps in pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 32 * 1024;
/// A dump of more pieces than this is given up: some 10,000 addresses.
const DUMP_PIECES: usize = 64;

/// A request to the kernel's network configuration failed.
#[derive(Debug, thiserror::Error)]
#[error("{request} by rtnetlink")]
pub struct LinkError {
    /// What was asked for ("install the lease of 192.0.2.1").
    request: String,
    #[source]
    source: io::Error,
}

impl LinkError {
    /// The kernel's own words, for a state's reason.
    pub(crate) fn cause(&self) -> String {
        format!("{}: {}", self.request, self.source)
    }
}

/// A socket for requests.
#[derive(Debug)]
pub struct RouteSocket {
    socket: OwnedFd,
    sequence: u32,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl RouteSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, LinkError> {
        let socket = route_socket(0).map_err(failed("open a socket"))?;
        setsockopt(
            &socket,
            sockopt::ReceiveTimeout,
            &TimeVal::milliseconds(ANSWER_LIMIT),
        )
        .map_err(|errno| failed("limit the wait of a socket")(errno.into()))?;
        crate::syscall::filter_lists(&socket);
        Ok(Self {
            socket,
            sequence: 0,
            request: Vec::with_capacity(512),
            answer: vec![0; DATAGRAM_BYTES],
        })
    }

    /// Makes a change and waits for the kernel's answer.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        // Answers to requests that were given up may come first.
        for _ in 0..DUMP_PIECES {
            let length = recv(self.socket.as_raw_fd(), &mut self.answer, MsgFlags::empty())?;
            for answer in Messages(&self.answer[..length]) {
                if answer.sequence_number() == self.sequence {
                    return acknowledgement(&answer).unwrap_or(Ok(()));
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Asks for everything of a kind; `each` gets the payload of every message. Says whether the
    /// list is consistent, that is, nothing changed while it was made.
    fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        let mut consistent = true;
        self.ask(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        for _ in 0..DUMP_PIECES {
            let length = recv(self.socket.as_raw_fd(), &mut self.answer, MsgFlags::empty())?;
            for answer in Messages(&self.answer[..length]) {
                if answer.sequence_number() != self.sequence {
                    continue;
                }
                consistent &= answer.flags() & NLM_F_DUMP_INTR == 0;
                match acknowledgement(&answer) {
                    Some(end) => return end.map(|()| consistent),
                    None => each(answer.payload()),
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Asks for one thing; `None` if the kernel says that it does not exist.
    fn one<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.ask(message, NLM_F_REQUEST)?;
        for _ in 0..DUMP_PIECES {
            let length = recv(self.socket.as_raw_fd(), &mut self.answer, MsgFlags::empty())?;
            for answer in Messages(&self.answer[..length]) {
                if answer.sequence_number() != self.sequence {
                    continue;
                }
                return match acknowledgement(&answer) {
                    Some(Err(error)) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
                    Some(Err(error)) => Err(error),
                    Some(Ok(())) => Ok(None),
                    None => Ok(read(answer.payload())),
                };
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        self.request.clear();
        self.request.resize(message.buffer_len(), 0);
        message.serialize(&mut self.request);
        send(self.socket.as_raw_fd(), &self.request, MsgFlags::empty())?;
        Ok(())
    }
}

/// A socket that is bound to the event groups in `groups`.
fn route_socket(groups: u32) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// The messages of one datagram; what is cut or malformed ends the list.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = NetlinkBuffer<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = NetlinkBuffer::new_checked(self.0).ok()?;
        let length = usize::try_from(message.length()).ok()?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// The result that a message carries: an error, an acknowledgement, or the end of a dump.
fn acknowledgement(message: &NetlinkBuffer<&[u8]>) -> Option<io::Result<()>> {
    match message.message_type() {
        // NLMSG_ERROR and NLMSG_DONE (netlink(7)); both begin with a negative errno or zero.
        2 | 3 => {
            let code = ErrorBuffer::new_checked(message.payload())
                .ok()
                .and_then(|error| error.code());
            Some(code.map_or(Ok(()), |code| {
                Err(io::Error::from_raw_os_error(code.get().saturating_neg()))
            }))
        }
        _ => None,
    }
}

/// Reads a datagram of the kernel in every way that there is; for tests that feed it anything.
#[doc(hidden)]
pub fn read_everything(datagram: &[u8]) {
    for message in Messages(datagram) {
        let (kind, payload) = (message.message_type(), message.payload());
        if acknowledgement(&message).is_none() {
            // Only that they return matters here.
            let _ = (
                address::read_address(payload),
                interface::read_link(payload),
                route::tells_of_ours(kind, payload),
                route::our_route(payload),
                route::our_rule(payload),
            );
            let _ = events::read_event(kind, payload);
        }
    }
}

/// Puts what was tried beside the kernel's answer.
fn failed(request: impl Into<String>) -> impl FnOnce(io::Error) -> LinkError {
    move |source| LinkError {
        request: request.into(),
        source,
    }
}
