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

use nix::libc::{BPF_ABS, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::instruction;
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

/// Classic BPF: protocol 112 and source `own`, counted from the start of the IP header. (Extension
/// headers, which no advert has, are not looked behind.)
fn filter(own: IpAddr) -> Vec<SockFilter> {
    let (protocol_at, source_at, source) = match own {
        IpAddr::V4(own) => (IPV4_PROTOCOL, IPV4_SOURCE, own.octets().to_vec()),
        IpAddr::V6(own) => (IPV6_NEXT_HEADER, IPV6_SOURCE, own.octets().to_vec()),
    };
    let (words, _) = source.as_chunks::<4>();
    let words = words.iter().map(|word| u32::from_be_bytes(*word));
    let tests = std::iter::once((BPF_B, protocol_at, u32::from(PROTOCOL))).chain(
        (source_at..)
            .step_by(4)
            .zip(words)
            .map(|(at, word)| (BPF_W, at, word)),
    );
    let tests: Vec<_> = tests.collect();
    let mut program = Vec::new();
    for (place, (size, at, value)) in tests.iter().enumerate() {
        // Over the tests behind this one, and over what accepts.
        let to_drop = 2 * (tests.len() - place - 1) + 1;
        let to_drop = u8::try_from(to_drop).expect("there are five tests at most");
        program.push(instruction(BPF_LD | size | BPF_ABS, (0, 0), *at));
        program.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, to_drop), *value));
    }
    let (accept, drop) = (u32::MAX, 0);
    program.push(instruction(BPF_RET | BPF_K, (0, 0), accept));
    program.push(instruction(BPF_RET | BPF_K, (0, 0), drop));
    program
}
