//! Requests to the kernel's network configuration, by rtnetlink (rtnetlink(7)), synchronous and bounded.
//!
//! The kernel carries a request out inside send(2), so its answer is there when send returns; the wait for it is only a
//! bound. Who asks for what is in the crates that do: addresses, routes and interfaces in vrrp, filters in forward.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// The kernel builds lists in datagrams of at most so many bytes.
pub const DATAGRAM_BYTES: usize = 32 * 1024;
/// A list of more datagrams than this is given up: some 10,000 addresses.
const DATAGRAMS: usize = 64;

/// A socket for requests.
#[derive(Debug)]
pub struct Requests {
    socket: OwnedFd,
    sequence: u32,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Requests {
    /// Opens a socket in the calling thread's network namespace; an answer is waited for no longer than `limit`.
    ///
    /// # Errors
    /// If the kernel gives none.
    pub fn open(limit: Duration) -> io::Result<Self> {
        let socket = listen(0)?;
        let limit = TimeVal::new(
            limit.as_secs().try_into().unwrap_or(i64::MAX),
            limit.subsec_micros().into(),
        );
        setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
        Ok(Self {
            socket,
            sequence: 0,
            request: Vec::with_capacity(512),
            answer: vec![0; DATAGRAM_BYTES],
        })
    }

    /// Makes a change and waits for the kernel's answer.
    ///
    /// # Errors
    /// What the kernel says, or that it says nothing in time.
    pub fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        // Answers to requests that were given up may come first.
        for _ in 0..DATAGRAMS {
            let length = self.receive()?;
            for answer in Messages::of(&self.answer[..length]) {
                if answer.sequence_number() == self.sequence {
                    return acknowledgement(&answer).unwrap_or(Ok(()));
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Asks for everything of a kind; `each` gets the payload of every message. Says whether the list is consistent,
    /// that is, nothing changed while it was made.
    ///
    /// # Errors
    /// What the kernel says, or that it says nothing in time.
    pub fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        let mut consistent = true;
        self.ask(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        for _ in 0..DATAGRAMS {
            let length = self.receive()?;
            for answer in Messages::of(&self.answer[..length]) {
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

    /// Asks for one thing; `None` if the kernel says that there is no such device.
    ///
    /// # Errors
    /// What else the kernel says, or that it says nothing in time.
    pub fn one<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.ask(message, NLM_F_REQUEST)?;
        for _ in 0..DATAGRAMS {
            let length = self.receive()?;
            for answer in Messages::of(&self.answer[..length]) {
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

    fn receive(&mut self) -> io::Result<usize> {
        let socket = self.socket.as_raw_fd();
        Ok(recv(socket, &mut self.answer, MsgFlags::empty())?)
    }
}

impl AsFd for Requests {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket that hears the events of the groups in `groups`, a bit each (`RTMGRP_*` of rtnetlink(7)).
///
/// # Errors
/// If the kernel gives none.
pub fn listen(groups: u32) -> io::Result<OwnedFd> {
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
#[derive(Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Of this datagram.
    pub fn of(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = NetlinkBuffer<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = NetlinkBuffer::new_checked(self.0).ok()?;
        let length = usize::try_from(message.length()).ok()?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// The result that a message carries: an error, an acknowledgement, or the end of a list.
pub fn acknowledgement(message: &NetlinkBuffer<&[u8]>) -> Option<io::Result<()>> {
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
