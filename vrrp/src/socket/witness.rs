//! A packet socket that sees what the kernel's routing throws away: adverts that carry our own
//! source address.
//!
//! The kernel drops a packet "from ourselves" that arrives from outside before any raw socket sees
//! it. Such a packet means that another machine uses our address, or that somebody forges it, so it
//! has to be seen and counted.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that hears forged adverts"
)]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc::{BPF_ABS, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::instruction;
use super::{Read, ReceiveBuffer, receive};
use crate::packet::PROTOCOL;
use crate::syscall::{self, PacketProtocol};

/// Offset of the protocol in an IPv4 header.
const IP_PROTOCOL: u32 = 9;
/// Offset of the source address.
const IP_SOURCE: u32 = 12;

/// Hears packets of protocol 112 from our own address that arrive on one interface.
#[derive(Debug)]
pub(crate) struct Witness(Socket);

impl Witness {
    /// Filters before it binds, so that nothing else ever comes in.
    pub(crate) fn open(index: u32, own: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter(own))?;
        syscall::bind_packet_socket(socket.as_fd(), index, PacketProtocol::Ipv4)?;
        Ok(Self(socket))
    }

    /// Reads one packet, IP header included.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        receive(&self.0, buffer)
    }
}

impl AsFd for Witness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Classic BPF: protocol 112 and source `own`, counted from the start of the IP header.
fn filter(own: Ipv4Addr) -> [SockFilter; 6] {
    let (accept, drop) = (u32::MAX, 0);
    [
        instruction(BPF_LD | BPF_B | BPF_ABS, (0, 0), IP_PROTOCOL),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 3), u32::from(PROTOCOL)),
        instruction(BPF_LD | BPF_W | BPF_ABS, (0, 0), IP_SOURCE),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 1), own.to_bits()),
        instruction(BPF_RET | BPF_K, (0, 0), accept),
        instruction(BPF_RET | BPF_K, (0, 0), drop),
    ]
}
