//! A packet socket that sees what the kernel throws away before any raw socket has it: adverts from one address.
//!
//! From our own address: routing drops a packet "from ourselves" that arrives from outside. It means that another machine
//! uses our address, or that somebody forges it, so it has to be seen and counted. From the other node's: a firewall of
//! this host may drop its adverts (or `rp_filter`), and who only hears nothing cannot tell that from a dead node.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that hears forged adverts"
)]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc::BPF_B;
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::{all_of, is_at};
use super::{Read, ReceiveBuffer, receive};
use crate::packet::PROTOCOL;
use crate::syscall::{self, PacketProtocol};

/// Offsets in an IPv4 header.
const IPV4_PROTOCOL: u32 = 9;
const IPV4_SOURCE: u32 = 12;
/// Offsets in an IPv6 header.
const IPV6_NEXT_HEADER: u32 = 6;
const IPV6_SOURCE: u32 = 8;

/// Hears packets of protocol 112 from one address that arrive on one interface.
#[derive(Debug)]
pub(crate) struct Witness(Socket);

impl Witness {
    /// Filters before it binds, so that nothing else ever comes in.
    pub(crate) fn open(index: u32, source: IpAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter(source))?;
        let protocol = match source {
            IpAddr::V4(_) => PacketProtocol::Ipv4,
            IpAddr::V6(_) => PacketProtocol::Ipv6,
        };
        syscall::bind_packet_socket(socket.as_fd(), index, protocol)?;
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

/// Protocol 112 and source `own`, counted from the start of the IP header. (Extension headers, which no
/// advert has, are not looked behind.)
fn filter(own: IpAddr) -> Vec<SockFilter> {
    let (protocol_at, source_at) = match own {
        IpAddr::V4(_) => (IPV4_PROTOCOL, IPV4_SOURCE),
        IpAddr::V6(_) => (IPV6_NEXT_HEADER, IPV6_SOURCE),
    };
    let protocol = (BPF_B, protocol_at, u32::from(PROTOCOL));
    all_of(std::iter::once(protocol).chain(is_at(source_at, own)))
}
