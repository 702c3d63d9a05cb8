//! A packet socket that hears who claims a VIP by ARP.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that hears claims"
)]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc::{BPF_ABS, BPF_H, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::instruction;
use super::{Read, ReceiveBuffer, receive};
use crate::packet::probe;
use crate::syscall::{self, PacketProtocol};

/// Offsets in a frame: sender of an ARP packet (RFC 826).
const SENDER_MAC: u32 = 22;
const SENDER_ADDRESS: u32 = 28;

/// Hears ARP packets that name a VIP as their sender's address, but for our own.
#[derive(Debug)]
pub(crate) struct Sentinel {
    socket: Socket,
    mac: [u8; 6],
}

impl Sentinel {
    /// Filters before it binds to the interface, whose hardware address is `mac`, so that nothing else ever comes in.
    pub(crate) fn open(index: u32, mac: [u8; 6], vips: &[Ipv4Addr]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.attach_filter(&filter(mac, vips))?;
        syscall::bind_packet_socket(socket.as_fd(), index, PacketProtocol::Arp)?;
        Ok(Self { socket, mac })
    }

    /// Asks whether anybody has a VIP (RFC 5227, section 2.1.1): whoever has it says so.
    pub(crate) fn probe(&self, vip: Ipv4Addr) -> io::Result<()> {
        self.socket.send(&probe(self.mac, vip))?;
        Ok(())
    }

    /// Reads one claim, Ethernet header included.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        receive(&self.socket, buffer)
    }
}

impl AsFd for Sentinel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sender's address is one of `vips`, its hardware address is not `mac`.
fn filter(mac: [u8; 6], vips: &[Ipv4Addr]) -> Vec<SockFilter> {
    let (accept, drop) = (u32::MAX, 0);
    let [a, b, c, d, e, f] = mac;
    let (head, tail) = (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([0, 0, e, f]),
    );
    let mut program = vec![instruction(
        BPF_LD | BPF_W | BPF_ABS,
        (0, 0),
        SENDER_ADDRESS,
    )];
    for vip in vips {
        // Not this one: over the jump.
        program.push(instruction(
            BPF_JMP | BPF_JEQ | BPF_K,
            (0, 1),
            vip.to_bits(),
        ));
        let rest = 2 * vips.len() - program.len();
        let to_mac = u32::try_from(rest + 1).expect("a node has few VIPs");
        program.push(instruction(BPF_JMP | BPF_JA, (0, 0), to_mac));
    }
    program.extend([
        instruction(BPF_RET | BPF_K, (0, 0), drop),
        instruction(BPF_LD | BPF_W | BPF_ABS, (0, 0), SENDER_MAC),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 2), head),
        instruction(BPF_LD | BPF_H | BPF_ABS, (0, 0), SENDER_MAC + 4),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (1, 0), tail),
        instruction(BPF_RET | BPF_K, (0, 0), accept),
        instruction(BPF_RET | BPF_K, (0, 0), drop),
    ]);
    program
}
