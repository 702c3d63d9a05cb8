//! A packet socket that asks for a gateway's hardware address and sees whether it answers.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that questions leave by and answers come to"
)]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use nix::libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use socket2::{Domain, SockFilter, Socket, Type};

use super::witness::instruction;
use super::{Read, ReceiveBuffer, receive};
use crate::packet::arp_question;
use crate::syscall::{self, PacketProtocol};

/// Offsets in an Ethernet frame with an ARP packet: operation, sender's hardware and protocol address.
const OPERATION: u32 = 20;
const SENDER: u32 = 28;
const REPLY: u32 = 2;

/// Asks one gateway on one interface.
#[derive(Debug)]
pub(crate) struct Gateway {
    socket: Socket,
    mac: [u8; 6],
    own: Ipv4Addr,
    address: Ipv4Addr,
}

impl Gateway {
    /// Binds to the interface, whose hardware address is `mac` and on which this node has the address
    /// `own`. Filters before it binds, so that nothing but the gateway's answers ever comes in.
    pub(crate) fn open(
        (index, mac): (u32, [u8; 6]),
        own: Ipv4Addr,
        address: Ipv4Addr,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter(address))?;
        syscall::bind_packet_socket(socket.as_fd(), index, PacketProtocol::Arp)?;
        Ok(Self {
            socket,
            mac,
            own,
            address,
        })
    }

    /// Asks everybody on the network.
    pub(crate) fn ask(&self) -> io::Result<()> {
        let question = arp_question((self.mac, self.own), self.address);
        self.socket.send(&question).map(drop)
    }

    /// Whether an answer has come since this was asked last; at most `most` are read.
    pub(crate) fn has_answered(&self, buffer: &mut ReceiveBuffer, most: usize) -> bool {
        let mut answered = false;
        for _ in 0..most {
            match receive(&self.socket, buffer) {
                Read::Datagram(_) => answered = true,
                Read::Empty | Read::Failed(_) => break,
            }
        }
        answered
    }
}

/// Classic BPF: an ARP reply whose sender has this address.
fn filter(address: Ipv4Addr) -> [SockFilter; 6] {
    let (accept, drop) = (u32::MAX, 0);
    [
        instruction(BPF_LD | BPF_H | BPF_ABS, (0, 0), OPERATION),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 3), REPLY),
        instruction(BPF_LD | BPF_W | BPF_ABS, (0, 0), SENDER),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 1), address.to_bits()),
        instruction(BPF_RET | BPF_K, (0, 0), accept),
        instruction(BPF_RET | BPF_K, (0, 0), drop),
    ]
}
