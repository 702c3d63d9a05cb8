//! The UDP socket of the pair channel.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket of the pair channel"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::{PRIORITY, RECEIVE_QUEUE, Read, ReceiveBuffer, TOS_NETWORK_CONTROL, receive};

/// Talks to the other node between the nodes' real addresses.
#[derive(Debug)]
pub(crate) struct PairSocket {
    socket: Socket,
    peer: SocketAddr,
}

impl PairSocket {
    /// Binds to this node's address, whether the interface has it yet or not. It is not connected:
    /// what comes from elsewhere is to be counted.
    pub(crate) fn open(own: IpAddr, peer: IpAddr, port: u16) -> io::Result<Self> {
        let own = SocketAddr::new(own, port);
        let socket = Socket::new(Domain::for_address(own), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // The successor of a killed process binds while the kernel still closes its sockets. Unlike
        // SO_REUSEADDR this needs the same user (socket(7)): nobody else can take the heartbeats.
        socket.set_reuse_port(true)?;
        if own.is_ipv4() {
            socket.set_freebind_v4(true)?;
            socket.set_tos_v4(TOS_NETWORK_CONTROL)?;
        } else {
            socket.set_freebind_v6(true)?;
            socket.set_tclass_v6(TOS_NETWORK_CONTROL)?;
        }
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.bind(&own.into())?;
        Ok(Self {
            socket,
            peer: SocketAddr::new(peer, port),
        })
    }

    /// The other node's address and port.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Reads one datagram.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        receive(&self.socket, buffer)
    }

    /// Sends to the other node.
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send_to(datagram, &self.peer.into())?;
        Ok(())
    }
}

impl AsFd for PairSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
