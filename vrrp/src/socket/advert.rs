//! Raw sockets of protocol 112 on one interface.
#![expect(
    clippy::disallowed_types,
    reason = "opens the sockets that adverts travel by"
)]

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};

use common::addr::Family;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{PRIORITY, RECEIVE_QUEUE, Read, ReceiveBuffer, receive};
use crate::packet::{GROUP, GROUP_V6, PROTOCOL};

/// Hears every packet of protocol 112 of its family that reaches this host on one interface, to the
/// group or to its own addresses.
#[derive(Debug)]
pub(crate) struct AdvertReceiver(Socket);

impl AdvertReceiver {
    /// Binds to the interface and joins the group on it (the kernel tells the switches, by IGMP or
    /// MLD).
    pub(crate) fn open(family: Family, interface: &str, index: u32) -> io::Result<Self> {
        let socket = raw_socket(family, Protocol::from(i32::from(PROTOCOL)), interface)?;
        socket.set_recv_buffer_size(RECEIVE_QUEUE)?;
        // Only what this socket joined: others' memberships on this host must not feed it.
        match family {
            Family::V4 => {
                socket.set_multicast_all_v4(false)?;
                socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
            }
            Family::V6 => {
                socket.set_multicast_all_v6(false)?;
                socket.join_multicast_v6(&GROUP_V6, index)?;
                // Such a socket gives no IP header. Checksums are not the kernel's business, as long
                // as IPV6_CHECKSUM is not asked for: what is wrong is to be counted.
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self(socket))
    }

    /// Reads one packet: over IPv4 with its IP header, over IPv6 with what of it is needed beside.
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
pub(crate) struct AdvertSender {
    socket: Socket,
    /// Index of the interface: the zone of link-local addresses.
    zone: u32,
}

impl AdvertSender {
    /// Binds to the interface. A protocol of 255 (IPPROTO_RAW) means: header included, nothing
    /// received (raw(7)).
    pub(crate) fn open(family: Family, interface: &str, index: u32) -> io::Result<Self> {
        let socket = raw_socket(family, Protocol::from(nix::libc::IPPROTO_RAW), interface)?;
        match family {
            Family::V4 => {
                socket.set_header_included_v4(true)?;
                socket.set_multicast_loop_v4(false)?;
            }
            Family::V6 => {
                socket.set_header_included_v6(true)?;
                socket.set_multicast_loop_v6(false)?;
            }
        }
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        Ok(Self {
            socket,
            zone: index,
        })
    }

    /// Sends a whole IP datagram.
    pub(crate) fn send(&self, datagram: &[u8], destination: IpAddr) -> io::Result<()> {
        let destination = match destination {
            IpAddr::V4(address) => SocketAddr::from((address, 0)),
            IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, self.zone).into(),
        };
        self.socket.send_to(datagram, &destination.into())?;
        Ok(())
    }
}

/// Multicast leaves by the interface that a socket is bound to, so no route to the group is needed.
fn raw_socket(family: Family, protocol: Protocol, interface: &str) -> io::Result<Socket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}
