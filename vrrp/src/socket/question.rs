//! A packet socket that asks a machine for its hardware address, the other node or a gateway: a living kernel answers,
//! whatever becomes of its processes. By ARP (RFC 826) or by neighbour discovery (RFC 4861).
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that questions leave and answers come by"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{BPF_B, BPF_H, BPF_W};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::{ADVERTISEMENT, MESSAGE_TYPE, OF_NEIGHBOURS, TARGET, Test, all_of, is_at};
use super::{Datagram, PRIORITY, Read, ReceiveBuffer, receive};
use crate::packet::{answer, question, solicitation};
use crate::syscall::{self, PacketProtocol};

/// Offsets in a frame: where it goes to, operation and sender address of an ARP packet (RFC 826).
const DESTINATION: u32 = 0;
const OPERATION: u32 = 20;
const SENDER_ADDRESS: u32 = 28;
const REPLY: u32 = 2;

/// Asks one machine, and hears only its answers.
#[derive(Debug)]
pub(crate) struct QuestionSocket {
    socket: Socket,
    mac: [u8; 6],
    ends: Ends,
}

/// This node's address and the one of whom it asks.
#[derive(Debug, Clone, Copy)]
enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl QuestionSocket {
    /// From `own` on the interface, whose hardware address is `mac`, to `target`. Filters before it binds, so that
    /// nothing but answers of `target` ever comes in.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` if one of the two is IPv4 and the other IPv6.
    pub(crate) fn open(
        (index, mac): (u32, [u8; 6]),
        own: IpAddr,
        target: IpAddr,
    ) -> io::Result<Self> {
        Self::open_for((index, mac), (own, target), filter(target))
    }

    /// From a hardware address that is not the interface's, by probes that nobody learns an address from (RFC 5227,
    /// section 2.1.1): hears only answers to that address, which the interface accepts frames for as long as this lives.
    pub(crate) fn open_from_second(
        (index, mac): (u32, [u8; 6]),
        target: Ipv4Addr,
    ) -> io::Result<Self> {
        let ends = (Ipv4Addr::UNSPECIFIED.into(), target.into());
        let answers = to(mac).into_iter().chain(answers_of(target));
        let this = Self::open_for((index, mac), ends, all_of(answers))?;
        syscall::accept_frames_for(this.socket.as_fd(), index, mac)?;
        Ok(this)
    }

    fn open_for(
        (index, mac): (u32, [u8; 6]),
        (own, target): (IpAddr, IpAddr),
        filter: Vec<SockFilter>,
    ) -> io::Result<Self> {
        let (ends, protocol) = match (own, target) {
            (IpAddr::V4(own), IpAddr::V4(target)) => (Ends::V4(own, target), PacketProtocol::Arp),
            (IpAddr::V6(own), IpAddr::V6(target)) => (Ends::V6(own, target), PacketProtocol::Ipv6),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                return Err(Errno::EAFNOSUPPORT.into());
            }
        };
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.attach_filter(&filter)?;
        syscall::bind_packet_socket(socket.as_fd(), index, protocol)?;
        Ok(Self { socket, mac, ends })
    }

    /// Asks the machine with the hardware address `to`, or everybody.
    pub(crate) fn ask(&self, to: Option<[u8; 6]>) -> io::Result<()> {
        match self.ends {
            Ends::V4(own, target) => self.socket.send(&question((self.mac, own), target, to))?,
            Ends::V6(own, target) => {
                self.socket
                    .send(&solicitation((self.mac, own), target, to))?
            }
        };
        Ok(())
    }

    /// Whether an answer has come since this was asked last; at most `most` are read.
    pub(crate) fn has_answered(&self, buffer: &mut ReceiveBuffer, most: usize) -> bool {
        let mut answered = false;
        for _ in 0..most {
            match self.receive(buffer) {
                Read::Datagram(datagram) => answered |= self.answer(&datagram).is_some(),
                Read::Empty | Read::Failed(_) => break,
            }
        }
        answered
    }

    /// Reads one answer, Ethernet header included.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        receive(&self.socket, buffer)
    }

    /// The hardware address in what was received, if it is an answer.
    pub(crate) fn answer(&self, datagram: &Datagram<'_>) -> Option<[u8; 6]> {
        let target = match self.ends {
            Ends::V4(_, target) => IpAddr::V4(target),
            Ends::V6(_, target) => IpAddr::V6(target),
        };
        answer(datagram.bytes, target)
    }
}

impl AsFd for QuestionSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// ARP replies whose sender is `target`, or neighbour advertisements of it. The kernel has checked the type of the frame.
fn filter(target: IpAddr) -> Vec<SockFilter> {
    match target {
        IpAddr::V4(target) => all_of(answers_of(target)),
        IpAddr::V6(_) => {
            let is_advertisement = (BPF_B, MESSAGE_TYPE, ADVERTISEMENT);
            let head = OF_NEIGHBOURS.into_iter().chain([is_advertisement]);
            all_of(head.chain(is_at(TARGET, target)))
        }
    }
}

fn answers_of(target: Ipv4Addr) -> impl Iterator<Item = Test> {
    let address = is_at(SENDER_ADDRESS, target.into());
    [(BPF_H, OPERATION, REPLY)].into_iter().chain(address)
}

/// Frames to a hardware address.
fn to(mac: [u8; 6]) -> [Test; 2] {
    let [a, b, c, d, e, f] = mac;
    [
        (BPF_W, DESTINATION, u32::from_be_bytes([a, b, c, d])),
        (BPF_H, DESTINATION + 4, u32::from_be_bytes([0, 0, e, f])),
    ]
}
