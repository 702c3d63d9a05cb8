//! A packet socket that announces.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that announcements leave by"
)]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::PRIORITY;
use crate::packet::{gratuitous_reply, gratuitous_request};
use crate::syscall::{self, PacketProtocol};

/// Sends gratuitous ARP on one interface; it hears nothing.
#[derive(Debug)]
pub(crate) struct ArpSender {
    socket: Socket,
    mac: [u8; 6],
}

impl ArpSender {
    /// Binds to the interface, whose hardware address is `mac`.
    pub(crate) fn open(index: u32, mac: [u8; 6]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        syscall::bind_packet_socket(socket.as_fd(), index, PacketProtocol::Nothing)?;
        Ok(Self { socket, mac })
    }

    /// One round in both forms: some hosts learn from requests only, some from replies.
    pub(crate) fn announce(&self, vip: Ipv4Addr) -> io::Result<()> {
        self.socket.send(&gratuitous_request(self.mac, vip))?;
        self.socket.send(&gratuitous_reply(self.mac, vip))?;
        Ok(())
    }
}
