//! A packet socket that announces.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that announcements leave by"
)]

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::PRIORITY;
use crate::packet::{gratuitous_reply, gratuitous_request, unsolicited_advertisement};
use crate::syscall::{self, PacketProtocol};

/// Sends gratuitous ARP and unsolicited neighbour advertisements on one interface; it hears nothing.
#[derive(Debug)]
pub(crate) struct Announcer {
    socket: Socket,
    interface: String,
    mac: [u8; 6],
}

impl Announcer {
    /// Binds to the interface, whose hardware address is `mac`.
    pub(crate) fn open(interface: &str, index: u32, mac: [u8; 6]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        syscall::bind_packet_socket(socket.as_fd(), index, PacketProtocol::Nothing)?;
        Ok(Self {
            socket,
            interface: interface.to_owned(),
            mac,
        })
    }

    /// One round. Of ARP in both forms: some hosts learn from requests only, some from replies.
    pub(crate) fn announce(&self, vip: IpAddr) -> io::Result<()> {
        match vip {
            IpAddr::V4(vip) => {
                self.socket.send(&gratuitous_request(self.mac, vip))?;
                self.socket.send(&gratuitous_reply(self.mac, vip))?;
            }
            IpAddr::V6(vip) => {
                let router = forwards_ipv6(&self.interface);
                self.socket
                    .send(&unsolicited_advertisement(self.mac, vip, router))?;
            }
        }
        Ok(())
    }
}

/// Whether the kernel calls itself a router in its own neighbour advertisements on the interface. It
/// may change at any time, and ours must not say the opposite. (A setting of the kernel's: no disk is
/// read.)
fn forwards_ipv6(interface: &str) -> bool {
    let setting = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    std::fs::read_to_string(setting).is_ok_and(|text| text.trim() != "0")
}
