//! A packet socket that asks a machine for its hardware address, the other node or a gateway: a living kernel answers,
//! whatever becomes of its processes.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that questions leave and answers come by"
)]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::instruction;
use super::{PRIORITY, Read, ReceiveBuffer, receive};
use crate::packet::question;
use crate::syscall::{self, PacketProtocol};

/// Offsets in a frame: operation and sender address of an ARP packet (RFC 826).
const OPERATION: u32 = 20;
const SENDER_ADDRESS: u32 = 28;
const REPLY: u32 = 2;

/// Asks one machine, and hears only its answers.
#[derive(Debug)]
pub(crate) struct QuestionSocket {
    socket: Socket,
    /// This node's, and its address.
    own: ([u8; 6], Ipv4Addr),
    target: Ipv4Addr,
}

impl QuestionSocket {
    /// From `own` on the interface, whose hardware address is `mac`, to `target`. Filters before it binds, so that
    /// nothing but answers of `target` ever comes in.
    pub(crate) fn open(
        (index, mac): (u32, [u8; 6]),
        own: Ipv4Addr,
        target: Ipv4Addr,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.attach_filter(&filter(target))?;
        syscall::bind_packet_socket(socket.as_fd(), index, PacketProtocol::Arp)?;
        Ok(Self {
            socket,
            own: (mac, own),
            target,
        })
    }

    /// Asks the machine with the hardware address `to`, or everybody.
    pub(crate) fn ask(&self, to: Option<[u8; 6]>) -> io::Result<()> {
        self.socket.send(&question(self.own, self.target, to))?;
        Ok(())
    }

    /// Whether an answer has come since this was asked last; at most `most` are read.
    pub(crate) fn has_answered(&self, buffer: &mut ReceiveBuffer, most: usize) -> bool {
        let mut answered = false;
        for _ in 0..most {
            match self.receive(buffer) {
                Read::Datagram(_) => answered = true,
                Read::Empty | Read::Failed(_) => break,
            }
        }
        answered
    }

    /// Reads one answer, Ethernet header included.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        receive(&self.socket, buffer)
    }
}

impl AsFd for QuestionSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// ARP replies whose sender is `target`. The kernel has checked the type of the frame.
fn filter(target: Ipv4Addr) -> [SockFilter; 6] {
    let (accept, drop) = (u32::MAX, 0);
    [
        instruction(BPF_LD | BPF_H | BPF_ABS, (0, 0), OPERATION),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 3), REPLY),
        instruction(BPF_LD | BPF_W | BPF_ABS, (0, 0), SENDER_ADDRESS),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 1), target.to_bits()),
        instruction(BPF_RET | BPF_K, (0, 0), accept),
        instruction(BPF_RET | BPF_K, (0, 0), drop),
    ]
}
