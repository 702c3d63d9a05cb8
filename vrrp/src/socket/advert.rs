//! Raw sockets of protocol 112 on one interface.
#![expect(
    clippy::disallowed_types,
    reason = "opens the sockets that adverts travel by"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{PRIORITY, RECEIVE_QUEUE, Read, ReceiveBuffer, receive};
use crate::packet::{GROUP, PROTOCOL};

/// Hears every packet of protocol 112 that reaches this host on one interface, to the group or to
/// its own addresses.
#[derive(Debug)]
pub(crate) struct AdvertReceiver(Socket);

impl AdvertReceiver {
    /// Binds to the interface and joins the group on it.
    pub(crate) fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = raw_socket(Protocol::from(i32::from(PROTOCOL)), interface)?;
        socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
        // Only what this socket joined: others' memberships on this host must not feed it.
        socket.set_multicast_all_v4(false)?;
        socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self(socket))
    }

    /// Reads one packet, IP header included.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        receive(&self.0, buffer)
    }
}

impl AsFd for AdvertReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends packets whose IP header we write ourselves on one interface; it hears nothing.
#[derive(Debug)]
pub(crate) struct AdvertSender(Socket);

impl AdvertSender {
    /// Binds to the interface. A protocol of 255 (IPPROTO_RAW) means: header included, nothing
    /// received (raw(7)).
    pub(crate) fn open(interface: &str) -> io::Result<Self> {
        let socket = raw_socket(Protocol::from(nix::libc::IPPROTO_RAW), interface)?;
        socket.set_header_included_v4(true)?;
        socket.set_multicast_loop_v4(false)?;
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        Ok(Self(socket))
    }

    /// Sends a whole IPv4 datagram.
    pub(crate) fn send(&self, datagram: &[u8], destination: Ipv4Addr) -> io::Result<()> {
        self.0
            .send_to(datagram, &SocketAddrV4::new(destination, 0).into())?;
        Ok(())
    }
}

/// Multicast leaves by the interface that a socket is bound to, so no route to the group is needed.
fn raw_socket(protocol: Protocol, interface: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}
