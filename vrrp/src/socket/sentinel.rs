//! A packet socket that hears who claims a VIP, by ARP (RFC 826) or by neighbour discovery (RFC 4861).
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that hears claims"
)]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_RET,
    BPF_W,
};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::{
    ADVERTISEMENT, MESSAGE_TYPE, OF_NEIGHBOURS, SOLICITATION, TARGET, instruction, words,
};
use super::{Read, ReceiveBuffer, receive};
use crate::packet::{probe, solicitation};
use crate::syscall::{self, PacketProtocol};

/// Offsets in a frame: sender of an ARP packet (RFC 826).
const ARP_MAC: u32 = 22;
const ARP_ADDRESS: u32 = 28;
/// The same of neighbour discovery, where the frame names the hardware address always.
const FRAME_MAC: u32 = 6;
const IPV6_SOURCE: u32 = 22;

const ACCEPT: u32 = u32::MAX;
const DROP: u32 = 0;

/// Hears who names a VIP as its own address, but for this node.
#[derive(Debug)]
pub(crate) struct Sentinel {
    socket: Socket,
    /// Hardware address of the interface.
    mac: [u8; 6],
    /// This node's address there, of the VIPs' family.
    own: IpAddr,
}

impl Sentinel {
    /// Filters before it binds to the interface, so that nothing else ever comes in. All `vips` are of the family of
    /// `own`.
    pub(crate) fn open(
        (index, mac): (u32, [u8; 6]),
        own: IpAddr,
        vips: &[IpAddr],
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        let (filter, protocol) = match own {
            IpAddr::V4(_) => (by_arp(mac, vips), PacketProtocol::Arp),
            IpAddr::V6(_) => (by_neighbour_discovery(mac, vips), PacketProtocol::Ipv6),
        };
        socket.attach_filter(&filter)?;
        syscall::bind_packet_socket(socket.as_fd(), index, protocol)?;
        Ok(Self { socket, mac, own })
    }

    /// Asks whether anybody has a VIP, without claiming it: whoever has it says so. By ARP as RFC 5227, section 2.1.1,
    /// does. Over IPv6 as any neighbour: the answer to a question from nowhere goes to everybody, and would make them
    /// believe a rival.
    pub(crate) fn probe(&self, vip: IpAddr) -> io::Result<()> {
        match (self.own, vip) {
            (IpAddr::V4(_), IpAddr::V4(vip)) => self.socket.send(&probe(self.mac, vip))?,
            (IpAddr::V6(own), IpAddr::V6(vip)) => {
                let question = solicitation((self.mac, own), vip, None);
                self.socket.send(&question)?
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                return Err(Errno::EAFNOSUPPORT.into());
            }
        };
        Ok(())
    }

    /// Reads one claim, Ethernet header included.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        receive(&self.socket, buffer)
    }

    /// Whether a hardware address is this interface's.
    pub(crate) fn is_own(&self, mac: [u8; 6]) -> bool {
        self.mac == mac
    }
}

impl AsFd for Sentinel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sender's address is one of `vips`, its hardware address is not `mac`.
fn by_arp(mac: [u8; 6], vips: &[IpAddr]) -> Vec<SockFilter> {
    let mut program = unless_from(mac, ARP_MAC);
    program.push(instruction(BPF_LDX | BPF_W | BPF_IMM, (0, 0), ARP_ADDRESS));
    program.extend(one_of(vips));
    program
}

/// An advertisement of one of `vips`, or a question from it, in a frame that is not from `mac`.
fn by_neighbour_discovery(mac: [u8; 6], vips: &[IpAddr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for (size, at, value) in OF_NEIGHBOURS {
        program.push(instruction(BPF_LD | size | BPF_ABS, (0, 0), at));
        program.extend(is_or_drop(value));
    }
    program.extend(unless_from(mac, FRAME_MAC));
    let load_offset = BPF_LDX | BPF_W | BPF_IMM;
    program.extend([
        instruction(BPF_LD | BPF_B | BPF_ABS, (0, 0), MESSAGE_TYPE),
        instruction(load_offset, (0, 0), TARGET),
        // Over the other type.
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (3, 0), ADVERTISEMENT),
        instruction(load_offset, (0, 0), IPV6_SOURCE),
    ]);
    program.extend(is_or_drop(SOLICITATION));
    program.extend(one_of(vips));
    program
}

/// Drops unless what is loaded is `value`.
fn is_or_drop(value: u32) -> [SockFilter; 2] {
    [
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (1, 0), value),
        instruction(BPF_RET | BPF_K, (0, 0), DROP),
    ]
}

/// Drops what has this hardware address at an offset.
fn unless_from(mac: [u8; 6], at: u32) -> Vec<SockFilter> {
    let [a, b, c, d, e, f] = mac;
    let (head, tail) = (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([0, 0, e, f]),
    );
    vec![
        instruction(BPF_LD | BPF_W | BPF_ABS, (0, 0), at),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 3), head),
        instruction(BPF_LD | BPF_H | BPF_ABS, (0, 0), at + 4),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, 1), tail),
        instruction(BPF_RET | BPF_K, (0, 0), DROP),
    ]
}

/// Accepts what has one of these addresses at the offset that is in the index register, and drops the rest.
fn one_of(addresses: &[IpAddr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for address in addresses {
        let words = words(*address);
        for (word, (at, value)) in (0..).step_by(4).zip(&words).enumerate() {
            // Over the rest of this address, and over what accepts.
            let to_next = 2 * (words.len() - word - 1) + 1;
            let to_next = u8::try_from(to_next).expect("an address has four words at most");
            program.push(instruction(BPF_LD | BPF_W | BPF_IND, (0, 0), at));
            program.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, to_next), *value));
        }
        program.push(instruction(BPF_RET | BPF_K, (0, 0), ACCEPT));
    }
    program.push(instruction(BPF_RET | BPF_K, (0, 0), DROP));
    program
}
